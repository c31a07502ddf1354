"""Evidence: the logarithm to 1e-8 against decimals of 50 digits, its promise by simulation, and what it must not depend on."""

from __future__ import annotations

import itertools
import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import evidence
from tests import naive

LIVE = st.integers(0, 12) | st.integers(0, 100_000) | st.integers(0, 10**9)
GAPS = st.integers(0, 5) | st.integers(1, 30_000) | st.integers(1, 10**9)
TAU = st.sampled_from([1.0, 1.0, 2.75, 19.0, 300.0])


def counts(values):
    return np.array(values, np.float64)


def close(expected: Decimal, found: float) -> bool:
    """1e-8 absolute, while a double can hold that: beyond 1e6 nats to 14 digits."""
    return abs(expected - Decimal(found)) <= max(Decimal("1e-8"), Decimal("1e-14") * abs(expected))


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(LIVE, GAPS), max_size=12), TAU)
@example([(5, 5)], 1.0)
@example([(0, 1), (10**9, 10**9), (10**9 + 40_000, 10**9)], 1.0)
def test_test_a_is_the_definition_to_1e_8(bins, tau) -> None:
    """Any counts up to a thousand million, drifted or not, with bins that the reference has no gap in."""
    n, gaps = counts([live for live, _ in bins]), counts([gap for _, gap in bins])
    assert close(naive.log_any(n.tolist(), gaps.tolist(), tau), evidence.log_any(n, gaps, tau))


@pytest.mark.parametrize("rows", [1e4, 1e6, 1e9])
@pytest.mark.parametrize("tau", [1.0, 19.0])
def test_test_a_is_exact_where_hardly_anything_changed(rows, tau) -> None:
    """Live counts as chance makes them, 32 bins, where every term is 1e9 times the sum."""
    random = np.random.default_rng(int(rows))
    gaps = evidence.urn_gaps(random.multinomial(int(rows) // 2, np.full(32, 1 / 32)))
    n = counts([0, *random.multinomial(int(rows), np.full(32, 1 / 32)), 1])
    expected = naive.log_any(n.tolist(), gaps.tolist(), tau)
    assert abs(expected) < 400
    assert abs(expected - Decimal(evidence.log_any(n, gaps, tau))) < Decimal("1e-8")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(LIVE, GAPS), min_size=2, max_size=6), st.sampled_from([0.002, 0.05, 0.125]), TAU)
@example([(10, 0), (0, 7)], 0.05, 1.0)
@example([(10**9, 10**9), (10**9 + 40_000, 10**9)], 0.05, 1.0)
@example([(480_956_311, 3), (9, 28_917), (6, 553_851_671)], 0.002, 300.0)  # a small ball, far away
def test_test_b_is_the_definition_to_1e_8(bins, epsilon, tau) -> None:
    """The bisection is over another quantity there. Slots that the reference does not know take part."""
    n, reference = counts([live for live, _ in bins]), counts([gap for _, gap in bins])
    if reference.sum() == 0:
        reference[0] = 1.0
    found = evidence.log_tolerance(n, reference, epsilon, tau)
    assert close(naive.log_tolerance(n.tolist(), reference.tolist(), epsilon, tau), found)


@settings(max_examples=200, deadline=None)
@given(LIVE, LIVE, st.floats(1e-6, 0.999))
def test_the_test_of_a_rate_is_the_definition_to_1e_8(hits, others, limit) -> None:
    """Beta against the likeliest rate that is allowed."""
    expected = naive.log_rate(hits, hits + others, limit) if hits + others else Decimal(0)
    assert close(expected, evidence.log_rate(hits, hits + others, limit, 1.0))


def test_a_rate_that_is_allowed_never_speaks_and_one_above_does() -> None:
    """Only an excess; a limit of everything forbids nothing; a rate that may not occur at all is refuted by one."""
    assert all(evidence.log_rate(hits, 1000.0, 0.05, 1.0) < 0 for hits in (0.0, 10.0, 50.0))
    assert evidence.log_rate(100.0, 1000.0, 0.05, 1.0) > math.log(20)
    assert [0.0, math.inf, 0.0] == [
        evidence.log_rate(5.0, 5.0, 1.0, 1.0), evidence.log_rate(1.0, 5.0, 0.0, 1.0), evidence.log_rate(0.0, 0.0, 0.1, 1.0),
    ]  # fmt: skip


