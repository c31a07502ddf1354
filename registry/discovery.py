"""One question about a directory: which model versions are here? A registry and a Triton-style repository give the same answer type."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Protocol

from registry.desired import Desired, desired_or_kept
from registry.errors import Kind, RegistryError
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.overlay import Overlay
from registry.policy import Signers
from registry.repository import Repository
from registry.single import SingleModel
from registry.store import MARKER, Store
from registry.triggers import Triggers
from registry.verified import Listing, ModelVersionRef, Reference


class Source(Protocol):
    """Where models come from."""

    def listing(self) -> Listing:
        """Every version there is now."""
        ...

    def ref(self, model: str, version: int) -> ModelVersionRef:
        """One version, as it is now. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        ...

    def reference(self, model: str, version: int) -> Reference:
        """What the traffic of a version is held against, without its model. Raises as `ref`."""
        ...

    def manifest(self, model: str, version: int) -> str:
        """The digest of a version's manifest. Raises as `ref`, and `Kind.UNSUPPORTED` where versions have none."""
        ...

    def triggers(self) -> Triggers:
        """Where it is asked for new versions. Raises `Kind.UNSUPPORTED` where nobody looks."""
        ...

    def registry(self) -> Store:
        """Where decisions about versions are kept. Raises `Kind.UNSUPPORTED` where there are none."""
        ...

    def watch(self, changed: Callable[[Listing], None], stop: threading.Event) -> None:
        """Hand over the listing whenever it has changed, until `stop` is set. Blocks."""
        ...

    def overlay(self, model: str, overlay: Overlay | None) -> None:
        """Have a model be as a load says, or as it is. Raises `Kind.UNSUPPORTED` where versions cannot be overlaid; see `Repository`."""
        ...

    def overlaid(self, model: str) -> Overlay | None:
        """The overlay that holds now."""
        ...


class RegistrySource:
    """A registry as a source."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last: Desired | None = None  # what was seen last: a model whose log is damaged keeps what it had

    def listing(self) -> Listing:
        """Every version and alias. A version whose record is damaged is listed too, as the log has it; opening it says what is wrong.

        Where the store cannot be reached, what this machine last saw of it, with that among the problems. Raises `Kind.STORAGE`.
        """
        return self._listing(desired_or_kept(self._store, self._last))

    def ref(self, model: str, version: int) -> ModelVersionRef:
        """One version. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        return self._ref(model, version, self._store.record(model, version).manifest)

    def reference(self, model: str, version: int) -> Reference:
        """What the traffic of a version is held against. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        return self._store.reference(model, version)

    def manifest(self, model: str, version: int) -> str:
        """The digest of a version's manifest. Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        return self._store.record(model, version).manifest

    def triggers(self) -> Triggers:
        """Of the registry."""
        return Triggers(self._store.medium)

    def registry(self) -> Store:
        """It is one."""
        return self._store

    def watch(self, changed: Callable[[Listing], None], stop: threading.Event) -> None:
        """Hand over the listing whenever it has changed, until `stop` is set. Blocks."""
        from registry.watch import Watch, signals  # a server that only lists does without

        Watch(self._store, lambda state: changed(self._listing(state)), last=self._last).run(signals(self._store.medium, stop))

    def overlay(self, model: str, overlay: Overlay | None) -> None:
        """A version is what was published, signed and tried. Raises `Kind.UNSUPPORTED`."""
        if overlay is not None:
            raise RegistryError(
                Kind.UNSUPPORTED,
                f"a registry's versions are served as they were published: publish a version of '{model}' with another configuration, "
                f"or change models.{model} in the server's settings",
            )

    def overlaid(self, model: str) -> Overlay | None:
        """None of a registry is."""
        return None

    def _listing(self, said: Desired) -> Listing:
        self._last = said
        refs = [self._ref(name, number, digest) for name, model in said.models.items() for number, digest in model.versions.items()]
        return Listing(tuple(refs), said.problems, {name: model.aliases for name, model in said.models.items()})

    def _ref(self, model: str, version: int, digest: str | None) -> ModelVersionRef:
        return ModelVersionRef(model, version, digest, partial(self._store.load_verified, model, version))


def open_source(
    where: Path | str,
    *,
    limits: RegistryLimits = DEFAULT_LIMITS,
    signers: Signers | None = None,
    options: Mapping[str, str] | None = None,
    cache: Path | None = None,
    model: str | None = None,
) -> Source:
    """The registry at a path or URL (see `Store.open`), or else the directory as a Triton-style repository; with `model`, as that of the
    one model of this name.

    Raises `Kind.NOT_FOUND` where there is no directory, `Kind.DAMAGED` for a registry without its marker, `Kind.UNSUPPORTED` for one
    with another layout, for `signers` where there are no signatures, or for `model` beside a registry; `Kind.INVALID_NAME`.
    """
    if isinstance(where, str) and "://" in where:
        return RegistrySource(Store.open(where, limits=limits, signers=signers, options=options, cache=cache))
    root = Path(where)
    if not root.is_dir():
        raise RegistryError(Kind.NOT_FOUND, "there is no such directory")
    if (root / MARKER).exists():
        if model is not None:
            raise RegistryError(Kind.UNSUPPORTED, "the directory is a registry, whose models have their names already")
        return RegistrySource(Store.open(root, limits=limits, signers=signers))
    if (root / "blobs" / "sha256").is_dir():
        raise RegistryError(Kind.DAMAGED, f"the directory holds blobs of a registry, but {MARKER} is missing")
    if signers is not None:
        raise RegistryError(Kind.UNSUPPORTED, "a Triton-style repository has no signatures, so there is nothing to check with keys")
    return Repository(root, limits=limits) if model is None else SingleModel(root, model, limits=limits)
