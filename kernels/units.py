"""A set of 64-bit hashes with 32 marks for each: which of the marks that a record brings are new to its unit.

Open addressing in two arrays that the caller owns, at most half full. A unit whose second hash is above `limit` is passed over, and always
was, or its marks have been forgotten since: lowering the limit thins the set, and no unit is ever new twice.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.jit import kernel, part

__all__ = ["FIRST", "STAND_IN", "mark", "move"]

FIRST = np.uint32(1 << 31)  # what `mark` says of a unit that was not in the set
STAND_IN = np.uint64(0x5851F42D4C957F2D)  # 0 marks an empty place, so the unit 0 is taken for this one
_STREAM = np.uint64(0x3C6EF372FE94F82A)  # twice the golden ratio of 64 bits: neither the assignment nor the sample is by this hash


@part()
def _mixed(unit: Any) -> Any:
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    value = np.uint64(unit) + _STREAM
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))


@kernel("UniTuple(int64, 2)(uint64[::1], uint32[::1], uint64, uint64[::1], uint32[::1], uint32[::1])")
def mark(  # noqa: PLR0917 - numba takes no keywords
    units: np.ndarray, marks: np.ndarray, limit: int, keys: np.ndarray, kept: np.ndarray, fresh: np.ndarray
) -> tuple[int, int]:
    """Set the marks of units one after the other. Returns (units that were not in the set, records that were passed over).

    units, marks: [records]; bit 31 of marks is not the caller's. keys, kept: [power of two], the set. fresh: [records], written: the
    marks that are new, with `FIRST` for a new unit. The caller keeps room for `records` more.
    """
    mask = np.uint64(keys.shape[0] - 1)
    added = passed_over = 0
    for i in range(units.shape[0]):
        unit = units[i] if units[i] != np.uint64(0) else STAND_IN
        at = _mixed(unit)
        fresh[i] = np.uint32(0)
        if at > limit:
            passed_over += 1
            continue
        at &= mask
        while keys[at] != unit and keys[at] != np.uint64(0):
            at = (at + np.uint64(1)) & mask
        if keys[at] == unit:
            fresh[i] = marks[i] & ~kept[at]
        else:
            keys[at] = unit
            kept[at] = np.uint32(0)
            fresh[i] = marks[i] | FIRST
            added += 1
        kept[at] |= marks[i]
    return added, passed_over


@kernel("int64(uint64[::1], uint32[::1], uint64, uint64[::1], uint32[::1])")
def move(keys: np.ndarray, kept: np.ndarray, limit: int, new_keys: np.ndarray, new_kept: np.ndarray) -> int:
    """Bring the units within `limit` into another, empty set; returns how many they are. keys: [any], 0 for none."""
    mask = np.uint64(new_keys.shape[0] - 1)
    moved = 0
    for i in range(keys.shape[0]):
        if keys[i] == np.uint64(0):
            continue
        at = _mixed(keys[i])
        if at > limit:
            continue
        at &= mask
        while new_keys[at] != np.uint64(0):
            at = (at + np.uint64(1)) & mask
        new_keys[at], new_kept[at] = keys[i], kept[i]
        moved += 1
    return moved
