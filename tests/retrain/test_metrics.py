"""Measures against scikit-learn, and the bounds of resampling."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from retrain.metrics import METRICS_OF, measured
from retrain.resampling import blocks_of, draws, lower_bound, resampled

pytestmark = pytest.mark.demo


@given(
    st.lists(
        st.tuples(st.booleans(), st.sampled_from([0.0, 0.1, 0.5, 0.5, 0.7, 1.0]), st.floats(0.0, 5.0)), min_size=2, max_size=60
    ).filter(lambda rows: len({y for y, _, w in rows if w > 0.01}) == 2)
)
def test_measures_are_those_of_scikit_learn(rows: list[tuple[bool, float, float]]) -> None:
    """Of weighted rows, with ties and with scores at both ends."""
    y, p, w = (np.array(column, np.float64) for column in zip(*rows, strict=True))
    held = np.clip(p, 1e-7, 1 - 1e-7)
    assert measured("auc", y, p, w) == pytest.approx(oracle.roc_auc_score(y, p, sample_weight=w))
    assert measured("brier", y, p, w) == pytest.approx(oracle.brier_score_loss(y, p, sample_weight=w))
    assert measured("log_loss", y, p, w) == pytest.approx(oracle.log_loss(y, held, sample_weight=w))
    assert measured("accuracy", y, p, w) == pytest.approx(oracle.accuracy_score(y, p >= 0.5, sample_weight=w))


@pytest.mark.parametrize("metric", METRICS_OF["yes_no"])
def test_nothing_to_measure_is_nan(metric: str) -> None:
    """No rows, or none of any weight; of AUC also labels of one kind."""
    none, one = np.zeros(0), np.ones(3)
    assert np.isnan(measured(metric, none, none, none))  # type: ignore[arg-type]
    assert np.isnan(measured(metric, one, one, np.zeros(3)))  # type: ignore[arg-type]
    assert np.isnan(measured("auc", one, one, one))


@pytest.mark.parametrize(("span_s", "blocks"), [(30 * 86_400, 30), (86_400, 24), (3_600, 60), (60, 1000)])
def test_blocks_are_as_long_as_there_are_enough_of_them(span_s: float, blocks: int) -> None:
    """Days, hours, minutes, and rows where nothing else is left."""
    found = blocks_of(np.arange(1000) * (span_s / 1000), 1000)
    assert (blocks, (np.diff(found) >= 0).all()) == (len(np.unique(found)), True)
    assert np.array_equal(np.arange(5), blocks_of(None, 5))


def test_a_bound_holds_as_often_as_it_says() -> None:
    """Of a mean of rows that come in blocks of like ones: 90 % of the bounds lie below it, where single rows would give far fewer."""
    generator = np.random.default_rng(5)
    blocks, ones, held, naive = np.repeat(np.arange(40), 25), np.ones(1000), 0, 0
    for _ in range(150):
        values = np.repeat(generator.normal(size=40), 25) + 0.1 * generator.normal(size=1000)
        mean = lambda w, values=values: float(values @ w / w.sum())  # noqa: E731
        held += lower_bound(resampled(mean, ones, blocks, draws(blocks, repeats=200, generator=generator)), 0.9) < 0
        rows = np.arange(1000)
        naive += lower_bound(values[generator.integers(0, 1000, (200, 1000))].mean(axis=1), 0.9) < 0 if len(rows) else 0
    assert 0.83 <= held / 150 <= 0.96
    assert naive / 150 < 0.75


def test_the_generator_decides_the_draws() -> None:
    """The same seed gives the same bound; each draw has as many blocks as there are."""
    blocks = np.repeat(np.arange(30), 3)
    first, second = (draws(blocks, repeats=50, generator=np.random.default_rng(3)) for _ in range(2))
    assert np.array_equal(first, second)
    assert (first.sum(axis=1) == 30).all()
    assert lower_bound(np.array([np.nan, np.nan]), 0.95) == -np.inf
