"""What was counted lately: 60 windows of a minute and 24 of an hour, as differences of cumulative counts. Pure: is told the time.

Only windows in which something was counted are kept, so a version that nobody asks costs nothing. Counts are int32 there, sums float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gateway.drift.layout import HEAD_WORDS, SUMS, Layout

MINUTES, HOURS = 60, 24
MINUTE_S, HOUR_S = 60, 3600

Window = tuple[np.ndarray, np.ndarray]  # int32 [integer words], float64 [words of sums]


class Parts:
    """Which words of a block are integers and which are sums; extremes are neither: they have no differences."""

    def __init__(self, layout: Layout) -> None:
        kinds = np.zeros(layout.words, np.int8)
        kinds[:1] = 2
        for group in layout.groups:
            width = len(group.features)
            kinds[group.sums : group.sums + len(SUMS) * width] = 1
            kinds[group.extremes : group.extremes + 2 * width] = 2
        self.words = layout.words
        self.integers, self.sums = np.flatnonzero(kinds == 0), np.flatnonzero(kinds == 1)

    def difference(self, later: np.ndarray, earlier: np.ndarray) -> Window:
        """Of two cumulative blocks, int64 [words]."""
        counts = (later[self.integers] - earlier[self.integers]).astype(np.int32)
        return counts, later.view(np.float64)[self.sums] - earlier.view(np.float64)[self.sums]

    def subtract(self, block: np.ndarray, window: Window) -> None:
        """Take a window out of a block, in place."""
        block[self.integers] -= window[0]
        block.view(np.float64)[self.sums] -= window[1]

    def between(self, later: np.ndarray, earlier: np.ndarray) -> np.ndarray:
        """The difference as a block of its own, int64 [words], with 0 for checksum and extremes."""
        block = np.zeros(self.words, np.int64)
        block[self.integers] = later[self.integers] - earlier[self.integers]
        block.view(np.float64)[self.sums] = later.view(np.float64)[self.sums] - earlier.view(np.float64)[self.sums]
        return block


class Ring:
    """The last windows of one length. `base`: the cumulative block where the open one began."""

    def __init__(self, length_s: int, size: int, block: np.ndarray, number: int) -> None:
        self.length_s, self.size = length_s, size
        self.base, self.number = block.copy(), number  # of the open window; windows are numbered from the epoch
        self.windows: dict[int, Window] = {}  # that are closed, by number, oldest first

    def advance(self, parts: Parts, seen: np.ndarray, wall_s: float) -> bool:
        """Close the window if its time is over; `seen` is the block as it was known last. A clock that goes back leaves it open."""
        number = int(wall_s // self.length_s)
        if number <= self.number:
            return False
        if (seen[1:HEAD_WORDS] != self.base[1:HEAD_WORDS]).any():
            self.windows[self.number] = parts.difference(seen, self.base)
            self.base = seen.copy()
        self.number = number
        for old in [old for old in self.windows if old < number - self.size]:
            del self.windows[old]
        return True

    def begin(self, parts: Parts, count: int) -> np.ndarray:
        """The cumulative block as it was when the last `count` closed windows began."""
        block = self.base.copy()
        for number, window in self.windows.items():
            if number >= self.number - count:
                parts.subtract(block, window)
        return block


class Rings:
    """Minutes and hours of one version. `advance` before every look at a new cumulative block, which never falls."""

    def __init__(self, layout: Layout, block: np.ndarray, wall_s: float) -> None:
        self.parts = Parts(layout)
        self.seen = block.copy()
        self.minutes = Ring(MINUTE_S, MINUTES, block, int(wall_s // MINUTE_S))
        self.hours = Ring(HOUR_S, HOURS, block, int(wall_s // HOUR_S))
        self._begins: dict[tuple[int, int], np.ndarray] = {}  # until a window closes

    def advance(self, block: np.ndarray, wall_s: float) -> None:
        """Close what is over and remember the block. What was counted since the last look belongs to the window of this one."""
        for ring in (self.minutes, self.hours):
            if ring.advance(self.parts, self.seen, wall_s):
                self._begins.clear()
        self.seen[:] = block

    def recent(self, minutes: int) -> np.ndarray:
        """What was counted in the open minute and so many before it: a block of differences, int64 [words]."""
        return self._since(self.minutes, minutes)

    def day(self) -> np.ndarray:
        """The same for the open hour and the 24 before it."""
        return self._since(self.hours, HOURS)

    def before(self, minutes: int) -> np.ndarray:
        """The cumulative block where `recent(minutes)` begins; not to be written to."""
        return self._begin(self.minutes, minutes)

    def each_hour(self) -> Iterator[tuple[int, np.ndarray]]:
        """(its begin in seconds since the epoch, integer counts as a block) of every closed hour that had rows, oldest first."""
        for number, (counts, sums) in self.hours.windows.items():
            block = np.zeros(self.parts.words, np.int64)
            block[self.parts.integers] = counts
            block.view(np.float64)[self.parts.sums] = sums
            yield number * HOUR_S, block

    def _since(self, ring: Ring, count: int) -> np.ndarray:
        return self.parts.between(self.seen, self._begin(ring, count))

    def _begin(self, ring: Ring, count: int) -> np.ndarray:
        key = (ring.length_s, count)
        if key not in self._begins:
            self._begins[key] = ring.begin(self.parts, count)
        return self._begins[key]
