"""How many units it takes until confidence sequences of rates are as narrow as an absolute margin asks. Pure.

The counts are taken at their means, so what is found is about the median: half of all rollouts take less.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from kernels.proportions import difference_bounds, proportion_bounds

MOST_UNITS = 1 << 40  # more than anybody waits for


def units_to_certify(*, stable: float, candidate: float, weight: float, margin: float, log_level: float) -> float:
    """Units of both arms until the candidate's rate is surely less than `margin` above stable's; inf where it never is.

    stable, candidate: the true rates; log_level: ln (1 / α); weight: the candidate's share of units, or 1 of pairs, where both arms have
    every unit.
    """
    if candidate - stable >= margin:
        return math.inf
    ours, theirs = (1.0, 1.0) if weight == 1.0 else (weight, 1.0 - weight)

    def is_enough(units: float) -> bool:
        counts = (candidate * ours * units, ours * units, stable * theirs * units, theirs * units)
        return difference_bounds(*counts, log_level)[1] < margin

    return _least(is_enough)


def units_to_bound(rate: float, bound: float, log_level: float) -> float:
    """Units until a rate is surely on its side of `bound`; inf where it lies on it."""
    if rate < bound:
        return _least(lambda units: proportion_bounds(rate * units, units, log_level)[1] <= bound)
    return _least(lambda units: proportion_bounds(rate * units, units, log_level)[0] >= bound) if rate > bound else math.inf


def _least(is_enough: Callable[[float], bool]) -> float:
    """The least number of units that is enough, to a thousandth; enough stays enough. inf beyond `MOST_UNITS`."""
    high = 1.0
    while not is_enough(high):
        high *= 2.0
        if high > MOST_UNITS:
            return math.inf
    low = high / 2.0
    while high - low > 1e-3 * high:
        middle = 0.5 * (low + high)
        low, high = (low, middle) if is_enough(middle) else (middle, high)
    return high
