"""Mixes of classes: against fractions, whatever is known beforehand, and the promise while the mix moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels import mixes
from tests import naive_rollouts as naive

UNITS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.sampled_from([0.0, 0.05, 0.3, 0.5, 1.0])), max_size=40)


def run(units, counts, log_e=0.0, top=0.0):
    classes = np.array([k for k, _, _ in units], np.int64)
    ours = np.array([mine for _, mine, _ in units], np.bool_)
    return mixes.add_mix(classes, ours, np.array([w for _, _, w in units], np.float64), counts, log_e, top)


@given(UNITS, st.integers(0, 40))
def test_bets_are_the_definition_however_the_units_come(units, cut) -> None:
    """In two calls or one; the greatest is that of any moment."""
    counts = np.zeros((2, 4), np.int64)
    log_e, top = run(units[:cut], counts)
    log_e, top = run(units[cut:], counts, log_e, top)
    path = naive.mix_bets(units, 4)
    assert (path[-1] if path else 0.0, max([0.0, *path])) == pytest.approx((log_e, top), abs=1e-9)
    assert len(units) == counts.sum()


def drifting(random, units, shift):
    """Units of three classes whose mix moves, through two weights; the candidate has `shift` more of the last class."""
    moment = np.arange(units) / units
    third = 0.2 + 0.3 * np.sin(3 * moment)
    weights = np.where(moment < 0.5, 0.05, 0.3)
    ours = random.random(units) < weights
    last = random.random(units) < third + shift * ours
    return np.where(last, 2, random.integers(0, 2, units)).astype(np.int64), ours, weights


def test_the_same_mixes_are_hardly_ever_called_different_and_others_are() -> None:
    """E ≥ 20 in at most 5 % of 400 streams of 4,000 units; ten points are found in most of them."""
    random, found = np.random.default_rng(5), {}
    for shift in (0.0, 0.1):
        tops = [mixes.add_mix(*drifting(random, 4000, shift), np.zeros((2, 3), np.int64), 0.0, 0.0)[1] for _ in range(400)]
        found[shift] = np.mean(np.array(tops) >= math.log(20))
    assert found[0.0] <= 0.05
    assert found[0.1] >= 0.6


def test_the_distance_is_that_of_shares_beside_what_chance_makes() -> None:
    """Of equal mixes about as much as chance alone; NaN where an arm has no units."""
    distance, chance = mixes.total_variation(np.array([[50, 50], [80, 20]]))
    assert 0.3 == pytest.approx(distance)
    assert chance < 0.1
    assert all(math.isnan(value) for value in mixes.total_variation(np.array([[5, 5], [0, 0]])))
    random = np.random.default_rng(6)
    same = [mixes.total_variation(random.multinomial(500, [0.3, 0.7], size=2)) for _ in range(300)]
    assert np.mean([distance for distance, _ in same]) == pytest.approx(np.mean([chance for _, chance in same]), rel=0.15)
