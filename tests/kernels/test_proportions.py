"""Confidence sequences of proportions: against decimals, and how often they miss over all looks together."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import proportions
from tests import naive_rollouts as naive

LOG_20 = math.log(20)
ROWS = st.integers(1, 50) | st.integers(1, 10**6)


@given(ROWS, st.floats(0, 1), st.sampled_from([LOG_20, math.log(1000)]))
def test_bounds_are_where_the_mixture_reaches_the_level(rows, share, log_level) -> None:
    """In decimals of 50 digits, a little outside and a little inside."""
    hits = round(share * rows)
    low, high = proportions.proportion_bounds(float(hits), float(rows), log_level)
    assert 0 <= low <= hits / rows <= high <= 1
    for bound, outwards in ((low, -1), (high, 1)):
        room = min(bound, 1 - bound)
        if room > 1e-12:
            outside, inside = bound + outwards * 1e-3 * room, bound - outwards * 1e-3 * room
            assert naive.log_proportion(hits, rows, outside) >= Decimal(log_level)
            assert naive.log_proportion(hits, rows, inside) <= Decimal(log_level)


def test_bounds_of_no_rows_are_everything_and_of_no_hits_those_of_the_reference() -> None:
    """Zero failures in 200, 1,000, 5,000 and 20,000 at α = 2.5 %, upper side."""
    assert (0.0, 1.0) == proportions.proportion_bounds(0.0, 0.0, LOG_20)
    found = [proportions.proportion_bounds(0.0, float(rows), math.log(40))[1] for rows in (200, 1000, 5000, 20_000)]
    assert found == pytest.approx([0.034, 0.0077, 0.0017, 0.00046], rel=0.05)


@given(ROWS, st.floats(0, 1), ROWS, st.floats(0, 1))
def test_a_difference_is_bounded_by_both_with_half_of_alpha_each(rows, share, other_rows, other_share) -> None:
    """The lowest of the one against the highest of the other, and the other way."""
    hits, other_hits = float(round(share * rows)), float(round(other_share * other_rows))
    low, high = proportions.proportion_bounds(hits, float(rows), math.log(40))
    other_low, other_high = proportions.proportion_bounds(other_hits, float(other_rows), math.log(40))
    expected = (low - other_high, high - other_low)
    assert expected == pytest.approx(proportions.difference_bounds(hits, float(rows), other_hits, float(other_rows), LOG_20), abs=1e-12)


@given(st.lists(st.integers(0, 400), min_size=1, max_size=8), st.sampled_from([0.1, 0.5, 0.95, 0.99]))
def test_quantiles_lie_in_the_bins_that_are_not_excluded(counts, share) -> None:
    """Bin by bin, whether the quantile may lie in it."""
    expected = naive.quantile_interval(counts, share, LOG_20)
    assert expected == proportions.quantile_bins(np.array(counts, np.int64), share, LOG_20)


@pytest.mark.parametrize("p", [0.002, 0.05, 0.5])
def test_bounds_miss_in_at_most_alpha_of_all_streams_over_all_looks(p) -> None:
    """α = 5 %, 400 streams of 2,000, looked at after each."""
    random, missed = np.random.default_rng(3), 0
    for _ in range(400):
        hits = np.cumsum(random.random(2000) < p)
        looks = (proportions.proportion_bounds(float(hits[n - 1]), float(n), LOG_20) for n in range(1, 2001, 7))
        missed += any(not low <= p <= high for low, high in looks)
    assert missed / 400 <= 0.05


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_quantiles_are_missed_in_at_most_alpha_of_all_streams(share) -> None:
    """Uniform values in 50 bins: the quantile's bin is known."""
    random, missed = np.random.default_rng(4), 0
    truth = math.ceil(share * 50) - 1
    for _ in range(200):
        counts = np.zeros(50, np.int64)
        bins = random.integers(0, 50, 1000)
        bad = False
        for start in range(0, 1000, 20):
            counts += np.bincount(bins[start : start + 20], minlength=50)
            first, last = proportions.quantile_bins(counts, share, LOG_20)
            bad |= not first <= truth <= last
        missed += bad
    assert missed / 200 <= 0.05
