"""How others judge a canary, on the same requests: a constant checked again and again, ranks of time buckets, a z-test that is looked at.

Each is given a schedule instead of verdicts: so many requests at each weight, with the rate of errors of each interval of `INTERVAL`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.rollout_traffic import Requests
from kernels import odds

WEIGHTS, INTERVALS, INTERVAL = (0.05, 0.25, 0.5), 40, 1000
THRESHOLD, FLAGGER_CHECKS, ARGO_CHECKS = 0.015, 10, 4  # a success rate of 98.5 %, 1.5 times what is normal; so many failed checks fail
KAYENTA_Z, KAYENTA_TOLERANCE = 2.3263478740408408, 0.25  # two-sided 98 %; of the Hodges-Lehmann shift, below which it is no difference
Z_LEVEL = 2.3263478740408408  # one-sided 1 %
ODDS_LEVEL = math.log(100)  # 1 %


@dataclass(frozen=True, slots=True)
class Step:
    """Requests and errors of each interval of one weight, of both arms: [INTERVALS]."""

    ours: np.ndarray
    ours_failed: np.ndarray
    theirs: np.ndarray
    theirs_failed: np.ndarray


def schedule(requests: Requests) -> list[Step]:
    """A whole rollout, whatever comes of it."""
    return [_step(requests, weight) for weight in WEIGHTS]


def _step(requests: Requests, weight: float) -> Step:
    counts = np.zeros((4, INTERVALS))
    for interval in range(INTERVALS):
        _, ours, failed = requests.next(INTERVAL, weight)
        counts[:, interval] = ours.sum(), (ours & failed).sum(), (~ours).sum(), (~ours & failed).sum()
    return Step(*counts)


def constant(steps: Sequence[Step], checks: int) -> bool:
    """Whether so many intervals of the canary are above the threshold (Flagger's `threshold`, Argo Rollouts' `failureLimit` + 1)."""
    return sum(int((step.ours_failed / np.maximum(step.ours, 1) > THRESHOLD).sum()) for step in steps) >= checks


def mann_whitney(steps: Sequence[Step]) -> bool:
    """Whether in any step the canary's intervals rank higher, once at its end: at 98 % the lower bound of the Hodges-Lehmann shift is above
    a quarter of the shift (the shape of Kayenta's judge)."""
    return any(is_high(step.ours_failed / np.maximum(step.ours, 1), step.theirs_failed / np.maximum(step.theirs, 1)) for step in steps)


def is_high(ours: np.ndarray, theirs: np.ndarray) -> bool:
    """The rank test of one step: bounds of the shift are order statistics of all differences."""
    differences = np.sort((ours[:, None] - theirs[None, :]).ravel())
    n, m = len(ours), len(theirs)
    below = math.floor(n * m / 2 - KAYENTA_Z * math.sqrt(n * m * (n + m + 1) / 12))
    shift = float(np.median(differences))
    return bool(differences[max(below, 0)] > KAYENTA_TOLERANCE * abs(shift))


def peeked_z(steps: Sequence[Step]) -> bool:
    """Whether a z-test of all requests of a step so far is ever significant at 1 %, looked at after every interval."""
    for step in steps:
        n, m = step.ours.cumsum(), step.theirs.cumsum()
        a, b = step.ours_failed.cumsum(), step.theirs_failed.cumsum()
        pooled = (a + b) / (n + m)
        spread = np.sqrt(np.maximum(pooled * (1 - pooled) * (1 / np.maximum(n, 1) + 1 / m), 1e-300))
        if ((a / np.maximum(n, 1) - b / m) / spread > Z_LEVEL).any():
            return True
    return False


def odds_of_requests(steps: Sequence[Step]) -> bool:
    """Whether the odds of failed requests, not of units, ever reach 100 to 1, looked at after every interval."""
    ours, theirs, weights = np.zeros(len(WEIGHTS)), np.zeros(len(WEIGHTS)), np.array(WEIGHTS)
    for level, step in enumerate(steps):
        for failed, other in zip(step.ours_failed, step.theirs_failed, strict=True):
            ours[level] += failed
            theirs[level] += other
            if odds.log_odds(ours, theirs, np.zeros(len(WEIGHTS)), weights, odds.above(1.0), 1.0) >= ODDS_LEVEL:
                return True
    return False
