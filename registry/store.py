"""A registry: content-addressed blobs, manifests, the versions that name them and what is decided about them.

In a directory or in an object store, in layout 2, which docs/registry.md describes. Knows no ONNX: `publish` decides what may become a
version, this module only makes it durable and gives it back unchanged. A registry of layout 1 is upgraded when it is opened, or read as
it is where it cannot be written.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import BinaryIO

import msgspec

from registry import contract as contracts
from registry import evidence as evidences
from registry import manifest as manifests
from registry.aliases import Aliases, signed_by
from registry.blobs import Blobs
from registry.contract import Contract
from registry.deletion import Deletion
from registry.directory import DirectoryMedium
from registry.entries import Entry
from registry.errors import DigestMismatchError, Kind, RegistryError, damaged, storage_errors
from registry.evidence import Evidence
from registry.formats import encode_checked
from registry.leases import Lease, Leases
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.manifest import Descriptor, Manifest
from registry.medium import FileCalls, Medium, Progress, Staged, unseen
from registry.names import blob_key, check_label, check_model_name
from registry.parts import read_parts
from registry.policy import Signers, read_policy
from registry.rollouts import Rollouts
from registry.sealed import SealedFile, seal_copy
from registry.triggers import Triggers
from registry.verified import Reference, VerifiedModel
from registry.versions import Record, Versions, record_of

LAYOUT = 2
MARKER = "tidegate-registry.json"
_OLDEST_LAYOUT = 1
_DIRECTORIES = ("blobs/sha256", "models", "tmp")
_LOADED_PARTS = ("golden.json", "profile.json", "schema.json", "serving.json")  # what a session, its batches and its counts are made by


class _AnyMarker(msgspec.Struct):
    layout: int


class Marker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that makes a directory a registry."""

    layout: int
    id: uuid.UUID
    check: str = ""  # layout 1 had none


