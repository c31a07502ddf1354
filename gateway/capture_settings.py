"""The `capture` section of the settings: what is kept of the traffic, where, and for how long; for all models, and for one."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from gateway.typed_yaml import MisfitError

MAX_EDGES, MAX_CHARACTERS, MAX_DECIMALS = 256, 65_536, 12

Policy = Literal["keep", "drop", "hash", "bucket", "truncate"]
Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
Seconds = Annotated[float, msgspec.Meta(ge=0.1, le=86_400)]
Bytes = Annotated[int, msgspec.Meta(ge=1 << 16, le=1 << 40)]


class CapturedField(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is kept of one input or output."""

    policy: Policy  # keep; drop; hash: a keyed hash of 64 bits instead of the value; bucket; truncate
    edges: tuple[float, ...] = ()  # of buckets, ascending: a number becomes how many of them it reaches; -1 is no number
    characters: Annotated[int, msgspec.Meta(ge=0, le=MAX_CHARACTERS)] | None = None  # to which a text is truncated
    decimals: Annotated[int, msgspec.Meta(ge=0, le=MAX_DECIMALS)] | None = None  # to which a number is truncated, by rounding

    def __post_init__(self) -> None:
        if (self.policy == "bucket") != bool(self.edges):
            raise MisfitError("edges", "belongs to policy: bucket, which needs it")
        if len(self.edges) > MAX_EDGES or any(low >= high for low, high in pairwise(self.edges)) or not all(map(math.isfinite, self.edges)):
            raise MisfitError("edges", f"expected at most {MAX_EDGES} ascending numbers")
        given = [name for name in ("characters", "decimals") if getattr(self, name) is not None]
        if (self.policy == "truncate") != (len(given) == 1):
            raise MisfitError(given[0] if given else "policy", "policy: truncate needs either characters or decimals, and no other does")


class ModelCapture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is logged of one model."""

    sample: Share | None = None  # instead of capture.sample
    fields: dict[str, CapturedField] = {}  # by the name of an input or output; others: numbers are kept, texts are dropped


class Capture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The inference log: one row for each row of each sampled request, whatever became of it. See docs/inference-log.md."""

    enabled: bool = False  # keep a log
    directory: Path | None = None  # of the log, on a local disk; null: `log` in processes.state
    sample: Share = 1.0  # of requests, by unit or by chance, before anything is known of their outcome
    node: str | None = None  # this machine in names of files and in rows; null: its host name
    key: Path | None = None  # a file with the key of keyed hashes, 16 bytes at least; null: one that is made in the log's directory
    request_ids: bool = True  # answers of versions that are logged say under which id: `tidegate-request-id`, a parameter or a header
    durability: Literal["async", "sync"] = "async"  # sync: answers wait until their rows are on disk
    max_bytes: Bytes = 64 << 20  # of rows in each worker that are not written yet; what comes then is dropped, and counted
    flush_s: Annotated[float, msgspec.Meta(ge=0.001, le=60)] = 1.0  # after which what was written is made durable
    flush_bytes: Bytes = 1 << 20  # or after so many
    seal_s: Seconds = 60.0  # of rows in one raw segment until it is sealed, and readers see them
    seal_bytes: Bytes = 32 << 20  # of one raw segment at most
    keep_days: Annotated[float, msgspec.Meta(gt=0, le=36_500)] | None = None  # sealed rows; null: for good
    keep_payload_days: Annotated[float, msgspec.Meta(gt=0, le=36_500)] | None = None  # their inputs and outputs; null: as long as rows
    keep_bytes: Bytes | None = None  # of sealed files on this machine, the newest; null: all
    upload: str | None = None  # s3://bucket/prefix, gs://… or az://…: where sealed files are copied to
    upload_options: dict[str, str] = {}  # of that store: aws_endpoint, aws_region; credentials belong where the cloud's own tools look

    def __post_init__(self) -> None:
        if self.upload is not None and self.upload.partition("://")[0] not in ("s3", "gs", "az"):
            raise MisfitError("upload", "a URL begins with s3://, gs:// or az://")
        if self.upload is not None and ("?" in self.upload or "@" in self.upload):  # never repeated: it may be a secret
            raise MisfitError("upload", "a URL holds no user, password or query; what else the store needs belongs under upload_options")
        if self.upload_options and self.upload is None:
            raise MisfitError("upload_options", "belongs to upload, which is not set")


@dataclass(frozen=True, slots=True)
class CapturePlan:
    """What is logged of one model, with the defaults filled in."""

    sample: float
    fields: dict[str, CapturedField]


def capture_plan(general: Capture, own: ModelCapture) -> CapturePlan | None:
    """The model's own settings over the general ones; None where nothing is logged."""
    sample = general.sample if own.sample is None else own.sample
    return CapturePlan(sample, own.fields) if general.enabled and sample > 0 else None


def log_directory(capture: Capture, state: Path | None) -> Path | None:
    """Where the log is; None where there is none. `state`: processes.state."""
    if not capture.enabled:
        return None
    return capture.directory or (None if state is None else state / "log")
