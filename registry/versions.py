"""Version numbers of one model: claimed once, never reused, each standing for one manifest.

Owns `models/<name>/versions/`. A version exists from the moment its record is linked; the log entry follows, written by the publisher
or, if it died, by the next one. Publishing twice with one publish id gives one version, also when both attempts run at once.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime

import msgspec

from registry.entries import VersionCreated
from registry.errors import Kind, RegistryError, damaged
from registry.formats import FORMAT, decode_state, encode_state
from registry.head import Head
from registry.journal import Journal
from registry.medium import Medium
from registry.names import MAX_VERSION, Digest, number_of, numbered


class Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One version: which manifest, by whom, when. The file is immutable and its name is the version's number."""

    format: int = 1  # of the file; the first format did not say
    manifest: Digest
    publish_id: str  # of the attempt, chosen by the publisher, so that a repeated attempt finds its own version
    created: datetime
    publisher: str


class Versions:
    """The versions of `model` on `medium`. Readers take no locks and see a version whole or not at all."""

    def __init__(self, medium: Medium, model: str) -> None:
        self._medium = medium
        self.model = model
        self._directory = f"models/{model}/versions"
        self.journal = Journal(medium, model)

    def numbers(self) -> list[int]:
        """Claimed numbers, ascending; those of deleted versions among them, whose records stay so that no number is claimed twice."""
        return sorted(number for name in self._medium.names(self._directory) if (number := number_of(name)))

    def live(self) -> list[int]:
        """Existing versions that the log has not deleted, ascending. Raises `Kind.DAMAGED` where the log cannot be read."""
        versions = self.journal.read().versions
        return [number for number in self.numbers() if number not in versions or not versions[number].deleted]

    def key(self, number: int) -> str:
        """Of the record of a version."""
        return f"{self._directory}/{numbered(number)}"

    def record(self, number: int) -> Record | None:
        """One version, or None where it does not exist. Raises `Kind.DAMAGED`."""
        content = self._medium.read(self.key(number))
        return None if content is None else decode(content, key=self.key(number))

    def add(self, record: Record) -> tuple[int, Record, bool]:
        """The number and record that stand for `record.publish_id` from now on, and whether this call claimed it.

        Raises `Kind.CONFLICT` where the publish id already stands for another manifest, `Kind.DAMAGED` before anything is written,
        and `Kind.STORAGE`; after the latter the version may exist, and the same publish id finds it.
        """
        head = self.journal.read()
        known = self._known(head)
        number = _published_as(known, head, record.publish_id)
        claimed = number is None
        if number is None:
            after = max([*head.versions, *known], default=0)
            if after >= MAX_VERSION:
                raise RegistryError(Kind.UNSUPPORTED, f"model '{self.model}' has version {after}, and there is no higher number")
            number, claimed = self._claim(record, known, after=after)
        found = known.get(number) or self._existing(number)
        if found.manifest != record.manifest:
            text = f"publish id '{record.publish_id}' already stands for version {number} of model '{self.model}' with other content"
            raise RegistryError(Kind.CONFLICT, text)
        try:
            head = self._log(known, head)
        except RegistryError as error:
            text = f"version {number} of model '{self.model}' exists, but {error.message}; repeat with publish id '{record.publish_id}'"
            raise RegistryError(error.kind, text) from error
        if head.versions[number].deleted:
            raise RegistryError(Kind.CONFLICT, f"publish id '{record.publish_id}' stands for version {number}, which was deleted")
        return number, found, claimed

    def settle(self) -> Head:
        """The newest state, once the log speaks of every version that there is. Raises `RegistryError`."""
        head = self.journal.read()
        known = self._known(head)
        return self._log(known, head) if known else head

    def _known(self, head: Head) -> dict[int, Record]:
        """Records that the log does not speak of yet: claimed a moment ago, or by a publisher that died before its log entry.

        A listing is not one instant: it may hold a number and miss a lower one that is as old as the listing. The second listing
        holds everything that was there when the first one ended.
        """
        highest = max(self.numbers(), default=0)
        unlogged = (number for number in self.numbers() if number <= highest and number not in head.versions)
        return {number: record for number in unlogged if (record := self.record(number)) is not None}

    def _claim(self, record: Record, known: dict[int, Record], *, after: int) -> tuple[int, bool]:
        """Take the first free number past `after`, adding to `known` what others took meanwhile.

        Every lower number is known by now, so a number that nobody holds is proof that nobody published under this publish id.
        """
        number = after + 1
        while not self._medium.create(self.key(number), encode(record)):
            known[number] = self._existing(number)
            if known[number].publish_id == record.publish_id:
                return number, False
            number += 1
        known[number] = record
        return number, True

    def _existing(self, number: int) -> Record:
        record = self.record(number)
        if record is None:
            raise damaged(f"{self.key(number)} is missing, although version {number} was created")
        return record

    def _log(self, known: dict[int, Record], head: Head) -> Head:
        """Bring the log up to date with `known`, and the cache with the log."""
        self._medium.sync(self._directory)  # what the log speaks of is durable, whoever claimed it
        before = head.seq
        while missing := [number for number in sorted(known) if number not in head.versions]:
            entry = entry_of(self.model, missing[0], known[missing[0]], seq=head.seq + 1, prev=head.tip)
            head = self.journal.append(head, entry) or self.journal.read()
        if head.seq != before:
            with suppress(RegistryError):  # only the cache: the version and its log entry are durable
                self.journal.remember(head)
        return head


def record_of(*, manifest: str, publish_id: str, publisher: str, now_s: float) -> Record:
    """A record created at `now_s` seconds since the Unix epoch."""
    return Record(
        format=FORMAT,
        manifest=manifest,
        publish_id=publish_id,
        created=datetime.fromtimestamp(now_s, UTC),
        publisher=publisher,
    )


def entry_of(model: str, number: int, record: Record, *, seq: int, prev: str) -> VersionCreated:
    """The log entry that says no more than the record, at `seq` after the entry with digest `prev`."""
    return VersionCreated(
        format=FORMAT,
        seq=seq,
        prev=prev,
        model=model,
        version=number,
        manifest=record.manifest,
        publish_id=record.publish_id,
        actor=record.publisher,
        time=record.created,
    )


def encode(record: Record) -> bytes:
    """Deterministic JSON."""
    return encode_state(record)


def decode(content: bytes, *, key: str) -> Record:
    """The inverse of `encode`. Raises `Kind.DAMAGED` or `Kind.UNSUPPORTED`, naming `key`."""
    return decode_state(content, Record, key=key, what="a version record")


def _published_as(known: dict[int, Record], head: Head, publish_id: str) -> int | None:
    """The version that stands for `publish_id`, the lowest if a registry was merged by hand."""
    logged = [number for number, version in head.versions.items() if version.publish_id == publish_id]
    unlogged = [number for number, record in known.items() if record.publish_id == publish_id]
    return min([*logged, *unlogged], default=None)
