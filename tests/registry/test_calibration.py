"""The calibration table against scikit-learn, and what the estimate from it is worth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import roc_auc_score

from registry.calibration import auc_of, bins_of, calibration_of, isotonic, score_of, truth_of
from registry.columns import Column
from registry.profile import SCORE_BINS


def drawn(rows: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that are too sure of themselves, and what came true."""
    generator = np.random.default_rng(seed)
    truth = generator.uniform(size=rows)
    scores = truth**2 / (truth**2 + (1 - truth) ** 2)
    return scores, generator.uniform(size=rows) < truth


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(1, 9)), min_size=1, max_size=40))
def test_isotonic_regression_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    """Weighted, with ties."""
    means, weights = (np.array(side, float) for side in zip(*pairs, strict=True))
    found, heavy = isotonic(means * weights, weights)
    expected = IsotonicRegression().fit_transform(np.arange(len(means)), means, sample_weight=weights)
    np.testing.assert_allclose(found, expected, atol=1e-12)
    for value in np.unique(found):
        assert weights[found == value].sum() == pytest.approx(heavy[found == value].max())


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.5, 0.9]), st.booleans()), min_size=2, max_size=60))
def test_auc_is_scikit_learns(rows: list[tuple[float, bool]]) -> None:
    """With ties."""
    scores, yes = (np.array(side) for side in zip(*rows, strict=True))
    if yes.all() or not yes.any():
        return
    assert roc_auc_score(yes, scores) == pytest.approx(auc_of(scores, yes))


def test_the_table_gives_the_accuracy_of_other_rows() -> None:
    """Counts of their scores times the table: what CBPE is; and its errors cover the truth."""
    table = calibration_of("p", 1, *drawn(20_000))
    scores, yes = drawn(20_000, seed=1)
    counts, positives = np.bincount(bins_of(scores), minlength=SCORE_BINS), np.array(table.positives)
    is_yes = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS >= table.threshold
    estimate = float((counts * np.where(is_yes, positives, 1 - positives)).sum() / counts.sum())
    assert np.mean((scores >= 0.5) == yes) == pytest.approx(estimate, abs=0.01)
    assert table.accuracy == pytest.approx(estimate, abs=0.01)
    assert (np.diff(positives) >= -1e-12).all()
    centres = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    roots = np.sqrt(centres), np.sqrt(1 - centres)
    truth = roots[0] / (roots[0] + roots[1])
    assert np.mean(np.abs(positives - truth) <= 2.5 * np.array(table.errors)) > 0.9


def test_bins_without_rows_are_less_certain() -> None:
    """They take what lies between, and stand for anything in between."""
    scores, yes = np.repeat([0.2, 0.8], 100), np.tile([True] + [False] * 9, 20) ^ (np.arange(200) >= 100)
    table = calibration_of("p", 0, scores, yes)
    low, middle, high = (int(score * SCORE_BINS) for score in (0.2, 0.5, 0.8))
    assert [0.1, 0.5, 0.9] == pytest.approx([table.positives[place] for place in (low, middle, high)], abs=0.01)
    assert table.errors[middle] > 10 * table.errors[low]
    assert table.errors[0] > table.errors[low]
    assert (100, 0, 100) == (table.counts[low], table.counts[middle], table.counts[high])


@pytest.mark.parametrize(
    ("labels", "known", "yes"),
    [
        (np.array([0, 1, 1]), [True] * 3, [False, True, True]),
        (np.array([True, False]), [True] * 2, [True, False]),
        (np.array([1.0, np.nan, 0.0]), [True, False, True], [True, False]),
        (np.array(["late", None, "in time"], object), [True, False, True], [True, False]),
    ],
)
def test_labels(labels: np.ndarray, known: list[bool], yes: list[bool]) -> None:
    """The greater of two says yes; rows without one are left out."""
    assert (known, yes) == tuple(found.tolist() for found in truth_of(labels))


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.zeros(3), "the labels have 1 different values (0.0)"),
        (np.arange(9), "the labels have 9 different values (0, 1, 2, 3)"),
        (np.array(["a", 1], object), "the labels are of several types"),
        (np.array([None, None], object), "the labels have 0 different values ()"),
    ],
)
def test_labels_of_no_two_kinds(labels: np.ndarray, text: str, kind_of: Callable[..., str]) -> None:
    """Named with what they are."""
    assert f"invalid_model: {text}" in kind_of(lambda: truth_of(labels))


def test_the_score_that_labels_are_about(kind_of: Callable[..., str]) -> None:
    """Two probabilities, or one; nothing else."""
    two = Column("output", "p", np.array([[0.25, 0.75], [1, 0]], np.float32))
    one = Column("output", "s", np.array([0.5, np.nan], np.float32))
    three = Column("output", "t", np.full((2, 4), 0.25, np.float32))
    large = Column("output", "v", np.array([[3.0], [0.5]], np.float32))
    assert (two, 1) == score_of([three, two])
    assert (one, 0) == score_of([large, one])
    assert "labels need a model with one binary score" in kind_of(lambda: score_of([three, large]))
    assert "do not have both labels" in kind_of(lambda: calibration_of("p", 0, np.array([0.5]), np.array([True])))
