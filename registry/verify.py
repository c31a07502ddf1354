"""Read everything that a registry holds again and name what is not as it must be. Writes nothing; finds all it can, stops at nothing.

Damage is what makes a version wrong or unloadable or the log doubtful. A notice is what an interrupted publish leaves, which is harmless.
"""

from __future__ import annotations

import enum
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import msgspec

from registry import contract as contracts
from registry import signatures
from registry.entries import VersionCreated, evidence_of
from registry.errors import RegistryError, damaged, storage_errors
from registry.gc import runs
from registry.head import Head, fold
from registry.manifest import Manifest
from registry.medium import Progress, hashed, unseen
from registry.names import MODEL_NAME, blob_key, trash_key
from registry.parts import read_part
from registry.policy import POLICY, read_policy
from registry.rollout_entries import RolloutJournal, directory_of
from registry.store import Store
from registry.versions import Versions, entry_of


class Severity(enum.Enum):
    """How much a finding matters."""

    DAMAGE = "damage"
    NOTICE = "notice"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is not as it must be."""

    severity: Severity
    key: str  # relative to the registry's root
    message: str


@dataclass(slots=True)
class _Survey:
    """What was found so far, and which blobs something refers to."""

    store: Store
    progress: Progress
    findings: list[Finding]
    sizes: dict[str, int]  # of every blob that holds what its name says, by digest
    hashed: set[str]  # keys of all that were read, also of those that hold something else
    wanted: set[str]
    signed: set[str]  # digests of the manifests that signatures may be over
    decoded: set[str]  # of the blobs that were read and not only hashed

    def damage(self, key: str, message: str) -> None:
        self.findings.append(Finding(Severity.DAMAGE, key, message))

    def notice(self, key: str, message: str) -> None:
        self.findings.append(Finding(Severity.NOTICE, key, message))

    @contextmanager
    def noting(self, key: str) -> Iterator[None]:
        """A `RegistryError` inside the block becomes a finding about `key`."""
        try:
            yield
        except RegistryError as error:
            self.damage(key, error.message)


def verify(store: Store, *, progress: Progress = unseen) -> list[Finding]:
    """Every blob, record, manifest, part, signature, log, cache, lease, trigger, rollout and the policy. An empty list: all is whole.

    `progress` is told the bytes of blobs as they are hashed. Copies on this machine are not looked at, only what the storage holds.
    """
    store = _without_copies(store)
    survey = _Survey(store, progress, findings=[], sizes={}, hashed=set(), wanted=set(), signed=set(), decoded=set())
    _survey_blobs(survey)
    for name in store.models():
        if MODEL_NAME.fullmatch(name):
            _survey_model(survey, name)
        else:
            survey.notice(f"models/{name}", "this is no model name; it is passed over")
    _survey_state(survey)
    _survey_rollouts(survey)
    _survey_signatures(survey)
    for digest in sorted(survey.sizes.keys() - survey.wanted):
        survey.notice(blob_key(digest), "nothing refers to this blob")
    for name in store.medium.names("tmp"):
        survey.notice(f"tmp/{name}", "left by an interrupted publish")
    return survey.findings


def _without_copies(store: Store) -> Store:
    uncached = getattr(store.medium, "uncached", None)
    return store if uncached is None else Store.on(uncached())


def damages(findings: list[Finding]) -> list[Finding]:
    """Those that are damage."""
    return [finding for finding in findings if finding.severity is Severity.DAMAGE]


def _survey_blobs(survey: _Survey) -> None:
    """Hash every blob, also those that nothing refers to."""
    medium = survey.store.medium
    for shard in medium.names("blobs/sha256"):
        with survey.noting(f"blobs/sha256/{shard}"):
            for name in medium.names(f"blobs/sha256/{shard}"):
                _survey_blob(survey, f"blobs/sha256/{shard}/{name}")


def _survey_blob(survey: _Survey, key: str) -> None:
    with survey.noting(key):
        fd = survey.store.medium.open(key)
        if fd is None:
            return
        survey.hashed.add(key)
        with storage_errors(f"read {key}"), os.fdopen(fd, "rb") as file:
            digest, size = hashed(file, progress=survey.progress), file.tell()
        if blob_key(digest) != key:
            raise damaged("the content has another digest than its name")
        survey.sizes[digest] = size


def _survey_model(survey: _Survey, model: str) -> None:
    versions = Versions(survey.store.medium, model)
    history = _survey_log(survey, versions)
    created = history.created if history else {}
    numbers = versions.numbers()
    for number in numbers:
        with survey.noting(versions.key(number)):
            _survey_version(survey, versions, number, history)
    for number in sorted(created.keys() - set(numbers)):
        survey.damage(versions.key(number), "the log has created this version, but its record is missing")
    for digest, key in (history.evidence if history else {}).items():
        _survey_reference(survey, digest, key, "the entry's evidence")


@dataclass(frozen=True, slots=True)
class _History:
    """What a whole log says."""

    head: Head
    created: dict[int, VersionCreated]
    evidence: dict[str, str]  # digest → key of an entry that names it


def _survey_log(survey: _Survey, versions: Versions) -> _History | None:
    """The whole chain verified from its first entry and not from the cache; None where it is broken."""
    journal = versions.journal
    with survey.noting(f"models/{versions.model}/log"):
        cached = journal.cached()
        last = journal.read().seq
        links = list(journal.links(after=0, last=last))
        head = fold(Head(model=versions.model), links)
        if cached is None and last:
            survey.notice(journal.head_key, "the cache is absent or not intact; the next publish writes it")
        elif cached is not None and cached.seq == last and cached != msgspec.structs.replace(head, check=cached.check):
            survey.damage(journal.head_key, "the cache says something else than the log; remove it")
        created = {link.entry.version: link.entry for link in links if isinstance(link.entry, VersionCreated)}
        return _History(head, created, {digest: link.key for link in links for digest in evidence_of(link.entry)})
    return None


def _survey_version(survey: _Survey, versions: Versions, number: int, history: _History | None) -> None:
    """Raises `RegistryError` where a record or its manifest cannot be read."""
    record = versions.record(number)
    if record is None:
        return
    entry = history.created.get(number) if history else None
    if entry is not None:
        said = entry_of(versions.model, number, record, seq=entry.seq, prev=entry.prev)
        if msgspec.structs.replace(said, format=entry.format) != entry:
            survey.damage(versions.key(number), "the record says something else than the log")
    elif history is not None:
        survey.notice(versions.key(number), "the version has no log entry yet; the next publish writes it")
    survey.wanted.add(record.manifest)
    deleted = history is not None and number in history.head.versions and history.head.versions[number].deleted
    if not deleted or record.manifest in survey.sizes:
        survey.signed.add(record.manifest)
    if deleted:
        return  # its files may be gone
    manifest = survey.store.manifest_of(record.manifest)
    for blob in manifest.blobs:
        _survey_reference(survey, blob.digest, versions.key(number), None, size=blob.size)
    _survey_content(survey, manifest)


def _survey_content(survey: _Survey, manifest: Manifest) -> None:
    """The contract and the parts decode; what is not whole was reported already."""
    for layer in (manifest.config, *manifest.parts):
        if layer.digest in survey.sizes and layer.digest not in survey.decoded:
            survey.decoded.add(layer.digest)
            with survey.noting(blob_key(layer.digest)):
                if layer is manifest.config:
                    contracts.decode(survey.store.read_blob(layer.digest), key=blob_key(layer.digest))
                else:
                    read_part(layer, survey.store.read_blob)


def _survey_reference(survey: _Survey, digest: str, key: str, what: str | None, *, size: int | None = None) -> None:
    """A blob that `key` refers to: it must be there and whole."""
    survey.wanted.add(digest)
    if blob_key(digest) not in survey.hashed:  # published while the others were hashed, in the trash, or missing
        _survey_blob(survey, blob_key(digest))
    if digest not in survey.sizes and _survey_trashed(survey, digest):
        survey.notice(blob_key(digest), "an interrupted collection left it in the trash; the next one takes it back")
    elif digest not in survey.sizes or size not in {None, survey.sizes[digest]}:
        expected = f"not of {size} bytes" if size is not None else f"not {what}"
        survey.damage(key, f"{blob_key(digest)} is missing, damaged or {expected}")


def _survey_trashed(survey: _Survey, digest: str) -> bool:
    for run in survey.store.medium.names("trash"):
        fd = survey.store.medium.open(trash_key(run, digest))
        if fd is not None:
            with os.fdopen(fd, "rb") as file:
                if hashed(file, progress=survey.progress) == digest:
                    return True
    return False


def _survey_state(survey: _Survey) -> None:
    """Files that belong to no model."""
    with survey.noting(POLICY):
        read_policy(survey.store.medium)
    with survey.noting("gc"):
        runs(survey.store)
    for name in survey.store.leases.names():
        with survey.noting(f"leases/{name}"):
            survey.store.leases.read(name)
    triggers = survey.store.triggers
    for model in triggers.models():
        with survey.noting(f"triggers/{model}"):
            for trigger in triggers.ids(model):
                with survey.noting(f"triggers/{model}/{trigger}.json"):
                    triggers.read(model, trigger)
                    triggers.journal(model, trigger)
            with survey.noting(f"triggers/{model}/claims"):
                triggers.claimed(model)


def _survey_rollouts(survey: _Survey) -> None:
    """Each journal is a chain, and what it refers to is there; claims can be read."""
    rollouts = survey.store.rollouts
    for name in survey.store.medium.names("rollouts"):
        if not MODEL_NAME.fullmatch(name):
            survey.notice(f"rollouts/{name}", "this is no model name; it is passed over")
            continue
        for number in rollouts.numbers(name):
            key = directory_of(name, number)
            with survey.noting(key):
                _survey_rollout(survey, rollouts.journal(name, number), key)
                rollouts.claims(name, number).newest()


def _survey_rollout(survey: _Survey, journal: RolloutJournal, key: str) -> None:
    if not journal.links:
        survey.notice(key, "the rollout has no first entry; the next one takes its number")
    for digest in sorted(journal.blobs):
        _survey_reference(survey, digest, key, "what the journal refers to")
    # Where counting went on from is not kept for long.
    survey.wanted |= {link.entry.checkpoint for link in journal.links if link.entry.checkpoint}


def _survey_signatures(survey: _Survey) -> None:
    """Each envelope is what its name says and over the manifest it lies with. Whose keys made it is for a policy to ask."""
    medium = survey.store.medium
    for name in medium.names("signatures"):
        manifest, directory = f"sha256:{name}", f"signatures/{name}"
        if manifest not in survey.signed:
            survey.notice(directory, "no version has the manifest that these signatures are over")
        with survey.noting(directory):
            for envelope in medium.names(directory):
                with survey.noting(f"{directory}/{envelope}"):
                    signatures.read_envelope(medium, manifest, envelope)
