"""The sample ratio: against decimals, its promise, and that it finds what is lost."""

from __future__ import annotations

import math
from decimal import Decimal

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from kernels import assignment
from tests import naive_rollouts as naive

WEIGHTS = st.sampled_from([(0.95, 0.05), (0.75, 0.25), (0.5, 0.5), (0.0, 1.0), (1.0, 0.0)])


def log_e(counts, weights):
    return assignment.log_sample_ratio(np.array(counts, np.float64), np.array(weights, np.float64), assignment.CONCENTRATION)


@given(st.lists(st.tuples(WEIGHTS, st.integers(0, 10**6), st.integers(0, 10**6)), min_size=1, max_size=3))
def test_evidence_is_the_definition_to_1e_8(levels) -> None:
    """Levels with one arm only say nothing while only that arm has units."""
    counts = [[stable if w[0] else 0, ours if w[1] else 0] for w, stable, ours in levels]
    expected = naive.log_sample_ratio(counts, [w for w, _, _ in levels], 10_000)
    assert abs(expected - Decimal(log_e(counts, [w for w, _, _ in levels]))) <= max(Decimal("1e-7"), Decimal("1e-12") * abs(expected))


def test_a_unit_where_none_may_be_is_certain_evidence() -> None:
    """An arm without weight has no units."""
    assert math.inf == log_e([[100, 1]], [[1.0, 0.0]])


def test_honest_splits_are_hardly_ever_suspected_and_lossy_ones_always() -> None:
    """α = 0.1 %, 300 rollouts through three weights and with three arms; a tenth of the candidate's units lost at 25 %."""
    random, most, found = np.random.default_rng(2), [], []
    for weights in ([[0.95, 0.05], [0.75, 0.25], [0.5, 0.5]], [[0.6, 0.2, 0.2]]):
        for _ in range(300):
            counts = np.zeros((len(weights), len(weights[0])))
            top = 0.0
            for level, shares in enumerate(weights):
                for _ in range(20):
                    counts[level] += random.multinomial(200, shares)
                    top = max(top, log_e(counts, weights))
            most.append(top)
    for _ in range(50):
        ours = random.binomial(40_000, 0.25)
        found.append(log_e([[40_000 - ours, random.binomial(ours, 0.9)]], [[0.75, 0.25]]))
    assert np.mean(np.array(most) >= math.log(1000)) <= 0.005
    assert min(found) >= math.log(1000)
