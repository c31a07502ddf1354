"""A batch of numbers into counts: the slot of every value, power sums about a reference mean, tails, the least and the greatest. In place.

Values are turned tile by tile into columns. Along a column, comparing with a few thresholds at a time only counts, which the compiler
turns into vector instructions without a store or a jump; a slot's count is then the difference of two such numbers. Sums run along the
same column while it is in the first cache (benchmarks/drift.py).
Bounds: a deviation or a tail above FAR counts as FAR, so that no sum of finite values ever overflows.
"""

from __future__ import annotations

import numpy as np

from kernels.jit import kernel, part

__all__ = ["THRESHOLDS_ABREAST", "count", "count_float32", "count_float64"]

THRESHOLDS_ABREAST = 6  # compared in one pass along a column: they, their counters and the values fit into 16 vector registers
FAR = 1e70  # its fourth power fits a float64, and so do the sums of 10^28 such
_TILE_FEATURES = 16  # a cache line of float32
_TILE_ROWS = 256  # times the features: 16 KiB of float32
_WHOLE = 32  # rows to which a column is filled up with NaN, so that no row is compared outside of vector instructions
_FEW = 24  # rows up to which value by value is quicker

_STATE = "int64[::1], int64[:, :, ::1], float64[:, ::1], float64[:, ::1]"
_ARGUMENTS = {
    name: f"void(Array({name}, 2, 'A', readonly=True), int64[:, ::1], {name}[:, ::1], float64[::1], {_STATE})"
    for name in ("float32", "float64")
}


@part()
def _slot(value: float, thresholds: np.ndarray, feature: int) -> int:
    """How many of a feature's thresholds a number is above. All of them, 16 at a time: a binary search takes five times as long."""
    above = np.int32(0)
    for k in range(thresholds.shape[1]):
        above = np.int32(above + (value > thresholds[feature, k]))
    return int(above)


@part()
def _deviation(value: float, mean: float) -> float:
    """From the mean, at most FAR."""
    return min(max(value - mean, -FAR), FAR)


@part()
def _count_few(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    places: np.ndarray,
    thresholds: np.ndarray,
    means: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    extremes: np.ndarray,
) -> None:
    """Value by value."""
    last = counts.shape[2] - 1
    for f in range(places.shape[0]):
        column, mean = places[f, 0], means[f]
        if column >= values.shape[1]:
            continue
        low, high = np.float64(thresholds[f, 1]), np.float64(thresholds[f, places[f, 1]])
        least, greatest = extremes[0, f], extremes[1, f]
        s1 = s2 = s3 = s4 = 0.0
        for r in range(values.shape[0]):
            exact = values[r, column]
            segment = segments[r] if segments.shape[0] > 0 else 0
            counts[segment, f, _slot(exact, thresholds, f) if exact == exact else last] += 1  # noqa: PLR0124 - only NaN differs from itself
            value = np.float64(exact)
            if abs(value) < np.inf:
                d = _deviation(value, mean)
                square = d * d
                s1 += d
                s2 += square
                s3 += square * d
                s4 += square * square
                least, greatest = min(least, value), max(greatest, value)
                if value < low:
                    sums[4, f] += _deviation(low, value)
                if value > high:
                    sums[5, f] += _deviation(value, high)
        sums[0, f] += s1
        sums[1, f] += s2
        sums[2, f] += s3
        sums[3, f] += s4
        extremes[0, f], extremes[1, f] = least, greatest


@part()
def _column(values: np.ndarray, places: np.ndarray, feature: int) -> np.uint64:
    """Which column a feature is read from; where the batch does not have it, some other, whose counts nobody makes."""
    column = np.uint64(places[feature, 0])  # unsigned, so that no index is taken for one from the end
    return column if column < np.uint64(values.shape[1]) else np.uint64(0)


