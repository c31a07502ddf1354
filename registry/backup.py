"""A whole registry somewhere else: the same versions, log, rollouts, policy and identity. A restore is a backup in the other direction.

Everything but the policy is immutable, so a backup may run beside publishing, may be stopped and repeated, and a repeated one copies only
what is new. What is written in one moment and what refers to it in a later one are read in the opposite order: logs, then records, then
blobs; hence nothing in a copy refers to something that is not in it. A rollout that is open goes on where its copy ends. Left out are
leases, triggers, claims and what garbage collection put away.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from registry import head as heads
from registry import manifest as manifests
from registry.blobs import Blobs
from registry.directory import DirectoryMedium
from registry.entries import evidence_of
from registry.errors import Kind, RegistryError, damaged
from registry.head import Head, Link, fold
from registry.medium import Medium, Progress, unseen
from registry.names import MODEL_NAME, blob_key, digest_of
from registry.policy import POLICY
from registry.rollout_entries import RolloutJournal, RolloutLink
from registry.signatures import attached
from registry.store import MARKER, Store, marker_of
from registry.transfer import copy_blob


@dataclass(frozen=True, slots=True)
class Copied:
    """What the target now holds."""

    models: int
    versions: int
    entries: int
    blobs: int


def copy_registry(source: Store, target: Path | str, *, options: Mapping[str, str] | None = None, progress: Progress = unseen) -> Copied:
    """Bring the registry at `target`, which may be absent or an earlier copy, up to what `source` holds.

    Every byte is hashed. Raises `Kind.CONFLICT` where another registry, something else, or a copy that went its own way is there;
    `Kind.DAMAGED` where the source is damaged; a copy that was stopped is no registry until it is repeated.
    """
    return copy_onto(source, _place(target, options, source), progress=progress)


def copy_onto(source: Store, medium: Medium, *, progress: Progress = unseen) -> Copied:
    """As `copy_registry`, onto a medium."""
    medium.prepare()
    _check_identity(source, medium)
    for directory in ("tmp", "blobs/sha256", "models"):
        medium.make_directory(directory)
    copy = _Copy(source, medium, progress)
    rollouts = source.rollouts.all()  # before the versions that they speak of
    for model in filter(MODEL_NAME.fullmatch, source.models()):
        copy.add_model(model)
    copy.add_rollouts(rollouts)
    copy.add_collections()
    copy.add_signatures()
    copy.add_policy()
    # The marker comes last: until everything is there, it is no registry.
    copy.add_state(MARKER, marker_of(source.id))
    return Copied(copy.models, copy.versions, copy.entries, len(copy.blobs))


class _Copy:
    """A copy that is being made."""

    def __init__(self, source: Store, medium: Medium, progress: Progress) -> None:
        self.models, self.versions, self.entries = 0, 0, 0
        self.blobs: set[str] = set()
        self._source = source
        self._medium = medium
        self._target = Blobs(medium)
        self._progress = progress

    def add_model(self, model: str) -> None:
        versions = self._source.versions_of(model)
        journal = versions.journal
        links = list(journal.links(after=0, last=journal.read().seq))
        head = fold(Head(model=model), links)
        numbers = versions.numbers()
        for number in numbers:
            self._add_version(model, number, head)
        for link in links:
            self._add_blobs(evidence_of(link.entry))
        for number in numbers:
            self.add_state(versions.key(number), self._read(versions.key(number)))
        self._add_log(model, links, head)
        self.models, self.versions = self.models + 1, self.versions + len(numbers)

    def add_rollouts(self, journals: list[RolloutJournal]) -> None:
        for journal in journals:
            self._add_blobs(sorted(journal.blobs))
            for link in journal.links:
                self._add_link(link)

    def add_collections(self) -> None:
        for name in self._source.medium.names("gc"):
            self.add_state(f"gc/{name}", self._read(f"gc/{name}"))

    def add_signatures(self) -> None:
        for name in self._source.medium.names("signatures"):
            for key, envelope in attached(self._source.medium, f"sha256:{name}"):
                self.add_state(key, envelope)

    def add_policy(self) -> None:
        """The one file that may differ: the copy takes the source's."""
        content = self._source.medium.read(POLICY)
        if content is None:
            self._medium.remove(POLICY)
        elif content != self._medium.read(POLICY):
            self._medium.replace(POLICY, content, durable=True)

    def add_state(self, key: str, content: bytes) -> None:
        self._medium.make_directory(key.rpartition("/")[0])
        if not self._medium.create(key, content):
            raise RegistryError(Kind.CONFLICT, f"the copy has another {key}: it went its own way")

    def _add_version(self, model: str, number: int, head: Head) -> None:
        """Files of a deleted version may be gone."""
        record = self._source.record(model, number)
        logged = head.versions.get(number)
        if logged is None or not logged.deleted:
            manifest = manifests.decode(self._source.read_blob(record.manifest), key=blob_key(record.manifest))
            self._add_blobs([*(blob.digest for blob in manifest.blobs), record.manifest])

    def _add_blobs(self, digests: list[str] | tuple[str, ...]) -> None:
        for digest in digests:
            if digest not in self.blobs:
                copy_blob(self._source.blobs, self._target, digest, progress=self._progress, mend=True)
                self.blobs.add(digest)

    def _add_log(self, model: str, links: list[Link], head: Head) -> None:
        for link in links:
            self._add_link(link)
        if links:
            self._medium.replace(f"models/{model}/head.json", heads.encode(head))

    def _add_link(self, link: Link | RolloutLink) -> None:
        content = self._read(link.key)
        if digest_of(content) != link.digest:
            raise damaged(f"{link.key} changed while it was copied")
        self.add_state(link.key, content)
        self.entries += 1

    def _read(self, key: str) -> bytes:
        content = self._source.medium.read(key)
        if content is None:
            raise damaged(f"{key} is missing")
        return content


def _place(target: Path | str, options: Mapping[str, str] | None, source: Store) -> Medium:
    if isinstance(target, Path) or "://" not in target:
        return DirectoryMedium(Path(target), limits=source.medium.limits)
    from registry.objects import object_medium  # most copies are directories

    return object_medium(target, options=options, limits=source.medium.limits)


def _check_identity(source: Store, medium: Medium) -> None:
    if medium.read(MARKER) is not None:
        if Store.on(medium).id != source.id:
            raise RegistryError(Kind.CONFLICT, "another registry is there")
    elif strangers := set(medium.names("")) - {"blobs", "models", "tmp", POLICY, "lost+found", "gc", "signatures", "rollouts"}:
        raise RegistryError(Kind.CONFLICT, f"'{min(strangers)}' is there, which no registry left")
