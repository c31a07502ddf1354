"""Windows of minutes and hours against a list of everything that was counted when."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gateway.drift.layout import ROWS, layout_of
from gateway.drift.rings import HOUR_S, HOURS, MINUTES, Rings
from tests.gateway.drift.traffic import NOON_S, gaussian

PROFILE = gaussian(200, bins=4)
LAYOUT = layout_of(PROFILE)
START = NOON_S + 1800  # in the middle of an hour

Tick = tuple[float, int]  # seconds later, rows


def played(ticks: list[Tick], rings: Rings, block: np.ndarray) -> list[tuple[float, int]]:
    """(when, rows) of all ticks, each counted into the rings."""
    now, seen = START, []
    for later, rows in ticks:
        now += later
        block[ROWS] += rows
        LAYOUT.views(block).counts[0][0, 0, 3] += rows
        LAYOUT.views(block).sums[0][0, 0] += 0.5 * rows
        rings.advance(block, now)
        seen.append((now, rows))
    return seen


def begun(block: np.ndarray | None = None) -> tuple[Rings, np.ndarray]:
    block = np.zeros(LAYOUT.words, np.int64) if block is None else block
    LAYOUT.views(block).begin(LAYOUT.checksum)
    return Rings(LAYOUT, block, START), block


TICKS = st.lists(st.tuples(st.sampled_from([0.0, 1.0, 29.0, 60.0, 400.0, 3600.0, 40_000.0]), st.sampled_from([0, 1, 7])), max_size=40)


@given(TICKS, st.integers(1, MINUTES))
def test_recent_rows_are_those_of_the_last_minutes(ticks: list[Tick], minutes: int) -> None:
    """Of the open one, and of so many before it; a row is of the minute in which it was seen."""
    rings, block = begun()
    seen = played(ticks, rings, block)
    now = int((seen[-1][0] if seen else START) // 60)
    expected = sum(rows for when, rows in seen if int(when // 60) >= now - minutes)
    recent = rings.recent(minutes)
    assert (expected, expected) == (recent[ROWS], LAYOUT.views(recent).counts[0][0, 0, 3])
    assert 0.5 * expected == LAYOUT.views(recent).sums[0][0, 0]
    assert block[ROWS] - expected == rings.before(minutes)[ROWS]


@given(TICKS)
def test_a_day_is_made_of_hours(ticks: list[Tick]) -> None:
    """The open one and the 24 before it; each that is over by itself."""
    rings, block = begun()
    seen = played(ticks, rings, block)
    now = int((seen[-1][0] if seen else START) // HOUR_S)
    assert sum(rows for when, rows in seen if int(when // HOUR_S) >= now - HOURS) == rings.day()[ROWS]
    hours: dict[int, int] = {}
    for when, rows in seen:
        if rows and now - HOURS <= int(when // HOUR_S) < now:
            hours[int(when // HOUR_S) * HOUR_S] = hours.get(int(when // HOUR_S) * HOUR_S, 0) + rows
    assert hours == {begin: int(found[ROWS]) for begin, found in rings.each_hour()}


def test_what_nobody_asks_costs_nothing() -> None:
    """Windows without rows are not kept."""
    rings, block = begun()
    played([(60.0, 0)] * 500, rings, block)
    assert ({}, {}) == (rings.minutes.windows, rings.hours.windows)


def test_what_is_old_is_dropped() -> None:
    """However long nobody looked."""
    rings, block = begun()
    played([(30.0, 1)] * 400, rings, block)
    assert MINUTES == len(rings.minutes.windows)
    played([(1e6, 1)], rings, block)
    assert (1, 1) == (rings.recent(MINUTES)[ROWS], rings.day()[ROWS])


def test_a_clock_that_goes_back_leaves_the_window_open() -> None:
    """And no row is lost."""
    rings, block = begun()
    block[ROWS] += 5
    rings.advance(block, START - 7200)
    assert 5 == rings.recent(1)[ROWS]