def test_evidence_is_the_product_of_predictions_in_any_order() -> None:
    """Row by row, each prior's odds for the next bin or group over the urn's; every order of the rows gives what the counts give."""
    gaps, rows = [300.0, 200.0, 400.0], [0, 0, 2, 1, 0]
    products = set()
    for order in itertools.permutations(rows):
        seen, log_e = [0, 0, 0], [0.0] * 7
        for row in order:
            # Three bins stay three in eight groups and in four; 1,000 rows would be surer than 900.
            for i, prior in enumerate([[0.5] * 3, *([size * gap / 900 for gap in gaps] for size in (100, 900, 30, 300, 30, 300))]):
                predicted = (prior[row] + seen[row]) / (sum(prior) + sum(seen))
                log_e[i] += math.log(predicted / ((gaps[row] + seen[row]) / (900 + sum(seen))))
            seen[row] += 1
        products.add(round(evidence.log_mean_exp(np.array(log_e)), 10))
    assert products == {round(evidence.log_any(counts([3, 1, 1]), counts(gaps), 1.0), 10)}


def test_rows_more_alike_than_chance_makes_them_are_no_evidence() -> None:
    """Live counts in exactly the proportions of a small reference, as large as they may be: E never exceeds 1."""
    for mass in (30.0, 200.0, 5000.0):
        gaps = np.full(32, mass / 32)
        assert all(evidence.log_any(gaps * times, gaps, 1.0) <= 1e-9 for times in (0.1, 1.0, 10.0, 1e4))


@settings(max_examples=100)
@given(st.lists(st.tuples(st.integers(0, 500), st.integers(1, 500)), min_size=2, max_size=10), st.randoms(use_true_random=False))
def test_the_order_of_bins_is_nothing_but_to_groups(bins, random) -> None:
    """Test B does not know which bin is which; test A knows no more than their order, which may be reversed."""
    shuffled = list(bins)
    random.shuffle(shuffled)
    (n, c), (m, d) = ([counts(side) for side in zip(*order, strict=True)] for order in (bins, shuffled))
    backwards = evidence.log_any(n[::-1].copy(), c[::-1].copy(), 1.0)
    if all(float(groups * (c[:k].sum() + c[k] / 2) / c.sum()) % 1 for groups in (4, 8) for k in range(len(c))):  # no middle on a border
        assert evidence.log_any(n, c, 1.0) == pytest.approx(backwards, abs=1e-9)
    assert evidence.log_tolerance(n, c, 0.05, 1.0) == pytest.approx(evidence.log_tolerance(m, d, 0.05, 1.0), abs=1e-9)


