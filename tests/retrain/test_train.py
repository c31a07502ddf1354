"""Fitting and scoring a classifier on columns."""

from __future__ import annotations

import numpy as np
import pytest

from retrain import train
from retrain.dataset import Dataset

pytestmark = pytest.mark.demo


def dataset(rows: int = 400, *, seed: int = 0) -> Dataset:
    """Rows whose label is decided by one number and one text."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=rows).astype(np.float32)
    t = generator.choice(np.array(["a", "b"], object), rows)
    return Dataset({"x": x, "t": t}, ((x > 0) & (t == "a")).astype(np.int64))


def test_a_pipeline_learns_from_numbers_and_texts() -> None:
    """Both kinds of column decide, so both must have been used."""
    pipeline = train.fit(dataset())
    other = dataset(seed=1)
    assert train.score(other.labels, pipeline.predict_proba(train.frame(other))[:, 1]).accuracy > 0.97


def test_the_seed_decides_the_model() -> None:
    """Fitting twice gives the same probabilities; another seed gives others."""
    rows = train.frame(dataset())
    first, again, other = (train.fit(dataset(), seed=seed).predict_proba(rows) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_text_never_seen_is_served() -> None:
    """A new carrier is no reason to fail."""
    unseen = Dataset({"x": np.ones(1, np.float32), "t": np.array(["never"], object)}, np.zeros(1, np.int64))
    assert (1, 2) == train.fit(dataset()).predict_proba(train.frame(unseen)).shape


def test_the_score_is_held_against_the_base_rate() -> None:
    """Accuracy, the accuracy of always naming the majority, and the order of the scores."""
    score = train.score(np.array([0, 0, 0, 1]), np.array([0.1, 0.2, 0.6, 0.9]))
    assert (4, 0.75, 0.75, 1.0) == (score.rows, score.accuracy, score.base_rate, score.auc)
    expected = -np.mean(np.log([0.9, 0.8, 0.4, 0.9]))
    assert expected == pytest.approx(score.log_loss)
    assert 0.5 == train.score(np.array([0, 1]), np.array([0.3, 0.3])).auc
