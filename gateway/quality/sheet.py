"""The quality of one version in one arm: sums of answers that were held against their labels, and what follows from them. Pure.

Accuracy, Brier score, log loss and AUC are of answers whose label is 0 or 1 and whose score lies between, accuracy also of classes, mean
absolute error of numbers. Each answer counts once, whatever it weighs in training.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np

from kernels.proportions import proportion_bounds
from kernels.quality import auc, mean_bounds

BINS = 256  # of scores between 0 and 1
MAX_LOG_LOSS = -math.log(1e-6)  # of one answer: a surely wrong one would make every mean infinite
MAX_WAITING = 4_096  # scores that wait for one of the other class
METRICS = ("accuracy", "brier", "log_loss", "mae", "auc")


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with bounds that hold at all looks together; without where nothing bounds the values."""

    metric: str
    rows: int
    value: float
    low: float | None
    high: float | None


class Mean:
    """Of values between 0 and `width`, some at a time; `variation` as `kernels.quality` has it."""

    def __init__(self, width: float | None) -> None:
        self.width = width
        self.rows, self.total, self.variation = 0, 0.0, 0.0

    def add(self, values: np.ndarray) -> None:
        """Values [n]; the forecast of all of them is the mean before."""
        if len(values):
            forecast = self.total / self.rows if self.rows else (self.width or 0.0) / 2
            self.variation += float(((values - forecast) ** 2).sum())
            self.total += float(values.sum())
            self.rows += len(values)

    def figure(self, metric: str, log_level: float) -> Figure:
        """The mean."""
        low, high = (None, None) if self.width is None else mean_bounds(self.total, self.variation, self.rows, self.width, log_level)
        return Figure(metric=metric, rows=self.rows, value=self.total / self.rows if self.rows else math.nan, low=low, high=high)


class Sheet:
    """The sums of one version in one arm."""

    def __init__(self, *, max_error: float | None = None) -> None:
        """`max_error`: larger absolute errors count as this one; None: they are not bounded, and neither is their mean."""
        self.judged, self.right = 0, 0
        self.brier, self.log_loss, self.mae = Mean(1.0), Mean(MAX_LOG_LOSS), Mean(max_error)
        self.positives, self.negatives = np.zeros(BINS, np.int64), np.zeros(BINS, np.int64)
        self.pairs, self.wins = 0, 0.0
        self._waiting: tuple[np.ndarray, np.ndarray] = (np.zeros(0), np.zeros(0))  # scores of negatives and positives without a partner

    def add(self, classes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> None:
        """Answers in the order of time: classes [n] float64, NaN for none; scores [n] float64, NaN for none; labels [n] finite."""
        binary = _is_binary(scores, labels)
        known, wrong = judged(classes, scores, labels)
        self.judged += int(np.count_nonzero(known))
        self.right += int(np.count_nonzero(known & ~wrong))
        self._add_scores(scores[binary], labels[binary])
        errors = np.abs(scores - labels)[np.isnan(classes) & np.isfinite(scores)]
        self.mae.add(errors if self.mae.width is None else np.minimum(errors, self.mae.width))

    def figures(self, alpha: float) -> list[Figure]:
        """What there are answers of; each is within its bounds at all times with probability 1 − `alpha`."""
        level, found = math.log(1 / alpha), []
        if self.judged:
            low, high = proportion_bounds(self.right, self.judged, level)
            found.append(Figure(metric="accuracy", rows=self.judged, value=self.right / self.judged, low=low, high=high))
        for name, mean in (("brier", self.brier), ("log_loss", self.log_loss), ("mae", self.mae)):
            if mean.rows:
                found.append(mean.figure(name, level))
        area = auc(self.positives, self.negatives)
        if not math.isnan(area):
            low, high = proportion_bounds(self.wins, self.pairs, level)
            found.append(Figure(metric="auc", rows=self.brier.rows, value=area, low=min(low, area), high=max(high, area)))
        return found

    def _add_scores(self, scores: np.ndarray, labels: np.ndarray) -> None:
        self.brier.add((scores - labels) ** 2)
        given = np.where(labels == 1, scores, 1 - scores)
        self.log_loss.add(-np.log(np.maximum(given, math.exp(-MAX_LOG_LOSS))))
        bins = np.minimum((scores * BINS).astype(np.int64), BINS - 1)
        self.positives += np.bincount(bins[labels == 1], minlength=BINS)
        self.negatives += np.bincount(bins[labels == 0], minlength=BINS)
        self._pair(scores[labels == 0], scores[labels == 1])

    def _pair(self, negatives: np.ndarray, positives: np.ndarray) -> None:
        """Each score meets one of the other class, once: such pairs are independent, and a share of them has bounds."""
        zeros, ones = np.concatenate([self._waiting[0], negatives]), np.concatenate([self._waiting[1], positives])
        pairs = min(len(zeros), len(ones))
        self.pairs += pairs
        self.wins += float((ones[:pairs] > zeros[:pairs]).sum() + 0.5 * (ones[:pairs] == zeros[:pairs]).sum())
        self._waiting = zeros[pairs:][:MAX_WAITING], ones[pairs:][:MAX_WAITING]


def judged(classes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which answers can be right or wrong, and which are wrong, bool [n] each: classes, or without one scores against one half."""
    has_class = ~np.isnan(classes)
    said = np.where(has_class, classes, (scores >= 0.5).astype(np.float64))
    known = has_class | _is_binary(scores, labels)
    return known, known & (said != labels)


def _is_binary(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return np.asarray(((labels == 0) | (labels == 1)) & (scores >= 0) & (scores <= 1))
