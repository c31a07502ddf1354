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
    calls = quiet() + [call for unit in range(5) for call in ((1000 + unit, True, True), *quiet(40))]
    for part in np.array_split(np.array(calls), parts):
        follow(streak, part.tolist())
    follow(streak, [(2000, True, False)])
    assert "5 calls of the canary in a row failed, each of another unit, while stable answered" == streak.reason("canary")


def test_four_or_a_success_between_are_not_enough() -> None:
    """Nor do stable's own calls in between break a row."""
    streak = Streak(5)
    follow(streak, [call for unit in range(20) for call in ((unit, True, unit % 5 > 0), *quiet(40))])
    assert streak.reason("canary") is None
    for unit in range(8):
        follow(streak, [(200 + unit, True, True), *quiet(40)])
    assert streak.reason("canary") is not None


def test_one_unit_that_always_fails_is_no_row() -> None:
    """Its input may be what is wrong."""
    streak = Streak(5)
    follow(streak, quiet() + [(7, True, True)] * 50 + [(8, True, True)] * 50)
    assert streak.reason("canary") is None


@pytest.mark.parametrize("weight", [0.05, 0.5, 0.9])
def test_an_incident_of_both_arms_is_no_row(weight) -> None:
    """Four fifths of all calls fail for a while that begins and ends anywhere in a batch: in 100 rollouts hardly one alarm."""
    random, alarms = np.random.default_rng(2), 0
    for _ in range(100):
        streak, begin = Streak(5), int(random.integers(2000, 3000))
        ours, failed = random.random(8000) < weight, random.random(8000) < 0.01
        failed[begin : begin + 1500] = random.random(1500) < 0.8
        for start in range(0, 8000, 500):
            part = slice(start, start + 500)
            streak.add(np.arange(start, start + 500).astype(np.uint64), ours[part], failed[part], np.zeros(500, bool))
        alarms += streak.reason("canary") is not None
    assert alarms <= 2


@pytest.mark.parametrize(("weight", "most"), [(0.05, 8), (0.5, 40), (0.9, 160)])
def test_a_canary_that_fails_altogether_is_seen_after_so_many_calls(weight, most) -> None:
    """More of them where stable has few calls meanwhile that would tell an incident."""
    random = np.random.default_rng(3)
    for _ in range(50):
        streak, ours = Streak(5), random.random(4000) < weight
        streak.add(np.arange(2000).astype(np.uint64), ours[:2000], np.zeros(2000, bool), np.zeros(2000, bool))
        until = 2000 + int(np.flatnonzero(ours[2000:])[most - 1]) + 1
        part = slice(2000, until)
        streak.add(np.arange(2000, until).astype(np.uint64), ours[part], ours[part], np.zeros(until - 2000, bool))
        assert streak.reason("canary") is not None


def test_without_stables_calls_a_row_is_judged_by_what_stable_did_before() -> None:
    """At the whole of the traffic."""
    streak = Streak(5)
    follow(streak, quiet(1000))
    five = np.arange(5000, 5005).astype(np.uint64), np.ones(5, bool), np.ones(5, bool), np.zeros(5, bool)
    streak.add(*five, alone=True)
    assert streak.reason("canary") is not None


def test_what_is_tolerated_makes_rows_longer() -> None:
    """A tenth fails, three times as many may."""
    rows = []
    for tolerated in (1.0, 3.0):
        streak, length = Streak(5, tolerated), 0
        follow(streak, [(unit, False, unit % 10 == 0) for unit in range(2000)])
        while streak.reason("canary") is None:
            length += 1
            follow(streak, [(5000 + length, True, True), *quiet(40)])
        rows.append(length)
    assert rows[0] < rows[1]


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
