"""Performance without labels: what the calibration table makes of the scores that were given. Pure.

With n_b live scores in bin b, of which a share p_b was right to be a yes on the reference: accuracy is Σ n_b a_b / n with a_b = p_b where
the answer is yes and 1 − p_b where it is no, and the area under the ROC follows from the cumulative n_b p_b and n_b (1 − p_b).
NannyML calls it confidence-based performance estimation (CBPE). It holds while scores mean what they meant: a changed relation of label and
features is not seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from registry.profile import SCORE_BINS, Calibration

Z = 1.96  # bounds hold with 95 % each time they are looked at, not at all times together
_EDGES = np.arange(SCORE_BINS + 1) / SCORE_BINS


@dataclass(frozen=True, slots=True)
class Bounds:
    """An estimate and its bounds."""

    low: float
    mid: float
    high: float


@dataclass(frozen=True, slots=True)
class Performance:
    """Of some scores. None: there are none, or none of one of the two answers."""

    rows: int
    accuracy: Bounds | None
    auc: Bounds | None
    unknown: float  # share of scores in bins without labelled reference rows


class Table:
    """A calibration table, ready for use."""

    def __init__(self, calibration: Calibration) -> None:
        self.calibration = calibration
        self._yes = np.array(calibration.positives)
        self._errors = np.array(calibration.errors)
        self._seen = np.array(calibration.counts) > 0
        share = np.clip((_EDGES[1:] - calibration.threshold) * SCORE_BINS, 0.0, 1.0)  # of a bin that says yes: all, none, or a part of one
        self._right = share * self._yes + (1 - share) * (1 - self._yes)
        self._slope = 2 * share - 1  # of _right by _yes
        # Bins that isotonic regression pooled err together, others each for itself.
        self._pools = np.concatenate([[0], np.flatnonzero(np.diff(self._yes) != 0) + 1])

    def estimate(self, scores: np.ndarray) -> Performance:
        """Of live scores, int64 [SCORE_BINS]."""
        n = scores.astype(np.float64)
        rows = float(n.sum())
        if rows <= 0:
            return Performance(0, None, None, 0.0)
        return Performance(int(rows), self._accuracy(n, rows), self._auc(n), float(n[~self._seen].sum() / rows))

    def _accuracy(self, n: np.ndarray, rows: float) -> Bounds:
        right = float(n @ self._right / rows)
        sampling = float(n @ (self._right * (1 - self._right))) / rows**2  # variance of a Poisson-binomial share
        return _bounds(right, sampling + self._calibration_variance(n * self._slope / rows))

    def _auc(self, n: np.ndarray) -> Bounds | None:
        yes, no = n * self._yes, n * (1 - self._yes)
        positives, negatives = float(yes.sum()), float(no.sum())
        if positives < 1 or negatives < 1:
            return None
        above = positives - np.cumsum(yes)  # positives in higher bins
        below = np.cumsum(no) - no
        auc = float(no @ (above + yes / 2)) / (positives * negatives)
        # d auc / d p_b, for the calibration's error
        slope = n * (below + no / 2 - above - yes / 2) / (positives * negatives) - auc * n * (1 / positives - 1 / negatives)
        return _bounds(auc, _hanley_mcneil(auc, positives, negatives) + self._calibration_variance(slope))

    def _calibration_variance(self, slope: np.ndarray) -> float:
        return float((np.add.reduceat(slope * self._errors, self._pools) ** 2).sum())


def _bounds(mid: float, variance: float) -> Bounds:
    radius = Z * math.sqrt(max(variance, 0.0))
    return Bounds(max(mid - radius, 0.0), mid, min(mid + radius, 1.0))


def _hanley_mcneil(auc: float, positives: float, negatives: float) -> float:
    """Sampling variance of an area under the ROC (Hanley and McNeil 1982)."""
    among_positives, among_negatives = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = (positives - 1) * (among_positives - auc**2) + (negatives - 1) * (among_negatives - auc**2)
    return (auc * (1 - auc) + spread) / (positives * negatives)
