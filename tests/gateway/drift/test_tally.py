"""Every row is counted once, whatever process dies when."""

from __future__ import annotations

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.drift.layout import ROWS, layout_of
from gateway.drift.tally import Tally
from tests.gateway.drift.profiles import profile

LAYOUT = layout_of(profile(calibration=True), segments=2, rules=3)


class World:
    """Workers that add rows to blocks, a supervisor that gives them out, an evaluator that may die at any moment."""

    def __init__(self) -> None:
        self.run = self.serial = self.rows = 0
        self.blocks: dict[str, np.ndarray] = {}
        self.closing: set[str] = set()
        self.tally = Tally(LAYOUT)
        self.carried = 0  # rows of the document that was gone on from
        self.file = (0, self.tally.taken()[1])

    @property
    def counted(self) -> int:
        return self.carried + int(self.tally.total().head[ROWS])

    def open(self) -> None:
        self.serial += 1
        self.blocks[f"{self.run}-{self.serial}"] = np.zeros(LAYOUT.words, np.int64)

    def add(self, which: int, rows: int) -> None:
        names = [name for name in self.blocks if name not in self.closing]
        if names:
            views = LAYOUT.views(self.blocks[names[which % len(names)]])
            if not views.head[0]:
                views.begin(LAYOUT.checksum)
            views.head[ROWS] += rows
            views.counts[0][0, 0, 2] += rows
            views.sums[0][0, 0] += 0.5 * rows
            self.rows += rows

    def close(self, which: int) -> None:
        names = [name for name in self.blocks if name not in self.closing]
        if names:
            self.closing.add(names[which % len(names)])
            self.look(dies_before_it_tells=bool(which % 2))

    def look(self, *, dies_before_it_tells: bool = False) -> None:
        for name, block in self.blocks.items():
            if not self.tally.is_kept(name) and name not in self.tally.names:
                self.tally.open(name, [block])
        for name in list(self.blocks):
            if name in self.closing:
                if name in self.tally.names:
                    self.tally.close(name)
                self.save()
                if dies_before_it_tells:
                    self.kill()
                    return
                del self.blocks[name]
                self.closing.discard(name)

    def save(self) -> None:
        self.file = (self.counted, self.tally.taken()[1])

    def kill(self) -> None:
        """The evaluator alone: blocks live on."""
        self.carried, saved = self.file
        self.tally = Tally(LAYOUT, saved)

    def restart(self) -> None:
        """The whole server, in good order."""
        self.save()
        self.run += 1
        self.blocks.clear()
        self.closing.clear()
        self.kill()


@settings(max_examples=300)
@example([("open", 0), ("open", 0), ("open", 0), ("add", 8), ("close", 1), ("kill", 0)])
@given(st.lists(st.tuples(st.sampled_from(["open", "add", "close", "save", "kill", "restart"]), st.integers(0, 9)), max_size=60))
def test_every_row_counts_once(steps: list[tuple[str, int]]) -> None:
    """Blocks open and close, the evaluator dies alone, the server restarts, in any order."""
    world = World()
    for step, number in steps:
        match step:
            case "add":
                world.add(number, number + 1)
            case "close":
                world.close(number)
            case _:
                getattr(world, step)()
        world.look()
        total = world.tally.total()
        assert world.counted == world.rows
        assert int(total.head[ROWS]) == world.tally.rows() == int(total.counts[0].sum())
        assert total.sums[0][0, 0] == 0.5 * world.tally.rows()


def test_extremes_are_kept_and_not_added() -> None:
    """The least of all and the greatest; infinite where nobody saw a value."""
    tally = Tally(LAYOUT)
    for name, low, high in (("a", -3.0, 1.0), ("b", 0.0, 7.0)):
        block = np.zeros(LAYOUT.words, np.int64)
        views = LAYOUT.views(block)
        views.begin(LAYOUT.checksum)
        views.extremes[0][:, 0] = low, high
        tally.open(name, [block])
    tally.close("a")
    assert tally.total().extremes[0][:, 0].tolist() == [-3.0, 7.0]
    assert tally.total().extremes[0][:, 1].tolist() == [np.inf, -np.inf]


def test_a_block_that_nobody_has_begun_adds_nothing() -> None:
    """What lies there is of somebody else."""
    tally = Tally(LAYOUT)
    block = np.zeros(LAYOUT.words, np.int64)
    block[ROWS] = 5
    tally.open("a", [block])
    assert tally.total().head[ROWS] == 0
    assert tally.regions() == []


def test_what_was_saved_of_other_bins_is_not_taken_for_these() -> None:
    """Names are the same, words are not."""
    tally = Tally(layout_of(profile(features=3)))
    tally.open("a", [np.zeros(tally.layout.words, np.int64)])
    other = Tally(LAYOUT, tally.taken()[1])
    other.open("a", [np.zeros(LAYOUT.words, np.int64)])
    assert other.rows() == 0
