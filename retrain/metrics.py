"""How well a model foretold labels: measures of weighted rows, whole, and as sums of blocks for resampling. Pure.

y: labels, [rows]: 0 or 1, a class from 0 on, or a number. p: what was foretold: probabilities of a yes, 0 … 1, [rows]; of each class,
[rows, classes]; or numbers, [rows]. w: weights from 0 on, float64 [rows]. NaN where there is nothing to measure.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, get_args

import numpy as np

from retrain.target import Kind

Metric = Literal["auc", "log_loss", "brier", "accuracy", "mae", "rmse"]
METRICS: tuple[Metric, ...] = get_args(Metric)
METRICS_OF: dict[Kind, tuple[Metric, ...]] = {
    "yes_no": ("auc", "log_loss", "brier", "accuracy"),
    "class": ("log_loss", "brier", "accuracy"),
    "number": ("mae", "rmse"),
}
GREATER_IS_BETTER = frozenset({"auc", "accuracy"})
LEAST_PROBABILITY = 1e-7  # about what float32 can tell from 1; a log loss is finite so
THRESHOLD = 0.5


def row_losses(metric: Metric, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """What each row adds to a metric that is a mean, float64 [rows]: of all but AUC, and of RMSE its square."""
    if metric == "mae":
        return np.asarray(np.abs(p - y))
    if metric == "rmse":
        return np.asarray(np.square(p - y))
    return _of_classes(metric, y, p) if p.ndim == 2 else _of_yes(metric, y, p)


def _of_yes(metric: Metric, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    if metric == "log_loss":
        held = np.clip(p, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
        return np.asarray(-(y * np.log(held) + (1 - y) * np.log1p(-held)))
    if metric == "brier":
        return np.asarray(np.square(p - y))
    assert metric == "accuracy", "AUC is no mean over rows"
    return np.asarray((p >= THRESHOLD) == (y == 1), np.float64)


def _of_classes(metric: Metric, y: np.ndarray, p: np.ndarray) -> np.ndarray:
    """Brier (1950): the squared differences of all classes, from 0 to 2."""
    rows, named = np.arange(len(y)), y.astype(np.int64)
    if metric == "log_loss":
        return np.asarray(-np.log(np.clip(p[rows, named], LEAST_PROBABILITY, 1.0)))
    if metric == "brier":
        came = np.zeros_like(p)
        came[rows, named] = 1.0
        return np.asarray(np.square(p - came).sum(axis=1))
    assert metric == "accuracy", "AUC is of two kinds"
    return np.asarray(p.argmax(axis=1) == named, np.float64)


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

    return (lambda w: math.sqrt(mean(w))) if metric == "rmse" else mean


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
