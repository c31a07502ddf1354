"""Everything that was ever counted, by name: what live workers hold in their regions, and what was kept of those that are gone.

Lives in the supervisor, on its one thread. Gives out the slots; bounds how many names there are, and so the series of the page: past
that, counts go on in the row `_overflow`, and `Totals.overflow` says how many versions that happened to.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from gateway.limits import ObserveLimits
from gateway.observe.arena import COUNTERS, Arena, Region
from gateway.observe.ledger import Tallies
from gateway.observe.slabs import BINS, INTS, REQUESTS, ROWS_EDGES, SHADOW, SLAB_WORDS, SUMS, Slab, merge_sums

Key = tuple[str, str]  # model, version

UNKNOWN: Key = ("_unknown", "")  # requests that name no version that serves
OVERFLOW: Key = ("_overflow", "")  # versions without a row of their own
UNKNOWN_SLOT, OVERFLOW_SLOT = 0, 1
_SUMS = slice(INTS, INTS + len(SUMS))
REASONS = ("slots", "series")  # why a version counts in `OVERFLOW`
# Of one version, at most: three histograms of durations, one of rows, every protocol with every code, whether it is loaded, its state,
# and what became of requests whose shadow it was.
SERIES_PER_VERSION = 3 * (BINS + 2) + len(ROWS_EDGES) + 3 + REQUESTS + 2 + len(SHADOW)


class Slots:
    """Which version counts in which slot. Pure."""

    def __init__(self, slots: int) -> None:
        self.own: dict[Key, int] = {UNKNOWN: UNKNOWN_SLOT, OVERFLOW: OVERFLOW_SLOT}
        self.shared: set[Key] = set()  # versions that count in `OVERFLOW_SLOT`
        self.used = 2  # slots below were given out at some time
        self._slots = slots
        self._free: list[int] = []

    def find(self, key: Key) -> int | None:
        """The slot that `key` has."""
        return OVERFLOW_SLOT if key in self.shared else self.own.get(key)

    def give(self, key: Key) -> int | None:
        """The lowest free slot, or None."""
        if self._free:
            slot = heapq.heappop(self._free)
        elif self.used < self._slots:
            slot, self.used = self.used, self.used + 1
        else:
            return None
        self.own[key] = slot
        return slot

    def take_back(self, key: Key) -> int:
        """The slot that `key` had for itself, which is free from now on. The caller keeps what was counted there."""
        slot = self.own.pop(key)
        heapq.heappush(self._free, slot)
        return slot


class Row:
    """What was kept under a name. `shown`: the sums that somebody saw, because additions in another order may give a little less."""

    __slots__ = ("kept", "shown", "words")

    def __init__(self) -> None:
        self.words = np.zeros(SLAB_WORDS, np.int64)
        self.kept = Slab(self.words)
        self.shown = np.zeros(len(SUMS))


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows at one moment: `words` int64 [rows, SLAB_WORDS], laid out as `Slab`."""

    keys: tuple[Key, ...]
    words: np.ndarray

    def items(self) -> Iterator[tuple[Key, Slab]]:
        """Rows by name, oldest first."""
        return ((key, Slab(words)) for key, words in zip(self.keys, self.words, strict=True))


