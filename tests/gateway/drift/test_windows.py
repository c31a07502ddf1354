"""Windows of traffic ranked among clean ones."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.drift.cells import cells_of
from gateway.drift.windows import LOOKING_BACK, WindowLayer, hour_of_week, mean_psi
from registry.profile import HOURS_OF_WEEK, Profile, Windows
from tests.gateway.drift.traffic import NOON_S, Traffic, numeric, profile_of

ROWS = 200
VALUES = np.random.default_rng(4).normal(size=20_000)


def clean(seed: int = 1) -> Profile:
    """A reference in which the mean goes up and down over the day, and windows drift for themselves: rows of one are alike."""
    rng = np.random.default_rng(seed)
    feature = numeric("x", VALUES)
    cells = cells_of(profile_of(feature))
    hours = np.arange(3 * HOURS_OF_WEEK) % HOURS_OF_WEEK
    scores = [mean_psi(cells, counted(profile_of(feature), rows_at(rng, int(hour)))) for hour in hours]
    return profile_of(feature, windows=Windows(rows=ROWS, hours=tuple(hours.tolist()), scores=tuple(scores)))


def rows_at(rng: np.random.Generator, hour: int, rows: int = ROWS, shift: float = 0.0) -> np.ndarray:
    """Rows of one window, which share a part of their value."""
    return rng.normal(0.8 * math.sin(2 * math.pi * hour / 24) + 0.3 * rng.normal() + shift, size=rows)


def counted(profile: Profile, values: np.ndarray) -> np.ndarray:
    traffic = Traffic(profile)
    traffic.send({"x": values})
    return cells_of(profile).total(traffic.views.block)


PROFILE = clean()


def wealth(shift: float, windows: int, *, seed: int, rows: int = ROWS, profile: Profile = PROFILE) -> list[float]:
    """What the stake grew to, window by window."""
    rng, traffic, cells = np.random.default_rng(seed), Traffic(profile), cells_of(profile)
    assert profile.windows is not None
    layer = WindowLayer(cells, profile.windows, counts=cells.total(traffic.views.block), row=0)
    found = []
    for window in range(windows):
        at_s = NOON_S + 3600 * window
        traffic.send({"x": rows_at(rng, hour_of_week(at_s), rows, shift)})
        found.append(layer.look(cells.total(traffic.views.block), (window + 1) * rows, at_s))
    return found


@pytest.mark.parametrize("rows", [ROWS, 5 * ROWS], ids=["as the reference's", "longer"])
def test_cycles_and_dependence_raise_no_alarm(rows: int) -> None:
    """Where tests of rows would: a mean that goes up and down, and rows that share their value."""
    most = [max(wealth(0.0, 100, seed=seed, rows=rows)) for seed in range(20)]
    assert sum(value >= math.log(20) for value in most) <= 1


def test_a_shift_is_found() -> None:
    """Of three times what windows differ by anyway, within two days of hours."""
    assert max(wealth(2.0, 48, seed=1)) >= math.log(20)


def test_too_few_windows_say_nothing() -> None:
    """A rank of a handful is no evidence."""
    profile = profile_of(numeric("x", VALUES), windows=Windows(rows=ROWS, hours=(-1,) * 10, scores=(0.1,) * 10))
    found = wealth(5.0, 30, seed=1, profile=profile)
    assert max(found) <= 0


def test_hours_are_counted_from_monday() -> None:
    """2027-01-15 is a Friday; the epoch began on a Thursday."""
    assert (72, 4 * 24 + 12) == (hour_of_week(0.0), hour_of_week(NOON_S))


def test_an_open_window_changes_nothing() -> None:
    """And looking twice at the same counts neither."""
    traffic, cells = Traffic(PROFILE), cells_of(PROFILE)
    assert PROFILE.windows is not None
    layer = WindowLayer(cells, PROFILE.windows, counts=cells.total(traffic.views.block), row=0)
    traffic.send({"x": np.full(ROWS, 9.0)})
    counts = cells.total(traffic.views.block)
    assert -math.log(2) == layer.look(counts, ROWS - 1, NOON_S)
    found = layer.look(counts, ROWS, NOON_S)
    assert found > -math.log(2)
    assert found == layer.look(counts, ROWS, NOON_S + 5)


def test_bets_begin_anew_after_ordinary_windows() -> None:
    """At the next smaller stake."""
    traffic, cells, rng = Traffic(PROFILE), cells_of(PROFILE), np.random.default_rng(6)
    assert PROFILE.windows is not None
    layer = WindowLayer(cells, PROFILE.windows, counts=cells.total(traffic.views.block), row=0)
    for window in range(40 + LOOKING_BACK):
        at_s = NOON_S + 3600 * window
        traffic.send({"x": rows_at(rng, hour_of_week(at_s), shift=2.0 if window < 40 else 0.0)})
        layer.look(cells.total(traffic.views.block), (window + 1) * ROWS, at_s)
        assert not layer.calm() or window >= 40
    assert layer.calm()
    layer.again()
    assert -math.log(6) == pytest.approx(layer.look(cells.total(traffic.views.block), 0, NOON_S))
