"""What a load brings for one model of a Triton-style repository: a configuration in place of its config.pbtxt and, where there are files,
versions in place of its own. It lies in one sealed memory file, which the processes of a server open through /proc: nothing of it is ever
on disk, and with its last holder it is gone. Knows no protocol.
"""

from __future__ import annotations

import io
import os
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

import msgspec

from registry.errors import Kind, RegistryError, refused
from registry.names import MAX_VERSION, is_plain_file_name
from registry.sealed import SealedFile, open_sealed, seal_copy, seal_parts

MAX_CONFIGURATION_BYTES = 256 << 10  # of JSON; Triton's own are a few KiB, and an empty message of three bytes takes a hundred in memory
MAX_FILES = 256  # of one load

_PREFIX_BYTES = 8
_HEADER_BYTES = 6 * MAX_CONFIGURATION_BYTES + MAX_FILES * 2048  # JSON writes some characters as six
_PATH = re.compile(r"([1-9][0-9]{0,18})/([^/]+)")
_MARK = "~"  # in the content of a version, before the name of its overlay

Path = tuple[int, str]  # version, file


class _Header(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    model: str
    configuration: str
    files: list[tuple[int, str, Annotated[int, msgspec.Meta(ge=0)]]]  # version, name, bytes: as they follow


@dataclass(frozen=True, slots=True)
class Overlay:
    """One load's own. The owner calls `close`."""

    model: str
    configuration: str  # JSON of a `ModelConfig`
    name: str  # of its content: sixteen bytes of the digest, in hexadecimal digits
    bundle: SealedFile
    places: Mapping[int, Mapping[str, tuple[int, int]]]  # version → file → start and size there; empty where no file came

    @classmethod
    def received(cls, process: int, fd: int, *, max_bytes: int = sys.maxsize) -> Overlay:
        """What a process of this server holds behind a descriptor. Raises `Kind.CONFLICT` where that is not there any more, or is no such
        thing: a process that runs models is believed nothing.
        """
        try:
            bundle = open_sealed(f"/proc/{process}/fd/{fd}", max_bytes=max_bytes)
        except OSError as error:
            raise RegistryError(Kind.CONFLICT, f"what came with the load is gone: {error.strerror}") from error
        try:
            return cls._read(bundle)
        except BaseException:
            bundle.close()
            raise

    @classmethod
    def _read(cls, bundle: SealedFile) -> Overlay:
        length = int.from_bytes(os.pread(bundle.fd, _PREFIX_BYTES, 0), "big")
        try:
            header = msgspec.json.decode(os.pread(bundle.fd, min(length, _HEADER_BYTES), _PREFIX_BYTES), type=_Header)
            if len(header.configuration.encode()) > MAX_CONFIGURATION_BYTES or len(header.files) > MAX_FILES:
                raise ValueError
            places: dict[int, dict[str, tuple[int, int]]] = {}
            at = _PREFIX_BYTES + length
            for version, file, size in header.files:
                path_of(f"{version}/{file}")
                places.setdefault(version, {})[file] = at, size
                at += size
            if at != bundle.size_bytes:
                raise ValueError
        except (RegistryError, ValueError) as error:  # msgspec's errors are ValueErrors
            raise RegistryError(Kind.CONFLICT, "what came with the load is no bundle") from error
        return cls(header.model, header.configuration, bundle.digest.partition(":")[2][:32], bundle, places)

    @property
    def versions(self) -> list[int]:
        """Numbers that there are files of, ascending."""
        return sorted(self.places)

    def files(self, version: int) -> list[str]:
        """Names of a version's files, sorted."""
        return sorted(self.places.get(version, ()))

    def sealed(self, version: int, file: str) -> SealedFile:
        """A copy of one file. Raises `Kind.NOT_FOUND`, `OSError`."""
        place = self.places.get(version, {}).get(file)
        if place is None:
            raise RegistryError(Kind.NOT_FOUND, f"version {version} of model '{self.model}' has no file {file[:128]} in its load")
        return seal_copy(self.bundle.fd, name=f"{self.model}/{version}", start=place[0], size_bytes=place[1])

    def marked(self, content: str) -> str:
        """The content of a version that is served with this overlay."""
        return f"{content}{_MARK}{self.name}"

    def copy(self) -> Overlay:
        """The same behind a descriptor of its own."""
        file = io.FileIO(os.dup(self.bundle.fd), "r")
        bundle = SealedFile(file=file, size_bytes=self.bundle.size_bytes, digest=self.bundle.digest)
        return Overlay(self.model, self.configuration, self.name, bundle, self.places)

    def close(self) -> None:
        """Give the memory back, unless others hold it. A second call does nothing."""
        self.bundle.close()


def name_in(content: str) -> str:
    """The name of the overlay that a version's content was marked with; "" for none."""
    return content.partition(_MARK)[2]


def bundled(model: str, configuration: str, files: Mapping[Path, bytes]) -> io.FileIO:
    """Put together what `Overlay.received` opens. The owner closes it. Raises `OSError`."""
    ordered = sorted(files)
    header = msgspec.json.encode(_Header(model, configuration, [(*path, len(files[path])) for path in ordered]))
    parts = [len(header).to_bytes(_PREFIX_BYTES, "big"), header, *[files[path] for path in ordered]]
    return seal_parts(parts, name=f"load of {model}"[:200])


def path_of(text: str) -> Path:
    """Version and file of a text like 2/model.onnx. Raises `Kind.INVALID_MODEL` for what is neither."""
    found = _PATH.fullmatch(text)
    if found is None or int(found[1]) > MAX_VERSION or not is_plain_file_name(found[2]):
        raise refused(f"'{text[:128]}' is no file of a version, as 1/model.onnx is")
    return int(found[1]), found[2]
