"""Whether units were assigned as they should have been: a sequential test of the sample ratio.

A difference means that units of one arm get lost, or that others come: whatever is compared between the arms is then worth nothing.
"""

from __future__ import annotations

import math

import numpy as np

from kernels.evidence import log_against
from kernels.jit import kernel

__all__ = ["CONCENTRATION", "log_sample_ratio"]

CONCENTRATION = 10_000.0  # of the alternative about the weights: splits that are off by about a hundredth are looked for


@kernel("float64(float64[:, ::1], float64[:, ::1], float64)", releases_gil=False)
def log_sample_ratio(counts: np.ndarray, weights: np.ndarray, concentration: float) -> float:
    """ln E against "each unit was assigned with these probabilities", whenever somebody looks.

    counts: [levels, arms] units; weights: [levels, arms] probabilities, each row's sum 1. The alternative of each level is a Dirichlet
    prior about its weights with `concentration` units. inf where an arm with no weight has units. Lindon and Malek, arXiv 2011.03567.
    """
    result = 0.0
    arms = counts.shape[1]
    n, rho = np.empty(arms), np.empty(arms)
    for level in range(counts.shape[0]):
        used = 0
        for arm in range(arms):
            if weights[level, arm] > 0.0:
                n[used], rho[used] = counts[level, arm], weights[level, arm]
                used += 1
            elif counts[level, arm] > 0.0:
                return math.inf
        if used > 1:
            result += log_against(n[:used], rho[:used], rho[:used], 0.0, concentration)
    return result
