"""What workers have counted of one version since its evaluation was taken up: in blocks that are added to, and in those that are gone.

A block must count once, whatever dies in between. Blocks have names that are never used again. What is saved says how much of each open
block is in the document that is saved with it: who goes on from there counts only what came later. A block that is gone by then is in the
document as it was; one that was closed is known by its name, in case that it has not been given back yet.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import msgspec
import numpy as np

from gateway.drift.layout import CHECKSUM, ROWS, Layout, Views

_CLOSED_MAX = 256  # names that are remembered


class SavedTally(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a file, beside everything that was counted until then. Words are little-endian int64."""

    checksum: int = 0  # of the layout
    open: dict[str, bytes] = {}
    closed: tuple[str, ...] = ()


class Tally:
    """The counts of one layout, of which `saved` says what is counted elsewhere."""

    def __init__(self, layout: Layout, saved: SavedTally | None = None) -> None:
        self.layout = layout
        saved = saved or SavedTally()
        self._kept = self._empty()
        self._open: dict[str, list[Views]] = {}
        self._counted: dict[str, Views] = {}  # of blocks: what is in the document that was gone on from
        self._before: Mapping[str, bytes] = saved.open if saved.checksum == layout.checksum else {}
        self._closed = [*saved.closed]

    def open(self, name: str, blocks: Sequence[np.ndarray]) -> None:
        """A block, in every region: int64 [words] each."""
        self._open[name] = [self.layout.views(block) for block in blocks]
        if name in self._before:
            self._counted[name] = self._of_bytes(self._before[name])

    def is_kept(self, name: str) -> bool:
        """Whether what a block held is counted already: then it must not be opened again."""
        return name in self._closed

    def close(self, name: str) -> None:
        """Nobody adds to a block any more: keep what it held."""
        self._add(self._kept, name)
        del self._open[name]
        self._counted.pop(name, None)
        self._closed = [*self._closed, name][-_CLOSED_MAX:]

    @property
    def names(self) -> Collection[str]:
        """Of the open blocks."""
        return self._open.keys()

    def rows(self) -> int:
        """Without a copy of anything."""
        held = sum(int(views.head[ROWS]) for blocks in self._open.values() for views in blocks)
        return int(self._kept.head[ROWS]) + held - sum(int(views.head[ROWS]) for views in self._counted.values())

    def broken(self) -> int:
        """Values that broke rules, and rows that did: together, as a sign that there are more."""
        return sum(int(views.rules.sum()) for blocks in self._open.values() for views in blocks)

    def total(self) -> Views:
        """Everything, in memory of its own."""
        total = self._empty()
        total.add(self._kept)
        for name in self._open:
            self._add(total, name)
        return total

    def regions(self) -> list[Views]:
        """Every place of every open block that somebody has begun."""
        return [views for blocks in self._open.values() for views in blocks if views.head[CHECKSUM] == self.layout.checksum]

    def taken(self) -> tuple[Views, SavedTally]:
        """Everything, and what to save with a document that counts just that: both of one moment, while others add to the blocks.

        Every block that there is must be open: who goes on from what is saved takes others for ones that nobody has counted."""
        total, held = self._empty(), {}
        total.add(self._kept)
        for name, blocks in self._open.items():
            now = self._sum(blocks)
            held[name] = now.block.tobytes()
            total.add(now)
            if name in self._counted:
                total.subtract(self._counted[name])
        return total, SavedTally(checksum=self.layout.checksum, open=held, closed=tuple(self._closed))

    def _add(self, total: Views, name: str) -> None:
        for views in self._open[name]:
            total.add(views)
        if name in self._counted:
            total.subtract(self._counted[name])

    def _sum(self, blocks: Sequence[Views]) -> Views:
        total = self._empty()
        for views in blocks:
            total.add(views)
        return total

    def _of_bytes(self, content: bytes) -> Views:
        """Raises `ValueError` for the words of another layout."""
        views = self._empty()
        views.block[:] = np.frombuffer(content, np.int64)
        return views

    def _empty(self) -> Views:
        views = self.layout.views(np.zeros(self.layout.words, np.int64))
        views.begin(self.layout.checksum)
        return views
