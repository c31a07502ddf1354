"""The kinds of entries that a model's log can have. Pure data; `head` says what they amount to, `journal` where they lie.

An entry is never changed. It names the one before by digest, who did it, why, and on what evidence.
"""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import Any

import msgspec

from registry.formats import FORMAT, decode_state
from registry.names import Digest, check_label, check_reason, digest_of

NO_ENTRY = digest_of(b"")  # `prev` of the first entry


class AnyEntry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op"):
    """What every entry says."""

    format: int = 1
    seq: int
    prev: Digest
    model: str
    actor: str
    time: datetime


class VersionCreated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag="version.created"):
    """A version exists. Says no more than the version's own record, so that any writer may add it for another that died."""

    format: int = 1
    seq: int
    prev: Digest
    model: str
    version: int
    manifest: Digest
    publish_id: str
    actor: str
    time: datetime


class Operation(AnyEntry, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Something that somebody did on purpose. The id is of the attempt: repeating it finds this entry."""

    operation_id: str
    reason: str


class AliasMoved(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="alias.moved", rename={"from_version": "from"}):
    """An alias stands for another version."""

    alias: str
    from_version: int | None
    to: int
    evidence: tuple[Digest, ...] = ()
    policy: Digest | None = None  # of the policy file by which the move was judged


class AliasRemoved(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="alias.removed", rename={"from_version": "from"}):
    """An alias stands for nothing."""

    alias: str
    from_version: int


class ApprovalGiven(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="approval.given"):
    """`actor` agrees that `alias` may stand for `version`."""

    alias: str
    version: int
    evidence: tuple[Digest, ...] = ()


class ApprovalRejected(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="approval.rejected"):
    """`actor` objects, until the same person approves."""

    alias: str
    version: int
    evidence: tuple[Digest, ...] = ()


class HoldPlaced(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hold.placed"):
    """A version may not be deleted until the hold of this name is released."""

    hold: str
    version: int


class HoldReleased(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="hold.released"):
    """The end of a hold."""

    hold: str


class VersionDeleted(Operation, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="version.deleted"):
    """A version is no more; its number stays taken, and its files go with a later garbage collection."""

    version: int


Deed = AliasMoved | AliasRemoved | ApprovalGiven | ApprovalRejected | HoldPlaced | HoldReleased | VersionDeleted
Entry = VersionCreated | Deed


def deed_fields(model: str, *, actor: str, reason: str, now_s: float, operation_id: str | None) -> dict[str, Any]:
    """What every operation says, checked; its place in the log is filled in when it is appended. Raises `Kind.INVALID_NAME`."""
    return {
        "format": FORMAT,
        "seq": 0,
        "prev": NO_ENTRY,
        "model": model,
        "actor": check_label(actor, what="actor"),
        "time": datetime.fromtimestamp(now_s, UTC),
        "operation_id": check_label(uuid.uuid4().hex if operation_id is None else operation_id, what="operation id"),
        "reason": check_reason(reason),
    }


def same_deed(one: Operation, other: Operation) -> bool:
    """Whether two attempts mean the same, whenever they were made and wherever in the log they stand."""
    neutral = {"seq": 0, "prev": NO_ENTRY, "time": datetime.fromtimestamp(0, UTC), "policy": None}
    fields = {name: value for name, value in neutral.items() if name in one.__struct_fields__}
    return type(one) is type(other) and msgspec.structs.replace(one, **fields) == msgspec.structs.replace(other, **fields)


def evidence_of(entry: Entry) -> tuple[str, ...]:
    """Digests of the blobs that an entry speaks of, its policy among them."""
    policy = getattr(entry, "policy", None)
    return (*getattr(entry, "evidence", ()), *((policy,) if policy else ()))


def encode(entry: Entry) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(entry, order="deterministic")


def decode(content: bytes, *, key: str) -> Entry:
    """The inverse of `encode`. Raises `Kind.DAMAGED` or `Kind.UNSUPPORTED`, naming `key`."""
    entry: Entry = decode_state(content, Entry, key=key, what="a log entry")  # type: ignore[arg-type]
    return entry
