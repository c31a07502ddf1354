"""Calls of equal batch size: against whole numbers, and false alarms where batches differ, beside a comparison that ignores them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import odds, strata
from tests import naive_rollouts as naive

CALLS = st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0, math.inf]), st.booleans(), st.integers(0, 2)), max_size=300)
EDGES, PSI = np.array([1.0, 2.5]), np.array([0.25, 1.0, 2.0, 9.0])
MARGIN = 0.02


class Blocks:
    def __init__(self, edges=EDGES, psi=PSI):
        self.open = (np.zeros((strata.STRATA, strata.BLOCK)), np.zeros((strata.STRATA, strata.BLOCK), np.bool_),
                     np.zeros(strata.STRATA, np.int64))  # fmt: skip
        self.hits, self.mass, self.capital = (
            np.zeros(shape) for shape in (len(edges), (len(edges), len(psi)), (len(edges), strata.STAKES))
        )
        self.state = (edges, np.log(psi), MARGIN, self.hits, self.mass, self.capital)

    def add(self, values, ours, where):
        strata.add_calls(np.asarray(values, np.float64), np.asarray(ours, np.bool_), np.asarray(where, np.int64), *self.open, *self.state)

    def log_ratio(self, edge, point, against=1):
        log_psi = self.state[1]
        return self.hits[edge] * (log_psi[point] - log_psi[against]) - (self.mass[edge, point] - self.mass[edge, against])


@settings(max_examples=60)
@given(CALLS, st.integers(0, 300))
def test_full_blocks_count_as_the_definition_says(calls, cut) -> None:
    """Likelihood ratios of four odds at two edges, in one go or two; calls in open blocks do not count yet."""
    blocks = Blocks()
    for part in (calls[:cut], calls[cut:]):
        if part:
            blocks.add(*zip(*part, strict=True))
    for edge, value in enumerate(EDGES):
        for point, psi in enumerate(PSI):
            expected = naive.log_blocks(calls, strata.BLOCK, value, psi)
            assert expected == pytest.approx(blocks.log_ratio(edge, point), abs=1e-8)
        capital = naive.log_capitals(calls, strata.BLOCK, value, MARGIN)
        assert capital == pytest.approx(blocks.capital[edge].tolist(), abs=1e-8)


@settings(max_examples=60)
@given(st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.booleans(), st.just(1)), min_size=2, max_size=63))
def test_a_block_that_is_closed_early_counts_as_it_is(calls) -> None:
    """And is empty afterwards."""
    blocks = Blocks()
    blocks.add(*zip(*calls, strict=True))
    for _ in range(2):
        strata.close_blocks(*blocks.open, *blocks.state)
        for point, psi in enumerate(PSI):
            expected = naive.log_block([value for value, _, _ in calls], [mine for _, mine, _ in calls], 2.5, psi)
            assert expected == pytest.approx(blocks.log_ratio(1, point), abs=1e-8)


def test_strata_are_exact_for_small_batches_and_eight_to_a_doubling_for_large_ones() -> None:
    """1 to 16 each for itself; 0 rows, of a call that never ran, is with 1; the largest are together."""
    rows = np.array([0, 1, 2, 16, 17, 18, 32, 64, 1 << 30], np.uint32)
    assert [0, 0, 1, 15, 16, 17, 24, 32, 95] == strata.strata_of(rows).tolist()


def confounded(random, calls, *, w, slower=1.0):
    """Latencies that grow with the batch; the arm with fewer calls has smaller batches, and load moves all of them."""
    ours = random.random(calls) < w
    load = 20 + 15 * np.sin(np.arange(calls) / 2000)
    rows = 1 + random.poisson(load * np.where(ours, w, 1 - w))
    latency = (1.0 + 0.05 * rows) * np.exp(0.25 * random.standard_normal(calls)) * np.where(ours, slower, 1.0)
    return latency, ours, rows.astype(np.uint32)


def stratified(latency, ours, rows, edge):
    """The greatest ln E over looks every 500 calls."""
    points = np.concatenate(([1.0], odds.above(1.0)))
    blocks, top = Blocks(np.array([edge]), points), 0.0
    where = strata.strata_of(rows)
    for start in range(0, len(latency), 500):
        part = slice(start, start + 500)
        blocks.add(latency[part], ours[part], where[part])
        top = max(top, np.log(np.mean(np.exp([blocks.log_ratio(0, point, 0) for point in range(1, len(points))]))))
    return top


def unstratified(latency, ours, edge, w):
    """The same of the odds of all calls, by the weight alone."""
    above, top = latency > edge, 0.0
    a, b = np.cumsum(above & ours).astype(float), np.cumsum(above & ~ours).astype(float)
    for at in range(499, len(latency), 500):
        top = max(top, odds.log_odds(a[at : at + 1], b[at : at + 1], np.zeros(1), np.array([w]), odds.above(1.0), 1.0))
    return top


def test_a_candidate_in_larger_batches_is_not_called_slow_and_without_strata_always_is() -> None:
    """75 % of the calls: α = 5 %, 200 rollouts of 6,000 calls."""
    random, found = np.random.default_rng(8), []
    for _ in range(200):
        latency, ours, rows = confounded(random, 6000, w=0.75)
        found.append((stratified(latency, ours, rows, 2.2), unstratified(latency, ours, 2.2, 0.75)))
    alarms = (np.array(found) >= math.log(20)).mean(axis=0)
    assert alarms[0] <= 0.05
    assert alarms[1] >= 0.9


def test_a_slower_candidate_in_smaller_batches_is_found_and_without_strata_is_not() -> None:
    """A tenth of the calls, a fifth slower at equal batch sizes, faster over all."""
    random, found = np.random.default_rng(9), []
    for _ in range(40):
        latency, ours, rows = confounded(random, 20_000, w=0.1, slower=1.2)
        found.append((stratified(latency, ours, rows, 1.6), unstratified(latency, ours, 1.6, 0.1)))
        assert np.median(latency[ours]) < np.median(latency[~ours])
    alarms = (np.array(found) >= math.log(20)).mean(axis=0)
    assert alarms[0] >= 0.9
    assert 0.0 == alarms[1]


def certified(random, *, excess, calls=30_000):
    """The greatest ln E against "2 points more calls above the edge", of a candidate with so much more, a tenth of the calls."""
    ours, rows = random.random(calls) < 0.1, 1 + random.integers(0, 4, calls).astype(np.uint32)
    slow = random.random(calls) < 0.01 * rows + excess * ours
    blocks, top, where = Blocks(np.array([0.5])), 0.0, strata.strata_of(rows)
    for start in range(0, calls, 500):
        part = slice(start, start + 500)
        blocks.add(slow[part], ours[part], where[part])
        top = max(top, np.log(np.mean(np.exp(blocks.capital[0]))))
    return top


def test_a_difference_below_the_margin_is_certified_and_one_at_it_is_not() -> None:
    """α = 5 %, 200 rollouts of 30,000 calls in four strata with rates of their own."""
    random = np.random.default_rng(10)
    found = {excess: np.mean([certified(random, excess=excess) >= math.log(20) for _ in range(200)]) for excess in (0.02, 0.0)}
    assert found[0.02] <= 0.05
    assert found[0.0] >= 0.5
