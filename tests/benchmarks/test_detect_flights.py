"""The flights in the detection bench: what is counted is every row, firsts are firsts, and bars are judged from what was measured."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import detect, detect_flights, render
from gateway.drift.states import State
from kernels.divergence import psi
from retrain import export, train
from retrain.dataset import Dataset

pytestmark = pytest.mark.demo

ROWS, DAY_S = 6_000, 86_400


def rows(seed: int, *, warmer: float = 0.0, day: int = 0) -> Dataset:
    """A month of weather that does not depend on what was before it, two a minute."""
    random = np.random.default_rng(seed)
    temp, carrier = random.normal(40, 10, ROWS).astype(np.float32), random.choice(np.array(["AA", "UA"], object), ROWS)
    labels = (random.random(ROWS) < 1 / (1 + np.exp((40 - temp) / 5))).astype(np.int64)
    return Dataset({"temp": temp + np.float32(warmer), "carrier": carrier}, labels, np.arange(ROWS) * 30 + day * DAY_S)


@pytest.fixture(scope="module")
def measured():
    """A calm month and a warm one after a reference of one, and that reference against itself."""
    january = rows(1)
    model = export.to_model(train.fit(january), january)
    asked = [detect_flights.Asked(found, export.answers(model, found)) for found in (january, rows(2, day=31), rows(3, warmer=15, day=59))]
    return {
        "year": detect_flights.year(model, january, asked[1:]),
        "shuffled": [detect_flights.shuffled(model, asked[0], 0, number) for number in range(2)],
        "halves_in_order": detect_flights.halves(model, asked[0]),
    }


def test_a_month_is_its_own_rows_and_first_dates_are_the_firsts(measured) -> None:
    """A shift of one and a half deviations is an ALARM within its first day; the month before it was as January."""
    calm, warm = measured["year"]["months"]
    assert ((ROWS, "OK", {}), (ROWS, "ALARM")) == ((calm["rows"], calm["state"], calm["states"]), (warm["rows"], warm["state"]))
    assert calm["psi"]["temp"] < 2 * calm["psi_by_chance"]["temp"] < 0.1 < 1 < warm["psi"]["temp"]
    assert {"DRIFT": "1970-03-01", "WARN": "1970-03-01", "ALARM": "1970-03-01"} == measured["year"]["first"]["feature:temp"]
    assert "feature:carrier" not in measured["year"]["first"]
    low, mid, high = calm["estimated"]
    assert low < calm["accuracy"] < high
    assert mid == pytest.approx(calm["accuracy"], abs=0.03)


def test_psi_of_a_month_is_that_of_its_values(measured) -> None:
    """Counted here once more, by numpy, in the categories of the reference."""
    live, reference = (np.array([(found.columns["carrier"] == name).sum() for name in ("UA", "AA")], float) for found in (rows(2), rows(1)))
    counts = [np.append(side, (0.0, 0.0)) for side in (live, reference)]
    assert psi(*counts) == pytest.approx(measured["year"]["months"][0]["psi"]["carrier"], abs=5e-4)


def test_rows_dealt_out_by_chance_are_not_called_drifting(measured) -> None:
    """Each half has its rows; the shuffles differ."""
    first, second = measured["shuffled"]
    assert [(ROWS // 2, "OK", {})] * 2 == [(one["rows"], one["state"], one["first"]) for one in (first, second)]
    assert first["psi"] != second["psi"]
    assert "OK" == measured["halves_in_order"]["state"]


def test_a_jump_to_alarm_was_a_drift_too() -> None:
    """And a state that is left and entered again keeps its first date."""
    january = rows(1)
    model = export.to_model(train.fit(january), january)
    asked = detect_flights.Asked(january, export.answers(model, january))
    followed = detect_flights.Followed(export.reference_profile(model, january).profile, asked)
    for state, at_s in ((State.WARN, 1.0 * DAY_S), (State.OK, 2.0 * DAY_S), (State.ALARM, 3.0 * DAY_S)):
        followed._remember("x", state, at_s)
    assert {"x": {"DRIFT": "1970-01-02", "WARN": "1970-01-02", "ALARM": "1970-01-04"}} == followed.firsts()


def test_bars_are_what_was_found(measured) -> None:
    """Something that never happens has the month after the last; one loud shuffle is one too many."""
    found = {name: (value, op, bound) for name, value, op, bound in detect_flights.bars(measured)}
    assert (0.0, "<=", 0.0) == found["flights_shuffled_that_alarm"] == found["flights_schedule_warns"]
    assert (13.0, 3.0) == (found["flights_month_of_new_destinations"][0], found["flights_month_of_weather_alarm"][0])
    loud = measured | {"shuffled": [{"first": {"global": {"ALARM": "2013-01-20"}}}, {"first": {}}]}
    assert 1.0 == detect_flights.bars(loud)[0][1]
    late = measured["year"]["first"] | {"feature:carrier": {"DRIFT": "2013-05-01", "WARN": "2013-05-01"}}
    assert 1.0 == detect_flights.bars(measured | {"year": measured["year"] | {"first": late}})[-1][1]
    assert not detect.bar(*detect_flights.bars(loud)[0])["holds"]


def test_the_page_tells_of_the_year(measured) -> None:
    """What moved most is first, with its dates; halves are told in one sentence."""
    lines = render._flights(measured)
    assert "| feature | January is worth | DRIFT | WARN | ALARM | Feb | Mar |" in lines
    table = [line for line in lines if line.startswith("| temp |")]
    assert "| 1 Mar | 1 Mar | 1 Mar | 0." in table[0]
    assert "stays OK in 2 of 2 shuffles; its first half against its second, in order, names nothing" in lines[-2]
