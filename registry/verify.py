"""Read everything that a registry holds again and name what is not as it must be. Writes nothing; finds all it can, stops at nothing.

Damage is what makes a version wrong or unloadable or the log doubtful. A notice is what an interrupted publish leaves, which is harmless.
"""

from __future__ import annotations

import enum
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from registry import contract as contracts
from registry.errors import RegistryError, damaged, storage_errors
from registry.journal import Entry, Head, fold
from registry.names import MODEL_NAME, blob_key
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
    findings: list[Finding]
    sizes: dict[str, int]  # of every blob that holds what its name says, by digest
    wanted: set[str]

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


def verify(store: Store) -> list[Finding]:
    """Every blob, record, manifest, log and cache of a registry. An empty list means that all is as it was published."""
    survey = _Survey(store, findings=[], sizes={}, wanted=set())
    _survey_blobs(survey)
    for name in store.models():
        if MODEL_NAME.fullmatch(name):
            _survey_model(survey, name)
        else:
            survey.notice(f"models/{name}", "this is no model name; it is passed over")
    for digest in sorted(survey.sizes.keys() - survey.wanted):
        survey.notice(blob_key(digest), "no version refers to this blob")
    for name in store.medium.names("tmp"):
        survey.notice(f"tmp/{name}", "left by an interrupted publish")
    return survey.findings


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
        with storage_errors(f"read {key}"), os.fdopen(fd, "rb") as file:
            digest, size = "sha256:" + hashlib.file_digest(file, "sha256").hexdigest(), file.tell()
        if blob_key(digest) != key:
            raise damaged("the content has another digest than its name")
        survey.sizes[digest] = size


def _survey_model(survey: _Survey, model: str) -> None:
    versions = Versions(survey.store.medium, model)
    entries = _survey_log(survey, versions)
    numbers = versions.numbers()
    for number in numbers:
        with survey.noting(versions.key(number)):
            _survey_version(survey, versions, number, entries)
    for number in sorted((entries or {}).keys() - set(numbers)):
        survey.damage(versions.key(number), "the log has created this version, but its record is missing")


def _survey_log(survey: _Survey, versions: Versions) -> dict[int, Entry] | None:
    """Entries by version, the whole chain verified from its first entry and not from the cache; None where it is broken."""
    journal = versions.journal
    with survey.noting(f"models/{versions.model}/log"):
        cached = journal.cached()
        last = journal.read().seq
        links = list(journal.links(after=0, last=last))
        head = fold(Head(model=versions.model), links)
        if cached is None and last:
            survey.notice(journal.head_key, "the cache is absent or not intact; the next publish writes it")
        elif cached is not None and cached.seq == last and cached.versions != head.versions:
            survey.damage(journal.head_key, "the cache says something else than the log; remove it")
        return {link.entry.version: link.entry for link in links}
    return None


def _survey_version(survey: _Survey, versions: Versions, number: int, entries: dict[int, Entry] | None) -> None:
    """Raises `RegistryError` where a record or its manifest cannot be read."""
    record = versions.record(number)
    if record is None:
        return
    entry = (entries or {}).get(number)
    if entry is not None and entry != entry_of(versions.model, number, record, seq=entry.seq, prev=entry.prev):
        survey.damage(versions.key(number), "the record says something else than the log")
    if entry is None and entries is not None:
        survey.notice(versions.key(number), "the version has no log entry yet; the next publish writes it")
    survey.wanted.add(record.manifest)
    manifest = survey.store.manifest_of(record.manifest)
    for blob in manifest.blobs:
        survey.wanted.add(blob.digest)
        if blob.digest not in survey.sizes:  # published while the others were hashed, or missing
            _survey_blob(survey, blob_key(blob.digest))
        if survey.sizes.get(blob.digest) != blob.size:
            survey.damage(versions.key(number), f"{blob_key(blob.digest)} is missing, damaged or not of {blob.size} bytes")
    contracts.decode(survey.store.read_blob(manifest.config.digest), key=blob_key(manifest.config.digest))
