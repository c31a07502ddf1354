"""Confidence sequences for proportions: bounds that hold at all looks together, of one proportion, of the difference of two, of quantiles.

The mixture over Beta(½, ½) of likelihood ratios (Robbins 1970; Howard, Ramdas, McAuliffe and Sekhon 2021): a proportion p is excluded once

    ln B(½ + s, ½ + n − s) − ln B(½, ½) − s ln p − (n − s) ln(1 − p)  ≥  ln(1 / α)

with s hits of n. Hits must be independent with one p: units, not requests of the same unit, and of a time in which p stays.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.evidence import log_rate
from kernels.jit import kernel

__all__ = ["difference_bounds", "proportion_bounds", "quantile_bins"]

_BISECTIONS = 60


@kernel("float64(float64, float64, float64)", releases_gil=False)
def _least(hits: float, rows: float, log_level: float) -> float:
    """The lower bound; below the share of hits, `log_rate` is the mixture against p itself."""
    outside, inside = 0.0, hits / rows if rows > 0.0 else 0.0
    for _ in range(_BISECTIONS):
        middle = 0.5 * (outside + inside)
        if log_rate(hits, rows, middle, 1.0) >= log_level:
            outside = middle
        else:
            inside = middle
    return outside


@kernel("UniTuple(float64, 2)(float64, float64, float64)", releases_gil=False)
def proportion_bounds(hits: float, rows: float, log_level: float) -> tuple[float, float]:
    """(low, high) of a proportion with `hits` of `rows`, for log_level = ln(1 / α); 0 and 1 of no rows."""
    return _least(hits, rows, log_level), 1.0 - _least(rows - hits, rows, log_level)


@kernel("UniTuple(float64, 2)(float64, float64, float64, float64, float64)", releases_gil=False)
def difference_bounds(hits: float, rows: float, other_hits: float, other_rows: float, log_level: float) -> tuple[float, float]:
    """(low, high) of how much the first proportion is above the other: each is bounded with α / 2, however one depends on the other."""
    level = log_level + math.log(2.0)
    low, high = proportion_bounds(hits, rows, level)
    other_low, other_high = proportion_bounds(other_hits, other_rows, level)
    return low - other_high, high - other_low


@kernel("UniTuple(int64, 2)(int64[::1], float64, float64)", releases_gil=False)
def quantile_bins(counts: np.ndarray, share: float, log_level: float) -> tuple[int, int]:
    """(first, last) bin between whose outer edges the quantile at `share` lies, for log_level = ln(1 / α). counts: [bins], in order.

    How many rows lie at or below the quantile is a sum of hits with p = share, of which the mixture excludes the far ones (Howard and
    Ramdas 2022). Everything of no rows. Rows may share values: bins are taken to be wide enough for the bound, never too narrow.
    """
    rows = 0
    for k in range(counts.shape[0]):
        rows += counts[k]
    first, last = 0, counts.shape[0] - 1
    if rows == 0:
        return first, last
    up_to = 0
    for k in range(counts.shape[0]):
        up_to += counts[k]
        # So few rows up to this edge, although the quantile were below it: it lies above.
        if up_to < share * rows and log_rate(rows - up_to, float(rows), 1.0 - share, 1.0) >= log_level:
            first = k + 1
        if up_to > share * rows and log_rate(up_to, float(rows), share, 1.0) >= log_level:
            last = k
            break
    return min(first, last), last
