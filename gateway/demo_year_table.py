"""A year with the loop beside the same year without it: what is said of each month, and what all of it was worth. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol


class Gain(Protocol):
    """As `retrain.gains.Gain`."""

    @property
    def metric(self) -> str: ...
    @property
    def before(self) -> float: ...
    @property
    def after(self) -> float: ...
    @property
    def gain(self) -> float: ...
    @property
    def low(self) -> float: ...
    @property
    def high(self) -> float: ...
    @property
    def verdict(self) -> str: ...


@dataclass(slots=True)
class Month:
    """One month. Scores are by month: of what callers got, and of what the first model says of the same flights."""

    name: str
    rows: int
    answered: Counter[str]  # flights by version
    state: str  # of the version that serves at its end, by what the server has counted
    auc: tuple[float, float]  # with the loop, without it
    brier: tuple[float, float]
    events: list[str] = field(default_factory=list)  # what followed until the month after began

    def summary(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "month": self.name, "rows": self.rows, "answered": dict(self.answered), "state": self.state,
            "auc": round(self.auc[0], 4), "first_auc": round(self.auc[1], 4), "brier": round(self.brier[0], 4),
            "first_brier": round(self.brier[1], 4), "events": self.events,
        }  # fmt: skip


def table(months: Sequence[Month]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Columns and rows for people."""
    columns = ["month", "flights", "by version", "state", "AUC", "v1 alone", "Brier", "v1 alone"]
    rows: list[tuple[str, ...]] = [
        (
            month.name, f"{month.rows:,}", " then ".join(sorted(month.answered, key=int)), month.state, f"{month.auc[0]:.3f}",
            f"{month.auc[1]:.3f}", f"{month.brier[0]:.4f}", f"{month.brier[1]:.4f}",
        )
        for month in months
    ]  # fmt: skip
    return columns, rows


def told_gain(gain: Gain) -> str:
    """What the loop was worth by one metric, whatever that is."""
    name = {"auc": "AUC", "brier": "Brier score"}[gain.metric]
    return (
        f"{name} of the year: {gain.after:.4f} with the loop, {gain.before:.4f} without; {abs(gain.gain):.4f} "
        f"{'better' if gain.gain >= 0 else 'worse'} (95 % of days drawn anew: {gain.low:+.4f} to {gain.high:+.4f}): {gain.verdict}"
    )
