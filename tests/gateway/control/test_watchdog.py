"""Silence is counted in time that was lived through, whatever the clock says of the time between."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.control.watchdog import Watchdog

PERIOD_S = 0.5


def test_silence_adds_up_until_a_sign() -> None:
    """Of each by itself; who is new or gone is not an error."""
    dog = Watchdog(PERIOD_S)
    assert {1: 0.0} == dog.look(10.0, {1: 9.9})
    assert {1: 0.5, 2: 0.0} == dog.look(10.5, {1: 9.9, 2: 10.4})
    assert {1: 1.0, 2: 0.5} == dog.look(11.0, {1: 9.9, 2: 10.4})
    assert {1: 0.0, 2: 1.0} == dog.look(11.5, {1: 11.2, 2: 10.4})
    assert {2: 1.5} == dog.look(12.0, {2: 10.4})
    assert {1: 0.0} == dog.look(12.5, {1: 11.2})


def test_a_machine_that_stood_still_accuses_nobody() -> None:
    """An hour passed on the clock, two periods of it count."""
    dog = Watchdog(PERIOD_S)
    dog.look(10.0, {1: 9.9})
    assert {1: 2 * PERIOD_S} == dog.look(3610.0, {1: 9.9})


@given(st.lists(st.tuples(st.floats(0.0, 100.0), st.booleans()), max_size=30))
def test_silence_is_bounded_by_the_clock_and_by_what_was_watched(looks: list[tuple[float, bool]]) -> None:
    """Never more than passed since the last sign was seen, nor than two periods for each look since."""
    dog, now, sign, seen, count = Watchdog(PERIOD_S), 0.0, 0.0, 0.0, 0
    dog.look(now, {1: sign})
    for passed, beats in looks:
        now, count = now + passed, count + 1
        if beats:
            sign, seen, count = sign + 1.0, now, 0
        silent = dog.look(now, {1: sign})[1]
        assert silent <= min(now - seen, 2 * PERIOD_S * count) + 1e-6
        assert silent >= min(now - seen, 0.0 if not count else min(passed, 2 * PERIOD_S)) - 1e-6
