"""A registry directory: content-addressed blobs, manifests and the versions that name them. Layout 1, described in docs/registry.md.

Knows no ONNX: `publish` decides what may become a version, this module only makes it durable and gives it back unchanged.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import BinaryIO

import msgspec

from registry import contract as contracts
from registry import manifest as manifests
from registry.contract import Contract
from registry.errors import DigestMismatchError, Kind, RegistryError, damaged, storage_errors
from registry.journal import Entry
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.manifest import Descriptor, Manifest
from registry.medium import CHUNK_BYTES, FileCalls, Medium, Staged
from registry.names import blob_key, check_label, check_model_name, digest_of
from registry.sealed import SealedFile, seal_copy
from registry.verified import VerifiedModel
from registry.versions import Record, Versions, record_of

LAYOUT = 1
MARKER = "tidegate-registry.json"
_DIRECTORIES = ("blobs/sha256", "models", "tmp")


class _AnyMarker(msgspec.Struct):
    layout: int


class Marker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file that makes a directory a registry."""

    layout: int
    id: uuid.UUID


class Store:
    """One registry. Any number of processes may read and publish at once; none of them waits for another."""

    def __init__(self, medium: Medium, marker: Marker) -> None:
        self.medium = medium
        self.id = marker.id

    @classmethod
    def open(cls, root: Path, *, calls: FileCalls = os, limits: RegistryLimits = DEFAULT_LIMITS) -> Store:
        """An existing registry. Raises `Kind.NOT_FOUND`, `Kind.UNSUPPORTED` for a layout that is not 1, `Kind.DAMAGED`."""
        medium = Medium(root, calls=calls, limits=limits)
        content = medium.read(MARKER)
        if content is None:
            raise RegistryError(Kind.NOT_FOUND, f"there is no {MARKER} in this directory, so it is not a registry")
        return cls(medium, _marker(content))

    @classmethod
    def create(cls, root: Path, *, calls: FileCalls = os, limits: RegistryLimits = DEFAULT_LIMITS) -> Store:
        """Open the registry at `root`, making it in an absent or empty directory. Raises `Kind.CONFLICT` where other things are there."""
        medium = Medium(root, calls=calls, limits=limits)
        medium.make_root()
        if medium.read(MARKER) is None:
            _check_unused(medium)
            with storage_errors("create the registry"):
                for directory in _DIRECTORIES:
                    medium.make_directory(directory)
            # The marker comes last: a crash before it leaves a directory that `create` takes up again. Losing the race is as good.
            medium.create(MARKER, msgspec.json.encode(Marker(layout=LAYOUT, id=uuid.uuid4())))
        return cls.open(root, calls=calls, limits=limits)

    # Blobs

    def stage(self) -> AbstractContextManager[Staged]:
        """A place to write a blob to before it is known whether it is wanted."""
        return self.medium.stage()

    def commit_blob(self, staged: Staged) -> tuple[str, int]:
        """Make staged content a blob, durably: (digest, bytes). Raises `Kind.DAMAGED` where its place holds other bytes."""
        key = blob_key(staged.digest)
        if not self.medium.commit(staged, key):
            raise damaged(f"{key} does not hold what its name says; remove that file and repeat")
        return staged.digest, staged.size_bytes

    def put_blob(self, source: Path | BinaryIO | bytes) -> tuple[str, int]:
        """Store content: (digest, bytes). Content that is there already is verified, not written again."""
        with ExitStack() as stack:
            staged = stack.enter_context(self.stage())
            file = stack.enter_context(_opened(source)) if isinstance(source, Path) else source
            with storage_errors("store a blob"):
                for chunk in [file] if isinstance(file, bytes) else iter(lambda: file.read(CHUNK_BYTES), b""):
                    staged.write(chunk)
            return self.commit_blob(staged)

    def open_blob(self, digest: str) -> int:
        """A descriptor that the caller closes; the bytes are not checked. Raises `Kind.DAMAGED` where the blob is gone."""
        fd = self.medium.open(blob_key(digest))
        if fd is None:
            raise damaged(f"{blob_key(digest)} is missing")
        return fd

    def read_blob(self, digest: str) -> bytes:
        """A small blob, checked. Raises `Kind.DAMAGED`."""
        content = self.medium.read(blob_key(digest))
        if content is None:
            raise damaged(f"{blob_key(digest)} is missing")
        if digest_of(content) != digest:
            raise damaged(f"{blob_key(digest)} does not hold what its name says")
        return content

    # Versions

    def models(self) -> list[str]:
        """Names of models that have, or once began to have, a version."""
        return self.medium.names("models")

    def versions(self, model: str) -> list[int]:
        """Numbers of a model's versions, ascending; none for an unknown model. Raises `Kind.INVALID_NAME`."""
        return self._versions(model).numbers()

    def record(self, model: str, version: int) -> Record:
        """Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
        record = self._versions(model).record(version)
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
        journal = self._versions(model).journal
        last = journal.read().seq
        return (link.entry for link in journal.links(after=0, last=last))

    def add_version(self, model: str, manifest: Manifest, *, publish_id: str, publisher: str, now_s: float) -> tuple[int, Record, bool]:
        """Give a manifest, whose blobs are stored, the next number: (version, record, whether it is new).

        Raises `Kind.CONFLICT` where `publish_id` already stands for another manifest. After `Kind.STORAGE` the version may or may not
        exist; repeating the call with the same publish id finds out and completes it.
        """
        check_label(publish_id, what="publish id")
        check_label(publisher, what="publisher")
        versions = self._versions(model)
        digest, _ = self.put_blob(manifests.encode(manifest))
        with storage_errors(f"create model '{model}'"):
            self.medium.make_directory(f"models/{model}/versions")
            self.medium.make_directory(f"models/{model}/log")
        return versions.add(record_of(manifest=digest, publish_id=publish_id, publisher=publisher, now_s=now_s))

    def load_verified(self, model: str, version: int) -> VerifiedModel:
        """A version in sealed memory, checked there. Raises `DigestMismatchError`, `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
        manifest = self.manifest(model, version)
        with ExitStack() as opened:
            files = {}
            for layer in (manifest.model, *manifest.external_data):
                files[layer.title] = self._sealed(layer, model=model, version=version)
                opened.callback(files[layer.title].close)
            opened.pop_all()
        onnx_file = files.pop(manifests.MODEL_FILE)
        return VerifiedModel(model=model, version=version, digest=onnx_file.digest, file=onnx_file, external_data=files)

    def _versions(self, model: str) -> Versions:
        return Versions(self.medium, check_model_name(model))

    def _sealed(self, layer: Descriptor, *, model: str, version: int) -> SealedFile:
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


def _marker(content: bytes) -> Marker:
    try:
        layout = msgspec.json.decode(content, type=_AnyMarker).layout
        if layout != LAYOUT:
            raise RegistryError(Kind.UNSUPPORTED, f"the registry has layout {layout}; this release reads layout {LAYOUT}")
        return msgspec.json.decode(content, type=Marker)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{MARKER} is unreadable: {error}") from error


def _check_unused(medium: Medium) -> None:
    """Only what an interrupted `create` leaves may be in the directory."""
    strangers = set(medium.names("")) - {directory.partition("/")[0] for directory in _DIRECTORIES} - {MARKER, "lost+found"}
    if strangers:
        raise RegistryError(Kind.CONFLICT, f"the directory holds '{min(strangers)}' and is no registry")
    if (medium.names("blobs/sha256") or medium.names("models")) and medium.read(MARKER) is None:
        raise damaged(f"the directory holds a registry whose {MARKER} is missing")


def _opened(path: Path) -> BinaryIO:
    with storage_errors(f"open {path.name}"):
        return path.open("rb")
