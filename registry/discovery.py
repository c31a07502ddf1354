"""One question about a directory: which model versions are here? A registry and a Triton-style repository give the same answer type."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Protocol

from registry.errors import Kind, RegistryError
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.names import MODEL_NAME
from registry.repository import Repository
from registry.store import MARKER, Store
from registry.verified import Listing, ModelVersionRef


class Source(Protocol):
    """Where models come from."""

    def listing(self) -> Listing:
        """Every version there is now."""
        ...

    def config_text(self, model: str) -> str | None:
        """The text of the model's `config.pbtxt`, or None where there is none."""
        ...


class RegistrySource:
    """A registry as a source."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def listing(self) -> Listing:
        """Every version. One whose record is damaged is listed too, without a digest; opening it says what is wrong."""
        names = self._store.models()
        refs = [self._ref(name, version) for name in names if MODEL_NAME.fullmatch(name) for version in self._store.versions(name)]
        problems = [f"models/{name} is passed over: it is no model name" for name in names if not MODEL_NAME.fullmatch(name)]
        return Listing(tuple(refs), tuple(problems))

    def config_text(self, model: str) -> str | None:
        """None: a registry's versions say everything in their manifests."""
        return None

    def _ref(self, model: str, version: int) -> ModelVersionRef:
        try:
            digest = self._store.record(model, version).manifest
        except RegistryError:
            digest = None
        return ModelVersionRef(model, version, digest, partial(self._store.load_verified, model, version))


def open_source(root: Path, *, limits: RegistryLimits = DEFAULT_LIMITS) -> Source:
    """The registry at `root`, or else the directory as a Triton-style repository.

    Raises `Kind.NOT_FOUND` where there is no directory, `Kind.DAMAGED` for a registry without its marker, `Kind.UNSUPPORTED` for one
    with another layout.
    """
    if not root.is_dir():
        raise RegistryError(Kind.NOT_FOUND, "there is no such directory")
    if (root / MARKER).exists():
        return RegistrySource(Store.open(root, limits=limits))
    if (root / "blobs" / "sha256").is_dir():
        raise RegistryError(Kind.DAMAGED, f"the directory holds blobs of a registry, but {MARKER} is missing")
    return Repository(root, limits=limits)
