"""How often a score was right on labelled reference rows: what performance is estimated from where no labels come (CBPE). Pure.

Positive shares in bins of the score, made monotone by pooling adjacent violators (Ayer et al., 1955). Counts of scores in traffic times
this table give expected accuracy and AUC: confidence-based estimation (CBPE), on bins. Labels of rows that the model was fitted to flatter
it: so will the estimate.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from registry.autocorrelation import autocorrelation_time
from registry.columns import Column, are_probabilities
from registry.errors import refused
from registry.profile import SCORE_BINS, Calibration

THRESHOLD = 0.5


def score_of(outputs: Sequence[Column]) -> tuple[Column, int]:
    """The output with one binary score, and its element: the second of two probabilities, or the only number, from 0 to 1.

    Raises `Kind.INVALID_MODEL` where there is none.
    """
    for output in outputs:
        if output.values.dtype.kind != "f" or output.side != "output":
            continue
        flat = output.flat()
        if output.elements == 2 and are_probabilities(flat):
            return output, 1
        if output.elements == 1 and bool(np.all(np.isnan(flat) | ((flat >= 0) & (flat <= 1)))):
            return output, 0
    raise refused("labels need a model with one binary score: an output of two probabilities, or of one number from 0 to 1")


def truth_of(labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(rows that have a label, which of those say yes). Of two labels the greater one says yes, as 1, True, or the second in the alphabet.

    NaN and None are no labels. Raises `Kind.INVALID_MODEL` where there are not two different ones.
    """
    labels = np.asarray(labels)
    known = np.array([label is not None and label == label for label in labels.ravel().tolist()], bool)  # noqa: PLR0124  # NaN is not
    try:
        found = np.unique(labels.ravel()[known])
    except TypeError:
        raise refused("the labels are of several types") from None
    if len(found) != 2:
        shown = ", ".join(map(str, found[:4].tolist()))
        raise refused(f"the labels have {len(found)} different values ({shown}), where a yes and a no are expected")
    return known, labels.ravel()[known] == found[1]


def calibration_of(port: str, element: int, scores: np.ndarray, yes: np.ndarray, *, threshold: float = THRESHOLD) -> Calibration:
    """The table of labelled rows in their order: scores from 0 to 1, float [rows], and whether each is a yes, bool [rows].

    Bins that no row has take what lies between their neighbours, and are the less certain the further those are apart. Standard errors
    are those of as many rows as are worth independent ones. Raises `Kind.INVALID_MODEL` unless there are rows of both kinds.
    """
    scores = scores.astype(np.float64)
    if not (yes.any() and not yes.all()):
        raise refused("the reference rows with a label and a score do not have both labels")
    bins = bins_of(scores)
    counts = np.bincount(bins, minlength=SCORE_BINS)
    filled = np.flatnonzero(counts)
    shares, weights = isotonic(np.bincount(bins, weights=yes, minlength=SCORE_BINS)[filled], counts[filled])
    positives, gaps = _between(filled, shares)
    smooth = (shares * weights + 0.5) / (weights + 1)
    tau = autocorrelation_time(yes - positives[bins])
    errors = np.sqrt(smooth * (1 - smooth) * np.minimum(tau / weights, 1))
    return Calibration(
        port=port,
        element=element,
        threshold=threshold,
        positives=tuple(positives.tolist()),
        errors=tuple(np.hypot(np.interp(np.arange(SCORE_BINS), filled, errors), gaps / 2).tolist()),
        counts=tuple(counts.tolist()),
        accuracy=float(np.mean((scores >= threshold) == yes)),
        auc=auc_of(scores, yes),
    )


def bins_of(scores: np.ndarray) -> np.ndarray:
    """int64 [rows]: the bin of each score in [0, 1]; 1 is in the last one."""
    return np.minimum((scores * SCORE_BINS).astype(np.int64), SCORE_BINS - 1)


def isotonic(totals: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The non-decreasing means nearest to totals / weights in weighted squares, and the weight of the block that each is the mean of."""
    blocks: list[tuple[float, float, int]] = []  # total, weight, places
    for total, weight in zip(totals.tolist(), weights.tolist(), strict=True):
        block = (total, weight, 1)
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            before = blocks.pop()
            block = (before[0] + block[0], before[1] + block[1], before[2] + block[2])
        blocks.append(block)
    means, heavy, places = (
        np.array(part) for part in zip(*((total / weight, weight, size) for total, weight, size in blocks), strict=True)
    )
    return np.repeat(means, places), np.repeat(heavy, places)


def auc_of(scores: np.ndarray, yes: np.ndarray) -> float:
    """The probability that a yes has a higher score than a no, ties counted half (Mann and Whitney). There are both."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    positive = int(np.sum(yes))
    negative = len(scores) - positive
    return float((ranks[yes].sum() - positive * (positive + 1) / 2) / (positive * negative))


def _between(filled: np.ndarray, shares: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """[SCORE_BINS] shares with the empty bins filled in, and of those how far apart the shares around them are; outside are 0 and 1."""
    every = np.arange(SCORE_BINS)
    around = np.concatenate([[0.0], shares, [1.0]])
    next_filled = np.searchsorted(filled, every)
    gaps = around[next_filled + 1] - around[next_filled]
    gaps[filled] = 0
    return np.interp(every, filled, shares), gaps
