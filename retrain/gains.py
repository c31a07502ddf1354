"""What one way to answer gained over another on the same rows, in AUC and Brier score, each with an interval. Pure.

The interval is that of `resampling`: whole days are drawn with replacement, for both ways the same ones, and its ends are percentiles of
the gains. Sums of days are kept, so that a year of rows costs as much as its days: squares of errors, and labels on bins of the scores.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from retrain.metrics import measured
from retrain.resampling import blocks_of, draws

BINS = 1_024  # of scores, equally full; the AUC of a draw ties what shares a bin
REPEATS = 1_000


@dataclass(frozen=True, slots=True)
class Gain:
    """Positive where the other way was better; in the metric's unit."""

    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """What the interval says."""
        return "better" if self.low > 0 else "worse" if self.high < 0 else "neither better nor worse for certain"


def gains(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, times_s: np.ndarray, *,
    generator: np.random.Generator, confidence: float = 0.95, repeats: int = REPEATS,
) -> list[Gain]:  # fmt: skip
    """Of AUC and Brier score. labels, scores of both ways, seconds since the Unix epoch: [rows]. The interval has `confidence`."""
    blocks = blocks_of(times_s, len(labels))
    drawn = draws(blocks, repeats=repeats, generator=generator)
    old, new = ([_aucs(labels, scores, blocks, drawn), _briers(labels, scores, blocks, drawn)] for scores in (before, after))
    return [
        _gain("auc", labels, (before, after), new[0] - old[0], 1, confidence),
        _gain("brier", labels, (before, after), old[1] - new[1], -1, confidence),
    ]


def _gain(  # noqa: PLR0917 - a row of a table
    metric: str, labels: np.ndarray, scores: tuple[np.ndarray, np.ndarray], changes: np.ndarray, sign: int, confidence: float
) -> Gain:
    weights = np.ones(len(labels))
    before, after = (measured(metric, labels, one, weights) for one in scores)  # type: ignore[arg-type]
    tail = (1.0 - confidence) / 2.0
    low, high = np.nanquantile(changes, [tail, 1.0 - tail])
    return Gain(metric, before, after, sign * (after - before), float(low), float(high))


def _briers(labels: np.ndarray, scores: np.ndarray, blocks: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Of each draw, float64 [repeats]."""
    sums, rows = np.bincount(blocks, np.square(scores - labels)), np.bincount(blocks)
    return np.asarray(drawn @ sums / (drawn @ rows))


def _aucs(labels: np.ndarray, scores: np.ndarray, blocks: np.ndarray, drawn: np.ndarray) -> np.ndarray:
    """Of each draw, float64 [repeats]: a yes in a higher bin than a no counts 1, in the same one ½."""
    edges = np.unique(np.quantile(scores, np.arange(1, BINS) / BINS))
    places = blocks * (len(edges) + 1) + np.searchsorted(edges, scores, side="left")
    shape, size = (drawn.shape[1], len(edges) + 1), drawn.shape[1] * (len(edges) + 1)
    yes, no = (drawn @ np.bincount(places[labels == kind], minlength=size).reshape(shape) for kind in (1, 0))
    below = np.cumsum(no, axis=1) - no
    with np.errstate(invalid="ignore"):
        return np.asarray((yes * (below + 0.5 * no)).sum(axis=1) / (yes.sum(axis=1) * no.sum(axis=1)))
