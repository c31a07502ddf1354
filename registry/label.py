"""What came true of one answer: a label, what must hold of it, and what makes two of them the same. Pure.

A label is for rows of one model: by the caller's id of the request, by the request's own id, or by the unit that asked and when it
happened. The value is a number, the index of a class among them, or a text.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from registry.names import MODEL_NAME

DEFAULT_NAME = "label"
LABEL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")
MAX_ID, MAX_SOURCE, MAX_TEXT = 256, 256, 1_024  # characters
MAX_ROW = (1 << 31) - 1
MAX_AHEAD_US = 300_000_000  # that a caller's clock may be ahead of ours
MAX_TIME_US = 4_102_444_800_000_000  # the year 2100: what is later is in another unit
_UUID = re.compile(r"[0-9a-fA-F]{8}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{4}-?[0-9a-fA-F]{12}")
_UNIT = re.compile(r"[0-9a-fA-F]{16}")


class Label(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One label as it is stored. Times are microseconds since the Unix epoch."""

    label_id: str
    model: str
    name: str = DEFAULT_NAME
    value: float | None = None
    text: str | None = None
    request_id: bytes | None = None  # 16 bytes
    client_request_id: str | None = None
    unit_hash: bytes | None = None  # 8 bytes
    row: int = 0  # of the request, counted from 0
    event_us: int | None = None  # when it came true; None: when it arrived
    source: str = ""
    weight: float = 1.0
    final: bool = False  # no later label changes it
    supersedes: str | None = None  # the id of a label that was wrong
    arrival_us: int | None = None  # only of what is filled in later; None: now


class Item(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One label as people write it, in JSON or a row of a file."""

    label_id: str
    model: str = ""
    name: str = DEFAULT_NAME
    value: float | bool | None = None
    text: str | None = None
    request_id: str | None = None  # 32 hexadecimal digits, with hyphens or without
    client_request_id: str | None = None
    unit_hash: str | None = None  # 16 hexadecimal digits
    row: int = 0
    event_ts: datetime | None = None
    source: str = ""
    weight: float = 1.0
    final: bool = False
    supersedes: str | None = None


def label_of(item: Item, *, model: str = "", arrival_us: int | None = None) -> Label:
    """The label that is meant; `model` where the item names none. Raises `ValueError` for an id or a time that is none."""
    return Label(
        label_id=item.label_id,
        model=item.model or model,
        name=item.name,
        value=None if item.value is None else float(item.value),
        text=item.text,
        request_id=uuid_bytes(item.request_id),
        client_request_id=item.client_request_id or None,
        unit_hash=unit_bytes(item.unit_hash),
        row=item.row,
        event_us=None if item.event_ts is None else micros(item.event_ts),
        source=item.source,
        weight=item.weight,
        final=item.final,
        supersedes=item.supersedes or None,
        arrival_us=arrival_us,
    )


def uuid_bytes(text: str | None) -> bytes | None:
    """The 16 bytes of a request's id. Raises `ValueError`."""
    if not text:
        return None
    if _UUID.fullmatch(text) is None:
        raise ValueError(f"request_id {text[:64]!r} is no UUID")
    return bytes.fromhex(text.replace("-", ""))


def unit_bytes(text: str | None) -> bytes | None:
    """The 8 bytes of a unit's hash. Raises `ValueError`."""
    if not text:
        return None
    if _UNIT.fullmatch(text) is None:
        raise ValueError(f"unit_hash {text[:64]!r} is not 16 hexadecimal digits")
    return bytes.fromhex(text)


def micros(time: datetime) -> int:
    """Microseconds since the Unix epoch. Raises `ValueError` for a time without a zone."""
    if time.tzinfo is None:
        raise ValueError(f"time {time.isoformat()} has no zone: write Z or an offset behind it")
    since = time - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def problem_of(label: Label, now_us: int) -> str:
    """What is wrong with a label and what to do, "" for nothing."""
    return next(_problems(label, now_us), "")


def _problems(label: Label, now_us: int) -> Iterator[str]:
    if not _printable(label.label_id, MAX_ID):
        yield f"label_id must be 1 to {MAX_ID} printable characters"
    if MODEL_NAME.fullmatch(label.model) is None:
        yield f"model {label.model[:160]!r} is no name of a model" if label.model else "no model is named"
    if LABEL_NAME.fullmatch(label.name) is None:
        yield f"name {label.name[:80]!r} does not match {LABEL_NAME.pattern}"
    if (label.value is None) == (label.text is None):
        yield "either a value or a text is needed" if label.value is None else "a value and a text are one too many"
    if label.value is not None and not math.isfinite(label.value):
        yield f"value {label.value} is not finite"
    if label.text is not None and not 0 < len(label.text) <= MAX_TEXT:
        yield f"text must be 1 to {MAX_TEXT} characters"
    if not 0 <= label.row <= MAX_ROW:
        yield f"row {label.row} is not between 0 and {MAX_ROW}"
    if not (math.isfinite(label.weight) and label.weight >= 0):
        yield f"weight {label.weight} is not a finite number from 0"
    if label.source and not _printable(label.source, MAX_SOURCE):
        yield f"source must be at most {MAX_SOURCE} printable characters"
    if label.supersedes is not None and not _printable(label.supersedes, MAX_ID):
        yield f"supersedes must be 1 to {MAX_ID} printable characters"
    if label.supersedes == label.label_id:
        yield "a label does not supersede itself: give the new one an id of its own"
    yield from _of_target(label)
    yield from _of_times(label, now_us)


def _of_target(label: Label) -> Iterator[str]:
    if label.client_request_id is None and label.request_id is None and label.unit_hash is None:
        yield "nothing says what it is for: client_request_id, request_id, or unit_hash with event_ts"
    if label.client_request_id is not None and not _printable(label.client_request_id, MAX_ID):
        yield f"client_request_id must be 1 to {MAX_ID} printable characters"
    if label.request_id is not None and len(label.request_id) != 16:
        yield f"request_id has {len(label.request_id)} bytes, and not 16"
    if label.unit_hash is not None and len(label.unit_hash) != 8:
        yield f"unit_hash has {len(label.unit_hash)} bytes, and not 8"
    if label.unit_hash is not None and label.event_us is None:
        yield "event_ts is required with unit_hash: it says which of the unit's requests is meant"


def _of_times(label: Label, now_us: int) -> Iterator[str]:
    arrival = now_us if label.arrival_us is None else label.arrival_us
    if not 0 <= arrival <= now_us + MAX_AHEAD_US:
        yield "its time of arrival is in the future, or before 1970"
    if label.event_us is not None and not 0 <= label.event_us <= MAX_TIME_US:
        yield "event_ts is before 1970 or after 2099"
    elif label.event_us is not None and label.event_us > arrival + MAX_AHEAD_US:
        yield "event_ts is later than its arrival by more than five minutes: what has not happened has no label"


def id_digest(label_id: str) -> bytes:
    """16 bytes that stand for an id."""
    return hashlib.blake2b(label_id.encode(), digest_size=16).digest()


_encode = msgspec.msgpack.Encoder().encode


def content_digest(label: Label) -> int:
    """64 bits that stand for everything a caller said of a label; when it arrived is not among it."""
    said = label if label.arrival_us is None else msgspec.structs.replace(label, arrival_us=None)
    return int.from_bytes(hashlib.blake2b(_encode(said), digest_size=8).digest(), "little")


def _printable(text: str, most: int) -> bool:
    return 0 < len(text) <= most and text.isprintable()
