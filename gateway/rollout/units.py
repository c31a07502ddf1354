"""Which units have been counted, for what: a set of hashes of bounded size, in which no unit is ever new twice.

Once it is full, it is thinned: from then on only units count whose second hash is below a limit, which is halved whenever that is not
enough. The limit is the same for all arms, so what is lost of one is lost of all, and shares and evidence stay right.
"""

from __future__ import annotations

import numpy as np

from kernels import units as kernel

MOST = 1 << 20  # units, of 24 bytes each
FIRST = kernel.FIRST
_SLOTS = 1 << 10  # of a new set
_EVERYBODY = (1 << 64) - 1


class Units:
    """Marks of units. `FIRST` is not for the caller to set."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self.limit, self.count = _EVERYBODY, 0
        self.passed_over = 0  # records of units beyond the limit
        self._keys, self._marks = np.zeros(_SLOTS, np.uint64), np.zeros(_SLOTS, np.uint32)

    @property
    def share(self) -> float:
        """Of all units, those that count from now on."""
        return (self.limit + 1) / (_EVERYBODY + 1)

    def mark(self, units: np.ndarray, marks: np.ndarray) -> np.ndarray:
        """Which marks of each record are new to its unit, uint32 [n], with `FIRST` for a new unit. units: uint64 [n]; marks: uint32 [n]."""
        fresh = np.empty(len(units), np.uint32)
        step = max(self._most // 8, 1)  # so that a full set is not emptied for one batch
        for start in range(0, len(units), step):
            part = slice(start, start + step)
            self._make_room(len(units[part]))
            added, passed_over = kernel.mark(units[part], marks[part], self.limit, self._keys, self._marks, fresh[part])
            self.count += added
            self.passed_over += passed_over
        return fresh

    def forget(self, marks: int) -> None:
        """Take these marks from all units."""
        self._marks &= np.uint32(~marks & 0xFFFFFFFF)

    def taken(self) -> tuple[bytes, bytes]:
        """Hashes and marks, little-endian, in any order."""
        kept = self._keys != 0
        return self._keys[kept].astype("<u8").tobytes(), self._marks[kept].astype("<u4").tobytes()

    def put(self, keys: bytes, marks: bytes, limit: int, passed_over: int) -> None:
        """Become the set that was taken. Raises `ValueError` for one that none can be."""
        units, kept = np.frombuffer(keys, "<u8").astype(np.uint64), np.frombuffer(marks, "<u4").astype(np.uint32)
        if len(units) != len(kept) or not 0 <= limit <= _EVERYBODY or len(np.unique(units)) != len(units) or not units.all():
            raise ValueError(f"{len(units)} units with {len(kept)} marks are no set")
        self.limit, self.passed_over = limit, passed_over
        self._lay(units, kept, _slots(len(units)))

    def _make_room(self, more: int) -> None:
        while self.count and self.count + more > self._most:
            self.limit //= 2
            self._lay(self._keys, self._marks, len(self._keys))
        if 2 * (self.count + more) > len(self._keys):
            self._lay(self._keys, self._marks, _slots(self.count + more))

    def _lay(self, keys: np.ndarray, marks: np.ndarray, slots: int) -> None:
        new_keys, new_marks = np.zeros(slots, np.uint64), np.zeros(slots, np.uint32)
        self.count = kernel.move(keys, marks, self.limit, new_keys, new_marks)
        self._keys, self._marks = new_keys, new_marks


def _slots(count: int) -> int:
    """A power of two, at least twice as many."""
    return max(_SLOTS, 1 << (2 * count).bit_length())
