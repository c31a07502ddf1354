"""How many events, or units, a test takes to a verdict: the distribution of its first passage. Pure and exact up to a grid of looks.

What arrives is the arm of one unit with an event after another, the candidate's with probability q. A test of the odds concludes once so
many (or so few) of n were the candidate's: a border in n, found by bisection. Paths that have not met it are a distribution over the
candidate's events that is carried from look to look, so quantiles are computed and not simulated.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

MOST_EVENTS = 1 << 22  # of a test whose end is worth knowing
MOST_UNITS = 1 << 40
_EVERY = 256  # looks that are at single events
_STRIDE = 0.02  # of the events so far, between looks past those
_TAILS = 1e-9  # of probability that is let go at either end
_SIGMAS = 7.0
_OVERSHOOT = 0.5826  # -ζ(½) / √(2π): by how many deviations of a stride it is past the border when it is next looked (Siegmund, 1985)


def events_needed(weight: float, truth: float, *, tested: float, alternatives: np.ndarray, log_level: float) -> float:
    """The median number of units with an event until ln E against the ratio `tested` reaches `log_level`; inf beyond `MOST_EVENTS`.

    weight: probability of the candidate's arm; truth: its rate of events over stable's; alternatives: [any] ratios, `above` or `below`
    the one that is tested. E is that of `kernels.odds.log_odds`: the equal mixture of their likelihood ratios to `tested`.
    """
    share = _share(weight, truth)
    upward = bool(alternatives[0] > tested)
    if not upward:  # few of the candidate's are many of stable's
        weight, share, tested, alternatives = 1.0 - weight, 1.0 - share, 1.0 / tested, 1.0 / alternatives
    looks = _looks()
    rises, falls = np.log(alternatives / tested), np.log((weight * alternatives + 1.0 - weight) / (weight * tested + 1.0 - weight))
    if not _ever(share, rises, falls):
        return math.inf
    border = _border(looks, rises, falls, log_level)
    return _median(looks, border, share)


def _share(weight: float, ratio: float) -> float:
    """Of events, those in the candidate's arm."""
    return weight * ratio / (weight * ratio + 1.0 - weight)


def _ever(share: float, rises: np.ndarray, falls: np.ndarray) -> bool:
    """Whether evidence grows at all: the mean step of some alternative is upward."""
    return bool((share * rises - falls).max() > 1e-9)


def _looks() -> np.ndarray:
    """Numbers of events at which it is looked, ascending int64: each one at first, then in strides."""
    looks = list(range(1, _EVERY + 1))
    while looks[-1] < MOST_EVENTS:
        looks.append(looks[-1] + max(1, int(looks[-1] * _STRIDE)))
    return np.array(looks, np.int64)


def _border(looks: np.ndarray, rises: np.ndarray, falls: np.ndarray, log_level: float) -> np.ndarray:
    """The least number of the candidate's events at which the test concludes, int64 [looks]; looks + 1 where all of them are too few."""
    low, high = np.full(looks.shape, -1, np.int64), looks + 1  # at `low` it does not, at `high` it does or nothing does
    while (high - low > 1).any():
        middle = (low + high) // 2
        log_e = middle[:, None] * rises - looks[:, None] * falls
        top = log_e.max(axis=1)
        enough = top + np.log(np.exp(log_e - top[:, None]).mean(axis=1)) >= log_level
        moving = high - low > 1
        high, low = np.where(moving & enough, middle, high), np.where(moving & ~enough, middle, low)
    return high


def _median(looks: np.ndarray, border: np.ndarray, share: float) -> float:
    """Of the first look at or past the border; between the looks at which that can happen, as if it could at any."""
    start, alive, concluded, seen, last = 0, np.ones(1), 0.0, 0, 0
    deviation = math.sqrt(share * (1.0 - share))
    for look, least in zip(looks.tolist(), border.tolist(), strict=True):
        first, chances = _binomial(look - seen, share)
        missed = _OVERSHOOT * deviation * (math.sqrt(look - seen) - 1.0)  # what met the border between two looks and came back
        start, alive, seen = start + first, np.convolve(alive, chances), look
        kept = alive[: max(0, round(least - missed) - start)]
        gone = float(alive[len(kept) :].sum())
        if concluded + gone >= 0.5:
            return float(last + (look - last) * (0.5 - concluded) / gone)
        concluded, last = concluded + gone, look if gone else last
        cut = int(np.searchsorted(np.cumsum(kept), _TAILS))
        start, alive = start + cut, kept[cut:]
    return math.inf


def _binomial(count: int, share: float) -> tuple[int, np.ndarray]:
    """(the least number of hits, probabilities from there on) of `count` trials, without the far tails."""
    if count == 1:
        return 0, np.array([1.0 - share, share])
    spread = _SIGMAS * math.sqrt(count * share * (1.0 - share)) + _SIGMAS
    first, last = max(0, math.floor(count * share - spread)), min(count, math.ceil(count * share + spread))
    hits = np.arange(first, last + 1)
    logs = _log_factorial(count) - _log_factorial(hits) - _log_factorial(count - hits)
    return first, np.exp(logs + hits * math.log(share) + (count - hits) * math.log1p(-share))


_log_factorial: Callable[..., np.ndarray] = np.vectorize(lambda count: math.lgamma(count + 1.0), otypes=[float])
