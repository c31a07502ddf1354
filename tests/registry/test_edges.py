"""Bins of numeric features: where they are cut, and that every value has exactly one slot."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.edges import bins_worth, cut, moments_of, slots_of
from registry.profile import BELOW, FIRST_BIN, MAX_BINS, MINUS_INF

DTYPES = [np.float16, np.float32, np.float64]


def counted(values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Edges, atoms and the count of every slot."""
    edges, atoms = cut(values)
    return edges, atoms, np.bincount(slots_of(values, edges), minlength=len(edges) + 4)


def naive_slot(value: float, edges: np.ndarray) -> int:
    """By the definition in `profile.Numeric`, one comparison after the other."""
    bins = len(edges) - 1
    if np.isnan(value):
        return FIRST_BIN + bins + 2
    if np.isinf(value):
        return MINUS_INF if value < 0 else FIRST_BIN + bins + 1
    if value <= edges[0]:
        return BELOW
    return next((FIRST_BIN + k for k in range(bins) if edges[k] < value <= edges[k + 1]), FIRST_BIN + bins)


def test_few_independent_rows_are_cut_into_few_bins() -> None:
    """Three to a bin, from 8 bins to as many as are asked for."""
    assert [8, 8, 14, 31, 32, 32, 4] == [bins_worth(rows) for rows in (1, 23.5, 44, 95, 96, 26_398)] + [bins_worth(1e6, most=4)]


@pytest.mark.parametrize("dtype", DTYPES)
def test_edges_are_inverted_cdf_quantiles(dtype: type) -> None:
    """Those of numpy, and the number next below the least."""
    values = np.random.default_rng(0).normal(size=5_000).astype(dtype)
    values = np.unique(values)[:640]  # no atoms
    edges, atoms = cut(np.random.default_rng(1).permutation(values))
    expected = np.quantile(values, np.arange(1, 33) / 32, method="inverted_cdf")
    np.testing.assert_array_equal(np.concatenate([[np.nextafter(values[0], dtype(-np.inf))], expected]), edges)
    assert (values.dtype, 0) == (edges.dtype, len(atoms))
    assert [20] * 32 == np.bincount(slots_of(values, edges))[FIRST_BIN : FIRST_BIN + 32].tolist()


def test_a_heavy_value_has_a_bin_of_its_own() -> None:
    """Zeros of a zero-inflated feature; what is left is cut as without them."""
    values = np.concatenate([np.zeros(500), np.random.default_rng(0).exponential(size=500)]).astype(np.float32)
    edges, atoms, counts = counted(values)
    assert [0] == atoms.tolist()
    assert [np.nextafter(np.float32(0), np.float32(-1)), 0] == edges[:2].tolist()
    assert 500 == counts[FIRST_BIN]
    assert {16, 17} == set(counts[FIRST_BIN + 1 : -3].tolist())


def test_between_heavy_values_lies_what_was_never_seen() -> None:
    """1.5 is neither 1 nor 2."""
    edges, atoms, counts = counted(np.repeat(np.array([1, 2], np.float64), 50))
    assert ([0, 2], [50, 0, 50]) == (atoms.tolist(), counts[FIRST_BIN:-3].tolist())
    assert [FIRST_BIN, FIRST_BIN + 1, FIRST_BIN + 2] == slots_of(np.array([1.0, 1.5, 2.0]), edges).tolist()


def test_a_forced_value_has_a_bin_where_it_lies_among_the_others() -> None:
    """However few have it; outside of the range it is below or above."""
    values = np.arange(1_000, dtype=np.float64)
    edges, atoms = cut(values, forced=500.0)
    assert [(np.nextafter(500.0, 0), 500.0)] == [(edges[atom], edges[atom + 1]) for atom in atoms]
    assert [] == cut(values, forced=-999.0)[1].tolist()


