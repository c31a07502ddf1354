"""Two answers to the same batch, row by row: do they agree, how far are they apart, is one of them no answer, which class do they name.

Accumulates over the outputs of a batch: what one output says of a row is added to what the others said. Numbers are looked at in pieces of
a few rows; where all of them are finite, what is left to do has no branch in it, and the compiler makes vector instructions of it.
"""

from __future__ import annotations

import numpy as np

from kernels.jit import kernel, part

__all__ = ["BAD", "DIFFERS", "OTHER_BAD", "compare", "compare_integers", "largest"]

DIFFERS, BAD, OTHER_BAD = 1, 2, 4  # of a row: beyond the tolerance; NaN or an infinity in the one answer, and in the other
_PIECE = 512  # values: with their distances they fit the first cache

_FLOATS = [
    f"void(Array({kind}, 2, 'C', readonly=True), Array({kind}, 2, 'C', readonly=True), float64, float64, uint8[::1], float64[::1])"
    for kind in ("float32", "float64")
]


@part()
def _distance(value: float, other: float) -> float:
    """Between NaN and NaN, or an infinity and itself, 0; else infinite where one of them is not finite."""
    if value == other or (value != value and other != other):  # noqa: PLR0124 - only NaN differs from itself
        return 0.0
    far = abs(value - other)
    return far if far == far else np.inf  # noqa: PLR0124 - only NaN differs from itself


@part()
def _look(values: np.ndarray, others: np.ndarray, far: np.ndarray) -> int:
    """The distances of a piece; how many of its values are not finite."""
    odd = np.int64(0)
    for k in range(values.shape[0]):
        value, other = np.float64(values[k]), np.float64(others[k])
        far[k] = abs(value - other)
        odd += not (abs(value) + abs(other) < np.inf)
    return int(odd)


@part()
def _beyond(others: np.ndarray, far: np.ndarray, atol: float, rtol: float) -> int:
    """How many values of a piece differ."""
    over = np.int64(0)
    for k in range(others.shape[0]):
        over += far[k] > atol + rtol * abs(np.float64(others[k]))
    return int(over)


@part()
def _greatest(bits: np.ndarray, start: int, end: int) -> int:
    """Of distances as the integers that have their bits, which are in the same order: of those, the compiler makes vectors."""
    found = np.int64(0)
    for k in range(np.uint64(start), np.uint64(end)):
        found = max(found, bits[k])
    return int(found)


@part()
def _mark_finite(  # noqa: PLR0917 - numba takes no keywords
    others: np.ndarray, far: np.ndarray, width: int, atol: float, rtol: float, flags: np.ndarray, differences: np.ndarray
) -> None:
    """Rows of a piece in which all is finite."""
    bits, found = far.view(np.int64), np.zeros(1, np.int64)
    distance = found.view(np.float64)
    over = _beyond(others, far, atol, rtol)
    for row in range(flags.shape[0]):
        start, end = row * width, min(row * width + width, others.shape[0])
        found[0] = _greatest(bits, start, end)
        differences[row] = max(differences[row], distance[0])
        if over > 0 and _beyond(others[start:end], far[start:end], atol, rtol) > 0:
            flags[row] |= np.uint8(DIFFERS)


@part()
def _mark_odd(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray, others: np.ndarray, width: int, atol: float, rtol: float, flags: np.ndarray, differences: np.ndarray
) -> None:
    """Rows of a piece in which a value may be anything."""
    for k in range(values.shape[0]):
        row, value, other = k // width, np.float64(values[k]), np.float64(others[k])
        distance, mark = _distance(value, other), np.int64(0)
        if distance > 0.0 and not (abs(other) < np.inf and distance <= atol + rtol * abs(other)):
            mark |= DIFFERS
        if not abs(value) < np.inf:
            mark |= BAD
        if not abs(other) < np.inf:
            mark |= OTHER_BAD
        flags[row] |= np.uint8(mark)
        differences[row] = max(differences[row], distance)


@kernel(*_FLOATS)
def compare(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray, others: np.ndarray, atol: float, rtol: float, flags: np.ndarray, differences: np.ndarray
) -> None:  # fmt: skip
    """Mark what differs beyond atol + rtol · |other| and what is not finite, and keep the largest absolute difference of each row.

    NaN agrees with NaN alone, an infinity with itself alone.
    values, others: [rows, width]. flags: [rows], to which `DIFFERS`, `BAD` (of values) and `OTHER_BAD` are added. differences: [rows],
    which only grow; infinite where only one of the two is a number.
    """
    rows, width = values.shape
    if rows * width == 0:
        return
    one, two = values.reshape(rows * width), others.reshape(rows * width)
    far = np.empty(_PIECE)
    whole = max(_PIECE // width, 1)  # rows of a piece
    for row in range(0, rows, whole):
        until = min(row + whole, rows)
        for start in range(row * width, until * width, _PIECE):  # several where one row is longer than a piece
            end = min(start + _PIECE, until * width)
            mine, theirs, apart = one[start:end], two[start:end], far[: end - start]
            if _look(mine, theirs, apart) == 0:
                _mark_finite(theirs, apart, width, atol, rtol, flags[row:until], differences[row:until])
            else:
                _mark_odd(mine, theirs, width, atol, rtol, flags[row:until], differences[row:until])


@kernel("void(Array(int64, 2, 'C', readonly=True), Array(int64, 2, 'C', readonly=True), uint8[::1], float64[::1])")
def compare_integers(values: np.ndarray, others: np.ndarray, flags: np.ndarray, differences: np.ndarray) -> None:
    """As `compare` without a tolerance: classes, counts and codes are the same or they are not. Others than int64 in their order as int64.

    values, others: [rows, width]. flags: [rows], to which `DIFFERS` is added. differences: [rows], which only grow.
    """
    for row in range(values.shape[0]):
        greatest = np.uint64(0)
        for k in range(values.shape[1]):
            value, other = values[row, k], others[row, k]
            apart = np.uint64(max(value, other)) - np.uint64(min(value, other))  # exact: wraps around where int64 would not hold it
            greatest = max(greatest, apart)
        if greatest > np.uint64(0):
            flags[row] |= np.uint8(DIFFERS)
            differences[row] = max(differences[row], np.float64(greatest))


@kernel(*[f"void(Array({kind}, 2, 'C', readonly=True), int64[::1])" for kind in ("float32", "float64")])
def largest(values: np.ndarray, places: np.ndarray) -> None:
    """Where the first of the largest values of each row is: the class that scores name. NaN is no value; a row without any has -1.

    values: [rows, width]. places: [rows].
    """
    for row in range(values.shape[0]):
        place, best = np.int64(-1), -np.inf
        for k in range(values.shape[1]):
            value = np.float64(values[row, k])
            if value > best or (place < 0 and value == best):
                place, best = np.int64(k), value
        places[row] = place
