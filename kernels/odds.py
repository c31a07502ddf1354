"""Anytime-valid tests of a ratio of rates between two arms: of those that had an event, how many were in which arm?

Where the arms have the same rate, the arm of a unit with an event is the candidate's with the probability w with which it was assigned,
whatever the rate is and however it moves; where the candidate's is r times as high, with w r / (w r + 1 − w). So a few integers are enough:
a and b units with an event in the candidate and in stable at each level of w. Evidence against a ratio ρ is a mean over other ratios r of
likelihood ratios, an e-value: its mean is at most 1 while the ratio is ρ, or on the far side of it (the likelihood ratio is monotone), so
over all looks together it exceeds 1 / α with probability at most α (Ville). Lindon and Malek, arXiv 2011.03567.

Pairs, of a request that both versions ran, are a level with w = ½: a where only the candidate failed, b where only stable did. Those where
both did say nothing about ρ = 1, as in McNemar's test; of any other ρ they are evidence, by a bet on 1{a} − ρ 1{b} − (ρ − 1) 1{both}, whose
mean is 0 while (a + both) is ρ (b + both) in the mean. The stake that makes a and b count as above makes `both` count (r + ρ²) / ρ (1 + r).

Only levels with 0 < w < 1 tell anything; the others are passed over. Nothing raises; no events give log 1 = 0 and bounds of 0 and inf.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel, part

__all__ = ["BOTH_SIDES", "above", "below", "log_odds", "ratio_bounds", "ratio_estimate"]

ALTERNATIVES = 24  # of each side
WIDEST = 16.0  # of a ratio to what it is tested against
_LEAST_ABOVE, _LEAST_BELOW = 1.15, 1.05
_FARTHEST = 20.0 * math.log(2.0)  # of a bound from 1
_BISECTIONS = 50


def above(ratio: float) -> np.ndarray:
    """Alternatives to "the ratio is at most `ratio`": log-spaced in (1.15 ratio, 16 ratio]."""
    return np.geomspace(_LEAST_ABOVE * ratio, WIDEST * ratio, ALTERNATIVES + 1)[1:]


def below(ratio: float) -> np.ndarray:
    """Alternatives to "the ratio is at least `ratio`": log-spaced in [ratio / 16, ratio / 1.05]."""
    return np.geomspace(ratio / WIDEST, ratio / _LEAST_BELOW, ALTERNATIVES)


BOTH_SIDES = np.geomspace(1.0 / WIDEST, WIDEST, 2 * ALTERNATIVES)  # alternatives to any one ratio


@part()
def _log_ratio(  # noqa: PLR0917 - numba takes no keywords
    a: np.ndarray, b: np.ndarray, both: np.ndarray, w: np.ndarray, r: float, rho: float
) -> float:
    """ln of the likelihood ratio of r to rho, summed over levels."""
    result = 0.0
    for k in range(a.shape[0]):
        if w[k] <= 0.0 or w[k] >= 1.0:
            continue
        result += a[k] * math.log(r / rho)
        result -= (a[k] + b[k]) * math.log((w[k] * r + 1.0 - w[k]) / (w[k] * rho + 1.0 - w[k]))
        if both[k] > 0.0:
            result += both[k] * math.log((r + rho * rho) / (rho * (1.0 + r)))
    return result


@kernel("float64(float64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64)", releases_gil=False)
def log_odds(  # noqa: PLR0917 - numba takes no keywords
    a: np.ndarray, b: np.ndarray, both: np.ndarray, w: np.ndarray, alternatives: np.ndarray, rho: float
) -> float:
    """ln E against the ratio rho: of the equal mixture over `alternatives`, which lie all above it, all below, or on both sides.

    a, b, both: [levels] counts, `both` of levels of pairs only; w: [levels] probabilities; alternatives: [any] ratios above 0.
    """
    top, total = -math.inf, 0.0
    for j in range(alternatives.shape[0]):
        value = _log_ratio(a, b, both, w, alternatives[j], rho)
        if value > top:
            total = total * math.exp(top - value) + 1.0
            top = value
        else:
            total += math.exp(value - top)
    return top + math.log(total / alternatives.shape[0])


@kernel("float64(float64[::1], float64[::1], float64[::1], float64[::1])", releases_gil=False)
def ratio_estimate(a: np.ndarray, b: np.ndarray, both: np.ndarray, w: np.ndarray) -> float:
    """The likeliest ratio, to 1e-9: 0 or inf where only one arm has events, NaN where none has. Arguments as in `log_odds`."""
    ours = theirs = 0.0
    for k in range(a.shape[0]):
        if 0.0 < w[k] < 1.0:
            ours += a[k] + both[k]
            theirs += b[k] + both[k]
    if ours <= 0.0 or theirs <= 0.0:
        return math.nan if ours <= 0.0 and theirs <= 0.0 else 0.0 if ours <= 0.0 else math.inf
    low, high = -_FARTHEST, _FARTHEST
    for _ in range(_BISECTIONS):
        middle = 0.5 * (low + high)
        ratio = math.exp(middle)
        excess = 0.0
        for k in range(a.shape[0]):
            if 0.0 < w[k] < 1.0:
                candidates = a[k] + both[k]
                excess += candidates - (candidates + b[k] + both[k]) * w[k] * ratio / (w[k] * ratio + 1.0 - w[k])
        if excess > 0.0:
            low = middle
        else:
            high = middle
    return math.exp(0.5 * (low + high))


@kernel("UniTuple(float64, 2)(float64[::1], float64[::1], float64[::1], float64[::1], float64[::1], float64)")
def ratio_bounds(  # noqa: PLR0917 - numba takes no keywords
    a: np.ndarray, b: np.ndarray, both: np.ndarray, w: np.ndarray, alternatives: np.ndarray, log_level: float
) -> tuple[float, float]:
    """(low, high): all ratios that the evidence does not exclude, a confidence sequence of 1 − α for log_level = ln(1 / α).

    ln E is convex in ln ρ, so the ratios are an interval: each end by bisection from its deepest point, which is the likeliest ratio, or
    of pairs is found by thirds. An end beyond 2^±20 is 0 or inf. Arguments as in `log_odds`; alternatives: `BOTH_SIDES`.
    """
    deepest = min(max(math.log(max(ratio_estimate(a, b, both, w), 1e-300)), -_FARTHEST), _FARTHEST)
    if both.sum() > 0.0:
        low, high = -_FARTHEST, _FARTHEST
        for _ in range(_BISECTIONS):
            third = (high - low) / 3.0
            if log_odds(a, b, both, w, alternatives, math.exp(low + third)) <= log_odds(
                a, b, both, w, alternatives, math.exp(high - third)
            ):
                high -= third
            else:
                low += third
        deepest = 0.5 * (low + high)
    if math.isnan(deepest):
        return 0.0, math.inf
    if log_odds(a, b, both, w, alternatives, math.exp(deepest)) >= log_level:  # cannot be: somewhere E is below 1
        return math.exp(deepest), math.exp(deepest)
    ends = (0.0, math.inf)
    for side in range(2):
        outside = -_FARTHEST if side == 0 else _FARTHEST
        if log_odds(a, b, both, w, alternatives, math.exp(outside)) < log_level:
            continue
        inside = deepest
        for _ in range(_BISECTIONS):
            middle = 0.5 * (inside + outside)
            if log_odds(a, b, both, w, alternatives, math.exp(middle)) < log_level:
                inside = middle
            else:
                outside = middle
        ends = (math.exp(outside), ends[1]) if side == 0 else (ends[0], math.exp(outside))
    return ends
