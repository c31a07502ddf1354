"""Garbage collection: what nothing refers to goes to the trash, and what lay in the trash for the grace period is deleted.

Only blobs are collected; signatures stay, as docs/registry.md says why. Referred to are the blobs of every version that was not deleted, or
not longer ago than the grace period, or that an unexpired lease or an open rollout names; what any log entry names as evidence or policy,
and any entry of a rollout or of a retrain trigger as evidence or as its plan; where an open rollout goes on counting from; and what the
caller names. A registry with anything in it that cannot be read is not collected: a record that is damaged might refer to anything.

Why a publish that runs at the same time loses nothing. A publisher that needs a blob which is there already does not write it again, and
this collector may be about to take it away. Of one blob, let the publisher (P) do

    P1  find the blob in its place, or put it there
    P2  claim the version: the record refers to the blob from now on
    P3  look into the blob's place again, and copy it back from the trash if it is gone

and the collector (C)

    C1  copy the blob into its own trash, then take it from its place
    C2  read all records, logs and leases anew, and copy back whatever they refer to
    C3  a grace period later, in another run: read them again, copy back, and only then delete from the trash

Either P2 comes before the reading of C2; then C2 finds the record and copies the blob back. Or it comes after; then P3 comes after C1 and
copies the blob back. If P dies before P3, the blob stays in the trash until C3, which reads the record first. If C dies anywhere, the blob
is in its place, in the trash, or in both. In between, readers look into the trash too (`blobs`), so a version is never without its files.
Nothing of this rests on clocks or on how long a step takes, but for one case: P1 before C1 and P2 after the reading of C3, a publisher that
stands still for a whole grace period between two of its steps. P3 then finds the blob nowhere and says so, instead of leaving a version
that cannot load behind in silence; hence a grace period is at least an hour. Each run has a trash of its own, so that two collectors never
delete what the other has just put away. Evidence is kept in the same way, with the log entry in the place of the record.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec

from registry import manifest as manifests
from registry.entries import VersionDeleted, evidence_of
from registry.errors import Kind, RegistryError, damaged
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.head import Head, fold
from registry.names import MODEL_NAME, blob_key, check_label, number_of, numbered, trash_key
from registry.store import Store

DEFAULT_GRACE_S = 7 * 86400.0
LEAST_GRACE_S = 3600.0


class Run(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One collection, `gc/<number>.json`: written before anything is moved, never changed."""

    format: int = FORMAT
    id: str  # no two runs are the same, also if they begin in the same moment
    actor: str
    time: datetime
    digests: tuple[str, ...]  # what it meant to put into `trash/<number>/`
    check: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One blob that nothing refers to."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection did, or would do."""

    dry_run: bool
    trashed: tuple[Item, ...]  # taken out of their places; readers no longer need them
    deleted: tuple[Item, ...]  # gone for good
    restored: tuple[str, ...]  # taken back from the trash: something refers to them
    leftovers: tuple[str, ...]  # names in tmp/ that a killed publisher left


def collect(
    store: Store,
    *,
    actor: str,
    now_s: float,
    grace_s: float = DEFAULT_GRACE_S,
    dry_run: bool = True,
    keep: Iterable[str] = (),
) -> Collected:
    """Collect garbage, or with `dry_run` only say what would be done. `keep` are digests of manifests and blobs to keep as well.

    May be repeated at any time and stopped at any time. Raises `Kind.DAMAGED` before anything is moved where something cannot be read,
    `Kind.UNSUPPORTED` for a grace period of less than an hour, `Kind.STORAGE`.
    """
    check_label(actor, what="actor")
    if grace_s < LEAST_GRACE_S:
        raise RegistryError(Kind.UNSUPPORTED, f"a grace period must be at least {LEAST_GRACE_S:.0f} s")
    return _Collection(store, actor=actor, now_s=now_s, grace_s=grace_s, keep=frozenset(keep)).run(dry_run=dry_run)


def runs(store: Store) -> dict[int, Run]:
    """Every collection by number. Raises `Kind.DAMAGED`, `Kind.UNSUPPORTED`."""
    found = {}
    for name in store.medium.names("gc"):
        number, content = number_of(name), store.medium.read(f"gc/{name}")
        if number is not None and content is not None:
            found[number] = decode_checked(content, Run, key=f"gc/{name}", what="a record of a collection")
    return found


