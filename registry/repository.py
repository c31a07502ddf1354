"""A Triton-style model repository, `<model>/<version>/model.onnx`, read as it is. Writes nothing; trusts its operator, follows links.

The rules are Triton's (its model_repository.md): a version is a directory whose name is a number without leading zeros; everything else
in a model's directory is not a version. `config.pbtxt` is handed out as text: its meaning belongs to the gateway.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.manifest import MODEL_FILE
from registry.names import MAX_VERSION, MODEL_NAME, check_model_name
from registry.sealed import SealedFile, seal_copy
from registry.verified import Listing, ModelVersionRef, VerifiedModel

CONFIG_FILE = "config.pbtxt"
_MAX_CONFIG_BYTES = 1 << 20  # Triton's own are a few KiB
_LOCATION = b"location"  # the key of an external-data entry, which no ONNX file with external data can do without


class Repository:
    """One repository directory."""

    def __init__(self, root: Path, *, limits: RegistryLimits = DEFAULT_LIMITS) -> None:
        self._root = root
        self._limits = limits

    def listing(self) -> Listing:
        """Every version of every model. A directory that looks like a model but cannot be one is a problem, not an error."""
        refs: list[ModelVersionRef] = []
        problems: list[str] = []
        for name in _directories(self._root):
            versions = version_numbers(self._root / name)
            if MODEL_NAME.fullmatch(name) is None:
                if versions:
                    problems.append(f"'{name}' is passed over: a model name must match {MODEL_NAME.pattern}")
                continue
            refs.extend(self.ref(name, version) for version in versions)
        return Listing(tuple(refs), tuple(problems))

    def ref(self, model: str, version: int) -> ModelVersionRef:
        """One version, as its files are now."""
        now = fingerprint(self._version_directory(model, version))
        return ModelVersionRef(model, version, None, partial(self.open, model, version), now)

    def watch(self, changed: Callable[[Listing], None], stop: threading.Event) -> None:
        """Wait for `stop`: a directory that people copy into is read when they say so, not while they copy."""
        stop.wait()

    def config_text(self, model: str) -> str | None:
        """The text of a model's `config.pbtxt`, or None where there is none. Raises `Kind.DAMAGED` where it is no text or over 1 MiB."""
        path = self._model_directory(check_model_name(model)) / CONFIG_FILE
        key = f"{model}/{CONFIG_FILE}"
        with storage_errors(f"read {key}"):
            try:
                with path.open("rb") as file:
                    content = file.read(_MAX_CONFIG_BYTES + 1)
            except FileNotFoundError:
                return None
        if len(content) > _MAX_CONFIG_BYTES:
            raise damaged(f"{key} is larger than {_MAX_CONFIG_BYTES} bytes")
        try:
            return content.decode()
        except UnicodeDecodeError as error:
            raise damaged(f"{key} is not UTF-8") from error

    def open(self, model: str, version: int) -> VerifiedModel:
        """Copy a version into sealed memory. Its digest is of the copy: there is nothing to compare it with. Raises `Kind.NOT_FOUND`."""
        directory, title = self._onnx_directory(check_model_name(model), version)
        with ExitStack() as opened:
            onnx_file = self._sealed(directory / MODEL_FILE, title)
            opened.callback(onnx_file.close)
            external = {}
            if _mentions_external_data(onnx_file):
                for path in self._beside(directory):
                    external[path.name] = self._sealed(path, f"{model}/{version}/{path.name}")
                    opened.callback(external[path.name].close)
            opened.pop_all()
        return VerifiedModel(model=model, version=version, digest=onnx_file.digest, file=onnx_file, external_data=external)

    def _model_directory(self, model: str) -> Path:
        return self._root / model

    def _version_directory(self, model: str, version: int) -> Path:
        return self._model_directory(model) / str(version)

    def _onnx_directory(self, model: str, version: int) -> tuple[Path, str]:
        """Where the ONNX file lies, and what to call it. `model.onnx` may itself be a directory that holds it and its external data."""
        directory = self._version_directory(model, version)
        title = f"{model}/{version}/{MODEL_FILE}"
        if (directory / MODEL_FILE).is_dir():
            directory, title = directory / MODEL_FILE, f"{title}/{MODEL_FILE}"
        if not (directory / MODEL_FILE).is_file():
            raise RegistryError(Kind.NOT_FOUND, f"version {version} of model '{model}' has no file {title}")
        return directory, title

    def _beside(self, directory: Path) -> list[Path]:
        """Files that may be external data: all others with content, because only ONNX Runtime knows which ones it wants."""
        with storage_errors(f"list {directory.name}"):
            found = sorted(path for path in directory.iterdir() if path.name != MODEL_FILE and path.is_file() and path.stat().st_size)
        if len(found) >= self._limits.max_files:
            raise RegistryError(Kind.UNSUPPORTED, f"a version has more than {self._limits.max_files} files")
        return found

    def _sealed(self, path: Path, title: str) -> SealedFile:
        with storage_errors(f"read {title}"):
            fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                return seal_copy(fd, name=title)
            finally:
                os.close(fd)


def fingerprint(directory: Path) -> str:
    """Changes when a file in the directory of a version is replaced or written; it reads none of them."""
    found: list[str] = []
    with suppress(OSError):  # gone; opening it will say so
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            stat = entry.stat()
            found.append(f"{entry.name}:{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ino}")
            found += [fingerprint(Path(entry.path))] if entry.is_dir() else []
    return hashlib.sha256("\0".join(found).encode()).hexdigest()[:24]


def _directories(path: Path) -> Iterator[str]:
    """Names of the directories in `path`, sorted; hidden ones are not the repository's."""
    with storage_errors(f"list {path.name}"):
        names = sorted(entry.name for entry in os.scandir(path) if not entry.name.startswith(".") and entry.is_dir())
    yield from names


def version_numbers(model_directory: Path) -> list[int]:
    """Version numbers, ascending; none where the directory may not be read."""
    try:
        names = [entry.name for entry in os.scandir(model_directory) if entry.is_dir()]
    except PermissionError:  # lost+found at the root of a mounted volume
        return []
    numeric = (name for name in names if name.isascii() and name.isdigit() and not name.startswith("0") and len(name) < 20)
    return sorted(version for version in map(int, numeric) if version <= MAX_VERSION)


def _mentions_external_data(onnx_file: SealedFile) -> bool:
    if onnx_file.size_bytes == 0:
        return False
    with onnx_file.map() as content:
        return content.find(_LOCATION) >= 0
