"""What is left of ln Γ when everything that cancels has been taken out by hand: Stirling's remainder, and the deviance of two counts.

ln Γ(1e9) is 2e10, of which a double keeps 4e-6; the evidence of a test is a difference of many such numbers and must be right to 1e-8.
Written with these two functions it is a sum of terms that are as small as it is (after Loader, "Fast and accurate computation of binomial
probabilities", 2000).
"""

from __future__ import annotations

import math

from kernels.jit import kernel

__all__ = ["deviance", "remainder"]

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_AT_HALF = 0.5 - 0.5 * math.log(2.0)  # the remainder at 1/2, of which Γ is √π
_SERIES_FROM = 8.0  # eight terms leave less than 1e-15
_CLOSE = 0.1  # relative difference below which the deviance is a series


@kernel("float64(float64)", releases_gil=False)
def remainder(x: float) -> float:
    """ln Γ(x) − [(x − ½) ln x − x + ½ ln 2π] for x > 0: about 1 / 12x. Absolute error below 1e-14."""
    if x == 0.5:
        return _AT_HALF
    if x >= _SERIES_FROM:
        y = 1.0 / (x * x)
        tail = 1.0 / 1188.0 - y * (691.0 / 360360.0 - y * (1.0 / 156.0 - y * (3617.0 / 122400.0)))
        return (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y * tail)))) / x
    product = 1.0
    up = x
    while up < _SERIES_FROM:
        product *= up
        up += 1.0
    y = 1.0 / (up * up)
    tail = 1.0 / 1188.0 - y * (691.0 / 360360.0 - y * (1.0 / 156.0 - y * (3617.0 / 122400.0)))
    series = (1.0 / 12.0 - y * (1.0 / 360.0 - y * (1.0 / 1260.0 - y * (1.0 / 1680.0 - y * tail)))) / up
    return series + (up - 0.5) * math.log(up) - up - math.log(product) - (x - 0.5) * math.log(x) + x


@kernel("float64(float64, float64)", releases_gil=False)
def deviance(x: float, mean: float) -> float:
    """x ln(x / mean) + mean − x for x, mean > 0: never negative, and accurate relative to itself however close the two are."""
    difference = x - mean
    if abs(difference) >= _CLOSE * (x + mean):
        return x * math.log(x / mean) - difference
    v = difference / (x + mean)
    total = difference * v
    term = 2.0 * x * v
    square = v * v
    for j in range(1, 40):
        term *= square
        more = total + term / (2 * j + 1)
        if more == total:
            break
        total = more
    return total
