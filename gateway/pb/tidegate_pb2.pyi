# mypy: disable-error-code="type-arg, no-untyped-def"
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Label(_message.Message):
    __slots__ = ("label_id", "model", "name", "value", "text", "client_request_id", "request_id", "unit_hash", "row", "event_us", "source", "weight", "final", "supersedes")
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    CLIENT_REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    UNIT_HASH_FIELD_NUMBER: _ClassVar[int]
    ROW_FIELD_NUMBER: _ClassVar[int]
    EVENT_US_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDES_FIELD_NUMBER: _ClassVar[int]
    label_id: str
    model: str
    name: str
    value: float
    text: str
    client_request_id: str
    request_id: bytes
    unit_hash: bytes
    row: int
    event_us: int
    source: str
    weight: float
    final: bool
    supersedes: str
    def __init__(self, label_id: _Optional[str] = ..., model: _Optional[str] = ..., name: _Optional[str] = ..., value: _Optional[float] = ..., text: _Optional[str] = ..., client_request_id: _Optional[str] = ..., request_id: _Optional[bytes] = ..., unit_hash: _Optional[bytes] = ..., row: _Optional[int] = ..., event_us: _Optional[int] = ..., source: _Optional[str] = ..., weight: _Optional[float] = ..., final: _Optional[bool] = ..., supersedes: _Optional[str] = ...) -> None: ...

class LabelsRequest(_message.Message):
    __slots__ = ("model", "labels")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    model: str
    labels: _containers.RepeatedCompositeFieldContainer[Label]
    def __init__(self, model: _Optional[str] = ..., labels: _Optional[_Iterable[_Union[Label, _Mapping]]] = ...) -> None: ...

