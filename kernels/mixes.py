"""A sequential test of whether two arms have the same mix of classes: each unit's arm is predicted from its class before it is looked at.

Where the mixes are the same, a unit of any class is the candidate's with the probability w that it was assigned with, however the mix
itself moves. A bet that knows better wins where they are not: q(candidate | k) = w c_k / (w c_k + (1 − w) s_k), with c_k and s_k the shares
of class k in the arms so far, is a probability, so the product of q / w (of 1 − q over 1 − w for stable's units) is an e-process whatever
the bets are.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel

__all__ = ["add_mix", "total_variation"]

_HALF = 0.5  # of a unit in each class beforehand (Krichevsky, Trofimov)


@kernel("UniTuple(float64, 2)(int64[::1], boolean[::1], float64[::1], int64[:, ::1], float64, float64)", releases_gil=False)
def add_mix(  # noqa: PLR0917 - numba takes no keywords
    classes: np.ndarray, ours: np.ndarray, weights: np.ndarray, counts: np.ndarray, log_e: float, top: float
) -> tuple[float, float]:
    """Bet on the arm of one unit after the other, and count it. Returns (ln E, the greatest that it or `top` was).

    classes: [units] in 0 … classes − 1; ours: [units], whether it is the candidate's; weights: [units] w, those of 0 and 1 are counted
    only. counts: [2, classes], stable's and the candidate's, added to in place. log_e: ln E before.
    """
    slots = counts.shape[1]
    theirs_all = ours_all = _HALF * slots
    for k in range(slots):
        theirs_all += counts[0, k]
        ours_all += counts[1, k]
    for i in range(classes.shape[0]):
        k, w = classes[i], weights[i]
        if 0.0 < w < 1.0:
            candidate = w * (counts[1, k] + _HALF) / ours_all
            stable = (1.0 - w) * (counts[0, k] + _HALF) / theirs_all
            bet = candidate / w if ours[i] else stable / (1.0 - w)
            log_e += math.log(bet / (candidate + stable))
            top = max(top, log_e)
        if ours[i]:
            counts[1, k] += 1
            ours_all += 1.0
        else:
            counts[0, k] += 1
            theirs_all += 1.0
    return log_e, top


def total_variation(counts: np.ndarray) -> tuple[float, float]:
    """(distance between the mixes of two arms, about how large it would be by chance alone); NaN where an arm has none.

    counts: [2, classes]. Half the sum of absolute differences of shares; by chance each is normal with the pooled share's variance.
    """
    rows = counts.sum(axis=1).astype(np.float64)
    if not rows.all():
        return math.nan, math.nan
    shares = counts / rows[:, None]
    pooled = counts.sum(axis=0) / rows.sum()
    spread = np.sqrt(pooled * (1.0 - pooled) * (1.0 / rows).sum())
    return float(0.5 * np.abs(shares[1] - shares[0]).sum()), float(0.5 * math.sqrt(2.0 / math.pi) * spread.sum())
