"""What a month of traffic did: the difference of two answers of `GET /v2/models/{m}/drift`, beside what the labels say. Pure.

The server's histograms are of everything it has seen in the last hour, so a month is what came between two answers. Of each the PSI is
computed here from the server's own counts. Every row must be in them: a histogram that lacks one is `MonthError`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kernels.divergence import psi

SHOWN = 4  # features in the table: the ones that moved most
STEADY = "scheduled_hour"  # and one that people decide, not the weather
SENTENCES, FARTHEST = 3, 3  # that are told
OK = "OK"
NAMES = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December",
)  # fmt: skip

Answer = Mapping[str, Any]  # one version's part of the answer


class MonthError(Exception):
    """Counts that do not agree with what was sent."""


@dataclass(frozen=True, slots=True)
class Seen:
    """One month, as the server saw it and as it was."""

    name: str
    rows: int
    state: str  # of the version, at its end
    states: dict[str, str]  # of every feature and prediction, at its end
    psi: dict[str, float]  # of every input, over the month's own rows
    accuracy: float  # by its labels
    estimated: float  # by the server, from the month's own scores
    trusted: bool  # whether the server, at its end, trusts such estimates

    @property
    def moved(self) -> list[str]:
        """What is not OK."""
        return [name for name, state in self.states.items() if state != OK]

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "month": self.name, "rows": self.rows, "state": self.state, "moved": self.moved,
            "psi": {name: round(value, 4) for name, value in self.psi.items()},
            "accuracy": self.accuracy, "estimated_accuracy": self.estimated, "trustworthy": self.trusted,
        }  # fmt: skip


def seen(name: str, before: Answer | None, after: Answer, *, right: np.ndarray) -> Seen:
    """The month between two answers; `right`, bool [rows], says of each row whether the prediction came true. Raises `MonthError`."""
    counts = _counts(after)
    if before is not None:
        earlier = _counts(before)
        counts = {feature: (live - earlier[feature][0], reference) for feature, (live, reference) in counts.items()}
    for feature, (live, _) in counts.items():
        if live.sum() != len(right) or live.min() < 0:
            raise MonthError(f"of {name} the server's histogram of {feature} has {live.sum():g} rows, and {len(right)} were sent")
    return Seen(
        name=name,
        rows=len(right),
        state=after["state"],
        states={feature["name"]: feature["state"] for feature in after["features"]},
        psi={feature["name"]: float(psi(*counts[feature["name"]])) for feature in _inputs(after)},
        accuracy=float(right.mean()),
        estimated=_estimated(before, after),
        trusted=after["performance"]["trustworthy"],
    )


def _inputs(answer: Answer) -> list[Answer]:
    return [feature for feature in answer["features"] if feature["side"] == "input"]


def _counts(answer: Answer) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Live and reference counts of every feature, float64 [slots]."""
    return {
        feature["name"]: (_column(feature["histogram"], "live"), _column(feature["histogram"], "reference"))
        for feature in answer["features"]
    }


def _column(histogram: Sequence[Answer], side: str) -> np.ndarray:
    return np.array([slot[side] for slot in histogram], np.float64)


def _estimated(before: Answer | None, after: Answer) -> float:
    """The accuracy that the scores between two answers promise: an estimate is a mean over rows, so sums have differences."""
    rows, right = _promised(after)
    earlier_rows, earlier_right = _promised(before) if before is not None else (0, 0.0)
    return (right - earlier_right) / (rows - earlier_rows)


def _promised(answer: Answer) -> tuple[int, float]:
    whole = answer["performance"]["all"]
    return whole["rows"], whole["rows"] * whole["accuracy"]["mid"]


def moved_most(months: Sequence[Seen]) -> list[str]:
    """Inputs by their greatest PSI in any month, and the one to hold them against."""
    greatest = {name: max(month.psi[name] for month in months) for name in months[0].psi if name != STEADY}
    return [*sorted(greatest, key=lambda name: -greatest[name])[:SHOWN], STEADY]


def table(months: Sequence[Seen]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows for people: under the names of features, the PSI of each month's own rows."""
    names = moved_most(months)
    columns = ["month", "flights", "state", "accuracy", "estimated", *names]
    rows = [
        (
            month.name, f"{month.rows:,}", month.state, f"{month.accuracy:.1%}", f"{month.estimated:.1%}{' ' if month.trusted else '?'}",
            *(f"{month.psi[name]:.2f}" for name in names),
        )
        for month in months
    ]  # fmt: skip
    return columns, rows


def first_moved(months: Sequence[Seen]) -> dict[str, str]:
    """Every feature and prediction that was not OK at the end of a month: the first such month."""
    found: dict[str, str] = {}
    for month in months:
        for name in month.moved:
            found.setdefault(name, month.name)
    return found


def told_first(months: Sequence[Seen]) -> str:
    """The same for people: by month, in the order of the year."""
    by_month: dict[str, list[str]] = {}
    for name, month in first_moved(months).items():
        by_month.setdefault(month, []).append(name)
    return "; ".join(f"{month}: {', '.join(names)}" for month, names in by_month.items()) or "nothing"


def told_worth(answer: Answer) -> str:
    """What the reference is worth for the feature that moved most, whose rows depend on each other: why its PSI alone is no evidence."""
    feature, reference = max(_inputs(answer), key=lambda one: float(one["psi"])), answer["reference"]["rows"]
    worth = reference / feature["tau"]
    return (
        f"flights near each other share the {feature['name']}, so the {reference:,} of the reference say as much of it as {worth:,.0f} "
        "independent ones: a PSI that is large for them all may be chance for so few"
    )


def told_estimates(months: Sequence[Seen]) -> str:
    """How far the estimates were from the truth, and where farthest."""
    off = {month.name: 100 * (month.estimated - month.accuracy) for month in months}
    mean = float(np.mean(np.abs(list(off.values()))))
    farthest = sorted(off, key=lambda name: -abs(off[name]))[:FARTHEST]
    named = ", ".join(f"{name} ({abs(off[name]):.1f} too {'high' if off[name] > 0 else 'low'})" for name in farthest)
    return (
        f"accuracy as estimated without labels is off by {mean:.1f} points on average, most in {named}: it sees how sure scores are, not "
        "what became of the world behind them; ? is where the server says not to trust it"
    )


def sentences(answer: Answer) -> list[str]:
    """The server's own, of the version and of what moved most."""
    moved = [feature["sentence"] for feature in answer["features"] if feature["state"] != OK]
    return [answer["sentence"], *moved[:SENTENCES]]