class _Collection:
    """One run over one registry."""

    def __init__(self, store: Store, *, actor: str, now_s: float, grace_s: float, keep: frozenset[str]) -> None:
        self._store = store
        self._medium = store.medium
        self._actor = actor
        self._now_s = now_s
        self._grace_s = grace_s
        self._keep = keep
        self._manifests: dict[str, frozenset[str]] = {}  # what each one refers to; immutable, so read once

    def run(self, *, dry_run: bool) -> Collected:
        past = runs(self._store)
        wanted = self._wanted()
        garbage = [item for item in self._unwanted(wanted) if self._is_old(blob_key(item.digest))]
        leftovers = [name for name in self._medium.names("tmp") if self._is_old(f"tmp/{name}")]
        ripe = sorted(self._ripe(past))
        if dry_run:
            doomed = [item for run in ripe for item in self._trashed(run) if item.digest not in wanted]
            return Collected(True, tuple(garbage), tuple(doomed), tuple(self._to_restore(past, wanted)), tuple(leftovers))
        if garbage:
            self._put_away(garbage)
        wanted = self._wanted()  # C2 of this run and C3 of the ripe ones: after the last removal, before the first deletion
        restored = list(self._to_restore(runs(self._store), wanted))
        self._store.blobs.keep(restored)
        deleted = [item for run in ripe for item in self._empty(run, wanted)]
        for name in leftovers:
            self._medium.remove(f"tmp/{name}")
        kept = set(restored)
        return Collected(
            False, tuple(item for item in garbage if item.digest not in kept), tuple(deleted), tuple(restored), tuple(leftovers)
        )

    def _wanted(self) -> set[str]:
        """Everything that something refers to. Raises `Kind.DAMAGED`."""
        since = self._now_s - self._grace_s
        leased = {(lease.model, lease.version) for lease in self._store.leases.all() if lease.expires.timestamp() > since}
        wanted = set(self._keep) | self._store.triggers.blobs()
        for journal in self._store.rollouts.all():
            wanted |= journal.blobs
            leased |= set() if journal.final else {(journal.model, version) for version in journal.pins}
        for model in self._store.models():
            if MODEL_NAME.fullmatch(model):
                wanted |= self._wanted_by(model, leased)
        for digest in self._keep:
            content = self._store.read_blob(digest)
            with suppress(RegistryError):  # it need not be a manifest
                wanted |= {blob.digest for blob in manifests.decode(content, key=digest).blobs}
        return wanted

    def _wanted_by(self, model: str, leased: set[tuple[str, int]]) -> set[str]:
        versions = self._store.versions_of(model)
        numbers = versions.numbers()  # before the log: a version that is only claimed meanwhile is seen by the second reading
        journal = versions.journal
        links = list(journal.links(after=0, last=journal.last_number()))
        fold(Head(model=model), links)
        gone = {link.entry.version: link.entry.time for link in links if isinstance(link.entry, VersionDeleted)}
        wanted = {digest for link in links for digest in evidence_of(link.entry)}
        for number in numbers:
            deleted = gone.get(number)
            if deleted is not None and deleted.timestamp() <= self._now_s - self._grace_s and (model, number) not in leased:
                continue
            record = versions.record(number)
            if record is None:
                raise damaged(f"{versions.key(number)} is missing")
            wanted |= self._of_manifest(record.manifest)
        return wanted

    def _of_manifest(self, digest: str) -> frozenset[str]:
        if digest not in self._manifests:
            self._manifests[digest] = frozenset([digest, *(blob.digest for blob in self._store.manifest_of(digest).blobs)])
        return self._manifests[digest]

    def _unwanted(self, wanted: set[str]) -> Iterator[Item]:
        for shard in self._medium.names("blobs/sha256"):
            for name in self._medium.names(f"blobs/sha256/{shard}"):
                stat = self._medium.stat(f"blobs/sha256/{shard}/{name}")
                if f"sha256:{name}" not in wanted and stat is not None:
                    yield Item(f"sha256:{name}", stat.size_bytes)

    def _is_old(self, key: str) -> bool:
        """Not needed for safety: it spares a running publish the way through the trash. What is from the future is not old."""
        stat = self._medium.stat(key)
        return stat is not None and stat.modified_s <= self._now_s - self._grace_s

    def _ripe(self, past: dict[int, Run]) -> Iterator[int]:
        """Runs whose trash has lain for the grace period."""
        for run in map(int, filter(str.isdigit, self._medium.names("trash"))):
            if run in past and past[run].time.timestamp() <= self._now_s - self._grace_s:
                yield run

    def _put_away(self, garbage: list[Item]) -> None:
        time, digests = datetime.fromtimestamp(self._now_s, UTC), tuple(item.digest for item in garbage)
        run = encode_checked(Run(id=uuid.uuid4().hex, actor=self._actor, time=time, digests=digests))
        self._medium.make_directory("gc")
        number = max((number_of(name) or 0 for name in self._medium.names("gc")), default=0) + 1
        while not self._medium.create(f"gc/{numbered(number)}", run):
            number += 1
        for item in garbage:
            if self._medium.copy(blob_key(item.digest), trash_key(str(number), item.digest)):
                self._medium.remove(blob_key(item.digest))

    def _to_restore(self, past: dict[int, Run], wanted: set[str]) -> Iterator[str]:
        """What is wanted and lies in a trash only."""
        lying = {item.digest for run in past for item in self._trashed(run)}
        return (digest for digest in sorted(lying & wanted) if self._medium.stat(blob_key(digest)) is None)

    def _trashed(self, run: int) -> Iterator[Item]:
        for name in self._medium.names(f"trash/{run}"):
            stat = self._medium.stat(f"trash/{run}/{name}")
            if stat is not None:
                yield Item(f"sha256:{name}", stat.size_bytes)

    def _empty(self, run: int, wanted: set[str]) -> Iterator[Item]:
        """Delete a trash; what is wanted has been copied back."""
        for item in list(self._trashed(run)):
            self._medium.remove(trash_key(str(run), item.digest))
            if item.digest not in wanted:
                yield item
        self._medium.remove_directory(f"trash/{run}")
