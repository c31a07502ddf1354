"""Journals as events: each told once, with what was before and after."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from gateway.rollout.admission import read_plan
from gateway.rollout.happenings import occurrences
from gateway.rollout.notices import Occurrence
from gateway.rollout.observation import Overall
from tests.gateway.rollout.rolled import BY_ANN, plan, registry
from tests.gateway.rollout.test_operations import ab
from tests.gateway.rollout.world import World

WEIGHT = {"setWeight": 10, "until": {"min_duration": "10s", "max_duration": "100s"}}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(registry(tmp_path / "registry"))


def told(world: World, which: str = "m") -> list[Occurrence]:
    rollout = world.operations.status(which).id
    journal = world.store.rollouts.read(rollout)
    return occurrences(read_plan(world.store, journal), journal.entries)


def names(world: World) -> list[str]:
    return [one.event for one in told(world)]


def test_a_promotion_is_told_from_start_to_champion(world: World) -> None:
    """Each with the phase, the weight and the champion of before and after."""
    world.operations.apply(plan(WEIGHT), actor="ann", reason="new")
    world.run()
    assert ["started", "step", "promoted", "succeeded"] == names(world)
    step, promoted, _ = told(world)[1:]
    assert ("preparing", 0.0, 1) == (step.before.phase, step.before.weight, step.before.champion)
    assert ("step", 10.0, 1, "server-1") == (step.after.phase, step.after.weight, step.after.champion, step.actor)
    assert (1, "promoting", 2, "baking", 100.0) == (
        promoted.before.champion, promoted.before.phase, promoted.after.champion, promoted.after.phase, promoted.after.weight,
    )  # fmt: skip


def test_a_rollback_is_told_as_failure_and_as_done(world: World) -> None:
    """The first when nothing goes to the candidate any more, the second when the alias is where it was."""
    world.said.fast = "five failures in a row"
    world.operations.apply(plan(WEIGHT), actor="ann")
    world.run()
    assert ["started", "step", "failed", "rolled_back"] == names(world)
    failed = told(world)[2]
    assert (10.0, 0.0, "five failures in a row") == (failed.before.weight, failed.after.weight, failed.reason)


@pytest.mark.parametrize("by_hand", [True, False])
def test_the_end_of_a_comparison_is_told(world: World, by_hand: bool) -> None:
    """By its time, or by somebody's word: its report is there."""
    world.operations.apply(ab(duration="1h"), actor="ann")
    world.tick()
    if by_hand:
        world.operations.abort("m", **BY_ANN)
    else:
        world.tick(3_600.0)
    assert ["started", "step", "concluded"] == names(world)


def test_a_call_for_approval_is_told_with_its_step(world: World) -> None:
    """One entry, two events."""
    world.operations.apply(plan({"approve": {"not": []}}, WEIGHT), actor="ann")
    world.tick()
    assert ["started", "step", "approval_needed"] == names(world)
    assert 1 == len({one.seq for one in told(world)[1:]})


def _abort_queued(world: World) -> None:
    world.operations.abort("m", **BY_ANN)


def _abort_running(world: World) -> None:
    world.tick()
    world.operations.abort("m", **BY_ANN)
    world.tick()


def _pause_and_resume(world: World) -> None:
    world.said.overall = Overall.NO_DATA
    world.tick()
    world.operations.pause("m", **BY_ANN)
    world.operations.resume("m", **BY_ANN)


def _inconclusive(world: World) -> None:
    world.said.overall = Overall.INCONCLUSIVE
    world.tick()
    world.tick(1_000)


def _superseded(world: World) -> None:
    world.said.overall = Overall.NO_DATA
    world.tick()
    world.operations.apply(plan(WEIGHT, candidate=3, name="s", on_supersede="replace"), actor="ann")
    world.tick()


def _cannot_load(world: World) -> None:
    world.said.failures = {2: "no such operator"}
    world.tick()


@pytest.mark.parametrize(
    ("deed", "events"),
    [
        (_abort_queued, ["aborted"]),
        (_abort_running, ["started", "step", "aborted"]),
        (_pause_and_resume, ["started", "step", "paused", "resumed"]),
        (_inconclusive, ["started", "step", "paused"]),
        (_superseded, ["started", "step", "superseded"]),
        (_cannot_load, ["started", "failed"]),
    ],
)
def test_every_way_out_is_told(world: World, deed: Callable[[World], None], events: list[str]) -> None:
    """By people too (argo-rollouts#3721): there is no way out in silence."""
    world.operations.apply(plan(WEIGHT), actor="ann")
    deed(world)
    found = occurrences(read_plan(world.store, world.store.rollouts.read("m-1")), world.store.rollouts.read("m-1").entries)
    assert events == [one.event for one in found]