class Store:
    """One registry. Any number of processes may read and publish at once; none of them waits for another."""

    def __init__(self, medium: Medium, marker: Marker, *, signers: Signers | None = None) -> None:
        self.medium = medium
        self.id = marker.id
        self.blobs = Blobs(medium)
        self.leases = Leases(medium)
        self.triggers = Triggers(medium)
        self.rollouts = Rollouts(medium)
        self._signers = signers

    @classmethod
    def open(
        cls,
        where: Path | str,
        *,
        calls: FileCalls = os,
        limits: RegistryLimits = DEFAULT_LIMITS,
        signers: Signers | None = None,
        options: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ) -> Store:
        """An existing registry, at a path or at a URL such as `s3://bucket/prefix`.

        `options` and `cache`, a directory of this machine, are for object stores; with a cache, versions that were loaded before load
        while the store cannot be reached. `signers` checks signatures where the policy asks for them. Raises `Kind.NOT_FOUND`,
        `Kind.UNSUPPORTED` for a layout that is neither 2 nor 1, `Kind.DAMAGED`, `Kind.STORAGE`.
        """
        return cls.on(_medium(where, calls=calls, limits=limits, options=options, cache=cache), signers=signers)

    @classmethod
    def on(cls, medium: Medium, *, signers: Signers | None = None) -> Store:
        """The registry on `medium`. Raises as `open`."""
        content = medium.read(MARKER)
        if content is None:
            raise RegistryError(Kind.NOT_FOUND, f"there is no {MARKER} in this place, so it is not a registry")
        marker = _marker(content)
        if marker.layout < LAYOUT:
            _upgrade(medium, marker)
        return cls(medium, marker, signers=signers)

    @classmethod
    def create(
        cls,
        where: Path | str,
        *,
        calls: FileCalls = os,
        limits: RegistryLimits = DEFAULT_LIMITS,
        signers: Signers | None = None,
        options: Mapping[str, str] | None = None,
        cache: Path | None = None,
    ) -> Store:
        """Open a registry, making it in an absent or empty place. Raises `Kind.CONFLICT` where other things are there, else as `open`.

        An object store must support conditional writes (`Kind.UNSUPPORTED`).
        """
        medium = _medium(where, calls=calls, limits=limits, options=options, cache=cache)
        medium.prepare()
        if medium.read(MARKER) is None:
            _check_unused(medium)
            for directory in _DIRECTORIES:
                medium.make_directory(directory)
            # The marker comes last: a crash before it leaves a directory that `create` takes up again. Losing the race is as good.
            medium.create(MARKER, marker_of(uuid.uuid4()))
        return cls.on(medium, signers=signers)

    # Blobs

    def stage(self) -> AbstractContextManager[Staged]:
        """A place to write a blob to before it is known whether it is wanted."""
        return self.blobs.stage()

    def commit_blob(self, staged: Staged) -> tuple[str, int]:
        """Make staged content a blob, durably: (digest, bytes). Raises `Kind.DAMAGED` where its place holds other bytes."""
        return self.blobs.commit(staged)

    def put_blob(self, source: Path | BinaryIO | bytes) -> tuple[str, int]:
        """Store content: (digest, bytes). Content that is there already is verified, not written again."""
        return self.blobs.put(source)

    def open_blob(self, digest: str) -> int:
        """A descriptor that the caller closes; the bytes are not checked. Raises `Kind.DAMAGED` where the blob is gone."""
        return self.blobs.open(digest)

    def read_blob(self, digest: str) -> bytes:
        """A small blob, checked. Raises `Kind.DAMAGED`."""
        return self.blobs.read(digest)

    # Versions

    def models(self) -> list[str]:
        """Names of models that have, or once began to have, a version."""
        return self.medium.names("models")

    def versions(self, model: str) -> list[int]:
        """Numbers of a model's versions, ascending, without deleted ones; none for an unknown model. Raises `Kind.INVALID_NAME`.

        A log that cannot be read deletes nothing.
        """
        versions = self.versions_of(model)
        try:
            return versions.live()
        except RegistryError as error:
            if error.kind is Kind.STORAGE:
                raise
            return versions.numbers()

    def record(self, model: str, version: int) -> Record:
        """Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
        record = self.versions_of(model).record(version)
        if record is None:
            raise RegistryError(Kind.NOT_FOUND, f"model '{model}' has no version {version}")
        return record

    def manifest(self, model: str, version: int) -> Manifest:
        """Which files a version is made of. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
        return self.manifest_of(self.record(model, version).manifest)

    def manifest_of(self, digest: str) -> Manifest:
        """The manifest with this digest. Raises `Kind.DAMAGED`."""
        return manifests.decode(self.read_blob(digest), key=blob_key(digest))

    def contract(self, model: str, version: int) -> Contract:
        """Inputs, outputs and operator sets of a version. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
        digest = self.manifest(model, version).config.digest
        return contracts.decode(self.read_blob(digest), key=blob_key(digest))

    def history(self, model: str) -> Iterator[Entry]:
        """Log entries of a model, oldest first, the chain verified before the first one. Raises `Kind.DAMAGED`."""
        journal = self.versions_of(model).journal
        last = journal.read().seq
        return (link.entry for link in journal.links(after=0, last=last))

    def add_version(self, model: str, manifest: Manifest, *, publish_id: str, publisher: str, now_s: float) -> tuple[int, Record, bool]:
        """Give a manifest, whose blobs are stored, the next number: (version, record, whether it is new).

        Raises `Kind.CONFLICT` where `publish_id` already stands for another manifest. After `Kind.STORAGE` the version may or may not
        exist; repeating the call with the same publish id finds out and completes it.
        """
        check_label(publish_id, what="publish id")
        check_label(publisher, what="publisher")
        versions = self.versions_of(model)
        digest, _ = self.put_blob(manifests.encode(manifest))
        self.medium.make_directory(f"models/{model}/versions")
        self.medium.make_directory(f"models/{model}/log")
        added = versions.add(record_of(manifest=digest, publish_id=publish_id, publisher=publisher, now_s=now_s))
        self.blobs.keep([digest, *(blob.digest for blob in manifest.blobs)])  # as `gc` explains
        return added

    def check_version(self, model: str, version: int, *, progress: Progress = unseen) -> None:
        """Hash every file of a version again; `progress` is told the bytes.

        Raises `DigestMismatchError`, `Kind.NOT_FOUND`, `Kind.DAMAGED`.
        """
        for blob in self.manifest(model, version).blobs:
            got = self.blobs.digest_now(blob.digest, progress=progress)
            if got != blob.digest and self.medium.forget(blob_key(blob.digest)):
                got = self.blobs.digest_now(blob.digest, progress=progress)
            if got != blob.digest:
                raise DigestMismatchError(model=model, version=version, file=blob.title or "contract", expected=blob.digest, got=got)

    def load_verified(self, model: str, version: int) -> VerifiedModel:
        """A version in sealed memory, checked there. Raises `DigestMismatchError`, `Kind.NOT_FOUND`, `Kind.DAMAGED`.

        Raises `Kind.POLICY` where the policy asks for signatures that are not there.
        """
        record = self.record(model, version)
        manifest = self.manifest_of(record.manifest)
        self._check_signatures(record.manifest)
        parts = read_parts(manifest, self.read_blob, only=_LOADED_PARTS)
        with ExitStack() as opened:
            files = {}
            for layer in (manifest.model, *manifest.external_data):
                files[layer.title] = self._sealed(layer, model=model, version=version)
                opened.callback(files[layer.title].close)
            opened.pop_all()
        onnx_file = files.pop(manifests.MODEL_FILE)
        return VerifiedModel(
            model=model,
            version=version,
            digest=onnx_file.digest,
            file=onnx_file,
            external_data=files,
            schema=parts.schema,
            serving=parts.serving,
            golden=parts.golden,
            profile=parts.profile,
        )

    def reference(self, model: str, version: int) -> Reference:
        """What the traffic of a version is held against. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        manifest = self.manifest_of(self.record(model, version).manifest)
        parts = read_parts(manifest, self.read_blob, only=("profile.json", "schema.json"))
        return Reference(parts.profile, parts.schema)

    # Decisions

    def aliases(self, model: str, *, progress: Progress = unseen) -> Aliases:
        """The aliases of a model and their approvals; `progress` is told what a move hashes. Raises `Kind.INVALID_NAME`."""

        def check(number: int) -> None:
            self.check_version(model, number, progress=progress)

        return Aliases(self.blobs, self.versions_of(model), check=check, signers=self._signers)

    def deletion(self, model: str) -> Deletion:
        """Holds on a model's versions, and how one is deleted. Raises `Kind.INVALID_NAME`."""
        return Deletion(self.versions_of(model), rollouts=lambda version: self.rollouts.with_version(model, version))

    def resolve(self, model: str, label: str) -> int:
        """The version that an alias or a number in digits stands for. Raises `Kind.NOT_FOUND`, `Kind.INVALID_NAME`, `Kind.DAMAGED`."""
        return self.aliases(model).resolve(label)

    def put_evidence(self, evidence: Evidence) -> str:
        """Store a document that a log entry may name: its digest."""
        return self.put_blob(evidences.encode(evidence))[0]

    def lease(self, model: str, version: int, *, holder: str, now_s: float, ttl_s: float) -> Lease:
        """Keep the files of a version from garbage collection for `ttl_s` seconds. Raises `Kind.NOT_FOUND`, `Kind.STORAGE`."""
        lease = self.leases.take(model, version, holder=holder, now_s=now_s, ttl_s=ttl_s)
        if version not in self.versions(model):  # looked at once the lease is there, so that a deletion came before it or sees it
            self.leases.release(lease.id)
            raise RegistryError(Kind.NOT_FOUND, f"model '{model}' has no version {version}")
        return lease

    def versions_of(self, model: str) -> Versions:
        """Numbers, records and log of a model. Raises `Kind.INVALID_NAME`."""
        return Versions(self.medium, check_model_name(model))

    def _check_signatures(self, manifest: str) -> None:
        required = read_policy(self.medium)[0].load.require_signatures
        lacking = set(required) - signed_by(self.blobs, manifest, self._signers) if required else ()
        if lacking:
            raise RegistryError(Kind.POLICY, f"the signature of key '{min(lacking)}' is missing")

    def _sealed(self, layer: Descriptor, *, model: str, version: int) -> SealedFile:
        """A layer's bytes; a wrong copy on this machine is dropped once."""
        try:
            return self._sealed_once(layer, model=model, version=version)
        except DigestMismatchError:
            if not self.medium.forget(blob_key(layer.digest)):
                raise
        return self._sealed_once(layer, model=model, version=version)

    def _sealed_once(self, layer: Descriptor, *, model: str, version: int) -> SealedFile:
        fd = self.open_blob(layer.digest)
        try:
            with storage_errors(f"read {blob_key(layer.digest)}"):
                size = os.fstat(fd).st_size
                sealed = seal_copy(fd, name=f"{model}/{version}/{layer.title}"[:200]) if size == layer.size else None
        finally:
            os.close(fd)
        if sealed is not None and sealed.digest == layer.digest:
            return sealed
        if sealed is not None:
            sealed.close()
        got = f"{size} bytes instead of {layer.size}" if sealed is None else sealed.digest
        raise DigestMismatchError(model=model, version=version, file=layer.title, expected=layer.digest, got=got)


