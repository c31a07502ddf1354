"""Divergences of counts: against numpy and scipy on the same bins, and against the values behind the bins within documented bounds."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.spatial.distance import jensenshannon
from scipy.special import rel_entr

from kernels import divergence
from tests import naive

COUNT = st.integers(0, 20) | st.integers(0, 10**9) | st.floats(0, 1e6).map(lambda x: round(x, 3))


@st.composite
def pairs(draw, least=1, most=40):
    """Live and reference counts of the same bins, each with at least one row."""
    bins = draw(st.integers(least, most))
    sides = [draw(st.lists(COUNT, min_size=bins, max_size=bins)) for _ in range(2)]
    for side in sides:
        side[draw(st.integers(0, bins - 1))] += draw(st.integers(1, 50))
    return tuple(np.array(side, np.float64) for side in sides)


def proportions(n, c):
    return n / n.sum(), c / c.sum()


@settings(max_examples=500)
@given(pairs())
def test_psi_and_kl_are_scipys_of_smoothed_proportions(pair) -> None:
    """1e-12, with empty bins on either side; PSI is the sum of both directions and of its terms."""
    n, c = pair
    q, p = map(np.array, naive.smoothed(n, c))
    forward, backward = stats.entropy(q, p), stats.entropy(p, q)
    assert forward == pytest.approx(divergence.kl(n, c), abs=1e-12, rel=1e-12)
    assert forward + backward == pytest.approx(divergence.psi(n, c), abs=1e-12, rel=1e-12)
    assert divergence.psi(n, c) == pytest.approx(divergence.psi_terms(n, c).sum(), abs=1e-12)


@settings(max_examples=500)
@given(pairs())
def test_distances_are_those_of_numpy_and_scipy(pair) -> None:
    """Jensen-Shannon in bits, Hellinger, total variation, L∞ and KS, to 1e-12."""
    n, c = pair
    q, p = proportions(n, c)
    squared = (
        (rel_entr(p, (p + q) / 2) + rel_entr(q, (p + q) / 2)).sum() / 2 / math.log(2)
    )  # scipy's distance takes the root of noise below 0
    assert squared == pytest.approx(divergence.js_distance_bits(n, c) ** 2, abs=1e-12)
    assert np.linalg.norm(np.sqrt(p) - np.sqrt(q)) / math.sqrt(2) == pytest.approx(divergence.hellinger(n, c), abs=1e-12)
    assert np.abs(p - q).sum() / 2 == pytest.approx(divergence.total_variation(n, c), abs=1e-12)
    assert np.abs(p - q).max() == pytest.approx(divergence.l_infinity(n, c), abs=1e-12)
    assert np.abs(np.cumsum(p) - np.cumsum(q)).max() == pytest.approx(divergence.ks(n, c), abs=1e-12)


def test_jensen_shannon_is_exact_for_proportions_that_hardly_differ() -> None:
    """Where the textbook's sum of logarithms cancels to noise: 32 bins, one of which has a millionth more."""
    n = np.full(32, 1e9)
    c = n.copy()
    n[3] += 1e3
    q, p = proportions(n, c)
    assert math.sqrt(((p - q) ** 2 / (p + q)).sum() / 4 / math.log(2)) == pytest.approx(divergence.js_distance_bits(n, c), rel=1e-6)
    assert divergence.js_distance_bits(c, c) == 0.0
    few, many = np.array([3.0, 5.0, 0.0]), np.array([1.0, 0.0, 9.0])
    assert jensenshannon(*proportions(few, many), base=2) == pytest.approx(divergence.js_distance_bits(few, many), abs=1e-12)


@settings(max_examples=300)
@given(pairs(least=2))
def test_chi_squared_is_scipys_of_the_bins_that_are_not_empty(pair) -> None:
    """Of the 2 × K table, without a correction for continuity."""
    n, c = pair
    kept = n + c > 0
    expected = stats.chi2_contingency(np.array([n[kept], c[kept]]), correction=False).statistic
    assert expected == pytest.approx(divergence.chi_squared(n, c), rel=1e-9, abs=1e-9)


@settings(max_examples=300)
@given(pairs(least=3), st.data())
def test_wasserstein_is_scipys_with_the_mass_at_the_edges(pair, data) -> None:
    """The mean of the distances with each bin's mass at its lower and at its upper edge, to 1e-12 of the range; tails add what they are."""
    n, c = pair
    c[0] = c[-1] = 0.0
    if c.sum() == 0:
        c[1] = 1.0
    steps = data.draw(st.lists(st.floats(0.01, 10), min_size=len(n) - 2, max_size=len(n) - 2))
    edges = np.concatenate(([-5.0], np.cumsum(steps) - 5.0))
    low = np.concatenate((edges[:1], edges[:-1], edges[-1:]))
    high = np.concatenate((edges[:1], edges[1:], edges[-1:]))
    expected = np.mean([stats.wasserstein_distance(at, at, n, c) for at in (low, high)])
    scale = edges[-1] - edges[0]
    assert expected == pytest.approx(divergence.wasserstein(n, c, edges, 0.0, 0.0), abs=1e-12 * scale)
    assert expected + 8.0 / n.sum() == pytest.approx(divergence.wasserstein(n, c, edges, 5.0, 3.0), abs=1e-12 * (scale + 8))


VALUE = st.floats(-100, 100).map(lambda x: round(x, 4)) | st.floats(-1e3, 1e3)


