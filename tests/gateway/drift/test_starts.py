"""Stakes: what is spent on all tests of a feature together is no more than 1, whatever happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.starts import Arms, Starts

CELLS = 3


def run(windows: int, arms_at: list[int]) -> tuple[Starts, Arms, float]:
    """After so many windows, with a feature that began anew in some of them; and what was ever staked on it."""
    counts = np.zeros(CELLS, np.int64)
    starts, arms = Starts.none(10, CELLS, 0), Arms.first(1, counts, 0, 0.0)
    spent = float(np.exp(arms.stakes()[0]))
    for window in range(1, windows + 1):
        counts += 5
        assert starts.advance(counts, 10 * window, float(window))
        stakes = starts.log_stakes(arms)
        spent += float(np.exp(stakes[-1, 0]))  # each start is new once
        if window in arms_at:
            arms.again(0, slice(0, CELLS), counts, window=starts.opened, row=10 * window, wall_s=float(window))
            spent += float(np.exp(arms.stakes()[0]))
    return starts, arms, spent


@given(st.integers(0, 300), st.lists(st.integers(1, 300), unique=True, max_size=20))
def test_a_feature_never_stakes_more_than_one(windows: int, arms_at: list[int]) -> None:
    """On starts and arms together, however often it begins anew."""
    assert run(windows, arms_at)[2] <= 1


@settings(max_examples=30)
@given(st.integers(1, 1_000))
def test_starts_are_few_and_one_is_near_every_change(windows: int) -> None:
    """At most two of each power of two; and a recent one for a recent change."""
    starts, _, _ = run(windows, [])
    ages = (starts.opened - starts.number).tolist()
    assert 0 == ages[-1]
    assert len(ages) <= 16
    assert sorted(ages, reverse=True) == ages
    assert (starts.counts == 5 * starts.number[:, None]).all()


def test_starts_from_before_an_arm_have_no_stake() -> None:
    """What happened then is known already."""
    starts, arms, _ = run(40, [35])
    stakes = np.exp(starts.log_stakes(arms)[:, 0])
    assert [number > 35 for number in starts.number.tolist()] == (stakes > 0).tolist()
    assert 1 / 12 == pytest.approx(float(np.exp(arms.stakes()[0])))


def test_a_window_has_rows_enough() -> None:
    """Between two looks there may be many more, never fewer."""
    counts = np.zeros(CELLS, np.int64)
    starts = Starts.none(10, CELLS, 100)
    assert [False, True, False, True] == [starts.advance(counts, row, 0.0) for row in (109, 110, 119, 900)]
    assert [110, 900] == starts.row.tolist()
