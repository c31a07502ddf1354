"""What a model's log amounts to: its versions, aliases, approvals and holds. Pure: entries in, state out.

`fold` refuses what no writer of ours would have written, so that a log that was changed by hand is damage and never a state.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import msgspec

from registry.entries import (
    NO_ENTRY,
    AliasMoved,
    AliasRemoved,
    ApprovalGiven,
    ApprovalRejected,
    Deed,
    Entry,
    HoldPlaced,
    HoldReleased,
    VersionCreated,
    VersionDeleted,
)
from registry.errors import damaged
from registry.formats import FORMAT
from registry.names import Digest, digest_of


class Logged(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What the log says about one version."""

    manifest: Digest
    publish_id: str
    deleted: bool = False


class Opinion(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The newest word of one person about one alias and version."""

    alias: str
    version: int
    actor: str
    approved: bool


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log up to and including entry `seq`, folded."""

    format: int = FORMAT
    model: str
    seq: int = 0
    tip: Digest = NO_ENTRY  # digest of entry `seq`
    versions: dict[int, Logged] = {}
    aliases: dict[str, int] = {}
    opinions: tuple[Opinion, ...] = ()
    holds: dict[str, int] = {}  # name of the hold → version
    operations: dict[str, int] = {}  # operation id → entry
    check: str = ""  # digest of this struct's JSON with an empty `check`: a flipped bit must not read as a version

    @property
    def live(self) -> dict[int, Logged]:
        """Versions that were not deleted, in the order of the log."""
        return {number: logged for number, logged in self.versions.items() if not logged.deleted}


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it was read."""

    entry: Entry
    digest: str
    key: str


class _Fold:
    """A head that is being changed."""

    def __init__(self, head: Head) -> None:
        self.head = head
        self.seq, self.tip = head.seq, head.tip
        self.versions, self.aliases, self.holds = dict(head.versions), dict(head.aliases), dict(head.holds)
        self.operations = dict(head.operations)
        self.opinions = {(opinion.alias, opinion.version, opinion.actor): opinion for opinion in head.opinions}

    def add(self, link: Link) -> None:
        entry, model = link.entry, self.head.model
        if (entry.seq, entry.prev, entry.model) != (self.seq + 1, self.tip, model):
            raise damaged(f"{link.key} does not follow entry {self.seq} of the log of model '{model}'")
        if isinstance(entry, VersionCreated):
            if entry.version in self.versions:
                raise damaged(f"{link.key} creates version {entry.version} of model '{model}' a second time")
            self.versions[entry.version] = Logged(entry.manifest, entry.publish_id)
        else:
            problem = self._apply(entry)
            if entry.operation_id in self.operations:
                problem = f"repeats operation '{entry.operation_id}'"
            if problem is not None:
                raise damaged(f"{link.key} {problem}")
            self.operations[entry.operation_id] = entry.seq
        self.seq, self.tip = entry.seq, link.digest

    def _apply(self, entry: Deed) -> str | None:
        """Do what `entry` says, or say why that cannot have happened."""
        match entry:
            case AliasMoved():
                if self.aliases.get(entry.alias) != entry.from_version:
                    return f"moves alias '{entry.alias}' from where it was not"
                self.aliases[entry.alias] = entry.to
                return self._lives(entry.to)
            case AliasRemoved():
                stood = self.aliases.pop(entry.alias, None) == entry.from_version
                return None if stood else f"removes alias '{entry.alias}' from where it was not"
            case ApprovalGiven() | ApprovalRejected():
                opinion = Opinion(entry.alias, entry.version, entry.actor, isinstance(entry, ApprovalGiven))
                self.opinions[entry.alias, entry.version, entry.actor] = opinion
                return self._lives(entry.version)
            case HoldPlaced():
                taken = entry.hold in self.holds
                self.holds[entry.hold] = entry.version
                return f"places hold '{entry.hold}' a second time" if taken else self._lives(entry.version)
            case HoldReleased():
                return None if self.holds.pop(entry.hold, None) else f"releases hold '{entry.hold}', which is not there"
            case VersionDeleted():
                return self._delete(entry.version)

    def _delete(self, version: int) -> str | None:
        if version in self.aliases.values() or version in self.holds.values():
            return f"deletes version {version}, which has an alias or a hold"
        problem = self._lives(version)
        if problem is None:
            self.versions[version] = msgspec.structs.replace(self.versions[version], deleted=True)
        return problem

    def _lives(self, version: int) -> str | None:
        logged = self.versions.get(version)
        return None if logged is not None and not logged.deleted else f"speaks of version {version}, which does not exist"


def fold(head: Head, links: Iterable[Link]) -> Head:
    """`head` after `links`. Raises `Kind.DAMAGED` where the chain, the model or an entry's meaning is wrong."""
    state = _Fold(head)
    for link in links:
        state.add(link)
    return Head(
        model=head.model,
        seq=state.seq,
        tip=state.tip,
        versions=state.versions,
        aliases=state.aliases,
        opinions=tuple(state.opinions.values()),
        holds=state.holds,
        operations=state.operations,
    )


def encode(head: Head) -> bytes:
    """JSON with the digest of itself; versions stand in the order of the log."""
    unchecked = msgspec.structs.replace(head, check="")
    return msgspec.json.encode(msgspec.structs.replace(unchecked, check=digest_of(msgspec.json.encode(unchecked))))


def decode(content: bytes, *, model: str) -> Head | None:
    """The inverse of `encode`, or None where the content is not intact or not of `model`."""
    try:
        head = msgspec.json.decode(content, type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if head.check == digest_of(msgspec.json.encode(msgspec.structs.replace(head, check=""))):
        return head if head.model == model and head.format == FORMAT else None
    return _decode_format_1(content, model=model)


class _Head1(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The cache of format 1, when a log held nothing but versions."""

    model: str
    seq: int
    tip: Digest
    versions: dict[int, Logged]
    check: str


def _decode_format_1(content: bytes, *, model: str) -> Head | None:
    """A cache of the previous format is as good a witness."""
    try:
        head = msgspec.json.decode(content, type=_Head1)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    intact = head.check == digest_of(msgspec.json.encode(msgspec.structs.replace(head, check="")))
    return Head(model=model, seq=head.seq, tip=head.tip, versions=head.versions) if intact and head.model == model else None
