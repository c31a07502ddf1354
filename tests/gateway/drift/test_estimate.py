"""Performance without labels, against raw scores one by one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drift.estimate import Table
from registry.profile import SCORE_BINS, Calibration
from tests.naive import estimated_accuracy, estimated_auc


def calibration(threshold: float = 0.5, errors: float = 0.0, *, seen: int = SCORE_BINS) -> Calibration:
    """A model that is too sure of itself: a score s is right less often than it says."""
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    return Calibration(
        port="y", element=0, threshold=threshold, positives=tuple((0.2 + 0.6 * middles).tolist()), errors=(errors,) * SCORE_BINS,
        counts=(10,) * seen + (0,) * (SCORE_BINS - seen), accuracy=0.8, auc=0.85,
    )  # fmt: skip


def binned(scores: np.ndarray) -> np.ndarray:
    return np.bincount(np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1), minlength=SCORE_BINS)


@given(st.integers(0, 10**6), st.floats(0.3, 5), st.floats(0.3, 5), st.sampled_from([0.25, 0.5, 0.3137]))
def test_bins_give_what_raw_scores_give(seed: int, a: float, b: float, threshold: float) -> None:
    """To less than a thousandth, whatever the distribution of scores."""
    scores, table = np.random.default_rng(seed).beta(a, b, size=2_000), calibration(threshold)
    found = Table(table).estimate(binned(scores))
    assert found.accuracy is not None
    assert found.auc is not None
    raw = scores.tolist()
    assert estimated_accuracy(raw, table.positives, threshold) == pytest.approx(found.accuracy.mid, abs=1e-3)
    assert estimated_auc(raw, table.positives) == pytest.approx(found.auc.mid, abs=1e-3)
    assert (2_000, 0.0) == (found.rows, found.unknown)


def test_the_bounds_hold_what_labels_would_say() -> None:
    """Accuracy and area of labels that are drawn as the table says lie within, 95 times of 100."""
    rng, table, inside = np.random.default_rng(7), calibration(), np.zeros(2)
    for _ in range(200):
        scores = rng.random(1_000)
        found = Table(table).estimate(binned(scores))
        labels = rng.random(1_000) < np.array(table.positives)[(scores * SCORE_BINS).astype(int)]
        assert found.accuracy is not None
        assert found.auc is not None
        accuracy = float(((scores >= 0.5) == labels).mean())
        above = scores[labels][:, None] > scores[~labels][None, :]
        inside += [found.accuracy.low <= accuracy <= found.accuracy.high, found.auc.low <= float(above.mean()) <= found.auc.high]
    assert (inside >= 0.91 * 200).all()


def test_the_calibration_s_own_error_widens_the_bounds() -> None:
    """Errors of pooled bins go together: many rows do not average them away."""
    scores = binned(np.random.default_rng(1).random(10**6))
    exact, vague = (Table(calibration(errors=errors)).estimate(scores).accuracy for errors in (0.0, 0.05))
    assert exact is not None
    assert vague is not None
    assert exact.mid == vague.mid
    assert vague.high - vague.low > exact.high - exact.low
    pooled = calibration(errors=0.05)
    flat = Calibration(**{name: getattr(pooled, name) for name in pooled.__struct_fields__} | {"positives": (0.7,) * SCORE_BINS})
    bounds = Table(flat).estimate(np.array([0] * 1000 + [10**6] * 24)).accuracy
    assert bounds is not None
    assert 2 * 1.96 * 0.05 == pytest.approx(bounds.high - bounds.low, rel=1e-3)


def test_no_scores_or_one_answer_give_no_number() -> None:
    """Rather than one that is wrong."""
    nothing = Table(calibration()).estimate(np.zeros(SCORE_BINS, np.int64))
    assert (0, None, None) == (nothing.rows, nothing.accuracy, nothing.auc)
    sure = Calibration(
        **{name: getattr(calibration(), name) for name in Calibration.__struct_fields__} | {"positives": (1.0,) * SCORE_BINS}
    )
    one = Table(sure).estimate(binned(np.array([0.9] * 50)))
    assert (None, 1.0) == (one.auc, one.accuracy.mid if one.accuracy else math.nan)


def test_scores_that_the_reference_did_not_have_are_counted() -> None:
    """Their share says how far the estimate is to be trusted."""
    found = Table(calibration(seen=SCORE_BINS // 2)).estimate(binned(np.array([0.1, 0.2, 0.3, 0.9])))
    assert 0.25 == found.unknown
