"""Where a version comes from: the code, the packages, the data and the settings it was trained with, and how well it did. Pure data."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec

from registry.errors import damaged, refused
from registry.names import Digest

MAX_TRAINING_BYTES = 1 << 20
GitSha = Annotated[str, msgspec.Meta(pattern=r"\A([0-9a-f]{40}|[0-9a-f]{64})\Z")]
Version = Annotated[int, msgspec.Meta(ge=1)]
TriggerId = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{32}\Z")]
Plain = str | int | float | bool | None | list[str | int | float | bool | None]


class TrainingRecord(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The blob `training.json` of a version. What is not known is None or empty."""

    format: Literal[1]
    git_sha: GitSha | None = None
    git_dirty: bool | None = None  # whether files differed from that commit; None only without a commit
    lock_digest: Digest | None = None  # of the lock file of the packages
    dataset_digest: Digest | None = None
    dataset_rows: Annotated[int, msgspec.Meta(ge=0)] | None = None
    parameters: dict[str, Plain] = {}
    seed: int | None = None
    metrics: dict[str, dict[str, float]] = {}  # slice of the data ("all" is everything) → metric → value
    base_version: Version | None = None  # of the same model, which this one was trained from or compared with
    trigger: TriggerId | None = None  # that asked for it
    entry_point: str | None = None  # "module:function", or the name of a recipe
    seeds: dict[str, int] = {}  # by what they are for, beside `seed`, which the training itself has
    split_rows: dict[str, Annotated[int, msgspec.Meta(ge=0)]] = {}  # "train", "holdout"
    split_digests: dict[str, Digest] = {}  # of those rows as they were trained on
    versions: dict[str, str] = {}  # of what took part: python, scikit-learn, onnxruntime, …
    hardware: dict[str, Plain] = {}
    engine: dict[str, Plain] = {}  # where rows were read and estimators fitted, unless on that hardware: name, nodes, cores, …
    wall_s: Annotated[float, msgspec.Meta(ge=0)] | None = None  # seconds from the claim to the export
    run_url: str | None = None  # where people follow the run


def check(record: TrainingRecord) -> TrainingRecord:
    """`record` itself. Raises `Kind.INVALID_MODEL` for values that do not fit together or that JSON cannot hold."""
    problem = _problem(record)
    if problem is not None:
        raise refused(f"the training record is refused: {problem}")
    return record


def training_record(plain: object) -> TrainingRecord:
    """From what YAML or JSON gave; `format` may be left out. Raises `Kind.INVALID_MODEL` naming the place of a mistake."""
    try:
        return check(msgspec.convert({"format": 1, **plain} if isinstance(plain, dict) else plain, TrainingRecord))
    except msgspec.ValidationError as error:
        raise refused(f"the training record is not one: {error}") from error


def encode(record: TrainingRecord) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(record, order="deterministic")


def decode(content: bytes, *, key: str) -> TrainingRecord:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=TrainingRecord)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is no training record: {error}") from error


def _problem(record: TrainingRecord) -> str | None:
    if (record.git_sha is None) != (record.git_dirty is None):
        return "a commit needs to say whether files differed from it, and nothing else may"
    values = [
        *record.parameters.values(),
        *record.hardware.values(),
        *record.engine.values(),
        record.wall_s,
        *(value for metrics in record.metrics.values() for value in metrics.values()),
    ]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    if not all(math.isfinite(item) for item in flat if isinstance(item, float)):
        return "a parameter or metric is not finite"
    if len(encode(record)) > MAX_TRAINING_BYTES:
        return f"it has more than {MAX_TRAINING_BYTES} bytes"
    return None