class Totals:
    """Rows by (model, version). `generation` changes with the set of rows. `counters` are those of all regions that were folded."""

    def __init__(self, arena: Arena, limits: ObserveLimits, *, series: int = SERIES_PER_VERSION) -> None:
        """`series`: of a version on the page, which the limits bound."""
        self.generation = 0
        self.overflow = dict.fromkeys(REASONS, 0)
        self._arena = arena
        self._slots = Slots(arena.slots)
        self._rows = {UNKNOWN: Row(), OVERFLOW: Row()}
        self._versions: Counter[str] = Counter()  # rows by model
        self._counters = dict.fromkeys(COUNTERS, 0)
        self.tenants = Tallies(region.ledger for region in self._regions())
        self._max_rows = limits.max_series // series
        self._max_versions = limits.max_series_per_model // series

    # --- slots -----------------------------------------------------------------------------------------------------------------

    def open(self, key: Key) -> int:
        """The slot that a version counts in until `close`; the same for every call between. A name that was there goes on counting."""
        slot = self._slots.find(key)
        if slot is not None:
            return slot
        if not self._has_room(key):
            return self._share(key, "series")
        slot = self._slots.give(key)
        if slot is None:
            return self._share(key, "slots")
        self._take(slot, OVERFLOW)  # what a worker wrote after `close`
        self._row(key)
        return slot

    def close(self, key: Key) -> None:
        """The version is gone from all workers: keep its totals, free its slot. Does nothing for a version that is not open."""
        if key in self._slots.shared:
            self._slots.shared.remove(key)
        elif key in self._slots.own and key not in (UNKNOWN, OVERFLOW):
            self._take(self._slots.take_back(key), key)

    def _share(self, key: Key, reason: str) -> int:
        self.overflow[reason] += 1
        self._slots.shared.add(key)
        return OVERFLOW_SLOT

    def _take(self, slot: int, key: Key) -> None:
        """Move what all workers counted in a slot to a row."""
        for region in self._regions():
            words = region.slabs[slot]
            if words.any():
                self._row(key).kept.add(Slab(words))
                words[:] = 0

    # --- rows ------------------------------------------------------------------------------------------------------------------

    def fold(self, worker: int) -> None:
        """Keep what a dead worker counted, and empty its region: a second call adds nothing."""
        region = self._arena.region(worker)
        words = region.slabs[: self._slots.used].copy()
        counters = {name: region[name] for name in COUNTERS}
        self.tenants.keep(worker)
        region.clear()
        names = {slot: key for key, slot in self._slots.own.items()}
        for slot in np.flatnonzero(words.any(axis=1)).tolist():
            self._row(names.get(slot, OVERFLOW)).kept.add(Slab(words[slot]))
        for name, count in counters.items():
            self._counters[name] += count

    def restore(self, rows: Iterable[tuple[Key, Slab]], *, overflow: dict[str, int], counters: dict[str, int]) -> None:
        """Go on from what was saved."""
        for reason in REASONS:
            self.overflow[reason] += overflow.get(reason, 0)
        for name in COUNTERS:
            self._counters[name] += counters.get(name, 0)
        for key, slab in rows:
            if self._has_room(key):
                self._row(key).kept.add(slab)
            else:
                self.overflow["series"] += 1
                self._row(OVERFLOW).kept.add(slab)

    def snapshot(self) -> Snapshot:
        """What is counted until now. No number of a row is smaller than in an earlier one."""
        every = list(self._rows.values())
        words = np.array([row.words for row in every])
        sums = words[:, _SUMS].view(np.float64)
        own = self._slots.own
        rows, slots = np.array([(index, own[key]) for index, key in enumerate(self._rows) if key in own]).T
        for region in self._regions():
            found = region.slabs[slots]
            words[rows, :INTS] += found[:, :INTS]
            merged = sums[rows]
            merge_sums(merged, found[:, _SUMS].view(np.float64))
            sums[rows] = merged
        np.maximum(sums, [row.shown for row in every], out=sums)
        for row, shown in zip(every, sums.copy(), strict=True):
            row.shown = shown
        return Snapshot(tuple(self._rows), words)

    def counters(self) -> dict[str, int]:
        """The counters of regions, of all workers that there ever were."""
        return {name: kept + sum(region[name] for region in self._regions()) for name, kept in self._counters.items()}

    def gauge(self, name: str) -> float:
        """A gauge of regions, summed over all workers."""
        return sum(region[name] for region in self._regions())

    def _regions(self) -> Iterator[Region]:
        return (self._arena.region(worker) for worker in range(self._arena.workers))

    def _row(self, key: Key) -> Row:
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = Row()
            self._versions[key[0]] += 1
            self.generation += 1
        return row

    def _has_room(self, key: Key) -> bool:
        """Whether `key` has a row or may have one; rows of versions that are unloaded give way, the oldest first."""
        if key in self._rows:
            return True
        if self._versions[key[0]] >= self._max_versions and not self._retire(key[0]):
            return False
        return len(self._rows) < self._max_rows or self._retire(None)

    def _retire(self, model: str | None) -> bool:
        """Count a version that is unloaded among `OVERFLOW` from now on. False where all versions (of `model`) are loaded."""
        for key in self._rows:
            if model in (None, key[0]) and self._slots.find(key) is None:
                break
        else:
            return False
        self._rows[OVERFLOW].kept.add(self._rows.pop(key).kept)
        self._versions -= Counter([key[0]])  # without names whose last row is gone
        self.overflow["series"] += 1
        self.generation += 1
        return True
