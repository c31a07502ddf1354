"""The log of one model: numbered immutable entries, each holding the digest of the one before.

Owns `models/<name>/log/` and its cache `head.json`. An entry is appended by create-if-absent of the next number, so two writers cannot both
have it. The cache is never needed: it makes reading faster, and it bears witness when the end of the log is lost or changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

import msgspec

from registry.errors import RegistryError, damaged
from registry.medium import Medium
from registry.names import Digest, digest_of, number_of, numbered

NO_ENTRY = digest_of(b"")  # `prev` of the first entry


class VersionCreated(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="op", tag="version.created"):
    """A version exists. Says no more than the version's own record, so that any writer may add it for another that died."""

    seq: int
    prev: Digest
    model: str
    version: int
    manifest: Digest
    publish_id: str
    actor: str
    time: datetime


Entry = VersionCreated


class Logged(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the log says about one version."""

    manifest: Digest
    publish_id: str


class Head(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The log up to and including entry `seq`, folded."""

    model: str
    seq: int = 0
    tip: Digest = NO_ENTRY  # digest of entry `seq`
    versions: dict[int, Logged] = {}
    check: str = ""  # digest of this struct's JSON with an empty `check`: a flipped bit must not read as a version


@dataclass(frozen=True, slots=True)
class Link:
    """An entry as it was read."""

    entry: Entry
    digest: str
    key: str


class Journal:
    """The log of `model` on `medium`. Readers write nothing."""

    def __init__(self, medium: Medium, model: str) -> None:
        self._medium = medium
        self._model = model
        self._log = f"models/{model}/log"
        self.head_key = f"models/{model}/head.json"

    def read(self) -> Head:
        """The newest state, from the cache and the entries after it. Raises `Kind.DAMAGED` naming the entry that breaks the chain."""
        head = self.cached() or Head(model=self._model)
        last = self.last_number()  # listed after the cache was read, so that it cannot honestly be behind it
        self._check_witness(head, last)
        return fold(head, self.links(after=head.seq, last=last))

    def links(self, *, after: int, last: int) -> Iterator[Link]:
        """Entries `after + 1` to `last`. Raises `Kind.DAMAGED` where one is missing or unreadable."""
        for number in range(after + 1, last + 1):
            key = f"{self._log}/{numbered(number)}"
            content = self._medium.read(key)
            if content is None:
                raise damaged(f"{key} is missing, although entry {last} exists")
            yield Link(entry=decode(content, key=key), digest=digest_of(content), key=key)

    def append(self, head: Head, entry: Entry) -> Head | None:
        """Add `entry`, which follows `head`. None where another writer added one first; then `read` again."""
        content = encode(entry)
        key = f"{self._log}/{numbered(entry.seq)}"
        if not self._medium.create(key, content):
            return None
        return fold(head, [Link(entry=entry, digest=digest_of(content), key=key)])

    def remember(self, head: Head) -> None:
        """Write the cache. Its loss costs the next reader time, nothing else."""
        unchecked = msgspec.structs.replace(head, check="")
        checked = msgspec.structs.replace(head, check=digest_of(_encode_head(unchecked)))
        self._medium.replace(self.head_key, _encode_head(checked))

    def cached(self) -> Head | None:
        """The cache as it is, or None where it is absent or not intact."""
        try:
            content = self._medium.read(self.head_key)
            head = msgspec.json.decode(content or b"", type=Head)
        except (msgspec.DecodeError, UnicodeDecodeError, RegistryError):
            return None
        intact = head.check == digest_of(_encode_head(msgspec.structs.replace(head, check="")))
        return head if intact and head.model == self._model else None

    def last_number(self) -> int:
        """Number of the newest entry, 0 in an empty log."""
        return max((number_of(name) or 0 for name in self._medium.names(self._log)), default=0)

    def _check_witness(self, head: Head, last: int) -> None:
        """A cache is written after its last entry is durable: where they disagree, the log was cut or changed."""
        if head.seq == 0:
            return
        key = f"{self._log}/{numbered(head.seq)}"
        content = self._medium.read(key) if head.seq <= last else None
        if content is None or digest_of(content) != head.tip:
            raise damaged(f"{key} is {'missing' if content is None else 'changed'}: {self.head_key} has seen it as {head.tip}")


def fold(head: Head, links: Iterable[Link]) -> Head:
    """`head` after `links`. Raises `Kind.DAMAGED` where the chain, the model or a version number is wrong."""
    seq, tip, versions = head.seq, head.tip, dict(head.versions)
    for link in links:
        entry = link.entry
        if (entry.seq, entry.prev, entry.model) != (seq + 1, tip, head.model):
            raise damaged(f"{link.key} does not follow entry {seq} of the log of model '{head.model}'")
        if entry.version in versions:
            raise damaged(f"{link.key} creates version {entry.version} of model '{head.model}' a second time")
        versions[entry.version] = Logged(entry.manifest, entry.publish_id)
        seq, tip = entry.seq, link.digest
    return Head(model=head.model, seq=seq, tip=tip, versions=versions)


def encode(entry: Entry) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(entry, order="deterministic")


def decode(content: bytes, *, key: str) -> Entry:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=Entry)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not a log entry: {error}") from error


def _encode_head(head: Head) -> bytes:
    return msgspec.json.encode(head)  # versions stand in the order of the log
