"""Two servers, one registry: whenever one stands still in the middle of a write, and for however long, only one of them has decided."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pytest

from gateway.rollout.machine import Event
from registry.store import Store
from registry.verify import damages, verify
from tests.gateway.rollout.faulty import Watched
from tests.gateway.rollout.rolled import BY_ANN, Clock, plan, registry
from tests.gateway.rollout.test_controller_crashes import EXPECTED, STEPS, crashed, failed, promoted, told
from tests.gateway.rollout.world import Said, World

EXPIRED_S = 20.0  # past the end of a claim
Story = Callable[[World], None]


class Pair:
    """Two servers with one clock and one view of the traffic. The first stands still before its write `write`."""

    def __init__(self, root: Path, write: int | None, meanwhile: Callable[[Pair], None]) -> None:
        clock, said = Clock(), Said()
        self.medium = Watched(root, self._hook)
        self.first = World(Store.on(self.medium), clock=clock, said=said)
        self.second = World(Store.on(Watched(root)), clock=clock, said=said, holder="server-2")
        self._write = write
        self._meanwhile = meanwhile

    def _hook(self, write: int, done: bool) -> None:
        if write == self._write and not done:
            self._write = None
            self._meanwhile(self)

    def over(self) -> bool:
        return self.second.tip.journal.final

    def began(self) -> bool:
        return bool(self.second.tip.journal.links)

    def turn(self, world: World, story: Story, seconds: float) -> None:
        """One server looks, if there is still something to look at."""
        if not self.over():
            story(world)
            world.tick(seconds)

    def play(self, story: Story) -> None:
        """To the end, both in turn."""
        self.first.operations.apply(plan(*STEPS), actor="ann", operation_id="apply-1")
        turns = 0
        while not self.over():
            for world in (self.first, self.second):
                self.turn(world, story, 5.0)
            turns += 1
            assert turns < 60
        assert [] == damages(verify(self.first.store))


def check_words(world: World) -> None:
    """Whoever decides has said so before, and the one before says nothing that counts after that."""
    newest = 1
    for entry in world.operations.history("m").entries:
        if entry.counts and entry.token:
            assert entry.token == newest or (entry.token > newest and entry.event == Event.LEAD.value)
            newest = entry.token


@pytest.mark.parametrize(("story", "looks"), [(failed, 1), (crashed, 1), (crashed, 40)], ids=["failed", "crashed", "to-the-end"])
def test_the_other_takes_over_in_the_middle_of_any_write(memory_path: Path, story: Story, looks: int) -> None:
    """It looks once, or goes on to the end, before the first one wakes up with everything that it had read long ago."""
    registry(memory_path / "fresh")

    def meanwhile(pair: Pair) -> None:
        pair.first.clock.now_s += EXPIRED_S
        for _ in range(looks):
            if pair.began():
                pair.turn(pair.second, story, 5.0)

    copytree(memory_path / "fresh", memory_path / "undisturbed")
    undisturbed = Pair(memory_path / "undisturbed", None, meanwhile)
    undisturbed.play(story)
    assert EXPECTED[story] == told(undisturbed.first)
    for write in range(undisturbed.medium.writes):
        root = memory_path / f"at-{write}"
        copytree(memory_path / "fresh", root)
        pair = Pair(root, write, meanwhile)
        pair.play(story)
        found = told(pair.second)
        assert (EXPECTED[story].phase, EXPECTED[story].moves, EXPECTED[story].rejected) == (found.phase, found.moves, found.rejected), write
        assert EXPECTED[story].events == found.events, write
        check_words(pair.second)


def test_who_wakes_up_after_an_abort_moves_nothing(memory_path: Path) -> None:
    """Wherever it stood still while the alias was to be moved: what was aborted meanwhile stays where it was."""
    registry(memory_path / "fresh")

    def meanwhile(pair: Pair) -> None:
        pair.first.clock.now_s += EXPIRED_S
        if pair.began() and not pair.over():
            pair.second.operations.abort("m", operation_id="a-1", **BY_ANN)
            for _ in range(3):
                pair.turn(pair.second, promoted, 1.0)

    copytree(memory_path / "fresh", memory_path / "undisturbed")
    undisturbed = Pair(memory_path / "undisturbed", None, meanwhile)
    undisturbed.play(promoted)
    ends = set()
    for write in range(undisturbed.medium.writes):
        root = memory_path / f"at-{write}"
        copytree(memory_path / "fresh", root)
        pair = Pair(root, write, meanwhile)
        pair.play(promoted)
        found = told(pair.second)
        ends.add((found.phase, found.moves))
        assert found.champion == (2 if found.phase == "succeeded" else 1), write
        assert () == found.holds
    assert {
        ("aborted", ((None, 1),)),
        ("aborted", ((None, 1), (1, 2), (2, 1))),
        ("succeeded", ((None, 1), (1, 2))),
    } >= ends
    assert ("aborted", ((None, 1),)) in ends
