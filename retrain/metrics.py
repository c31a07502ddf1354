"""How well scores foretold labels: four measures of weighted rows, whole, and as sums of blocks for resampling. Pure.

y: labels, 0 or 1; p: scores, 0 … 1; w: weights from 0 on; float64 [rows]. NaN where there is nothing to measure.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

Metric = Literal["auc", "log_loss", "brier", "accuracy"]
METRICS: tuple[Metric, ...] = get_args(Metric)
GREATER_IS_BETTER = frozenset({"auc", "accuracy"})
LEAST_PROBABILITY = 1e-7  # about what float32 can tell from 1; a log loss is finite so
THRESHOLD = 0.5


def row_losses(metric: Metric, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """What each row adds to a metric that is a mean, float64 [rows]: of all but AUC."""
    if metric == "log_loss":
        held = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return np.asarray(-(y * np.log(held) + (1 - y) * np.log1p(-held)))
    if metric == "brier":
        return np.asarray(np.square(p - y))
    assert metric == "accuracy", "AUC is no mean over rows"
    return np.asarray((p >= THRESHOLD) == (y == 1), np.float64)


def measured(metric: Metric, y: np.ndarray, p: np.ndarray, w: np.ndarray) -> float:
    """The metric of all rows."""
    return weighed(metric, y, p)(w)


def weighed(metric: Metric, y: np.ndarray, p: np.ndarray) -> Callable[[np.ndarray], float]:
    """The metric as a function of the weights alone: what can be done once is done once."""
    if metric == "auc":
        return _Ranked(y, p).auc
    losses = row_losses(metric, y, p)

    def mean(w: np.ndarray) -> float:
        total = w.sum()
        return float(losses @ w / total) if total > 0 else float("nan")

    return mean


class _Ranked:
    """Rows in the order of their scores, equal ones together."""

    def __init__(self, y: np.ndarray, p: np.ndarray) -> None:
        self._order = np.argsort(p, kind="stable")
        ordered = p[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]])) if len(p) else np.zeros(0, np.int64)
        self._positive = y[self._order] == 1

    def auc(self, w: np.ndarray) -> float:
        """Probability that a yes is scored above a no, ties counting half (Mann and Whitney, 1947), of weighted rows."""
        if not len(self._order):
            return float("nan")
        ordered = w[self._order]
        yes = np.add.reduceat(np.where(self._positive, ordered, 0.0), self._starts)
        no = np.add.reduceat(np.where(self._positive, 0.0, ordered), self._starts)
        below = np.cumsum(no) - no
        pairs = yes.sum() * no.sum()
        return float(yes @ (below + 0.5 * no) / pairs) if pairs > 0 else float("nan")