def streams(random, *, count, looks, each, reference, bins, shift=0.0):
    """Per stream: gaps of a fresh reference, and cumulative live counts at every look [looks, bins + 2]."""
    for _ in range(count):
        ordered = np.sort(random.normal(size=reference))
        edges = np.concatenate(([np.nextafter(ordered[0], -np.inf)], ordered[np.arange(1, bins + 1) * reference // bins - 1]))
        at = np.searchsorted(edges, random.normal(shift, 1.0, looks * each), side="left").reshape(looks, each)
        yield np.full(bins, reference / bins), np.array([np.bincount(row, minlength=bins + 2) for row in at]).cumsum(axis=0).astype(float)


def test_villes_bound_holds_while_everybody_looks() -> None:
    """400 clean streams, a small reference, looked at 60 times: alarms ever at α = 20 % in at most 20 %; a shift is found in nearly all."""
    random = np.random.default_rng(11)

    def alarms(shift):
        found = 0
        for reference, looks in streams(random, count=400, looks=60, each=50, reference=1000, bins=10, shift=shift):
            gaps = evidence.urn_gaps(reference)
            found += any(evidence.log_any(now, gaps, 1.0) >= math.log(5) for now in looks)
        return found / 400

    assert alarms(0.0) <= 0.2
    assert alarms(0.3) >= 0.95


def test_a_tolerated_change_is_silent_and_a_greater_one_is_not() -> None:
    """Test B of 0.05 nats beside live proportions at 0.04 and at 0.1 nats from the reference, at ever more rows."""
    rho = np.full(8, 0.125)

    def alarms(strength):
        theta = rho * np.exp(strength * np.linspace(-1, 1, 8))
        theta /= theta.sum()
        distance = float((rho * np.log(rho / theta)).sum())
        return distance, [evidence.log_tolerance(theta * rows, rho, 0.05, 1.0) >= math.log(20) for rows in (100, 10_000, 1_000_000, 1e9)]

    assert (pytest.approx(0.0386, abs=0.005), [False] * 4) == alarms(0.425)
    assert (pytest.approx(0.102, abs=0.01), [False, True, True, True]) == alarms(0.7)


def test_the_detector_is_the_sum_over_starts() -> None:
    """What was counted before a start is its reference; the strongest start says when the change was."""
    random = np.random.default_rng(3)
    gaps = evidence.urn_gaps(np.full(8, 250))
    quiet, changed = np.array([0, *[0.125] * 8, 0]), np.array([0, 0.08, 0.09, 0.1, 0.11, 0.13, 0.15, 0.16, 0.18, 0])
    windows = [random.multinomial(200, quiet if i < 12 else changed) for i in range(16)]
    cumulative = np.concatenate((np.zeros((1, 10)), np.cumsum(windows, axis=0)))
    kept = evidence.dyadic_starts(16)
    starts, now = cumulative[kept], cumulative[16]
    single = [float(naive.log_any((now - start).tolist(), np.where(gaps > 0, gaps + start, 0).tolist())) for start in starts]
    found, strongest = evidence.log_detector(starts, now, gaps, 1.0)
    assert np.logaddexp.reduce(single) == pytest.approx(found, abs=1e-8)
    assert kept[strongest] == 12
    out, which = np.empty(2), np.empty(2, np.int64)
    evidence.log_detector_each(np.stack([starts, starts]), np.stack([now, now]), np.stack([gaps, gaps]), np.array([1.0, 5.0]), out, which)
    assert [found, evidence.log_detector(starts, now, gaps, 5.0)[0]] == out.tolist()
    assert strongest == which[0]
    assert (-math.inf, -1) == evidence.log_detector(np.empty((0, 10)), now, gaps, 1.0)


def test_starts_are_dyadic_few_and_never_taken_up_again() -> None:
    """Every start kept was kept one window before, or is the newest; their ages double; a long history has at most fifteen."""
    before: list[int] = []
    for windows in range(1, 40_000):
        kept = evidence.dyadic_starts(windows)
        assert set(kept) <= {*before, windows - 1}
        assert len(kept) <= 15
        before = kept
    ages = [39_999 - start for start in before]
    assert ages[0] < 1 << evidence.LEVELS
    assert all(older <= 4 * younger + 2 for older, younger in itertools.pairwise(ages))


def test_features_in_one_call_are_what_they_are_one_by_one() -> None:
    """Padding is a slot without a gap, and negative in a reference of test B."""
    random = np.random.default_rng(2)
    n, gaps = random.integers(0, 99, (5, 8)).astype(float), random.integers(1, 99, (5, 8)).astype(float)
    tau, out = np.array([1.0, 2.0, 3.0, 1.0, 1.0]), np.empty(5)
    gaps[:, 6:] = 0.0
    evidence.log_any_each(n, gaps, tau, out)
    assert [evidence.log_any(n[i, :6].copy(), gaps[i, :6].copy(), tau[i]) for i in range(5)] == out.tolist()
    gaps[:, 6:] = -1.0
    evidence.log_tolerance_each(n, gaps, np.full(5, 0.05), tau, out)
    assert [evidence.log_tolerance(n[i, :6].copy(), gaps[i, :6].copy(), 0.05, tau[i]) for i in range(5)] == out.tolist()


@pytest.mark.parametrize("slots", [[], [0.0], [4.0], [0.0, 0.0], [9.0, 0.0]])
def test_nothing_raises(slots) -> None:
    """No slots, one, no rows, no reference: no evidence."""
    n, nothing = counts(slots), np.zeros(len(slots))
    assert [0.0, 0.0] == [evidence.log_any(n, nothing, 1.0), evidence.log_any(nothing, n, 1.0)]
    assert 0.0 == evidence.log_tolerance(n, nothing, 0.1, 1.0)


@settings(max_examples=300)
@given(st.lists(st.floats(-5, 20), max_size=30), st.sampled_from([0.01, 0.05, 0.2]))
def test_e_bh_is_the_greatest_number_that_passes(log_e, q) -> None:
    """Against trying every number."""
    assert naive.fallen(log_e, q) == evidence.e_bh(np.array(log_e), q).tolist()


def test_means_of_evidence() -> None:
    """In logarithms, without overflow; nothing at all is no evidence."""
    assert math.log(1.5) == pytest.approx(evidence.log_mean_exp(np.log([1.0, 2.0])))
    assert 5000.0 - math.log(2) == pytest.approx(evidence.log_mean_exp(np.array([5000.0, -math.inf])))
    assert [0.0, -math.inf] == [evidence.log_mean_exp(np.empty(0)), evidence.log_mean_exp(np.array([-math.inf]))]


def test_gaps_are_one_more_than_rows() -> None:
    """One below the least and one above the greatest; the first bin gives one up."""
    assert [1.0, 3.0, 5.0, 1.0] == evidence.urn_gaps(np.array([4, 5])).tolist()


def test_the_reference_lies_within_its_error() -> None:
    """KL of a sampled reference to the truth is beyond it in fewer than δ of 500 draws, and beyond a quarter of it in most."""
    random = np.random.default_rng(8)
    truth = np.full(32, 1 / 32)
    bound = evidence.reference_error(32, 5000, 0.05)
    shares = random.multinomial(5000, truth, 500) / 5000
    found = (shares * np.log(shares / truth)).sum(axis=1)
    assert (found > bound).mean() < 0.05
    assert (found > bound / 4).mean() > 0.5