@part()
def _turn(values: np.ndarray, places: np.ndarray, first: int, features: int, tile: np.ndarray) -> None:
    """Columns of up to _TILE_ROWS rows into rows of `tile`, filled up with NaN. Four by four: a cache line is read by few passes."""
    rows, j = values.shape[0], 0
    while j + 4 <= features:
        c0, c1 = _column(values, places, first + j), _column(values, places, first + j + 1)
        c2, c3 = _column(values, places, first + j + 2), _column(values, places, first + j + 3)
        for r in range(rows):
            tile[j, r] = values[r, c0]
            tile[j + 1, r] = values[r, c1]
            tile[j + 2, r] = values[r, c2]
            tile[j + 3, r] = values[r, c3]
        j += 4
    for i in range(j, features):
        column = _column(values, places, first + i)
        for r in range(rows):
            tile[i, r] = values[r, column]
    for i in range(features):
        for r in range(rows, -(-rows // _WHOLE) * _WHOLE):
            tile[i, r] = np.nan


@part()
def _count_above(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    size: int,
    thresholds: np.ndarray,
    feature: int,
    above: np.ndarray,
) -> None:
    """above[k]: how many of the first `size` of a column are above threshold k."""
    for k in range(0, thresholds.shape[1], THRESHOLDS_ABREAST):
        t0, t1, t2 = thresholds[feature, k], thresholds[feature, k + 1], thresholds[feature, k + 2]
        t3, t4, t5 = thresholds[feature, k + 3], thresholds[feature, k + 4], thresholds[feature, k + 5]
        n0 = n1 = n2 = n3 = n4 = n5 = np.int32(0)
        for r in range(size):
            value = tile[j, r]
            n0 = np.int32(n0 + (value > t0))
            n1 = np.int32(n1 + (value > t1))
            n2 = np.int32(n2 + (value > t2))
            n3 = np.int32(n3 + (value > t3))
            n4 = np.int32(n4 + (value > t4))
            n5 = np.int32(n5 + (value > t5))
        above[k], above[k + 1], above[k + 2] = n0, n1, n2
        above[k + 3], above[k + 4], above[k + 5] = n3, n4, n5


@part()
def _add_counts(above: np.ndarray, rows: int, present: int, counts: np.ndarray, feature: int) -> None:
    """Differences of what is above neighbouring thresholds. `above` ends with a 0."""
    last = counts.shape[2] - 1
    before = np.int32(present)
    for k in range(min(above.shape[0], last)):
        counts[0, feature, k] += before - above[k]
        before = above[k]
    counts[0, feature, last] += rows - present


@part()
def _find_slots(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    size: int,
    thresholds: np.ndarray,
    feature: int,
    slots: np.ndarray,
) -> None:
    """The slot of each of the first `size` of a column; NaN is in 0."""
    for r in range(size):
        slots[r] = 0
    for k in range(0, thresholds.shape[1], THRESHOLDS_ABREAST):
        t0, t1, t2 = thresholds[feature, k], thresholds[feature, k + 1], thresholds[feature, k + 2]
        t3, t4, t5 = thresholds[feature, k + 3], thresholds[feature, k + 4], thresholds[feature, k + 5]
        for r in range(size):
            value = tile[j, r]
            half = (value > t0) + (value > t1) + (value > t2)
            slots[r] += np.int32(half + (value > t3) + (value > t4) + (value > t5))


@part()
def _add_slots(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    slots: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    feature: int,
) -> None:
    """One for the slot of each row, in its segment."""
    last = counts.shape[2] - 1
    for r in range(segments.shape[0]):
        value = tile[j, r]
        counts[segments[r], feature, slots[r] if value == value else last] += 1  # noqa: PLR0124 - only NaN differs from itself


@part()
def _count_slots(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    rows: int,
    present: int,
    thresholds: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    feature: int,
    above: np.ndarray,
    slots: np.ndarray,
) -> None:
    """A column of which `present` are no NaN. Whose rows are all in one segment needs no slot of each."""
    whole = -(-rows // _WHOLE) * _WHOLE
    if segments.shape[0] == 0:
        _count_above(tile, j, whole, thresholds, feature, above)
        _add_counts(above, rows, present, counts, feature)
    else:
        _find_slots(tile, j, whole, thresholds, feature, slots)
        _add_slots(tile, j, slots, segments, counts, feature)


@part()
def _look(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray, j: int, rows: int, low: float, high: float, extremes: np.ndarray, feature: int
) -> tuple[int, int, int]:
    """Of a column: how many are no NaN, and how many are within the reference's range. Few batches have a value beyond all before."""
    kind = tile.dtype.type
    least, greatest = kind(extremes[0, feature]), kind(extremes[1, feature])
    present = inside = beyond = np.int32(0)
    for r in range(-(-rows // _WHOLE) * _WHOLE):
        value = tile[j, r]
        present = np.int32(present + (value == value))  # noqa: PLR0124 - only NaN differs from itself
        inside = np.int32(inside + ((value > low) & (value <= high)))
        beyond = np.int32(beyond + ((value < least) | (value > greatest)))
    return int(present), int(inside), int(beyond)


@part()
def _widen(tile: np.ndarray, j: int, rows: int, extremes: np.ndarray, feature: int) -> None:
    """The least and the greatest finite value of a column and those before."""
    least, greatest = extremes[0, feature], extremes[1, feature]
    for r in range(rows):
        value = np.float64(tile[j, r])
        if abs(value) < np.inf:
            least, greatest = min(least, value), max(greatest, value)
    extremes[0, feature], extremes[1, feature] = least, greatest


@part(reassociates=True)
def _add_inner_sums(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    rows: int,
    mean: float,
    sums: np.ndarray,
    feature: int,
) -> None:
    """Sums of a column whose values are all within the reference's range."""
    s1 = s2 = s3 = s4 = 0.0
    for r in range(rows):
        d = np.float64(tile[j, r]) - mean
        square = d * d
        s1 += d
        s2 += square
        s3 += square * d
        s4 += square * square
    sums[0, feature] += s1
    sums[1, feature] += s2
    sums[2, feature] += s3
    sums[3, feature] += s4


@part(reassociates=True)
def _add_sums(  # noqa: PLR0917 - numba takes no keywords
    tile: np.ndarray,
    j: int,
    rows: int,
    mean: float,
    low: float,
    high: float,
    sums: np.ndarray,
    feature: int,
) -> None:
    """Sums of a column with anything in it."""
    s1 = s2 = s3 = s4 = below = above = 0.0
    for r in range(rows):
        value = np.float64(tile[j, r])
        finite = abs(value) < np.inf
        d = _deviation(value, mean) if finite else 0.0
        square = d * d
        s1 += d
        s2 += square
        s3 += square * d
        s4 += square * square
        below += _deviation(low, value) if finite and value < low else 0.0
        above += _deviation(value, high) if finite and value > high else 0.0
    sums[0, feature] += s1
    sums[1, feature] += s2
    sums[2, feature] += s3
    sums[3, feature] += s4
    sums[4, feature] += below
    sums[5, feature] += above


@kernel(*[_ARGUMENTS[name] for name in ("float32", "float64")])
def count(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    places: np.ndarray,
    thresholds: np.ndarray,
    means: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    extremes: np.ndarray,
) -> None:
    """Add a batch to what was counted before.

    values: [rows, width] of any strides. places: [features, 2] the column of each feature, and which of its thresholds is its greatest
    edge; a feature whose column the batch does not have is passed over. thresholds: [features, THRESHOLDS_ABREAST * n] ascending: -inf, the
    edges, the greatest finite number, then +inf. means: [features] of the reference. segments: [rows] in [0, counts.shape[0]), not checked;
    [0] where there is one segment.
    counts: [segments, features, slots]: values that are above so many thresholds; NaN is in the last slot, so there is one slot more than
    thresholds below +inf, and one for NaN. sums: [6, features] over finite values: the first four powers of the deviation from the mean,
    by how much values are below the least edge, by how much above the greatest. extremes: [2, features] of finite values.
    """
    if values.shape[0] <= _FEW or values.shape[1] == 0:
        _count_few(values, places, thresholds, means, segments, counts, sums, extremes)
        return
    tile = np.empty((_TILE_FEATURES, _TILE_ROWS), values.dtype)
    above, slots = np.zeros(thresholds.shape[1] + 1, np.int32), np.empty(_TILE_ROWS, np.int32)
    for start in range(0, values.shape[0], _TILE_ROWS):
        piece, divided = values[start : start + _TILE_ROWS], segments[start : start + _TILE_ROWS]
        rows = piece.shape[0]
        for first in range(0, places.shape[0], _TILE_FEATURES):
            features = min(_TILE_FEATURES, places.shape[0] - first)
            _turn(piece, places, first, features, tile)
            for j in range(features):
                f = first + j
                if places[f, 0] < values.shape[1]:
                    low, high = thresholds[f, 1], thresholds[f, places[f, 1]]
                    present, inside, beyond = _look(tile, j, rows, low, high, extremes, f)
                    whole = -(-rows // _WHOLE) * _WHOLE
                    if segments.shape[0] == 0:
                        _count_above(tile, j, whole, thresholds, f, above)
                        _add_counts(above, rows, present, counts, f)
                    else:
                        _find_slots(tile, j, whole, thresholds, f, slots)
                        _add_slots(tile, j, slots, divided, counts, f)
                    if beyond > 0:
                        _widen(tile, j, rows, extremes, f)
                    if inside == rows and np.float64(high) - np.float64(low) < FAR:
                        _add_inner_sums(tile, j, rows, means[f], sums, f)
                    else:
                        _add_sums(tile, j, rows, means[f], np.float64(low), np.float64(high), sums, f)


@kernel(_ARGUMENTS["float32"], releases_gil=False)
def count_float32(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    places: np.ndarray,
    thresholds: np.ndarray,
    means: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    extremes: np.ndarray,
) -> None:
    """`count` of float32 for batches that are counted in less time than handing the GIL over takes."""
    count(values, places, thresholds, means, segments, counts, sums, extremes)


@kernel(_ARGUMENTS["float64"], releases_gil=False)
def count_float64(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    places: np.ndarray,
    thresholds: np.ndarray,
    means: np.ndarray,
    segments: np.ndarray,
    counts: np.ndarray,
    sums: np.ndarray,
    extremes: np.ndarray,
) -> None:
    """`count` of float64 for batches that are counted in less time than handing the GIL over takes."""
    count(values, places, thresholds, means, segments, counts, sums, extremes)