def _medium(
    where: Path | str, *, calls: FileCalls, limits: RegistryLimits, options: Mapping[str, str] | None, cache: Path | None
) -> Medium:
    if isinstance(where, Path) or "://" not in where:
        return DirectoryMedium(Path(where), calls=calls, limits=limits)
    from registry.objects import object_medium  # most registries are directories

    return object_medium(where, options=options, cache=cache, limits=limits)


def _upgrade(medium: Medium, marker: Marker) -> None:
    """Layout 2 has more kinds of files and entries than layout 1 and changes none that are there, so only the marker is written.

    From then on a release that knows only layout 1 refuses the registry. One that cannot be written is read as it is.
    """
    with suppress(RegistryError):
        medium.replace(MARKER, marker_of(marker.id), durable=True)


def marker_of(identity: uuid.UUID) -> bytes:
    """The marker of a registry of this layout."""
    return encode_checked(Marker(layout=LAYOUT, id=identity))


def _marker(content: bytes) -> Marker:
    try:
        layout = msgspec.json.decode(content, type=_AnyMarker).layout
        if not _OLDEST_LAYOUT <= layout <= LAYOUT:
            text = f"the registry has layout {layout}; this release reads layouts {_OLDEST_LAYOUT} and {LAYOUT}"
            raise RegistryError(Kind.UNSUPPORTED, text)
        marker = msgspec.json.decode(content, type=Marker)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{MARKER} is unreadable: {error}") from error
    if layout > _OLDEST_LAYOUT and encode_checked(marker) != content:
        raise damaged(f"{MARKER} does not match its own digest")
    return marker


def _check_unused(medium: Medium) -> None:
    """Only what an interrupted `create` leaves may be in the directory."""
    strangers = set(medium.names("")) - {directory.partition("/")[0] for directory in _DIRECTORIES} - {MARKER, "lost+found"}
    if strangers:
        raise RegistryError(Kind.CONFLICT, f"the directory holds '{min(strangers)}' and is no registry")
    if (medium.names("blobs/sha256") or medium.names("models")) and medium.read(MARKER) is None:
        raise damaged(f"the directory holds a registry whose {MARKER} is missing")
