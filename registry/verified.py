"""What a source of models hands out: references to versions, and versions whose bytes were checked and can be loaded.

The same types for a registry and for a Triton-style repository. Knows no ONNX Runtime; a `VerifiedModel` is what its session needs.
"""

from __future__ import annotations

import mmap
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from registry.golden import Golden
from registry.ports import Ports
from registry.schema import Schema
from registry.sealed import SealedFile
from registry.serving import Serving
from registry.warmup import Sample


@dataclass(frozen=True, slots=True)
class Reference:
    """What a version's traffic is held against."""

    profile: bytes | None = None  # as `registry.profile` encodes it
    schema: Schema | None = None


@dataclass(frozen=True, slots=True)
class VerifiedModel:
    """One version in sealed memory. A context manager: leave it once the session is created, then nothing of it is needed any more."""

    model: str
    version: int
    digest: str  # sha256 of the ONNX file, computed on the very bytes behind `path`
    file: SealedFile
    external_data: dict[str, SealedFile]  # by file name, as the ONNX file refers to it
    serving: Serving | None = None  # how it wants to be served
    schema: Schema | None = None  # what its author says of inputs and outputs; this and the next only of a registry's version
    golden: Golden | None = None  # what it must answer
    profile: bytes | None = None  # what its traffic is held against, as `registry.profile` encodes it
    ports: Ports | None = None  # what its config.pbtxt says of inputs and outputs; this and the next two only of a Triton-style repository
    warmup: tuple[Sample, ...] = ()  # what it is asked before it serves
    configuration: bytes | None = None  # all of its config.pbtxt, as a `ModelConfig`; None where there is none
    submitted: bool = False  # its files came with a load: nobody has looked into them yet

    @property
    def path(self) -> str:
        """Of the ONNX file, for this process."""
        return self.file.path

    @property
    def size_bytes(self) -> int:
        """Of all files."""
        return self.file.size_bytes + sum(file.size_bytes for file in self.external_data.values())

    def external_maps(self) -> dict[str, mmap.mmap]:
        """The external data for `SessionOptions.add_external_initializers_from_files_in_memory`, which copies while the session is created.

        Pass it whenever it is not empty: ONNX Runtime finds no files beside a sealed one, and with it refuses any other name.
        """
        return {name: sealed.map() for name, sealed in self.external_data.items()}

    def close(self) -> None:
        """Give the memory back. A second call does nothing."""
        for sealed in (self.file, *self.external_data.values()):
            sealed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class ModelVersionRef:
    """A version that a source has. Holds no file; two are equal where they name the same content."""

    model: str
    version: int
    digest: str | None  # of the manifest; None in a Triton repository, and where the version's record is damaged
    opener: Callable[[], VerifiedModel] = field(repr=False, compare=False)
    fingerprint: str = ""  # where there is no digest: sizes, times and numbers of the files

    @property
    def content(self) -> str:
        """What changes when the files do."""
        return self.digest or self.fingerprint

    def open(self) -> VerifiedModel:
        """Read and check every file of the version. Raises `RegistryError`, among them `DigestMismatchError`."""
        return self.opener()


@dataclass(frozen=True, slots=True)
class VersionPolicy:
    """Which versions of a model serve, as its repository says it; one of the three."""

    latest: int = 1  # so many of the highest numbers
    specific: tuple[int, ...] = ()  # exactly these
    all: bool = False

    def chosen(self, available: Collection[int]) -> list[int]:
        """Of these numbers, ascending."""
        numbers = sorted(available)
        if self.specific:
            return sorted(set(self.specific) & set(numbers))
        return numbers if self.all else numbers[-self.latest :]


@dataclass(frozen=True, slots=True)
class Listing:
    """All versions of a source, by model name and number, and what was passed over with the reason, one sentence each."""

    versions: tuple[ModelVersionRef, ...]
    problems: tuple[str, ...] = ()
    aliases: Mapping[str, Mapping[str, int]] | None = None  # model → alias → number; None: this kind of source has no aliases
    policies: Mapping[str, VersionPolicy] = field(default_factory=dict)  # of models whose repository says which versions serve
    notes: tuple[str, ...] = ()  # what is fine as it is and ought to be known, one sentence each

    def aliases_of(self, model: str) -> Mapping[str, int] | None:
        """Alias → number; None where the source has no aliases at all."""
        return None if self.aliases is None else self.aliases.get(model, {})
