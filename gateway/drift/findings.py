"""What is told of the drift of a version: documents of `GET /v2/models/{m}/drift`, `tidegate drift` and the metrics page. Shapes only."""

from __future__ import annotations

import msgspec


class Band(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate with bounds of 95 %."""

    low: float
    mid: float
    high: float


class LogE(msgspec.Struct, frozen=True, kw_only=True):
    """Natural logarithms of e-values; -50 stands for nothing at all.

    The first three as the tests give them: any change and a change beyond the first tolerance since the arm began, and the e-detector
    (absent where no start promises anything). The others are what decides: what the stakes on each level have grown to.
    """

    any: float
    tolerance: float
    detector: float | None
    drift: float
    warn: float
    alarm: float


class Moments(msgspec.Struct, frozen=True, kw_only=True):
    """Of finite values; of no values all are absent. `least` and `greatest` are of all time."""

    mean: float | None
    sd: float | None
    least: float | None = None
    greatest: float | None = None


class Rates(msgspec.Struct, frozen=True, kw_only=True):
    """Shares of rows: NaN or null; of the others those outside the reference's range, or of no known category."""

    null: float
    outside: float


class Slot(msgspec.Struct, frozen=True, kw_only=True):
    """One bar of the two histograms. `nats`: what it adds to n KL(live ‖ reference), by which the finding names the slot."""

    label: str
    live: int
    reference: int
    nats: float


class FeatureFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One feature or prediction. Numbers about live rows are of the document's window."""

    name: str
    side: str
    state: str
    since_s: float  # when it came to be so, seconds since the epoch
    changed_row: int | None  # estimates, while the state is not OK
    changed_s: float | None
    rows: int
    psi: float
    js_distance_bits: float
    ks: float | None  # of numbers
    wasserstein_iqr: float | None
    log_e: LogE
    rates: Rates
    reference_rates: Rates
    moments: Moments | None
    reference_moments: Moments | None
    edges: tuple[float, ...] | None  # of the bins of a number
    histogram: tuple[Slot, ...]
    tau: float
    arm: int  # how often its tests began anew, from 1
    sentence: str


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """What numbers about live rows are of."""

    kind: str  # "minutes", "day" or "all"
    rows: int
    minutes: int | None


class Reference(msgspec.Struct, frozen=True, kw_only=True):
    """What is compared with."""

    digest: str
    source: str
    rows: int
    age_s: float | None


class EstimateOf(msgspec.Struct, frozen=True, kw_only=True):
    """Of some rows."""

    rows: int
    accuracy: Band | None
    auc: Band | None


class PerformanceFinding(msgspec.Struct, frozen=True, kw_only=True):
    """Estimated from scores alone."""

    state: str
    since_s: float
    all: EstimateOf
    recent: EstimateOf
    reference_accuracy: float
    reference_auc: float
    trustworthy: bool
    sentence: str


class SegmentFinding(msgspec.Struct, frozen=True, kw_only=True):
    """A part of the traffic against the whole reference: how far it lies from it. `farthest`: its feature with the greatest PSI."""

    name: str
    rows: int
    psi: float  # mean over features
    farthest: str | None
    farthest_psi: float
    log_e: float  # test B of that feature at WARN's tolerance
    beyond: bool  # with the chance of error divided over segments and features


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule of the contract."""

    input: str
    rule: str
    mode: str


class Violations(msgspec.Struct, frozen=True, kw_only=True):
    """What broke a rule, of all time."""

    input: str
    rule: str
    mode: str
    values: int
    rows: int


class Scope(msgspec.Struct, frozen=True, kw_only=True):
    """A state and since when."""

    state: str
    since_s: float


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """A transition, for the journal. `scope`: global, predictions, performance, or "feature:" and its name."""

    scope: str
    before: str
    after: str
    at_s: float


class HourFinding(msgspec.Struct, frozen=True, kw_only=True):
    """One hour that is over."""

    begin_s: int
    rows: int
    psi: float  # mean over features


class Findings(msgspec.Struct, frozen=True, kw_only=True):
    """One version."""

    state: str
    since_s: float
    sentence: str
    rows: int  # of all time
    window: Window
    reference: Reference
    alpha: float
    log_e: float  # of all features together, on any change
    log_e_windows: float | None  # of the second layer
    log_e_needed: float
    together: Scope
    predictions: Scope
    features: tuple[FeatureFinding, ...]  # the ones that moved first, each by what it adds
    performance: PerformanceFinding | None
    segments: tuple[SegmentFinding, ...]
    violations: tuple[Violations, ...]
    hours: tuple[HourFinding, ...]


class VersionFindings(Findings, frozen=True, kw_only=True):
    """With its number."""

    version: str


class ModelDrift(msgspec.Struct, frozen=True, kw_only=True):
    """What GET /v2/models/{model}/drift answers: every version that is watched, or the one that was asked for."""

    model: str
    versions: tuple[VersionFindings, ...]


class Gauges(msgspec.Struct, frozen=True, kw_only=True):
    """What the metrics page shows of a version. Per feature in the order of `features`."""

    rows: int
    states: dict[str, int]  # by scope: global, predictions, performance
    features: tuple[str, ...]
    feature_states: tuple[int, ...]
    psi: tuple[float, ...]
    log_e: dict[str, tuple[float, ...]]  # by test: any, tolerance, detector
    accuracy: dict[str, float]  # by bound: low, mid, high
    violations: tuple[Violations, ...]
