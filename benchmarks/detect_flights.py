"""A year of real flights against its January: which features drift, when, and how far. The evaluation alone, without a server.

The model of the demo, a profile of January, and the flights of February to December, counted as a worker counts them and looked at every
100 rows, with the scheduled departure as the time. For comparison January against itself: shuffled and halved, where nothing has moved by
construction, which must stay OK at every look; and its first half against its second, in order, where weather has moved if anything has.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from benchmarks.drift_streams import LOOK_ROWS
from gateway.drift.cells import Cells
from gateway.drift.layout import ROWS
from gateway.drift.recorder import Recorder
from gateway.drift.states import State
from gateway.drift.tables import tables_of
from gateway.drift.watch import Watch
from gateway.drift.windows import each_psi
from gateway.protocol.tensors import Signature, TensorSpec
from kernels.divergence import psi_null_mean
from registry.profile import Profile
from retrain import export, flights, train
from retrain.dataset import Dataset
from retrain.target import LABEL, PROBABILITIES

Document = dict[str, Any]

WEATHER = ("temp", "dewp")  # what the seasons move most
SCHEDULE = ("scheduled_hour", "carrier", "origin")  # what stays as it is all year
NEVER = 13  # the month in which something happens that does not happen in 2013
LEVELS = (State.DRIFT, State.WARN, State.ALARM)


@dataclass(frozen=True, slots=True)
class Asked:
    """Rows as a model sees them, and what it says."""

    rows: Dataset
    answers: tuple[np.ndarray, np.ndarray]

    @property
    def scheduled_s(self) -> np.ndarray:
        """When each departs by the schedule, seconds since the epoch, [rows]."""
        assert self.rows.times_s is not None
        return self.rows.times_s + 60.0 * flights.LEAD_MIN


class Followed:
    """A version whose traffic is looked at every `LOOK_ROWS` rows."""

    def __init__(self, profile: Profile, first: Asked) -> None:
        """`first`: of the rows to come, for the names of the inputs and the time at which it begins."""
        self.watch = Watch(profile, wall_s=float(first.scheduled_s[0]))
        self.counted = self.watch.layout.views(np.zeros(self.watch.layout.words, np.int64))
        self.counted.begin(self.watch.layout.checksum)
        self._recorder = Recorder(tables_of(profile, self.watch.layout, signature_of(first.rows)), self.watch.layout, self.counted)
        self.first_s: dict[str, dict[State, float]] = {}  # by scope: when it first was in this state or a worse one

    def follow(self, asked: Asked) -> None:
        """Count the rows in their order, and look."""
        inputs, times = list(asked.rows.tensors().values()), asked.scheduled_s
        for start in range(0, asked.rows.rows, LOOK_ROWS):
            part = slice(start, start + LOOK_ROWS)
            self._recorder.record([array[part] for array in inputs], [array[part] for array in asked.answers])
            self.watch.look(self.counted, float(times[part].max()))
            for move in self.watch.moves():
                self._remember(move.scope, State[move.after], move.at_s)

    def _remember(self, scope: str, state: State, at_s: float) -> None:
        known = self.first_s.setdefault(scope, {})
        for level in LEVELS:
            if level <= state:
                known.setdefault(level, at_s)

    def firsts(self) -> Document:
        """By scope and state, dates in UTC."""
        return {scope: {state.name: date(at_s) for state, at_s in known.items()} for scope, known in self.first_s.items()}


def signature_of(rows: Dataset) -> Signature:
    """Of the exported model."""
    inputs = [TensorSpec(name, "FP32" if name in rows.numbers else "BYTES", (-1, 1)) for name in rows.columns]
    outputs = (TensorSpec(LABEL, "INT64", (-1,)), TensorSpec(PROBABILITIES, "FP32", (-1, 2)))
    return Signature("flights", tuple(inputs), outputs, LOOK_ROWS)


def date(at_s: float) -> str:
    """UTC."""
    return datetime.fromtimestamp(at_s, UTC).date().isoformat()


# --- what is measured ------------------------------------------------------------------------------------------------------------------


def measure(shuffles: int, seed: int) -> Document:
    """The year, and January against itself, shuffled `shuffles` times."""
    january, *later = (month.rows for month in flights.read_months().values())
    model = export.to_model(train.fit(january), january)
    asked = Asked(january, export.answers(model, january))
    return {
        "year": year(model, january, [Asked(rows, export.answers(model, rows)) for rows in later]),
        "shuffled": [shuffled(model, asked, seed, number) for number in range(shuffles)],
        "halves_in_order": halves(model, asked),
    }


def year(model: bytes, january: Dataset, later: list[Asked]) -> Document:
    """Month by month."""
    profile = export.reference_profile(model, january).profile
    followed = Followed(profile, later[0])
    months = []
    for number, asked in enumerate(later, start=2):
        before = followed.counted.block.copy()
        followed.follow(asked)
        months.append({"month": number} | month_of(followed, before, asked))
    cells = followed.watch.cells
    worth = {feature.name: round(profile.rows / feature.tau, 1) for feature in cells.features}
    return {"reference_rows": profile.rows, "reference_worth": worth, "months": months, "first": followed.firsts()}


def month_of(followed: Followed, before: np.ndarray, asked: Asked) -> Document:
    """What was counted since `before`, and what is so at the end."""
    watch = followed.watch
    block = followed.counted.block - before
    rows = int(block[ROWS])
    names = [feature.name for feature in watch.cells.features]
    found: Document = {
        "rows": rows, "state": watch.standing().state.name,
        "states": {name: standing.state.name for name, standing in zip(names, watch.standings, strict=True) if standing.state},
        "psi": rounded(names, each_psi(watch.cells, watch.cells.total(block))),
        "psi_by_chance": rounded(names, by_chance(watch.cells, rows)),
        "log_e": round(watch.log_e, 1), "log_e_windows": round(watch.log_e_windows, 1),
    }  # fmt: skip
    assert watch.table is not None
    estimate = watch.table.estimate(followed.counted.scores - watch.layout.views(before).scores).accuracy
    assert estimate is not None
    right = (asked.answers[1][:, 1] > 0.5) == (asked.rows.labels == 1)
    return found | {
        "accuracy": round(float(right.mean()), 4), "estimated": [round(value, 4) for value in (estimate.low, estimate.mid, estimate.high)],
    }  # fmt: skip


def by_chance(cells: Cells, rows: int) -> np.ndarray:
    """The PSI that so many rows have on average if nothing has moved, and they depend on each other as January's do; [F]."""
    filled = cells.sums((cells.reference > 0).astype(np.int64))
    sides = zip(filled.tolist(), cells.tau.tolist(), cells.sums(cells.reference).tolist(), strict=True)
    return np.array([psi_null_mean(bins, rows / tau, reference / tau) for bins, tau, reference in sides])


