"""What is computed of rows of probabilities, against plain loops."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernels.predictions import count_scores, entropies, margins
from registry import columns
from tests import naive

PROBABILITIES = arrays.arrays(
    st.sampled_from((np.float32, np.float64)),
    st.tuples(st.integers(0, 9), st.integers(0, 5)),
    elements=st.floats(0, 1, width=32) | st.just(math.nan),
)


def same(expected: float, actual: float, *, within: float = 1e-12) -> bool:
    return (math.isnan(expected) and math.isnan(actual)) or expected == pytest.approx(actual, rel=within, abs=1e-12)


@settings(max_examples=500)
@given(PROBABILITIES)
@example(np.array([[1.0, 0.0], [0.5, 0.5]], np.float32))
def test_margins_and_entropies_are_those_of_plain_loops(rows: np.ndarray) -> None:
    """Also of a single number, of rows with NaN and of rows with nothing. Entropies are rounded to float32."""
    found, nats = np.empty(len(rows)), np.empty(len(rows))
    margins(rows, found)
    entropies(rows, nats)
    for row, margin, entropy in zip(rows.tolist(), found.tolist(), nats.tolist(), strict=True):
        assert same(naive.margin(row), margin)
        assert math.isnan(naive.entropy(row)) == math.isnan(entropy)
        assert math.isnan(entropy) or naive.entropy(row) == pytest.approx(entropy, rel=2**-23, abs=1e-12)


@settings(max_examples=500)
@given(PROBABILITIES.filter(lambda rows: rows.shape[1] > 1))
@example(np.array([[share, 1 - share] for share in np.linspace(0, 1, 4_001)], np.float32))
def test_the_reference_has_the_same_numbers(rows: np.ndarray) -> None:
    """Equal to the last bit, though the profile's come from another library's logarithm: they are edges of bins there."""
    found, nats = np.empty(len(rows)), np.empty(len(rows))
    margins(rows, found)
    entropies(rows, nats)
    assert np.array_equal(columns.margins(rows), found, equal_nan=True)
    assert np.array_equal(columns.entropies(rows), nats, equal_nan=True)


def test_numbers_that_are_no_probabilities_do_no_harm() -> None:
    """Infinite, negative and large ones give some number, or NaN."""
    rows = np.array([[np.inf, np.inf], [-np.inf, -np.inf], [np.inf, 0.5], [-3.0, 7.0], [0.0, 0.0]])
    out = np.empty(5)
    margins(rows, out)
    assert [True, True, False, False, False] == np.isnan(out).tolist()
    assert [np.inf, 10.0, 0.0] == out[2:].tolist()
    entropies(rows, out)
    assert [-np.inf, 0.0, -np.inf] == out[:3].tolist()
    assert 0.0 == out[4]


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_scores_fall_into_equal_bins(kind: Any) -> None:
    """Each bin begins with its lower end; what is beyond 0 … 1 belongs to the outermost, NaN to none."""
    seed = np.random.default_rng(0)
    edges = np.linspace(0, 1, 1025)
    scores = np.concatenate(
        (seed.random(2000), edges, np.nextafter(edges, 0), [-1.0, 2.0, np.inf, -np.inf, np.nan, 1e300 if kind is np.float64 else 1e30])
    )
    values = np.stack((scores, -scores), axis=1).astype(kind)
    expected, counts = np.zeros(1024, np.int64), np.zeros(1024, np.int64)
    for value in values[:, 0].tolist():
        bin_ = naive.score_bin(value, 1024)
        if bin_ is not None:
            expected[bin_] += 1
    count_scores(values, 0, counts)
    assert expected.tolist() == counts.tolist()
    assert len(scores) - 1 == counts.sum()
