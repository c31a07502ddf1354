"""Which rows a job is trained on, said so that everybody gets the same ones again: sources by digest, as of a time, filters, weights.

Its digest is that of its JSON. Where files lie is not part of it: what was moved is the same. Pure data; `sources` makes the rows of it.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from registry.names import Digest, digest_of
from retrain.errors import RetrainError

MAX_ROWS = 1_000_000  # in memory, of each split; of more, a sample that depends on nothing but the rows
MAX_FILES = 200_000
Value = str | int | float | bool


class File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One Parquet file."""

    name: str
    digest: Digest
    rows: int


class Commits(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A log up to and including one commit, which names the one before by digest."""

    log: str  # its id
    seq: int
    tip: Digest


class Join(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How labels come to rows."""

    window_s: Annotated[float, msgspec.Meta(ge=0)] = 86_400.0  # of labels that are for a unit
    mature_after_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # rows that are younger have no label yet, whatever has come
    negative_after_s: Annotated[float, msgspec.Meta(ge=0)] | None = None  # what has no label by then has 0; None: it is left out
    time: Literal["request", "event"] = "request"  # when a row was: when it was asked, or when what its label says came true

    def __post_init__(self) -> None:
        if self.time == "event" and self.negative_after_s is not None:
            raise ValueError("a row without a label has no event, so by the time of events none can be 0 for want of one")


class Filter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Rows to keep: those with one of the values, or between both ends, which belong to it. A missing value never passes."""

    column: str
    values: tuple[Value, ...] | None = None
    least: float | None = None
    most: float | None = None

    def __post_init__(self) -> None:
        if (self.values is None) == (self.least is None and self.most is None):
            raise ValueError("a filter has values, or a least or greatest number")


class Snapshot(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The rows of one training."""

    format: Literal[1] = 1
    kind: Literal["rows", "log"]
    model: str
    columns: tuple[tuple[str, Literal["number", "text"]], ...]  # of the model
    label: str  # a column of rows; of a log, what the join calls it
    time: str | None = None  # a column of rows; a log has its own
    weight: str | None = None  # a column of rows
    arrival: str | None = None  # a column of rows: when the label came
    files: tuple[File, ...] = ()  # of rows
    log_commits: Commits | None = None
    label_commits: Commits | None = None
    join: Join | None = None
    as_of: datetime | None = None  # nothing that came later is in it
    since: datetime | None = None  # rows from then on
    filters: tuple[Filter, ...] = ()
    weights: Literal["none", "inverse_sampling"] = "none"
    max_rows: Annotated[int, msgspec.Meta(ge=1)] = MAX_ROWS
    seed: int = 0  # of the sample
    holdout: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2  # share of the rows, the latest ones
    gap_s: Annotated[float, msgspec.Meta(ge=0)] = 0.0  # before the hold-out that nothing is trained on

    @property
    def is_timed(self) -> bool:
        """Whether rows have times."""
        return self.kind == "log" or self.time is not None

    @property
    def digest(self) -> str:
        """What reproduces it."""
        return digest_of(encode(self))


def encode(snapshot: Snapshot) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(snapshot, order="deterministic")


def decode(content: bytes) -> Snapshot:
    """The inverse of `encode`. Raises `RetrainError`."""
    try:
        return msgspec.json.decode(content, type=Snapshot)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RetrainError(f"this is no description of a dataset: {error}") from error


def filter_of(text: str) -> Filter:
    """`COLUMN=VALUE[,VALUE…]`, `COLUMN>=NUMBER` or `COLUMN<=NUMBER`. Raises `RetrainError`."""
    for sign in (">=", "<="):
        column, found, end = text.partition(sign)
        if found and column:
            bound = _number(end, text)
            return Filter(column=column.strip(), least=bound if sign == ">=" else None, most=bound if sign == "<=" else None)
    column, found, values = text.partition("=")
    if not found or not column.strip() or not values:
        raise RetrainError(f"{text!r} is no filter: expected COLUMN=VALUE[,VALUE], COLUMN>=NUMBER or COLUMN<=NUMBER")
    return Filter(column=column.strip(), values=tuple(_plain(value.strip()) for value in values.split(",")))


def _number(text: str, whole: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = math.nan
    if not math.isfinite(found):
        raise RetrainError(f"{whole!r} is no filter: {text.strip()!r} is no number")
    return found


def _plain(text: str) -> Value:
    """A number where it reads as one."""
    try:
        found: Any = msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
    return found if isinstance(found, int | float | bool) else text
