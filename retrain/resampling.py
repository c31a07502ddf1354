"""How certain a comparison of two models on the same rows is: the paired block bootstrap. Pure; randomness is passed in.

Rows of one day have much in common, so whole blocks of time are drawn with replacement, for both models the same ones (Künsch 1989; Efron
and Tibshirani 1993, chapter 8). The lower bound of a change is a percentile of the changes that are found so. Where every one of several
bounds must hold for a candidate to pass, each has the full level: passing wrongly needs all of them to err at once (Berger 1982,
intersection-union tests).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

LEAST_BLOCKS = 20  # with fewer blocks than that, shorter ones are taken
_LENGTHS_S = (86_400.0, 3_600.0, 60.0)
Weighed = Callable[[np.ndarray], float]


def blocks_of(times_s: np.ndarray | None, rows: int) -> np.ndarray:
    """The block of each row, int64 [rows] from 0 on: days where there are enough of them, else hours, minutes, or each row its own.

    times_s: [rows], seconds since the Unix epoch.
    """
    for length_s in _LENGTHS_S:
        if times_s is None or not rows:
            break
        found, blocks = np.unique(np.floor(times_s / length_s), return_inverse=True)
        if len(found) >= LEAST_BLOCKS:
            return np.asarray(blocks)
    return np.arange(rows)


def draws(blocks: np.ndarray, *, repeats: int, generator: np.random.Generator) -> np.ndarray:
    """How often each block is drawn, float64 [repeats, blocks]."""
    count = int(blocks.max()) + 1 if len(blocks) else 0
    return generator.multinomial(count, np.full(count, 1.0 / count), size=repeats).astype(np.float64) if count else np.zeros((repeats, 0))


def resampled(values: Weighed, weights: np.ndarray, blocks: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """A measure of each draw, float64 [repeats]; NaN where a draw has nothing to measure."""
    return np.array([values(weights * times[blocks]) for times in drawn])


def lower_bound(changes: np.ndarray, confidence: float) -> float:
    """One-sided: below it lies a share of 1 − `confidence` of the changes. -inf where no draw could be measured."""
    known = changes[~np.isnan(changes)]
    return float(np.quantile(known, 1.0 - confidence)) if len(known) else float("-inf")
