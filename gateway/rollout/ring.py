"""What workers tell the controller of single requests: a ring of records for each worker, in one anonymous memory file.

Each worker writes its own ring and nobody else's; the controller reads all and never keeps a writer waiting. A reader that is too late has
lost the oldest records, of all arms alike, and is told how many. Beside the records stand counts of all requests by slot and arm, which
nothing is ever taken from. Sparse: what was never written costs no memory.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from gateway.observe import shared_memory
from gateway.rollout.records import RECORD

CAPACITY = 1 << 16  # records of one worker: a second at 65,000 a second
SLOTS, ARMS = 16, 8

_FORMAT = 1
_MAGIC = int.from_bytes(b"tiderngs", "little")
_COUNTS = ("assigned", "answered", "failed", "fell_back")
_WRITTEN, _COUNTERS = 0, 8  # words of a ring's head
_HEAD_BYTES = mmap.PAGESIZE * (1 + (8 * (_COUNTERS + len(_COUNTS) * SLOTS * ARMS) - 1) // mmap.PAGESIZE)
_BYTES = _HEAD_BYTES + -(-CAPACITY * RECORD.itemsize // mmap.PAGESIZE) * mmap.PAGESIZE


class RingsError(Exception):
    """A descriptor that is no file of rings of this program; the text says why."""


class Ring:
    """The ring of one worker, as its writer sees it."""

    def __init__(self, memory: mmap.mmap, start: int) -> None:
        self._words = memoryview(memory)[start : start + _HEAD_BYTES].cast("q")
        self._records = np.frombuffer(memory, RECORD, CAPACITY, start + _HEAD_BYTES)
        words = SLOTS * ARMS
        self._counts = [self._words[_COUNTERS + index * words :][:words] for index in range(len(_COUNTS))]
        self.assigned, self.answered, self.failed, self.fell_back = self._counts  # int64 [SLOTS · ARMS]

    @property
    def written(self) -> int:
        """Records since the ring was made."""
        return self._words[_WRITTEN]

    def append(self, records: np.ndarray) -> None:
        """Add records [n] of `RECORD`. They can be read once all of them are there."""
        records = records[-CAPACITY:]
        count, before = len(records), self._words[_WRITTEN]
        at = before % CAPACITY
        first = min(count, CAPACITY - at)
        self._records[at : at + first] = records[:first]
        self._records[: count - first] = records[first:]
        self._words[_WRITTEN] = before + count

    def read(self, since: int) -> tuple[np.ndarray, int, int]:
        """The records after the first `since`, how many there are in all, and how many of them were lost to a late reader."""
        written = self.written
        start = max(min(since, written), written - CAPACITY)
        taken = self._records[np.arange(start, written) % CAPACITY]
        torn = max(self.written - CAPACITY - start, 0)  # written over while they were read
        return taken[torn:], written, start - min(since, written) + min(torn, len(taken))

    def counts(self) -> dict[str, np.ndarray]:
        """Requests since the ring was made by name, int64 [SLOTS, ARMS]."""
        return {name: np.array(words).reshape(SLOTS, ARMS) for name, words in zip(_COUNTS, self._counts, strict=True)}


class Rings:
    """The rings of all workers. `fd` is for passing on, and for `attach` there."""

    def __init__(self, fd: int, memory: mmap.mmap, workers: int) -> None:
        self.fd = fd
        self._rings = [Ring(memory, mmap.PAGESIZE + index * _BYTES) for index in range(workers)]

    @classmethod
    def create(cls, workers: int) -> Rings:
        """New ones. Raises `OSError`."""
        fd, memory = shared_memory.create("tidegate-rings", mmap.PAGESIZE + workers * _BYTES)
        np.frombuffer(memory, np.int64, 4)[:] = _MAGIC, _FORMAT, workers, RECORD.itemsize
        return cls(fd, memory, workers)

    @classmethod
    def attach(cls, fd: int) -> Rings:
        """The rings behind an inherited descriptor, which it takes over. Raises `RingsError`."""
        memory = shared_memory.attach(fd, RingsError, "holds no rings")
        magic, number, workers, size = np.frombuffer(memory, np.int64, 4).tolist()
        if (magic, number, size) != (_MAGIC, _FORMAT, RECORD.itemsize) or len(memory) != mmap.PAGESIZE + workers * _BYTES:
            raise RingsError(f"descriptor {fd} holds no rings of this program")
        return cls(fd, memory, workers)

    def __len__(self) -> int:
        return len(self._rings)

    def ring(self, worker: int) -> Ring:
        """Of the worker at this place. One that takes a dead one's place goes on where that stopped."""
        return self._rings[worker]

    def close(self) -> None:
        """Close the descriptor. The memory lives as long as somebody has it mapped."""
        os.close(self.fd)
