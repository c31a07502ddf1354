"""How many events the odds test takes: against simulations of the test, and against the published table."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.rollout.passage import MOST_EVENTS, _border, events_needed
from kernels.odds import above, below, log_odds

# Failures until FAIL at E ≥ 100, by weight and ratio, and until PASS at E ≥ 20 for a ratio of 1, by weight and margin: medians of some
# hundred simulated rollouts each, so good to about a sixth.
FAILING = {
    0.05: {2: 302, 3: 94, 5: 31, 10: 12},
    0.10: {2: 188, 3: 56, 5: 21, 10: 9},
    0.50: {2: 87, 3: 36, 5: 17, 10: 13},
}
PASSING = {0.05: {1.25: 3374, 1.5: 696, 2.0: 212}, 0.10: {1.25: 1639, 1.5: 422, 2.0: 132}, 0.50: {1.25: 786, 1.5: 169, 2.0: 54}}


def simulated(weight: float, truth: float, tested: float, alternatives: np.ndarray, level: float, *, seed: int, most: int) -> float:
    """The median first passage of 4,000 rollouts, event by event, as the formula of E stands."""
    generator, share = np.random.default_rng(seed), weight * truth / (weight * truth + 1.0 - weight)
    ours = np.cumsum(generator.random((4_000, most)) < share, axis=1)
    events = np.arange(1, most + 1)
    log_e = np.full(ours.shape, -math.inf)
    for ratio in alternatives:
        fall = math.log((weight * ratio + 1.0 - weight) / (weight * tested + 1.0 - weight))
        log_e = np.logaddexp(log_e, ours * math.log(ratio / tested) - events * fall)
    over = log_e - math.log(len(alternatives)) >= math.log(level)
    return float(np.median(np.where(over.any(axis=1), over.argmax(axis=1) + 1, most + 1)))


@pytest.mark.parametrize(("weight", "ratio"), [(weight, ratio) for weight, row in FAILING.items() for ratio in row])
def test_events_to_a_failure_are_those_of_the_table(weight: float, ratio: float) -> None:
    """Within what its simulations are good for, and one step of a median that goes in steps of some events."""
    found = events_needed(weight, ratio, tested=1.0, alternatives=above(1.0), log_level=math.log(100.0))
    assert pytest.approx(FAILING[weight][int(ratio)], rel=0.15, abs=3.5) == found


@pytest.mark.parametrize(("weight", "margin"), [(weight, margin) for weight, row in PASSING.items() for margin in row])
def test_events_to_a_pass_are_those_of_the_table(weight: float, margin: float) -> None:
    """Of a candidate as good as stable."""
    found = events_needed(weight, 1.0, tested=margin, alternatives=below(margin), log_level=math.log(20.0))
    assert pytest.approx(PASSING[weight][margin], rel=0.185) == found


@pytest.mark.parametrize(
    ("weight", "truth", "tested", "level", "most"),
    [(0.1, 2.0, 1.0, 100.0, 800), (0.5, 3.0, 1.0, 300.0, 300), (0.05, 10.0, 2.0, 100.0, 120), (0.25, 1.0, 2.0, 40.0, 600),
     (0.5, 1.25, 2.0, 20.0, 600), (0.9, 0.5, 1.5, 20.0, 200)],
)  # fmt: skip
def test_the_median_is_that_of_simulated_rollouts(weight: float, truth: float, tested: float, level: float, most: int) -> None:
    """Both directions, any weight."""
    alternatives = above(tested) if truth > tested else below(tested)
    found = events_needed(weight, truth, tested=tested, alternatives=alternatives, log_level=math.log(level))
    assert pytest.approx(simulated(weight, truth, tested, alternatives, level, seed=7, most=most), rel=0.06, abs=2) == found


@pytest.mark.parametrize(("weight", "tested"), [(0.05, 1.0), (0.5, 1.25), (0.9, 4.0)])
def test_the_border_is_where_the_product_s_own_test_concludes(weight: float, tested: float) -> None:
    """So many of the candidate's are enough for `kernels.odds`, one fewer is not; where all are too few, none is."""
    looks, alternatives, level = np.arange(1, 400, 7), above(tested), math.log(100.0)
    rises = np.log(alternatives / tested)
    falls = np.log((weight * alternatives + 1.0 - weight) / (weight * tested + 1.0 - weight))

    def log_e(ours: int, events: int) -> float:
        counts = [np.array([float(count)]) for count in (ours, events - ours, 0, weight)]
        return float(log_odds(*counts, alternatives, tested))  # type: ignore[call-arg, arg-type]

    for events, least in zip(looks.tolist(), _border(looks, rises, falls, level).tolist(), strict=True):
        assert log_e(least - 1, events) < level
        assert least > events or log_e(least, events) >= level


def test_strides_between_looks_hardly_matter() -> None:
    """Thousands of events are carried in strides: the same as far as anybody cares."""
    found = events_needed(0.5, 1.0, tested=1.25, alternatives=below(1.25), log_level=math.log(20.0))
    assert pytest.approx(simulated(0.5, 1.0, 1.25, below(1.25), 20.0, seed=11, most=2_500), rel=0.05) == found


@pytest.mark.parametrize(("truth", "tested", "up"), [(1.0, 1.0, True), (0.5, 1.0, True), (1.5, 1.5, False), (4.0, 1.5, False)])
def test_what_is_not_so_is_never_concluded(truth: float, tested: float, up: bool) -> None:
    """A candidate at the margin, or beyond it, has no median."""
    alternatives = above(tested) if up else below(tested)
    assert math.inf == events_needed(0.1, truth, tested=tested, alternatives=alternatives, log_level=math.log(20.0))


def test_what_takes_too_long_to_wait_for_is_never() -> None:
    """Past some millions of events."""
    assert math.inf == events_needed(1e-4, 1.43, tested=1.5, alternatives=below(1.5), log_level=math.log(20.0))
    assert MOST_EVENTS > 1_000_000


def test_a_larger_effect_a_larger_weight_and_a_lower_level_take_less() -> None:
    """Of failures at weights up to one half."""

    def needed(weight: float, truth: float, level: float) -> float:
        return events_needed(weight, truth, tested=1.0, alternatives=above(1.0), log_level=math.log(level))

    by_truth = [needed(0.1, truth, 100.0) for truth in (1.5, 2.0, 3.0, 5.0, 10.0)]
    by_weight = [needed(weight, 2.0, 100.0) for weight in (0.01, 0.05, 0.1, 0.25, 0.5)]
    by_level = [needed(0.1, 2.0, level) for level in (1000.0, 300.0, 100.0, 20.0)]
    assert [sorted(found, reverse=True) for found in (by_truth, by_weight, by_level)] == [by_truth, by_weight, by_level]