def binned(values, edges):
    """Counts below, in bins (edge, next edge], above."""
    at = np.searchsorted(edges, values, side="left")
    return np.bincount(at, minlength=len(edges) + 1).astype(np.float64)


def reference_edges(reference, bins):
    """Order statistics, the first one just below the least."""
    ordered = np.sort(reference)
    ranks = np.ceil(np.arange(1, bins + 1) * len(ordered) / bins).astype(int) - 1
    return np.concatenate(([np.nextafter(ordered[0], -np.inf)], np.unique(ordered[ranks])))


@settings(max_examples=700)
@given(st.lists(VALUE, min_size=2, max_size=150), st.lists(VALUE, min_size=1, max_size=150), st.integers(1, 16))
@example([1.0, 1.0], [1.0], 4)
@example([0.0, 1.0], [5.0, -5.0], 1)
def test_documented_bounds_hold_against_the_values_themselves(reference, live, bins) -> None:
    """KS: D_hist ≤ D ≤ D_hist + max(p_k, q_k). Wasserstein: within Σ width_k max(p_k, q_k)."""
    reference, live = np.array(reference), np.array(live)
    edges = reference_edges(reference, bins)
    n, c = binned(live, edges), binned(reference, edges)
    assert c[0] == c[-1] == 0
    assert c.sum() == len(reference)
    q, p = proportions(n, c)
    exact = stats.ks_2samp(reference, live, method="asymp").statistic if len(reference) > 1 else 0.0
    assert divergence.ks(n, c) - 1e-12 <= exact <= divergence.ks(n, c) + np.maximum(p, q).max() + 1e-12
    below, above = live[live < edges[0]], live[live > edges[-1]]
    found = divergence.wasserstein(n, c, edges, (edges[0] - below).sum(), (above - edges[-1]).sum())
    bound = (np.diff(edges) * np.maximum(p, q)[1:-1]).sum()
    assert abs(stats.wasserstein_distance(reference, live) - found) <= bound + 1e-9


@settings(max_examples=200)
@given(st.integers(1, 12), st.integers(0, 7), st.data())
def test_a_group_is_what_its_features_are_one_by_one(bins, padding, data) -> None:
    """With special slots and padding; KS without NaN, Wasserstein of finite values."""
    slots = bins + 5 + padding
    n, c = (np.array(data.draw(st.lists(COUNT, min_size=slots, max_size=slots)), np.float64).reshape(1, -1) for _ in range(2))
    edges = np.cumsum(np.full((1, bins + 3), 0.5), axis=1)
    out, tails = np.empty((1, 9)), np.array([[1.5], [2.5]])
    divergence.divergences(n, c, np.array([bins]), edges, tails, out)
    real = [*range(bins + 4), slots - 1]
    live, reference = n[0, real], c[0, real]
    expected = [getattr(divergence, name)(live, reference) for name in divergence.DIVERGENCES[: divergence.UNORDERED]]
    expected.append(divergence.ks(live[:-1].copy(), reference[:-1].copy()))
    expected.append(divergence.wasserstein(live[1:-2].copy(), reference[1:-2].copy(), edges[0, : bins + 1].copy(), 1.5, 2.5))
    assert expected == out[0].tolist()
    divergence.divergences_categorical(live, reference, out[0])
    assert expected[:7] == out[0, :7].tolist()
    assert np.isnan(out[0, 7:]).all()


@pytest.mark.parametrize("n", [[], [0.0], [3.0], [0.0, 0.0], [0.0, 7.0, 0.0]])
@pytest.mark.parametrize("full", [False, True])
def test_nothing_raises_and_nothing_is_no_difference(n, full) -> None:
    """No bins, one bin, no rows on either side, one value only."""
    live = np.array(n)
    reference = live.copy() if full else np.zeros(len(n))
    for name in divergence.DIVERGENCES[:8]:
        of_few_rows = 0.3 if full and name in {"psi", "kl"} else 1e-12  # half a row in an empty bin is much beside seven
        assert 0.0 <= getattr(divergence, name)(live, reference) <= of_few_rows
    edges = np.arange(max(len(n) - 1, 1), dtype=np.float64)
    if len(n) >= 2:
        assert 0.0 == divergence.wasserstein(live, reference, edges, 0.0, 0.0)


def test_the_interquartile_range_is_interpolated_in_bins() -> None:
    """Of a uniform distribution half its width; of a feature with one value nearly nothing; of no rows 0."""
    assert 2.0 == divergence.interquartile_range(np.full(8, 5.0), np.linspace(0.0, 4.0, 9))
    assert 1e-9 > divergence.interquartile_range(np.array([9.0]), np.array([np.nextafter(3.0, -np.inf), 3.0]))
    assert 0.0 == divergence.interquartile_range(np.zeros(3), np.arange(4.0))


def test_psi_has_its_null_mean() -> None:
    """Over 400 pairs of samples of one distribution in 20 bins, within five standard errors."""
    random = np.random.default_rng(5)
    share = np.full(20, 0.05)
    found = [divergence.psi(*(random.multinomial(rows, share).astype(np.float64) for rows in (4000, 10000))) for _ in range(400)]
    expected = divergence.psi_null_mean(20, 4000, 10000)
    assert abs(np.mean(found) - expected) < 5 * expected * math.sqrt(2 / 19 / 400)
    assert [math.inf, 0.0] == [divergence.psi_null_mean(20, 0, 10), divergence.psi_null_mean(1, 5, 5)]
