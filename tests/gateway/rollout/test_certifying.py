"""Units until confidence sequences tell: against simulations and the published table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.rollout.certifying import units_to_bound, units_to_certify
from kernels.proportions import difference_bounds, proportion_bounds

TWENTIETH, HUNDREDTH = math.log(20.0), math.log(100.0)
# Units of both arms until Δ < 1 point at a base of 0.1 %, and Δ < ½ point at 0.5 %, by weight (simulated medians).
CERTIFIED = {0.05: (23_000, 144_000), 0.10: (11_700, 83_000), 0.25: (4_400, 41_000), 0.50: (2_200, 31_000)}


@pytest.mark.parametrize("weight", CERTIFIED)
def test_units_to_certify_are_those_of_the_table(weight: float) -> None:
    """Within what its simulations are good for."""
    point = units_to_certify(stable=0.001, candidate=0.001, weight=weight, margin=0.01, log_level=TWENTIETH)
    half = units_to_certify(stable=0.005, candidate=0.005, weight=weight, margin=0.005, log_level=TWENTIETH)
    assert pytest.approx(CERTIFIED[weight], rel=0.15) == (point, half)


def test_half_of_simulated_rollouts_take_less() -> None:
    """Counts at their means are about the median of counts."""
    found = units_to_certify(stable=0.01, candidate=0.01, weight=0.25, margin=0.01, log_level=TWENTIETH)
    generator, enough = np.random.default_rng(3), 0
    ours = round(found / 4)
    for _ in range(400):
        a, b = generator.binomial(ours, 0.01), generator.binomial(3 * ours, 0.01)
        enough += difference_bounds(float(a), float(ours), float(b), 3.0 * ours, TWENTIETH)[1] < 0.01
    assert 0.4 < enough / 400 < 0.6


def test_what_is_not_so_is_never_certified() -> None:
    """A candidate that is worse by the margin; a rate that is the bound."""
    assert math.inf == units_to_certify(stable=0.01, candidate=0.02, weight=0.5, margin=0.01, log_level=TWENTIETH)
    assert math.inf == units_to_bound(0.02, 0.02, log_level=TWENTIETH)


def test_a_rate_is_bounded_from_its_own_side() -> None:
    """The farther from the bound, the sooner; the number found is enough, and a little less is not."""
    assert units_to_bound(0.005, 0.02, log_level=TWENTIETH) < units_to_bound(0.01, 0.02, log_level=TWENTIETH)
    assert units_to_bound(0.2, 0.02, log_level=HUNDREDTH) < units_to_bound(0.04, 0.02, log_level=HUNDREDTH)
    below, beyond = units_to_bound(0.01, 0.02, log_level=TWENTIETH), units_to_bound(0.08, 0.02, log_level=TWENTIETH)
    assert proportion_bounds(0.01 * below, below, TWENTIETH)[1] <= 0.02 < proportion_bounds(0.0099 * below, 0.99 * below, TWENTIETH)[1]
    assert proportion_bounds(0.08 * beyond, beyond, TWENTIETH)[0] >= 0.02 > proportion_bounds(0.0792 * beyond, 0.99 * beyond, TWENTIETH)[0]


def test_pairs_have_every_unit_in_both_arms() -> None:
    """So they are as good as twice as many units at even weights."""
    pairs = units_to_certify(stable=0.005, candidate=0.005, weight=1.0, margin=0.005, log_level=TWENTIETH)
    even = units_to_certify(stable=0.005, candidate=0.005, weight=0.5, margin=0.005, log_level=TWENTIETH)
    assert pytest.approx(even / 2, rel=0.01) == pairs
