"""How good answers were, by what came true: means with bounds that hold at all looks together, and the area under a curve of bins.

Bounds of a mean of values between 0 and `width` are those of Howard, Ramdas, McAuliffe and Sekhon (2021): theorem 4, empirical Bernstein,
with their stitched boundary (10) for η = 2 and s = 1.4. With V the sum of squared distances of each value from a forecast made before it,

    |mean − true mean|  <  ( √(k₁² v ℓ + k₂² c² ℓ²) + k₂ c ℓ ) / n,    v = max(V, c²),  ℓ = s ln ln(2 v / c²) + ln( 2 ζ(s) / (α (ln 2)^s) )

A proportion has narrower ones in `proportions`; those hold for any mean of values between 0 and 1.
"""

from __future__ import annotations

import math

import numpy as np

__all__ = ["auc", "mean_bounds"]

_ETA, _S, _ZETA = 2.0, 1.4, 3.10555
_K1 = (_ETA**0.25 + _ETA**-0.25) / math.sqrt(2.0)
_K2 = (math.sqrt(_ETA) + 1.0) / 2.0


def mean_bounds(total: float, variation: float, rows: int, width: float, log_level: float) -> tuple[float, float]:
    """(low, high) of the mean of `rows` values between 0 and `width` which add up to `total`, for log_level = ln(1 / α).

    variation: V above, in squares of the values' unit. 0 and `width` of no rows.
    """
    if not rows:
        return 0.0, width
    v = max(variation, width * width)
    level = _S * math.log(math.log(_ETA * v / (width * width))) + math.log(2.0 * _ZETA) + log_level - _S * math.log(math.log(_ETA))
    linear = _K2 * width * level
    radius = (math.sqrt(_K1 * _K1 * v * level + linear * linear) + linear) / rows
    mean = total / rows
    return max(0.0, mean - radius), min(width, mean + radius)


def auc(positives: np.ndarray, negatives: np.ndarray) -> float:
    """The share of pairs of a positive and a negative whose scores lie in order, those of one bin counting half. NaN without pairs.

    positives, negatives: [bins] counts of answers by score, in order of the score.
    """
    pairs = float(positives.sum()) * float(negatives.sum())
    if not pairs:
        return math.nan
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + 0.5 * negatives)).sum() / pairs)
