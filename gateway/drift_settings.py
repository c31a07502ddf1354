"""What is watched of the traffic, and what happens to values that break a version's contract: for all models, and for one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from gateway.typed_yaml import MisfitError

MAX_SEGMENTS = 64
MAX_LEARNED_ROWS = 1_000_000

Mode = Literal["observe", "warn", "reject"]
Rule = Literal["nulls", "range", "categories"]
Rows = Annotated[int, msgspec.Meta(ge=0, le=MAX_LEARNED_ROWS)]
Share = Annotated[float, msgspec.Meta(gt=0, lt=1)]
Psi = Annotated[float, msgspec.Meta(gt=0, le=10)]


class Segments(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Traffic divided by a categorical feature of the reference, or by a request's parameter. Each part has histograms of its own."""

    feature: str | None = None  # by name: its most frequent categories are the segments, all others together one more
    parameter: str | None = None  # of requests, by name; a request without it belongs to the last segment, as do all other values
    values: tuple[str, ...] = ()  # of the parameter: a segment each
    most: Annotated[int, msgspec.Meta(ge=1, le=MAX_SEGMENTS)] = 8  # segments beside the last one

    def __post_init__(self) -> None:
        if (self.feature is None) == (self.parameter is None):
            raise MisfitError("feature", "traffic is divided by a feature or by a parameter: set one of the two")
        if (self.parameter is None) != (not self.values):
            raise MisfitError("values", "belongs to a parameter, which needs it")
        if len(set(self.values)) != len(self.values) or len(self.values) > self.most:
            raise MisfitError("values", f"a value is there twice, or there are more than {self.most}")


class ModelDrift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is watched of one model."""

    watched: bool | None = None  # instead of drift.watched
    learn_rows: Rows | None = None  # instead of drift.learn_rows
    bins: bool | None = None  # instead of drift.bins
    segments: Segments | None = None  # null: traffic is not divided


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What happens to values that break the rules of the version's schema: missing ones, those out of range, unknown categories.

    observe counts them; warn also writes to the log, at most once a minute for each rule; reject answers the request with
    INVALID_ARGUMENT before it runs, and its neighbours as ever. Wrong datatypes and shapes are refused whatever is set here."""

    mode: Mode = "observe"  # of all rules
    nulls: Mode | None = None  # of missing values, instead of mode
    range: Mode | None = None  # of values out of range
    categories: Mode | None = None  # of unknown categories
    inputs: dict[str, Mode] = {}  # of all rules of single inputs, by name, instead of those

    def mode_of(self, name: str, rule: Rule) -> Mode:
        """Of one rule of one input."""
        own: Mode | None = getattr(self, rule)
        return self.inputs.get(name, own or self.mode)


class Drift(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is watched of every version that has a reference profile, and when it counts as drift. See docs/drift.md."""

    watched: bool = True  # count every row that is served, by bins
    evaluate_s: Annotated[float, msgspec.Meta(ge=0.1, le=3600)] = 1.0  # between two evaluations
    alpha: Share = 0.05  # probability of a false alarm of a version over its life, for traffic like its reference
    warn_psi: Psi = 0.1  # a feature that is surely further from its reference than this is WARN
    alarm_psi: Psi = 0.25  # and than this, ALARM
    window_min: Annotated[int, msgspec.Meta(ge=1, le=60)] = 60  # minutes of the recent window that histograms and PSI are shown of
    learn_rows: Rows = 0  # a version without a reference takes its first rows for one; 0: such versions are not watched
    bins: bool = False  # a counter for each bin on the metrics page: 40 series a feature
    max_bytes: Annotated[int, msgspec.Meta(ge=1 << 20, le=1 << 34)] = 256 << 20  # of counts in a worker; versions beyond it are not watched
    triggers: bool = True  # an ALARM of the predictions or of the whole leaves a retrain trigger in the registry, where that can be written


@dataclass(frozen=True, slots=True)
class DriftPlan:
    """What is watched of one model, with the defaults filled in."""

    watched: bool
    learn_rows: int
    bins: bool
    segments: Segments | None


def drift_plan(general: Drift, own: ModelDrift) -> DriftPlan:
    """The model's own settings over the general ones."""
    return DriftPlan(
        general.watched if own.watched is None else own.watched,
        general.learn_rows if own.learn_rows is None else own.learn_rows,
        general.bins if own.bins is None else own.bins,
        own.segments,
    )