@pytest.mark.parametrize(
    ("values", "edges", "counts"),
    [
        ([np.nan] * 3, [-5e-324, 0.0], [0, 0, 0, 0, 0, 3]),
        ([np.inf, -np.inf, -np.inf], [-5e-324, 0.0], [2, 0, 0, 0, 1, 0]),
        ([7.0], [np.nextafter(7.0, 0), 7.0], [0, 0, 1, 0, 0, 0]),
        ([7.0] * 9, [np.nextafter(7.0, 0), 7.0], [0, 0, 9, 0, 0, 0]),
        ([-0.0, 0.0], [-5e-324, 0.0], [0, 0, 2, 0, 0, 0]),
        ([np.finfo(np.float64).min] * 2, [-5e-324, 0.0], [0, 2, 0, 0, 0, 0]),
        ([np.finfo(np.float64).max], [np.nextafter(np.finfo(np.float64).max, 0), np.finfo(np.float64).max], [0, 0, 1, 0, 0, 0]),
    ],
)
def test_columns_that_say_little(values: list[float], edges: list[float], counts: list[int]) -> None:
    """Nothing finite, one value, the ends of the range: finite ascending edges all the same."""
    found, _, counted_ = counted(np.array(values))
    assert (edges, counts) == (found.tolist(), counted_.tolist())


@settings(max_examples=500)
@given(
    st.sampled_from([32, 64]).flatmap(
        lambda width: st.tuples(st.just(width), st.lists(st.floats(width=width) | st.sampled_from([0.0, 1.0, 2.0, np.nan]), max_size=80))
    )
)
def test_every_value_has_the_slot_of_the_definition(drawn: tuple[int, list[float]]) -> None:
    """Of the reference and of anything else; edges ascend, are finite and exact in the datatype, and atoms hold one value."""
    width, given_values = drawn
    values = np.array(given_values, np.dtype(f"float{width}"))
    edges, atoms = cut(values)
    assert np.isfinite(edges).all()
    assert (np.diff(edges.astype(np.float64)) > 0).all()
    assert 1 <= len(edges) - 1 <= MAX_BINS
    assert values.dtype == edges.dtype
    with np.errstate(over="ignore"):
        above = np.nextafter(edges, values.dtype.type(np.inf))
    probes = np.concatenate([values, edges, above, [np.nan, np.inf, -np.inf]]).astype(values.dtype)
    assert [naive_slot(value, edges) for value in probes] == slots_of(probes, edges).tolist()
    for atom in atoms:
        assert edges[atom] == np.nextafter(edges[atom + 1], values.dtype.type(-np.inf))


@settings(max_examples=200)
@given(st.lists(st.integers(0, 40), min_size=1, max_size=300))
def test_atoms_are_the_values_of_a_64th_of_the_rows(drawn: list[int]) -> None:
    """All of them and no others, and at least two rows."""
    values = np.array(drawn, np.float64)
    edges, atoms = cut(values)
    found, counts = np.unique(values, return_counts=True)
    assert found[(counts * 64 >= len(values)) & (counts >= 2)].tolist() == edges[np.array(atoms, int) + 1].tolist()


def test_moments() -> None:
    """Central, of the finite values, as two passes in float64 give them."""
    values = np.random.default_rng(0).gamma(2.0, size=2_000).astype(np.float32)
    exact = values.astype(np.longdouble)
    away = exact - exact.mean()
    expected = [float(exact.mean()), *(float((away**power).mean()) for power in (2, 3, 4))]
    np.testing.assert_allclose(moments_of(np.concatenate([values, np.array([np.nan, np.inf, -np.inf], np.float32)])), expected, rtol=1e-12)


@pytest.mark.parametrize("values", [[], [np.nan], [1.7e308, 1.7e308], [-1.7e308, 1.7e308], [1e200, -3e200]])
def test_moments_are_finite(values: list[float]) -> None:
    """Also where there is nothing, and where powers leave the range."""
    assert np.isfinite(moments_of(np.array(values))).all()
