"""A server dies before and after every single write of a rollout, starts again, and comes to the same end by the same way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree
from typing import NamedTuple

import pytest

from gateway.rollout.champion import REJECTER
from gateway.rollout.standing import Trip
from registry.store import Store
from registry.verify import damages, verify
from tests.gateway.rollout.faulty import KilledError, Watched, killed_at
from tests.gateway.rollout.rolled import BY_ANN, plan, registry
from tests.gateway.rollout.world import World

ERRORS = Trip("errors", critical=True, sentence="errors are 3.1 times as many")
STEPS = (
    {"shadow": {}, "until": {"min_units": 100}},
    {"setWeight": 10, "until": {"min_duration": "20s"}},
    {"approve": {"count": 1}},
)
WEIGHS, APPROVES = 1, 2  # of the steps


class Told(NamedTuple):
    """All of a rollout that a crash must not change."""

    events: tuple[str, ...]
    phase: str
    champion: int | None
    moves: tuple[tuple[int | None, int], ...]
    rejected: tuple[str, ...]
    holds: tuple[str, ...]


def promoted(world: World) -> None:
    """It passes, somebody approves, it bakes."""
    if world.tip.phase == "step" and world.tip.step == APPROVES:
        world.operations.approve("m", actor="bob", operation_id="b-1")


def failed(world: World) -> None:
    """Errors are seen at the weight."""
    world.said.tripped = (ERRORS,) if world.tip.phase == "step" and world.tip.step == WEIGHS else ()


def crashed(world: World) -> None:
    """The candidate's process ends while stable is kept warm: the alias has to go back."""
    promoted(world)
    world.said.fast = "the process of version 2 ended" if world.tip.phase in {"baking", "rolling_back", "rolled_back"} else None


def aborted(world: World) -> None:
    """Somebody takes it back while it bakes."""
    promoted(world)
    if world.tip.phase == "baking":
        world.operations.abort("m", operation_id="a-1", **BY_ANN)


def played(root: Path, story: Callable[[World], None], hook: Callable[[int, bool], None] = lambda write, done: None) -> tuple[Told, int]:
    """One rollout to its end, and how many writes that took; whoever is killed starts again on what is there."""
    medium = Watched(root, hook)
    world = World(Store.on(medium))
    salts = set()
    begun = False
    for _ in range(60):
        try:
            if not begun:
                salts.add(world.operations.apply(plan(*STEPS), actor="ann", operation_id="apply-1").status.salt)
                begun = True
            if world.tip.journal.final:
                break
            story(world)
            world.tick(10.0)
        except KilledError:
            said, clock = world.said, world.clock
            fresh = Watched(root)
            fresh.writes = medium.writes
            world = World(Store.on(fresh), clock=clock, said=said)
            begun = False
    assert 1 == len(salts), "the same salt, and so the same plan for the same people"
    assert {} == world.controller.problems
    assert [] == damages(verify(world.store))
    return told(world), medium.writes


def told(world: World) -> Told:
    opinions = world.store.aliases("m").opinions("champion", 2)
    return Told(
        tuple(event for event in world.events() if event != "lead"),
        world.phase(),
        world.champion(),
        tuple(world.moves()),
        tuple(opinion.actor for opinion in opinions if not opinion.approved),
        tuple(world.store.deletion("m").holds()),
    )


EXPECTED = {
    promoted: Told(
        ("apply", "admit", "prepare", "ready", "pass", "pass", "approval", "approved", "complete", "moved", "baked"),
        "succeeded",
        2,
        ((None, 1), (1, 2)),
        (),
        (),
    ),
    failed: Told(
        ("apply", "admit", "prepare", "ready", "pass", "trip", "fail", "rolled"),
        "rolled_back",
        1,
        ((None, 1),),
        (REJECTER,),
        (),
    ),
    crashed: Told(
        ("apply", "admit", "prepare", "ready", "pass", "pass", "approval", "approved", "complete", "moved", "fast", "rolled"),
        "rolled_back",
        1,
        ((None, 1), (1, 2), (2, 1)),
        (REJECTER,),
        (),
    ),
    aborted: Told(
        ("apply", "admit", "prepare", "ready", "pass", "pass", "approval", "approved", "complete", "moved", "abort", "stopped"),
        "aborted",
        1,
        ((None, 1), (1, 2), (2, 1)),
        (),
        (),
    ),
}


@pytest.mark.parametrize(
    ("story", "done"),
    [(promoted, False), (failed, True), (crashed, False), (crashed, True), (aborted, False)],
    ids=["promoted", "failed", "crashed", "crashed-after", "aborted"],
)
def test_a_server_that_dies_at_any_write(memory_path: Path, story: Callable[[World], None], done: bool) -> None:
    """Whichever write it is, of a blob, an entry, a claim or the alias: the same events, the same salt, the alias moved as often."""
    registry(memory_path / "fresh")
    copytree(memory_path / "fresh", memory_path / "whole")
    expected, writes = played(memory_path / "whole", story)
    assert EXPECTED[story] == expected
    for write in range(writes):
        root = memory_path / f"killed-{write}"
        copytree(memory_path / "fresh", root)
        found, _ = played(root, story, killed_at(write, done=done))
        assert expected == found, f"killed at write {write}"
