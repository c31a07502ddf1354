# mypy: disable-error-code="type-arg, no-untyped-def"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ModelDriftRequest(_message.Message):
    __slots__ = ("name", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class ModelDriftResponse(_message.Message):
    __slots__ = ("model", "versions")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    VERSIONS_FIELD_NUMBER: _ClassVar[int]
    model: str
    versions: _containers.RepeatedCompositeFieldContainer[Findings]
    def __init__(self, model: _Optional[str] = ..., versions: _Optional[_Iterable[_Union[Findings, _Mapping]]] = ...) -> None: ...

class Band(_message.Message):
    __slots__ = ("low", "mid", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    MID_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    mid: float
    high: float
    def __init__(self, low: _Optional[float] = ..., mid: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class LogE(_message.Message):
    __slots__ = ("any", "tolerance", "detector", "drift", "warn", "alarm")
    ANY_FIELD_NUMBER: _ClassVar[int]
    TOLERANCE_FIELD_NUMBER: _ClassVar[int]
    DETECTOR_FIELD_NUMBER: _ClassVar[int]
    DRIFT_FIELD_NUMBER: _ClassVar[int]
    WARN_FIELD_NUMBER: _ClassVar[int]
    ALARM_FIELD_NUMBER: _ClassVar[int]
    any: float
    tolerance: float
    detector: float
    drift: float
    warn: float
    alarm: float
    def __init__(self, any: _Optional[float] = ..., tolerance: _Optional[float] = ..., detector: _Optional[float] = ..., drift: _Optional[float] = ..., warn: _Optional[float] = ..., alarm: _Optional[float] = ...) -> None: ...

class Moments(_message.Message):
    __slots__ = ("mean", "sd", "least", "greatest")
    MEAN_FIELD_NUMBER: _ClassVar[int]
    SD_FIELD_NUMBER: _ClassVar[int]
    LEAST_FIELD_NUMBER: _ClassVar[int]
    GREATEST_FIELD_NUMBER: _ClassVar[int]
    mean: float
    sd: float
    least: float
    greatest: float
    def __init__(self, mean: _Optional[float] = ..., sd: _Optional[float] = ..., least: _Optional[float] = ..., greatest: _Optional[float] = ...) -> None: ...

class Rates(_message.Message):
    __slots__ = ("null", "outside")
    NULL_FIELD_NUMBER: _ClassVar[int]
    OUTSIDE_FIELD_NUMBER: _ClassVar[int]
    null: float
    outside: float
    def __init__(self, null: _Optional[float] = ..., outside: _Optional[float] = ...) -> None: ...

class Slot(_message.Message):
    __slots__ = ("label", "live", "reference", "nats")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LIVE_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    NATS_FIELD_NUMBER: _ClassVar[int]
    label: str
    live: int
    reference: int
    nats: float
    def __init__(self, label: _Optional[str] = ..., live: _Optional[int] = ..., reference: _Optional[int] = ..., nats: _Optional[float] = ...) -> None: ...

class FeatureFinding(_message.Message):
    __slots__ = ("name", "side", "state", "since_s", "changed_row", "changed_s", "rows", "psi", "js_distance_bits", "ks", "wasserstein_iqr", "log_e", "rates", "reference_rates", "moments", "reference_moments", "edges", "histogram", "tau", "arm", "sentence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SIDE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    CHANGED_ROW_FIELD_NUMBER: _ClassVar[int]
    CHANGED_S_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    JS_DISTANCE_BITS_FIELD_NUMBER: _ClassVar[int]
    KS_FIELD_NUMBER: _ClassVar[int]
    WASSERSTEIN_IQR_FIELD_NUMBER: _ClassVar[int]
    LOG_E_FIELD_NUMBER: _ClassVar[int]
    RATES_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_RATES_FIELD_NUMBER: _ClassVar[int]
    MOMENTS_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_MOMENTS_FIELD_NUMBER: _ClassVar[int]
    EDGES_FIELD_NUMBER: _ClassVar[int]
    HISTOGRAM_FIELD_NUMBER: _ClassVar[int]
    TAU_FIELD_NUMBER: _ClassVar[int]
    ARM_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    side: str
    state: str
    since_s: float
    changed_row: int
    changed_s: float
    rows: int
    psi: float
    js_distance_bits: float
    ks: float
    wasserstein_iqr: float
    log_e: LogE
    rates: Rates
    reference_rates: Rates
    moments: Moments
    reference_moments: Moments
    edges: _containers.RepeatedScalarFieldContainer[float]
    histogram: _containers.RepeatedCompositeFieldContainer[Slot]
    tau: float
    arm: int
    sentence: str
    def __init__(self, name: _Optional[str] = ..., side: _Optional[str] = ..., state: _Optional[str] = ..., since_s: _Optional[float] = ..., changed_row: _Optional[int] = ..., changed_s: _Optional[float] = ..., rows: _Optional[int] = ..., psi: _Optional[float] = ..., js_distance_bits: _Optional[float] = ..., ks: _Optional[float] = ..., wasserstein_iqr: _Optional[float] = ..., log_e: _Optional[_Union[LogE, _Mapping]] = ..., rates: _Optional[_Union[Rates, _Mapping]] = ..., reference_rates: _Optional[_Union[Rates, _Mapping]] = ..., moments: _Optional[_Union[Moments, _Mapping]] = ..., reference_moments: _Optional[_Union[Moments, _Mapping]] = ..., edges: _Optional[_Iterable[float]] = ..., histogram: _Optional[_Iterable[_Union[Slot, _Mapping]]] = ..., tau: _Optional[float] = ..., arm: _Optional[int] = ..., sentence: _Optional[str] = ...) -> None: ...

class Window(_message.Message):
    __slots__ = ("kind", "rows", "minutes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    MINUTES_FIELD_NUMBER: _ClassVar[int]
    kind: str
    rows: int
    minutes: int
    def __init__(self, kind: _Optional[str] = ..., rows: _Optional[int] = ..., minutes: _Optional[int] = ...) -> None: ...

class Reference(_message.Message):
    __slots__ = ("digest", "source", "rows", "age_s")
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    AGE_S_FIELD_NUMBER: _ClassVar[int]
    digest: str
    source: str
    rows: int
    age_s: float
    def __init__(self, digest: _Optional[str] = ..., source: _Optional[str] = ..., rows: _Optional[int] = ..., age_s: _Optional[float] = ...) -> None: ...

class EstimateOf(_message.Message):
    __slots__ = ("rows", "accuracy", "auc")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    AUC_FIELD_NUMBER: _ClassVar[int]
    rows: int
    accuracy: Band
    auc: Band
    def __init__(self, rows: _Optional[int] = ..., accuracy: _Optional[_Union[Band, _Mapping]] = ..., auc: _Optional[_Union[Band, _Mapping]] = ...) -> None: ...

class PerformanceFinding(_message.Message):
    __slots__ = ("state", "since_s", "all", "recent", "reference_accuracy", "reference_auc", "trustworthy", "sentence")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    RECENT_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_AUC_FIELD_NUMBER: _ClassVar[int]
    TRUSTWORTHY_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    state: str
    since_s: float
    all: EstimateOf
    recent: EstimateOf
    reference_accuracy: float
    reference_auc: float
    trustworthy: bool
    sentence: str
    def __init__(self, state: _Optional[str] = ..., since_s: _Optional[float] = ..., all: _Optional[_Union[EstimateOf, _Mapping]] = ..., recent: _Optional[_Union[EstimateOf, _Mapping]] = ..., reference_accuracy: _Optional[float] = ..., reference_auc: _Optional[float] = ..., trustworthy: _Optional[bool] = ..., sentence: _Optional[str] = ...) -> None: ...

class SegmentFinding(_message.Message):
    __slots__ = ("name", "rows", "psi", "farthest", "farthest_psi", "log_e", "beyond")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    FARTHEST_FIELD_NUMBER: _ClassVar[int]
    FARTHEST_PSI_FIELD_NUMBER: _ClassVar[int]
    LOG_E_FIELD_NUMBER: _ClassVar[int]
    BEYOND_FIELD_NUMBER: _ClassVar[int]
    name: str
    rows: int
    psi: float
    farthest: str
    farthest_psi: float
    log_e: float
    beyond: bool
    def __init__(self, name: _Optional[str] = ..., rows: _Optional[int] = ..., psi: _Optional[float] = ..., farthest: _Optional[str] = ..., farthest_psi: _Optional[float] = ..., log_e: _Optional[float] = ..., beyond: _Optional[bool] = ...) -> None: ...

class Violations(_message.Message):
    __slots__ = ("input", "rule", "mode", "values", "rows")
    INPUT_FIELD_NUMBER: _ClassVar[int]
    RULE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    input: str
    rule: str
    mode: str
    values: int
    rows: int
    def __init__(self, input: _Optional[str] = ..., rule: _Optional[str] = ..., mode: _Optional[str] = ..., values: _Optional[int] = ..., rows: _Optional[int] = ...) -> None: ...

class Scope(_message.Message):
    __slots__ = ("state", "since_s")
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    state: str
    since_s: float
    def __init__(self, state: _Optional[str] = ..., since_s: _Optional[float] = ...) -> None: ...

class HourFinding(_message.Message):
    __slots__ = ("begin_s", "rows", "psi")
    BEGIN_S_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    PSI_FIELD_NUMBER: _ClassVar[int]
    begin_s: int
    rows: int
    psi: float
    def __init__(self, begin_s: _Optional[int] = ..., rows: _Optional[int] = ..., psi: _Optional[float] = ...) -> None: ...

class Findings(_message.Message):
    __slots__ = ("version", "state", "since_s", "sentence", "rows", "window", "reference", "alpha", "log_e", "log_e_windows", "log_e_needed", "together", "predictions", "features", "performance", "segments", "violations", "hours")
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SINCE_S_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    WINDOW_FIELD_NUMBER: _ClassVar[int]
    REFERENCE_FIELD_NUMBER: _ClassVar[int]
    ALPHA_FIELD_NUMBER: _ClassVar[int]
    LOG_E_FIELD_NUMBER: _ClassVar[int]
    LOG_E_WINDOWS_FIELD_NUMBER: _ClassVar[int]
    LOG_E_NEEDED_FIELD_NUMBER: _ClassVar[int]
    TOGETHER_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    FEATURES_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_FIELD_NUMBER: _ClassVar[int]
    SEGMENTS_FIELD_NUMBER: _ClassVar[int]
    VIOLATIONS_FIELD_NUMBER: _ClassVar[int]
    HOURS_FIELD_NUMBER: _ClassVar[int]
    version: str
    state: str
    since_s: float
    sentence: str
    rows: int
    window: Window
    reference: Reference
    alpha: float
    log_e: float
    log_e_windows: float
    log_e_needed: float
    together: Scope
    predictions: Scope
    features: _containers.RepeatedCompositeFieldContainer[FeatureFinding]
    performance: PerformanceFinding
    segments: _containers.RepeatedCompositeFieldContainer[SegmentFinding]
    violations: _containers.RepeatedCompositeFieldContainer[Violations]
    hours: _containers.RepeatedCompositeFieldContainer[HourFinding]
    def __init__(self, version: _Optional[str] = ..., state: _Optional[str] = ..., since_s: _Optional[float] = ..., sentence: _Optional[str] = ..., rows: _Optional[int] = ..., window: _Optional[_Union[Window, _Mapping]] = ..., reference: _Optional[_Union[Reference, _Mapping]] = ..., alpha: _Optional[float] = ..., log_e: _Optional[float] = ..., log_e_windows: _Optional[float] = ..., log_e_needed: _Optional[float] = ..., together: _Optional[_Union[Scope, _Mapping]] = ..., predictions: _Optional[_Union[Scope, _Mapping]] = ..., features: _Optional[_Iterable[_Union[FeatureFinding, _Mapping]]] = ..., performance: _Optional[_Union[PerformanceFinding, _Mapping]] = ..., segments: _Optional[_Iterable[_Union[SegmentFinding, _Mapping]]] = ..., violations: _Optional[_Iterable[_Union[Violations, _Mapping]]] = ..., hours: _Optional[_Iterable[_Union[HourFinding, _Mapping]]] = ...) -> None: ...