def rounded(names: list[str], values: np.ndarray) -> Document:
    """By name."""
    return dict(zip(names, [round(value, 3) for value in values.tolist()], strict=True))


def shuffled(model: bytes, january: Asked, seed: int, number: int) -> Document:
    """One half of January against the other, dealt out by chance: nothing has moved. The profile knows no times, as of a shuffled file."""
    order = np.random.default_rng([seed, number]).permutation(january.rows.rows)
    half = len(order) // 2
    times_s = january.rows.times_s
    assert times_s is not None
    live = replace(january.rows.take(order[half:]), times_s=np.sort(times_s[order[half:]]))
    reference = replace(january.rows.take(order[:half]), times_s=None)
    return against(model, reference, Asked(live, tuple(array[order[half:]] for array in january.answers)))  # type: ignore[arg-type]


def halves(model: bytes, january: Asked) -> Document:
    """The second half of January against the first, in order."""
    half = january.rows.rows // 2
    live = Asked(january.rows.take(slice(half, None)), tuple(array[half:] for array in january.answers))  # type: ignore[arg-type]
    return against(model, january.rows.take(slice(0, half)), live)


def against(model: bytes, reference: Dataset, live: Asked) -> Document:
    """What is said of rows."""
    followed = Followed(export.reference_profile(model, reference).profile, live)
    followed.follow(live)
    watch = followed.watch
    distances = rounded([feature.name for feature in watch.cells.features], watch.psi(watch.total.block))
    return {
        "rows": watch.rows,
        "state": watch.standing().state.name,
        "first": followed.firsts(),
        "psi": distances,
        "log_e": round(watch.log_e, 1),
    }


# --- what is made of it ------------------------------------------------------------------------------------------------------------------


def bars(found: Document) -> list[tuple[str, float, str, float]]:
    """(name, value, operator, bound).

    January is worth some 23 flights with weather of their own, February's lies within what two such handfuls may differ by, and a test that
    called March's drift for certain would not keep its promise. From May on, though, hardly an hour is like January's: weather must be
    named by May, and be an ALARM by September. Destinations do not depend on each other: the ones that the summer timetable brings in
    April must be seen in April. The rest of the timetable stays within a PSI of 0.1 all year, so it may never be WARN or ALARM.
    """
    first = found["year"]["first"]
    loud = [name for name in SCHEDULE if {"WARN", "ALARM"} & first.get(f"feature:{name}", {}).keys()]
    return [
        ("flights_shuffled_that_alarm", float(sum(1 for one in found["shuffled"] if one["first"])), "<=", 0.0),
        ("flights_moved_in_february", float(len(found["year"]["months"][0]["states"])), "<=", 0.0),
        ("flights_month_of_new_destinations", month_in(first, ("dest",), "DRIFT"), "<=", 4.0),
        ("flights_month_of_weather", month_in(first, WEATHER, "DRIFT"), "<=", 5.0),
        ("flights_month_of_weather_alarm", month_in(first, WEATHER, "ALARM"), "<=", 9.0),
        ("flights_schedule_warns", float(len(loud)), "<=", 0.0),
    ]


def month_in(first: Document, names: tuple[str, ...], state: str) -> float:
    """In which the first of the features reached a state."""
    dates = [first.get(f"feature:{name}", {}).get(state) for name in names]
    return float(min((int(found[5:7]) for found in dates if found), default=NEVER))