class LabelFate(_message.Message):
    __slots__ = ("label_id", "status", "reason")
    LABEL_ID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    label_id: str
    status: str
    reason: str
    def __init__(self, label_id: _Optional[str] = ..., status: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class LabelsResponse(_message.Message):
    __slots__ = ("accepted", "duplicates", "refused", "results")
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    accepted: int
    duplicates: int
    refused: int
    results: _containers.RepeatedCompositeFieldContainer[LabelFate]
    def __init__(self, accepted: _Optional[int] = ..., duplicates: _Optional[int] = ..., refused: _Optional[int] = ..., results: _Optional[_Iterable[_Union[LabelFate, _Mapping]]] = ...) -> None: ...

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

class ListRolloutsRequest(_message.Message):
    __slots__ = ("model", "all")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ALL_FIELD_NUMBER: _ClassVar[int]
    model: str
    all: bool
    def __init__(self, model: _Optional[str] = ..., all: _Optional[bool] = ...) -> None: ...

class ListRolloutsResponse(_message.Message):
    __slots__ = ("rollouts",)
    ROLLOUTS_FIELD_NUMBER: _ClassVar[int]
    rollouts: _containers.RepeatedCompositeFieldContainer[RolloutStatus]
    def __init__(self, rollouts: _Optional[_Iterable[_Union[RolloutStatus, _Mapping]]] = ...) -> None: ...

class ApplyRolloutRequest(_message.Message):
    __slots__ = ("plan", "force", "reason", "actor", "operation_id", "commit")
    PLAN_FIELD_NUMBER: _ClassVar[int]
    FORCE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    plan: bytes
    force: bool
    reason: str
    actor: str
    operation_id: str
    commit: str
    def __init__(self, plan: _Optional[bytes] = ..., force: _Optional[bool] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ..., commit: _Optional[str] = ...) -> None: ...

class PauseRolloutRequest(_message.Message):
    __slots__ = ("rollout", "reason", "actor", "operation_id")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    reason: str
    actor: str
    operation_id: str
    def __init__(self, rollout: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ...) -> None: ...

class ResumeRolloutRequest(_message.Message):
    __slots__ = ("rollout", "reason", "actor", "operation_id", "accept_evidence")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    ACCEPT_EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    reason: str
    actor: str
    operation_id: str
    accept_evidence: bool
    def __init__(self, rollout: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ..., accept_evidence: _Optional[bool] = ...) -> None: ...

class ApproveRolloutRequest(_message.Message):
    __slots__ = ("rollout", "reason", "actor", "operation_id")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    reason: str
    actor: str
    operation_id: str
    def __init__(self, rollout: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ...) -> None: ...

class PromoteRolloutRequest(_message.Message):
    __slots__ = ("rollout", "reason", "actor", "operation_id", "full", "step")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    FULL_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    reason: str
    actor: str
    operation_id: str
    full: bool
    step: int
    def __init__(self, rollout: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ..., full: _Optional[bool] = ..., step: _Optional[int] = ...) -> None: ...

class AbortRolloutRequest(_message.Message):
    __slots__ = ("rollout", "reason", "actor", "operation_id")
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    OPERATION_ID_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    reason: str
    actor: str
    operation_id: str
    def __init__(self, rollout: _Optional[str] = ..., reason: _Optional[str] = ..., actor: _Optional[str] = ..., operation_id: _Optional[str] = ...) -> None: ...

class RolloutRequest(_message.Message):
    __slots__ = ("rollout",)
    ROLLOUT_FIELD_NUMBER: _ClassVar[int]
    rollout: str
    def __init__(self, rollout: _Optional[str] = ...) -> None: ...

class RolloutDone(_message.Message):
    __slots__ = ("status", "new")
    STATUS_FIELD_NUMBER: _ClassVar[int]
    NEW_FIELD_NUMBER: _ClassVar[int]
    status: RolloutStatus
    new: bool
    def __init__(self, status: _Optional[_Union[RolloutStatus, _Mapping]] = ..., new: _Optional[bool] = ...) -> None: ...

class RolloutArm(_message.Message):
    __slots__ = ("name", "version", "manifest", "percent")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: int
    manifest: str
    percent: float
    def __init__(self, name: _Optional[str] = ..., version: _Optional[int] = ..., manifest: _Optional[str] = ..., percent: _Optional[float] = ...) -> None: ...

class RolloutTrip(_message.Message):
    __slots__ = ("metric", "critical", "sentence")
    METRIC_FIELD_NUMBER: _ClassVar[int]
    CRITICAL_FIELD_NUMBER: _ClassVar[int]
    SENTENCE_FIELD_NUMBER: _ClassVar[int]
    metric: str
    critical: bool
    sentence: str
    def __init__(self, metric: _Optional[str] = ..., critical: _Optional[bool] = ..., sentence: _Optional[str] = ...) -> None: ...

class RolloutStatus(_message.Message):
    __slots__ = ("id", "model", "name", "phase", "final", "cause", "reason", "waiting", "step", "steps", "step_kind", "mode", "percent", "arms", "alias", "skip", "elapsed_s", "started", "changed", "starter", "publisher", "approvals", "approvals_wanted", "tripped", "accepted", "passed", "waived", "held", "plan", "salt", "commit", "forced", "report", "controller", "entries", "ahead")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    PHASE_FIELD_NUMBER: _ClassVar[int]
    FINAL_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    WAITING_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    STEP_KIND_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    ARMS_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    SKIP_FIELD_NUMBER: _ClassVar[int]
    ELAPSED_S_FIELD_NUMBER: _ClassVar[int]
    STARTED_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    STARTER_FIELD_NUMBER: _ClassVar[int]
    PUBLISHER_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_FIELD_NUMBER: _ClassVar[int]
    APPROVALS_WANTED_FIELD_NUMBER: _ClassVar[int]
    TRIPPED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    WAIVED_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    SALT_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    REPORT_FIELD_NUMBER: _ClassVar[int]
    CONTROLLER_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    name: str
    phase: str
    final: bool
    cause: str
    reason: str
    waiting: str
    step: int
    steps: int
    step_kind: str
    mode: str
    percent: float
    arms: _containers.RepeatedCompositeFieldContainer[RolloutArm]
    alias: str
    skip: str
    elapsed_s: float
    started: str
    changed: str
    starter: str
    publisher: str
    approvals: _containers.RepeatedScalarFieldContainer[str]
    approvals_wanted: int
    tripped: _containers.RepeatedCompositeFieldContainer[RolloutTrip]
    accepted: _containers.RepeatedScalarFieldContainer[str]
    passed: _containers.RepeatedScalarFieldContainer[int]
    waived: _containers.RepeatedScalarFieldContainer[int]
    held: bool
    plan: str
    salt: str
    commit: str
    forced: bool
    report: str
    controller: str
    entries: int
    ahead: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., name: _Optional[str] = ..., phase: _Optional[str] = ..., final: _Optional[bool] = ..., cause: _Optional[str] = ..., reason: _Optional[str] = ..., waiting: _Optional[str] = ..., step: _Optional[int] = ..., steps: _Optional[int] = ..., step_kind: _Optional[str] = ..., mode: _Optional[str] = ..., percent: _Optional[float] = ..., arms: _Optional[_Iterable[_Union[RolloutArm, _Mapping]]] = ..., alias: _Optional[str] = ..., skip: _Optional[str] = ..., elapsed_s: _Optional[float] = ..., started: _Optional[str] = ..., changed: _Optional[str] = ..., starter: _Optional[str] = ..., publisher: _Optional[str] = ..., approvals: _Optional[_Iterable[str]] = ..., approvals_wanted: _Optional[int] = ..., tripped: _Optional[_Iterable[_Union[RolloutTrip, _Mapping]]] = ..., accepted: _Optional[_Iterable[str]] = ..., passed: _Optional[_Iterable[int]] = ..., waived: _Optional[_Iterable[int]] = ..., held: _Optional[bool] = ..., plan: _Optional[str] = ..., salt: _Optional[str] = ..., commit: _Optional[str] = ..., forced: _Optional[bool] = ..., report: _Optional[str] = ..., controller: _Optional[str] = ..., entries: _Optional[int] = ..., ahead: _Optional[_Iterable[str]] = ...) -> None: ...

