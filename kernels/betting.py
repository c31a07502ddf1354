"""Windows instead of rows: how odd each window is is ranked among windows that are known to be clean, and bets are laid on odd ones.

Robust to any dependence within a window, and to cycles: odd is what differs from other windows of the same hour. It knows nothing finer
than one rank of so many. A rank is a p-value, bets on p-values multiply to an e-value (a conformal test martingale): it exceeds 1 / α with
probability at most α while windows are exchangeable with the clean ones, over all looks together.

Clean windows that are part of the reference must be scored against the rest of it: against all of it they look cleaner than live ones.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel

__all__ = ["BETS", "bet", "conformal_p", "new_capital", "oddities", "oddity"]

BETS = 10  # exponents between 0 and 1; the last, 1, does not bet
HOURS_OF_DAY = 24
LEAST_OF_AN_HOUR = 2  # windows; with fewer of one hour of the week its hour of the day is taken, with fewer of that all
_SHARE = 0.01  # of all capital that is laid anew after each window, so that a change after a quiet time finds some on every bet


def new_capital() -> np.ndarray:
    """What a fresh series of bets starts with: ln of an equal share of 1 on each exponent, float64 [BETS]."""
    return np.full(BETS, -math.log(BETS))


def oddity(score: float, hour: int, scores: np.ndarray, hours: np.ndarray) -> float:
    """How far √score is from the mean root of the clean windows of its hour, up or down; 0 where there are none.

    score: PSI of a window, whose root varies about as much where it is large as where it is small. hour: of the week, -1 if unknown.
    scores, hours: [windows] of the clean ones. A shift makes rows of some hours more like the whole reference and of others less so,
    and either is odd.
    """
    return abs(math.sqrt(max(score, 0.0)) - _level(np.sqrt(np.maximum(scores, 0.0)), hours, hour, np.ones(scores.size, bool)))


def oddities(scores: np.ndarray, hours: np.ndarray) -> np.ndarray:
    """`oddity` of each clean window among the others, [windows]: what that of a live one is ranked among."""
    roots, others = np.sqrt(np.maximum(scores, 0.0)), np.ones(scores.size, bool)
    found = np.empty(scores.size)
    for i in range(scores.size):
        others[i] = False
        found[i] = abs(roots[i] - _level(roots, hours, hours[i], others))
        others[i] = True
    return found


def _level(roots: np.ndarray, hours: np.ndarray, hour: int, others: np.ndarray) -> float:
    for same in (hours == hour, hours % HOURS_OF_DAY == hour % HOURS_OF_DAY):
        if np.count_nonzero(same & others) >= LEAST_OF_AN_HOUR:
            return float(roots[same & others].mean())
    return float(roots[others].mean()) if others.any() else 0.0


@kernel("float64(float64, float64[::1])", releases_gil=False)
def conformal_p(oddness: float, clean: np.ndarray) -> float:
    """(1 + how many of the clean windows are at least as odd) / (1 + how many there are): uniform or greater. 1 of none, or NaN.

    clean: [windows], in any order. Live windows belong to it from then on: only so are later p-values independent of earlier ones.
    """
    above = 1
    for i in range(clean.shape[0]):
        if not clean[i] < oddness:
            above += 1
    return float(above / (1.0 + clean.shape[0]))


@kernel("float64(float64[::1], float64)", releases_gil=False)
def bet(capital: np.ndarray, p: float) -> float:
    """Lay the bets of one window: ln of the capital afterwards, an e-value. `capital` is changed in place; it is the whole state.

    Bet i pays ε p^(ε − 1) with ε = (i + 1) / BETS, which falls with p, so that p-values that are greater than uniform can only lose (Vovk,
    Nouretdinov and Gammerman 2003). Then a hundredth of everything is shared out again, as forecasters of changing experts do (Herbster and
    Warmuth 1998); a sum of martingales that exchange capital is one.
    """
    log_p = math.log(min(max(p, 1e-300), 1.0))
    top = -math.inf
    for i in range(capital.shape[0]):
        exponent = (i + 1.0) / capital.shape[0]
        capital[i] += math.log(exponent) + (exponent - 1.0) * log_p
        top = max(top, capital[i])
    total = 0.0
    for i in range(capital.shape[0]):
        total += math.exp(capital[i] - top)
    shared = _SHARE * total / capital.shape[0]
    for i in range(capital.shape[0]):
        capital[i] = top + math.log((1.0 - _SHARE) * math.exp(capital[i] - top) + shared)
    return top + math.log(total)
