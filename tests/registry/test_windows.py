"""Clean windows: what they are scored by, and which hour they belong to."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pytest

from registry.windows import LEAST_ROWS, ROWS, Clean, hours_of_week


def naive_psi(live: np.ndarray, reference: np.ndarray) -> float:
    """reference/drift.md 2.2, with one row's worth of the reference."""
    p = (reference + 0.5) / (reference.sum() + 0.5 * len(reference))
    q = (live + p) / (live.sum() + 1)
    return float(((q - p) * np.log(q / p)).sum())


def test_scores_are_the_mean_psi_of_the_features() -> None:
    """Of each window beside all rows that are not in it."""
    generator = np.random.default_rng(0)
    features = [generator.integers(0, number, 20_250) for number in (4, 9)]
    clean = Clean(20_250, None)
    for feature, number in zip(features, (5, 9), strict=True):
        clean.add(feature, number)
    windows = clean.windows()
    assert windows is not None
    assert (ROWS, 40, {-1}) == (windows.rows, len(windows.scores), set(windows.hours))
    for window in (0, 39):
        inside = np.zeros(20_250, bool)
        inside[window * ROWS : (window + 1) * ROWS] = True
        expected = [
            naive_psi(np.bincount(feature[inside], minlength=number), np.bincount(feature[~inside], minlength=number))
            for feature, number in zip(features, (5, 9), strict=True)
        ]
        assert np.mean(expected) == pytest.approx(windows.scores[window], rel=1e-12)


@pytest.mark.parametrize(("rows", "size"), [(20 * LEAST_ROWS, LEAST_ROWS), (5_000, 250), (1_000_000, ROWS)])
def test_windows_of_smaller_references_are_smaller(rows: int, size: int) -> None:
    """So that there are twenty at least."""
    clean = Clean(rows, None)
    clean.add(np.zeros(rows, np.int64), 3)
    windows = clean.windows()
    assert windows is not None
    assert (size, rows // size) == (windows.rows, len(windows.scores))


def test_a_small_reference_has_none() -> None:
    """And one without features."""
    clean = Clean(20 * LEAST_ROWS - 1, None)
    clean.add(np.zeros(20 * LEAST_ROWS - 1, np.int64), 3)
    assert clean.windows() is None
    assert Clean(10_000, None).windows() is None


def test_the_hour_of_the_week_is_that_of_the_middle_row() -> None:
    """In UTC, from Monday on."""
    moments = [datetime(2024, 1, 1, 0, tzinfo=UTC), datetime(2024, 1, 7, 23, 59, tzinfo=UTC), datetime(1969, 12, 31, 23, tzinfo=UTC)]
    assert [0, 167, 2 * 24 + 23] == hours_of_week(np.array([moment.timestamp() for moment in moments])).tolist()
    start = datetime(2024, 1, 2, tzinfo=UTC).timestamp()
    clean = Clean(1_000, start + 60.0 * np.arange(1_000))
    clean.add(np.zeros(1_000, np.int64), 1)
    windows = clean.windows()
    assert windows is not None
    assert [24, 25, 26] == list(windows.hours[:3])