class RolloutEntry(_message.Message):
    __slots__ = ("seq", "time", "actor", "event", "from_phase", "to_phase", "step", "reason", "evidence", "checkpoint", "token", "counts", "details")
    SEQ_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    EVENT_FIELD_NUMBER: _ClassVar[int]
    FROM_PHASE_FIELD_NUMBER: _ClassVar[int]
    TO_PHASE_FIELD_NUMBER: _ClassVar[int]
    STEP_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    CHECKPOINT_FIELD_NUMBER: _ClassVar[int]
    TOKEN_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    DETAILS_FIELD_NUMBER: _ClassVar[int]
    seq: int
    time: str
    actor: str
    event: str
    from_phase: str
    to_phase: str
    step: int
    reason: str
    evidence: _containers.RepeatedScalarFieldContainer[str]
    checkpoint: str
    token: int
    counts: bool
    details: str
    def __init__(self, seq: _Optional[int] = ..., time: _Optional[str] = ..., actor: _Optional[str] = ..., event: _Optional[str] = ..., from_phase: _Optional[str] = ..., to_phase: _Optional[str] = ..., step: _Optional[int] = ..., reason: _Optional[str] = ..., evidence: _Optional[_Iterable[str]] = ..., checkpoint: _Optional[str] = ..., token: _Optional[int] = ..., counts: _Optional[bool] = ..., details: _Optional[str] = ...) -> None: ...

class RolloutHistory(_message.Message):
    __slots__ = ("id", "model", "entries")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    id: str
    model: str
    entries: _containers.RepeatedCompositeFieldContainer[RolloutEntry]
    def __init__(self, id: _Optional[str] = ..., model: _Optional[str] = ..., entries: _Optional[_Iterable[_Union[RolloutEntry, _Mapping]]] = ...) -> None: ...
