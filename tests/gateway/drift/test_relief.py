"""Whether what had moved has come back."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.drift.policy import Policy
from gateway.drift.relief import relief
from gateway.drift.states import Event, State

RHO = np.full(16, 1 / 16)
FAR = np.array([0.3, *[0.7 / 15] * 15])
REFERENCE = 20_000 * RHO
POLICY = Policy()


def drawn(shares: np.ndarray, rows: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(rows, shares)


def after(recent: np.ndarray, moved: np.ndarray, reference: np.ndarray = REFERENCE, state: State = State.DRIFT) -> Event | None:
    return relief(state, recent, moved, reference, tau=1.0, policy=POLICY)


@pytest.mark.parametrize("seed", range(5))
def test_traffic_that_is_as_before_has_come_back(seed: int) -> None:
    """After 600 rows of it already, and not while it is as it was when it had moved."""
    moved = drawn(FAR, 3_000, seed)
    assert Event.CALM is after(drawn(RHO, 600, seed + 50), moved)
    assert after(drawn(FAR, 600, seed + 50), moved) is None


def test_traffic_that_moved_elsewhere_has_not_come_back() -> None:
    """Although the reference explains it better than where it was."""
    elsewhere = np.array([0.7 / 15] * 15 + [0.3])
    assert after(drawn(elsewhere, 2_000), drawn(FAR, 3_000)) is None


def test_traffic_that_is_near_has_not_come_back() -> None:
    """A PSI of 0.02 after one of 0.7 is a change that stays."""
    near = RHO * (1 + 0.15 * np.resize([1, -1], 16))
    assert not any(after(drawn(near, 5_000, seed), drawn(FAR, 60_000, seed + 90)) for seed in range(10))


def test_a_small_change_that_stays_has_not_come_back() -> None:
    """Even where the last rows alone are too few to tell it: what it had moved to explains them as well."""
    little = RHO * (1 + 0.08 * np.resize([1, -1], 16))
    assert not any(after(drawn(little, 600, seed), drawn(little, 60_000, seed + 90)) for seed in range(10))


def test_many_rows_do_not_tell_more_than_the_reference_knows() -> None:
    """Its own error is no change."""
    truth = np.random.default_rng(3).dirichlet(np.full(16, 50.0))
    reference = drawn(truth, 5_000, 4).astype(np.float64)
    assert Event.CALM is after(drawn(truth, 10**7, 5), drawn(FAR, 10**6), reference)


def test_dependent_rows_count_less() -> None:
    """A distance that is no chance for 4,000 rows is one for 400."""
    near = RHO * (1 + 0.15 * np.resize([1, -1], 16))
    recent, moved = drawn(near, 4_000), drawn(FAR, 9_000)
    found = [relief(State.DRIFT, recent, moved, REFERENCE, tau=tau, policy=POLICY) for tau in (1.0, 10.0)]
    assert [None, Event.CALM] == found


def test_few_rows_say_nothing() -> None:
    """The cool-down waits for them."""
    assert relief(State.ALARM, drawn(RHO, POLICY.min_rows - 1), drawn(FAR, 900), REFERENCE, tau=1.0, policy=POLICY) is None


@pytest.mark.parametrize(
    ("state", "share", "expected"),
    [
        (State.ALARM, 0.2, Event.EASED),
        (State.WARN, 0.2, None),
        (State.DRIFT, 0.2, None),
        (State.WARN, 0.12, Event.EASED),
        (State.ALARM, 0.3, None),
    ],
)
def test_a_level_is_left_below_its_hysteresis(state: State, share: float, expected: Event | None) -> None:
    """PSI of about 0.16, 0.03 and 0.35 after PSI 0.9."""
    nearer = np.array([share, *[(1 - share) / 15] * 15])
    farther = np.array([0.5, *[0.5 / 15] * 15])
    assert expected == relief(state, drawn(nearer, 20_000), drawn(farther, 300), REFERENCE, tau=1.0, policy=POLICY)
