"""Shared memory that workers count into: one anonymous file, a fixed layout, offsets only.

A header, then one region per worker; a region is a page of gauges and counters, the ledger of tenants, then one slab per slot. Each worker
writes its own region and nobody else's; the supervisor reads all, and empties the region of a worker that is dead; workers read each
other's ledgers. What was never touched costs no memory.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from gateway.observe import shared_memory
from gateway.observe.ledger import LEDGER_WORDS
from gateway.observe.slabs import LAYOUT, SLAB_WORDS, Slab

FORMAT = 2  # of this layout; another number or another LAYOUT is another program
MAX_WORKERS, MAX_SLOTS = 1_024, 1 << 20

_MAGIC = int.from_bytes(b"tidegate", "little")
_PAGE_WORDS = mmap.PAGESIZE // 8
_LEDGER_WORDS = -(-LEDGER_WORDS // _PAGE_WORDS) * _PAGE_WORDS
_HEAD_WORDS = _PAGE_WORDS + _LEDGER_WORDS  # before the slabs

# What a worker says of itself in the first words of its region. Gauges end with the worker, counters are kept.
GAUGES = ("pid", "connections", "inflight_requests", "inflight_bytes")
COUNTERS = ("refused_connections", "unauthenticated", "permission_denied")
_WORDS = {name: word for word, name in enumerate((*GAUGES, *COUNTERS))}


class ArenaError(Exception):
    """A descriptor that is no arena of this program; the text says why."""


class Region:
    """What one worker writes: gauges and counters by name, `ledger`, int64 [LEDGER_WORDS], and `slabs`, int64 [slots, SLAB_WORDS]."""

    def __init__(self, memory: mmap.mmap, start: int, size: int, slots: int) -> None:
        self._memory, self._start, self._size = memory, start, size
        words = np.frombuffer(memory, np.int64, _HEAD_WORDS + slots * SLAB_WORDS, start)
        self._words = words[:_PAGE_WORDS]
        at = start + mmap.PAGESIZE
        self.ledger = memoryview(memory)[at : at + 8 * LEDGER_WORDS].cast("q")
        self.slabs = words[_HEAD_WORDS:].reshape(slots, SLAB_WORDS)

    def slab(self, slot: int) -> Slab:
        """The counters of one slot, in place."""
        return Slab(self.slabs[slot])

    def __getitem__(self, name: str) -> int:
        """A gauge or counter. Raises `KeyError` for another name."""
        return int(self._words[_WORDS[name]])

    def __setitem__(self, name: str, value: int) -> None:
        """Set a gauge or counter. Raises `KeyError` for another name."""
        self._words[_WORDS[name]] = value

    def clear(self) -> None:
        """Everything is 0 and its memory given back. For a worker that is dead: what a live one adds at this moment is lost."""
        self._memory.madvise(mmap.MADV_REMOVE, self._start, self._size)


class Arena:
    """The regions of all workers. `fd` is for passing on to them, and for `attach` there."""

    def __init__(self, fd: int, memory: mmap.mmap, *, workers: int, slots: int) -> None:
        self.fd, self.workers, self.slots = fd, workers, slots
        size = _region_bytes(slots)
        self._regions = [Region(memory, mmap.PAGESIZE + index * size, size, slots) for index in range(workers)]

    @classmethod
    def create(cls, *, workers: int, slots: int) -> Arena:
        """A new one, all 0. `slots` includes those for what is unknown and what is over. Raises `OSError`."""
        if not (1 <= workers <= MAX_WORKERS and 2 <= slots <= MAX_SLOTS):
            raise ArenaError(f"an arena has 1 to {MAX_WORKERS} workers and 2 to {MAX_SLOTS} slots, not {workers} and {slots}")
        fd, memory = shared_memory.create("tidegate-arena", _size(workers, slots))
        np.frombuffer(memory, np.int64, 5)[:] = _MAGIC, FORMAT, LAYOUT, workers, slots
        return cls(fd, memory, workers=workers, slots=slots)

    @classmethod
    def attach(cls, fd: int) -> Arena:
        """The arena behind an inherited descriptor, which it takes over. Raises `ArenaError`."""
        memory = shared_memory.attach(fd, ArenaError, "is no arena")
        magic, number, layout, workers, slots = np.frombuffer(memory, np.int64, 5).tolist()
        if magic != _MAGIC:
            raise ArenaError(f"descriptor {fd} is no arena")
        if (number, layout) != (FORMAT, LAYOUT):
            raise ArenaError(f"the arena has format {number} and layout {layout:#x}, this program {FORMAT} and {LAYOUT:#x}")
        if not (1 <= workers <= MAX_WORKERS and 2 <= slots <= MAX_SLOTS and len(memory) == _size(workers, slots)):
            raise ArenaError(f"the arena says {workers} workers and {slots} slots, which are not {len(memory)} bytes")
        return cls(fd, memory, workers=workers, slots=slots)

    def region(self, worker: int) -> Region:
        """The region of the worker with this index."""
        return self._regions[worker]

    def close(self) -> None:
        """Close the descriptor. The memory lives as long as somebody has it mapped."""
        os.close(self.fd)


def _region_bytes(slots: int) -> int:
    return -(-(_HEAD_WORDS + slots * SLAB_WORDS) // _PAGE_WORDS) * mmap.PAGESIZE


def _size(workers: int, slots: int) -> int:
    return mmap.PAGESIZE + workers * _region_bytes(slots)
