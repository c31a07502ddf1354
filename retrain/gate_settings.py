"""What a candidate must show before it is published, as a policy says it. Pure data."""

from __future__ import annotations

from typing import Annotated

import msgspec

from retrain.errors import RetrainError
from retrain.metrics import METRICS_OF, Metric
from retrain.target import WORDS, Kind
from retrain.validation import Limits

Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Positive = Annotated[float, msgspec.Meta(gt=0)]
Tolerance = Annotated[float, msgspec.Meta(ge=0)]


class Value(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidate alone: the bound of its metric on the side that counts must keep `at_least` or `at_most`."""

    metric: Metric
    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a value has at_least or at_most")


class Change(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Against the champion: surely not worse by more than `tolerance`, in the metric's unit. A negative one asks for an improvement.

    `relative` tolerates so large a share of the champion's own value besides, for metrics whose unit is the label's.
    """

    metric: Metric
    tolerance: float = 0.0
    relative: Tolerance = 0.0


class Slices(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Against the champion, for each value of some inputs; numbers are cut at their quartiles."""

    columns: tuple[str, ...] = ()
    metric: Metric = "brier"
    tolerance: Tolerance = 0.02
    relative: Tolerance = 0.0
    n_min: Annotated[int, msgspec.Meta(ge=2)] = 500  # rows; a slice of fewer is shown and not judged


class CrossSlice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The candidate alone: between two values of one input its metric surely differs by no more than `at_most`."""

    column: str
    metric: Metric = "accuracy"
    at_most: Tolerance


class Budget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Size and time of the candidate; null is no limit."""

    size_bytes: Positive | None = None
    size_ratio: Positive | None = 10.0  # to the champion's file
    latency_ms: Positive | None = None  # of a run of `rows` rows on one core of the job's machine
    latency_ratio: Positive | None = 5.0  # to the champion's
    rows: Annotated[int, msgspec.Meta(ge=1, le=4096)] = 64
    runs: Annotated[int, msgspec.Meta(ge=1, le=10_000)] = 200


class Gates(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of them."""

    validation: Limits = Limits()
    values: tuple[Value, ...] = ()
    changes: tuple[Change, ...] = (Change(metric="auc", tolerance=0.005), Change(metric="brier", tolerance=0.002))
    slices: Slices = Slices()
    cross_slices: tuple[CrossSlice, ...] = ()
    budget: Budget = Budget()
    parity: Positive = 1e-5  # the exported model's probabilities may differ by so much from the estimator's
    confidence: Share = 0.95  # of every bound, one-sided
    repeats: Annotated[int, msgspec.Meta(ge=50, le=100_000)] = 500  # draws of the bootstrap


class Check(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One figure that was held against a limit."""

    name: str  # "auc", "size"
    passed: bool
    text: str
    slice: str = ""  # "origin=JFK"; all rows without it
    rows: int | None = None
    champion: float | None = None
    candidate: float | None = None
    change: float | None = None  # for the better
    bound: float | None = None  # of the change or the value, on the side that counts
    limit: float | None = None
    judged: bool = True  # False: too few rows to say anything


class Gate(msgspec.Struct, frozen=True, kw_only=True):
    """One gate and what it found."""

    name: str
    checks: tuple[Check, ...]

    @property
    def passed(self) -> bool:
        """Whether everything that was judged is well."""
        return all(check.passed for check in self.checks if check.judged)

    @property
    def reason(self) -> str:
        """What is not, in a sentence; the first of several."""
        wrong = [check.text for check in self.checks if check.judged and not check.passed]
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        return f"{wrong[0]}{more}" if wrong else ""


_CHANGES: dict[Kind, tuple[Change, ...]] = {
    "yes_no": Gates().changes,
    "class": (Change(metric="log_loss", tolerance=0.01), Change(metric="accuracy", tolerance=0.005)),
    "number": (Change(metric="rmse", relative=0.01), Change(metric="mae", relative=0.01)),
}
_SLICES: dict[Kind, Slices] = {"yes_no": Slices(), "class": Slices(), "number": Slices(metric="rmse", tolerance=0.0, relative=0.1)}


def suited(gates: Gates, kind: Kind) -> Gates:
    """The gates for such labels: where they say nothing of their own, changes and slices are those of the kind.

    Raises `RetrainError` for a metric that such labels do not have.
    """
    slices, usual = gates.slices, _SLICES[kind]
    if (slices.metric, slices.tolerance, slices.relative) == (Slices().metric, Slices().tolerance, 0.0):
        slices = msgspec.structs.replace(slices, metric=usual.metric, tolerance=usual.tolerance, relative=usual.relative)
    changes = _CHANGES[kind] if gates.changes == Gates().changes else gates.changes
    asked = [one.metric for one in gates.values] + [one.metric for one in changes] + [one.metric for one in gates.cross_slices]
    asked += [slices.metric] if slices.columns else []
    for metric in asked:
        if metric not in METRICS_OF[kind]:
            raise RetrainError(f"labels that are {WORDS[kind]} have no {metric}; they have {', '.join(METRICS_OF[kind])}")
    return msgspec.structs.replace(gates, changes=changes, slices=slices)
