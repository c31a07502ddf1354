"""What is computed of a model's answers before it is counted: how sure a classifier was, and a histogram of one score."""

from __future__ import annotations

import math

import numpy as np

from kernels.jit import kernel

__all__ = ["count_scores", "entropies", "margins"]

_KINDS = ("float32", "float64")
_ROWS = [f"void(Array({kind}, 2, 'A', readonly=True), float64[::1])" for kind in _KINDS]


@kernel(*_ROWS, releases_gil=False)
def margins(probabilities: np.ndarray, out: np.ndarray) -> None:
    """The greatest of each row less the second, in float64: 0 where a model cannot tell two classes apart.

    probabilities: [rows, classes]; one class is the yes of a yes or no. out: [rows]; NaN where a row has one, or no class.
    """
    for r in range(probabilities.shape[0]):
        first = second = -np.inf
        lost = probabilities.shape[1] == 0
        for k in range(probabilities.shape[1]):
            value = np.float64(probabilities[r, k])
            lost |= value != value  # noqa: PLR0124 - only NaN differs from itself
            second = max(second, min(first, value))
            first = max(first, value)
        if probabilities.shape[1] == 1:
            first, second = max(first, 1.0 - first), min(first, 1.0 - first)
        out[r] = np.nan if lost else first - second


@kernel(*_ROWS, releases_gil=False)
def entropies(probabilities: np.ndarray, out: np.ndarray) -> None:
    """-Σ p ln p of each row, in nats, as float32 holds it. Numbers that are not above 0 add nothing.

    Rounded as the reference's (`registry.columns.entropies`): logarithms of different libraries differ in the last bit of float64, and
    rows of a tree's leaf, which are equal, must fall into the bin that has their entropy for an edge.

    probabilities: [rows, classes]; one class is the yes of a yes or no. out: [rows]; NaN where a row has one, or no class.
    """
    classes = probabilities.shape[1]
    for r in range(probabilities.shape[0]):
        total = 0.0 if classes > 0 else np.nan
        for k in range(classes):
            value = np.float64(probabilities[r, k])
            if not value <= 0.0:  # NaN too
                total -= value * math.log(value)
        if classes == 1 and probabilities[r, 0] < 1.0:
            no = 1.0 - np.float64(probabilities[r, 0])
            total -= no * math.log(no)
        out[r] = np.float64(np.float32(total))


@kernel(*[f"void(Array({kind}, 2, 'A', readonly=True), int64, int64[::1])" for kind in _KINDS], releases_gil=False)
def count_scores(values: np.ndarray, column: int, counts: np.ndarray) -> None:
    """Count one column in equal bins over 0 … 1, each with its lower end. What is beyond belongs to the outermost bins, NaN to none.

    values: [rows, width]. counts: [bins].
    """
    bins = counts.shape[0]
    for r in range(values.shape[0]):
        scaled = np.float64(values[r, column]) * bins
        if scaled == scaled:  # noqa: PLR0124 - only NaN differs from itself
            counts[np.int64(min(max(scaled, 0.0), bins - 1.0))] += 1
