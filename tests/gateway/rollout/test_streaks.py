"""Failures in a row: which end a rollout at once, and which are what chance, an incident or one user makes."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.rollout.streaks import Streak


def follow(streak, calls):
    """Calls: (unit, whether the canary's, whether it failed)."""
    units, ours, failed = (np.array(column) for column in zip(*calls, strict=True))
    streak.add(units.astype(np.uint64), ours.astype(bool), failed.astype(bool), np.zeros(len(calls), bool))


def quiet(count=200):
    return [(unit, False, False) for unit in range(count)]


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_five_units_in_a_row_are_enough_while_stable_answers(parts) -> None:
    """However the calls come; the row stays when calls succeed again."""
    streak = Streak(5)
    calls = quiet() + [(1000 + unit, True, True) for unit in range(5)]
    for part in np.array_split(np.array(calls), parts):
        follow(streak, part.tolist())
    follow(streak, [(2000, True, False)])
    assert "5 calls of the canary in a row failed, each of another unit, while stable answered" == streak.reason("canary")


def test_four_or_a_success_between_are_not_enough() -> None:
    """Nor do stable's own calls in between break a row."""
    streak = Streak(5)
    follow(streak, quiet() + [(unit, True, unit % 5 > 0) for unit in range(20)])
    assert streak.reason("canary") is None
    follow(streak, [(100, True, True), (3, False, False), *[(200 + unit, True, True) for unit in range(4)]])
    assert streak.reason("canary") is not None


def test_one_unit_that_always_fails_is_no_row() -> None:
    """Its input may be what is wrong."""
    streak = Streak(5)
    follow(streak, quiet() + [(7, True, True)] * 50 + [(8, True, True)] * 50)
    assert streak.reason("canary") is None


def test_an_incident_of_both_arms_is_no_row() -> None:
    """Stable's last calls failed as well, though over all it hardly ever does."""
    streak = Streak(5)
    follow(streak, quiet(10_000) + [(unit, unit % 10 == 0, True) for unit in range(200)])
    assert streak.reason("canary") is None


def test_where_calls_fail_anyway_a_row_has_to_be_longer() -> None:
    """A tenth of all calls fails in both arms: no alarm in most of 200 rollouts of 20,000 canary calls, where rows of five are certain."""
    random, alarms, rows = np.random.default_rng(1), 0, 0
    for _ in range(200):
        ours, failed = random.random(40_000) < 0.5, random.random(40_000) < 0.1
        streak = Streak(5)
        for start in range(0, 40_000, 2000):
            part = slice(start, start + 2000)
            streak.add(np.arange(start, start + 2000).astype(np.uint64), ours[part], failed[part], np.zeros(2000, bool))
        alarms += streak.reason("canary") is not None
        rows += "11111" in "".join(map(str, failed[ours].astype(int)))
    assert alarms <= 2
    assert rows / 200 > 0.1


def test_the_end_of_the_process_is_enough_alone() -> None:
    """The canary's, not stable's."""
    streak, one = Streak(5), np.ones(1, bool)
    streak.add(np.ones(1, np.uint64), ~one, one, one)
    assert streak.reason("canary") is None
    streak.add(np.ones(1, np.uint64), one, one, one)
    assert "the process of the canary ended" == streak.reason("canary")
