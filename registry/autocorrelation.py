"""How many rows in a row say what one independent row would: the autocorrelation time of a feature in the order in which it was served.

Pure. Counts of dependent rows vary more than counts of independent ones; divided by this time they vary as much, at the time scale where it
matters most. Of rows that were shuffled it is 1, whatever their order was before: that cannot be seen.
"""

from __future__ import annotations

import numpy as np

_LEAST_ROWS = 16
_STRIDES = 16  # starts of blocks for each block length: overlapping ones vary by a third less than adjacent (Meketon, Schmeiser 1984)
_SIGNIFICANT = 3.0  # standard errors above the variance of independent rows
_LENGTHENING = 2**0.5  # of blocks, from one length to the next
_FREQUENT = 8  # categories that are looked at


def autocorrelation_time(values: np.ndarray) -> float:
    """Rows, ≥ 1: by how much the variance of a mean of neighbouring rows exceeds that of independent ones, at the worst block length.

    values: [rows] numbers in the order of time. For a stationary series without cycles this is the integrated autocorrelation time
    1 + 2 Σ ρ_k, by batch means. It is also large where that would be small: a cycle, whose long-run mean varies not at all, counts with
    what its half periods do to a count. Looked at are the level, the distance from the median (bursts of one client often differ in
    that), and whether a value is NaN. Ranks stand for values, so infinities and outliers weigh like others.
    1 for a constant series and for fewer than 16 rows. Of a cycle that is longer than a quarter of the rows only a part is seen.
    """
    values = np.asarray(values, np.float64).ravel()
    missing = np.isnan(values)
    level = np.zeros(values.size)
    level[~missing] = _scores(values[~missing])
    distance = np.where(missing, 0.0, np.abs(level))
    distance[~missing] -= distance[~missing].mean() if not missing.all() else 0.0
    return max(_inflation(series) for series in (level, distance, missing.astype(np.float64)))


def category_autocorrelation_time(codes: np.ndarray) -> float:
    """The same of a categorical feature. codes: [rows] integers, one for each category; the eight most frequent are looked at."""
    codes = np.asarray(codes).ravel()
    found, counts = np.unique(codes, return_counts=True)
    frequent = found[np.argsort(-counts, kind="stable")[:_FREQUENT]]
    return max([_inflation((codes == code).astype(np.float64)) for code in frequent], default=1.0)


def _scores(values: np.ndarray) -> np.ndarray:
    """Logits of mean ranks, which are nearly linear in normal scores. Ties, as of a feature with atoms, have one score."""
    if not values.size:
        return values
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2 - 0.5) / values.size
    scores: np.ndarray = np.log(ranks / (1 - ranks))[inverse]
    return scores


def _inflation(series: np.ndarray) -> float:
    """The greatest, over block lengths, of the variance of block sums beside that of as many independent rows, less a standard error."""
    rows = series.size
    series = series - series.mean() if rows else series
    variance = float(series @ series) / max(rows, 1)
    if rows < _LEAST_ROWS or variance <= 1e-12 * max(1.0, float(np.abs(series).max())) ** 2:
        return 1.0
    sums = np.concatenate(([0.0], np.cumsum(series)))
    worst, significant = 1.0, False
    length = 2.0
    while length <= rows / 8:
        block, step = int(length), max(1, int(length) // _STRIDES)
        blocks = sums[block::step] - sums[: rows - block + 1 : step]
        inflation = float(blocks @ blocks) / (blocks.size * block * variance * (1 - block / rows))
        error = (4 * block / (3 * rows)) ** 0.5  # relative, of overlapping blocks of independent rows
        significant |= inflation * (1 - _SIGNIFICANT * error) > 1
        worst = max(worst, inflation * (1 - error))
        length *= _LENGTHENING
    return worst if significant else 1.0
