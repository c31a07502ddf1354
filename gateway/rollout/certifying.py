"""How many units it takes until the confidence sequences of two rates are so far apart, or so near, as an absolute margin asks. Pure.

The counts are taken at their means, so what is found is about the median: half of all rollouts take less.
"""

from __future__ import annotations

import math
from collections.abc import Callable

MOST_UNITS = 1 << 40  # more than anybody waits for
_BISECTIONS = 60


def lower(hits: float, units: float, alpha: float) -> float:
    """The lower end of the beta-binomial confidence sequence of a rate, at level `alpha` (Howard et al., arXiv 1810.08240, proposition 7).

    All p with ln B(½ + hits, ½ + units − hits) − ln B(½, ½) − hits ln p − (units − hits) ln (1 − p) < ln (1 / alpha).
    """
    return 0.0 if hits <= 0 else _end(hits, units, alpha, outside=0.0)


def upper(hits: float, units: float, alpha: float) -> float:
    """The upper end, as `lower`."""
    return 1.0 - lower(units - hits, units, alpha)


def _end(hits: float, units: float, alpha: float, *, outside: float) -> float:
    misses = units - hits
    log_marginal = math.lgamma(hits + 0.5) + math.lgamma(misses + 0.5) - math.lgamma(units + 1.0) - math.log(math.pi)
    inside, level = hits / units, -math.log(alpha)
    for _ in range(_BISECTIONS):
        p = 0.5 * (inside + outside)
        log_likelihood = hits * math.log(p) + (misses * math.log1p(-p) if misses > 0 else 0.0)
        if log_marginal - log_likelihood < level:
            inside = p
        else:
            outside = p
    return outside


def units_to_certify(*, stable: float, candidate: float, weight: float, margin: float, alpha: float) -> float:
    """Units of both arms until the candidate's rate is surely less than `margin` above stable's; inf where it never is.

    stable, candidate: the true rates; weight: the candidate's share of units, or 1 where both arms have every unit (pairs).
    """
    if candidate - stable >= margin:
        return math.inf
    ours, theirs = (1.0, 1.0) if weight == 1.0 else (weight, 1.0 - weight)

    def is_enough(units: float) -> bool:
        most = upper(candidate * ours * units, ours * units, alpha / 2)
        return most - lower(stable * theirs * units, theirs * units, alpha / 2) < margin

    return _least(is_enough)


def units_to_bound(rate: float, bound: float, *, alpha: float) -> float:
    """Units until a rate is surely on its side of `bound`; inf where it lies on it."""
    if rate < bound:
        return _least(lambda units: upper(rate * units, units, alpha) <= bound)
    return _least(lambda units: lower(rate * units, units, alpha) >= bound) if rate > bound else math.inf


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
