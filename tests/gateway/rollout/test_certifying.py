"""Confidence sequences of rates, and the units until they tell: against coverage, a slow oracle and the published table."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from gateway.rollout.certifying import lower, units_to_bound, units_to_certify, upper

# Units of both arms until Δ < 1 point at a base of 0.1 %, and Δ < ½ point at 0.5 %, by weight (simulated medians).
CERTIFIED = {0.05: (23_000, 144_000), 0.10: (11_700, 83_000), 0.25: (4_400, 41_000), 0.50: (2_200, 31_000)}


@pytest.mark.parametrize(("units", "expected"), [(200, 0.034), (1_000, 0.0077), (5_000, 0.0017), (20_000, 0.00046)])
def test_no_failures_bound_the_rate(units: int, expected: float) -> None:
    """At α = 0.025."""
    assert pytest.approx(expected, rel=0.01) == upper(0, units, 0.025)
    assert 0.0 == lower(0, units, 0.025)
    assert 1.0 == upper(units, units, 0.025)


@given(st.integers(1, 2_000), st.data(), st.sampled_from([0.001, 0.025, 0.2]))
def test_the_ends_are_where_the_evidence_reaches_the_level(units: int, data: st.DataObject, alpha: float) -> None:
    """ln of the beta-binomial mixture over the likelihood, by scipy."""
    hits = data.draw(st.integers(0, units))
    low, high = lower(hits, units, alpha), upper(hits, units, alpha)
    assert low <= hits / units <= high
    for end in (low, high):
        if 0.0 < end < 1.0:
            log_e = special.betaln(0.5 + hits, 0.5 + units - hits) - special.betaln(0.5, 0.5)
            log_e -= special.xlogy(hits, end) + special.xlog1py(units - hits, -end)
            assert math.isclose(-math.log(alpha), log_e, rel_tol=1e-5, abs_tol=1e-5)


@pytest.mark.parametrize("weight", CERTIFIED)
def test_units_to_certify_are_those_of_the_table(weight: float) -> None:
    """Within what its simulations are good for."""
    point = units_to_certify(stable=0.001, candidate=0.001, weight=weight, margin=0.01, alpha=0.05)
    half = units_to_certify(stable=0.005, candidate=0.005, weight=weight, margin=0.005, alpha=0.05)
    assert pytest.approx(CERTIFIED[weight], rel=0.15) == (point, half)


def test_half_of_simulated_rollouts_take_less() -> None:
    """Counts at their means are about the median of counts."""
    found = units_to_certify(stable=0.01, candidate=0.01, weight=0.25, margin=0.01, alpha=0.05)
    generator, enough = np.random.default_rng(3), 0
    ours = round(found / 4)
    for _ in range(400):
        a, b = generator.binomial(ours, 0.01), generator.binomial(3 * ours, 0.01)
        enough += upper(a, ours, 0.025) - lower(b, 3 * ours, 0.025) < 0.01
    assert 0.4 < enough / 400 < 0.6


def test_what_is_not_so_is_never_certified() -> None:
    """A candidate that is worse by the margin; a rate that is the bound."""
    assert math.inf == units_to_certify(stable=0.01, candidate=0.02, weight=0.5, margin=0.01, alpha=0.05)
    assert math.inf == units_to_bound(0.02, 0.02, alpha=0.05)


def test_a_rate_is_bounded_from_its_own_side() -> None:
    """The farther from the bound, the sooner; the number found is enough, and a little less is not."""
    assert units_to_bound(0.005, 0.02, alpha=0.05) < units_to_bound(0.01, 0.02, alpha=0.05)
    assert units_to_bound(0.2, 0.02, alpha=0.01) < units_to_bound(0.04, 0.02, alpha=0.01)
    below, beyond = units_to_bound(0.01, 0.02, alpha=0.05), units_to_bound(0.08, 0.02, alpha=0.05)
    assert upper(0.01 * below, below, 0.05) <= 0.02 < upper(0.0099 * below, 0.99 * below, 0.05)
    assert lower(0.08 * beyond, beyond, 0.05) >= 0.02 > lower(0.08 * 0.99 * beyond, 0.99 * beyond, 0.05)


def test_pairs_have_every_unit_in_both_arms() -> None:
    """So they are as good as twice as many units at even weights."""
    pairs = units_to_certify(stable=0.005, candidate=0.005, weight=1.0, margin=0.005, alpha=0.05)
    even = units_to_certify(stable=0.005, candidate=0.005, weight=0.5, margin=0.005, alpha=0.05)
    assert pytest.approx(even / 2, rel=0.01) == pairs
