"""A Triton-style model repository, `<model>/<version>/model.onnx`, read as it is. Writes nothing; trusts its operator, follows links.

The rules are Triton's (its model_repository.md): a version is a directory whose name is a number without leading zeros; everything else
in a model's directory is not a version. What a `config.pbtxt` there means is `triton_config`'s business; here are the files that it names.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from registry.errors import Kind, RegistryError, damaged, refused, storage_errors
from registry.imported import Settings
from registry.limits import DEFAULT_LIMITS, RegistryLimits
from registry.manifest import MODEL_FILE
from registry.names import MAX_VERSION, MODEL_NAME, check_model_name
from registry.overlay import Overlay
from registry.ports import CONFIG_FILE
from registry.sealed import SealedFile, seal_copy
from registry.store import Store
from registry.triggers import Triggers
from registry.verified import Listing, ModelVersionRef, Reference, VerifiedModel, VersionPolicy
from registry.warmup import MAX_FILES_BYTES

if TYPE_CHECKING:
    from registry.triton_config import Configuration, Said

_Seal = Callable[[], SealedFile]
_SealAll = Callable[[], Iterator[tuple[str, SealedFile]]]
_WARMUP = "warmup"  # the directory of a model with the data of its warm-up samples
_MAX_CONFIG_BYTES = 1 << 20  # Triton's own are a few KiB
_LOCATION = b"location"  # the key of an external-data entry, which no ONNX file with external data can do without
_NO_FILE = {
    errno.ENOENT: "there is no such file",
    errno.ELOOP: "it is a symbolic link",
    errno.ENOTDIR: f"{_WARMUP} is no directory, or a symbolic link",
    errno.EACCES: "it may not be read",
    errno.EISDIR: "it is a directory",
}


@dataclass(frozen=True, slots=True)
class _Outline:
    """What there is to know of a model before any version of it is opened."""

    identity: str = ""  # changes when its config.pbtxt or the data of its warm-up does; "" where there is none
    policy: VersionPolicy | None = None
    notes: tuple[str, ...] = ()
    problem: str | None = None  # why none of its versions can be opened


class Repository:
    """One repository directory."""

    def __init__(self, root: Path, *, limits: RegistryLimits = DEFAULT_LIMITS) -> None:
        self._root = root
        self._limits = limits
        self._outlines: dict[str, _Outline] = {}  # of models that have a config.pbtxt, as they were last listed
        self._overlays: dict[str, Overlay] = {}

    def listing(self) -> Listing:
        """Every version of every model. A directory that looks like a model but cannot be one is a problem, not an error."""
        models, problems = self._found()
        models |= {name: overlay.versions for name, overlay in self._overlays.items() if overlay.places}
        return self._listed(dict(sorted(models.items())), problems)

    def _found(self) -> tuple[dict[str, list[int]], list[str]]:
        """Versions by model, and what was passed over."""
        models: dict[str, list[int]] = {}
        problems: list[str] = []
        for name in _directories(self._root):
            versions = version_numbers(self._root / name)
            if MODEL_NAME.fullmatch(name) is not None:
                models[name] = versions
            elif versions:
                problems.append(f"'{name}' is passed over: a model name must match {MODEL_NAME.pattern}")
        return models, problems

    def ref(self, model: str, version: int) -> ModelVersionRef:
        """One version, as its files are now."""
        return self._ref(model, version, self._identity(model))

    def reference(self, model: str, version: int) -> Reference:
        """Nothing lies there that traffic could be held against."""
        return Reference()

    def manifest(self, model: str, version: int) -> str:
        """There is none. Raises `Kind.UNSUPPORTED`."""
        text = f"version {version} of model '{model}' has no manifest: it comes from a Triton-style repository"
        raise RegistryError(Kind.UNSUPPORTED, text)

    def triggers(self) -> Triggers:
        """There is no place for them. Raises `Kind.UNSUPPORTED`."""
        raise RegistryError(Kind.UNSUPPORTED, "a Triton-style repository has no place for retrain triggers")

    def registry(self) -> Store:
        """It is none. Raises `Kind.UNSUPPORTED`."""
        raise RegistryError(Kind.UNSUPPORTED, "a Triton-style repository keeps no decisions: rollouts need a registry")

    def watch(self, changed: Callable[[Listing], None], stop: threading.Event) -> None:
        """Wait for `stop`: a directory that people copy into is read when they say so, not while they copy. `config.pbtxt` is no other."""
        stop.wait()

    def overlay(self, model: str, overlay: Overlay | None) -> None:
        """From now on a model is as its overlay says, whose owner closes it once there is another one; None: as it lies there.

        Raises `Kind.INVALID_MODEL` for a configuration that cannot be honoured, and `Kind.INVALID_NAME`; then nothing has changed.
        """
        before = self._overlays.pop(check_model_name(model), None)
        if overlay is None:
            return
        self._overlays[model] = overlay
        try:
            self._configuration(model)
        except RegistryError:
            self._overlays.pop(model)
            if before is not None:
                self._overlays[model] = before
            raise

    def overlaid(self, model: str) -> Overlay | None:
        """The overlay that holds now."""
        return self._overlays.get(model)

    def config_text(self, model: str) -> str | None:
        """The text of a model's `config.pbtxt`, or None where there is none. Raises `Kind.DAMAGED` where it is no text or over 1 MiB."""
        content = self._config(model)
        try:
            return None if content is None else content.decode()
        except UnicodeDecodeError as error:
            raise damaged(f"{model}/{CONFIG_FILE} is not UTF-8") from error

    def open(self, model: str, version: int) -> VerifiedModel:
        """Copy a version into sealed memory. Its digest is of the copy: there is nothing to compare it with.

        Raises `Kind.NOT_FOUND`, and `Kind.INVALID_MODEL` or `Kind.DAMAGED` where its `config.pbtxt` cannot be honoured or read.
        """
        configuration = self._configuration(check_model_name(model))
        overlay, file = self._overlays.get(model), configuration.file if configuration else MODEL_FILE
        submitted = overlay is not None and bool(overlay.places)
        onnx, beside = _brought(overlay, version, file) if overlay and submitted else self._stored(model, version, file)
        with ExitStack() as opened:
            onnx_file = onnx()
            opened.callback(onnx_file.close)
            external = {}
            if _mentions_external_data(onnx_file):
                for name, sealed in beside():
                    external[name] = sealed
                    opened.callback(sealed.close)
            opened.pop_all()
        return VerifiedModel(
            model=model,
            version=version,
            digest=onnx_file.digest,
            file=onnx_file,
            external_data=external,
            serving=configuration.serving if configuration else None,
            ports=configuration.ports if configuration else None,
            warmup=configuration.warmup if configuration else (),
            configuration=configuration.message if configuration else None,
            submitted=submitted,
        )

    def _listed(self, models: Mapping[str, Sequence[int]], problems: Sequence[str]) -> Listing:
        """These versions, with what their models say of themselves; `problems` are known already."""
        outlines = {name: self._outline(name) for name, versions in models.items() if versions}
        self._outlines = outlines
        return Listing(
            tuple(self._ref(name, version, found.identity) for name, found in outlines.items() for version in models[name]),
            (*problems, *[found.problem for found in outlines.values() if found.problem]),
            policies={name: found.policy for name, found in outlines.items() if found.policy is not None},
            notes=tuple(note for found in outlines.values() for note in found.notes),
        )

    # --- config.pbtxt ----------------------------------------------------------------------------------------------------------

    def _model_directory(self, model: str) -> Path:
        return self._root / model

    def _version_directory(self, model: str, version: int) -> Path:
        return self._model_directory(model) / str(version)

    def _config(self, model: str) -> bytes | None:
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
        return content

    def _identity(self, model: str) -> str:
        overlay = self._overlays.get(model)
        try:
            content = self._config(model) if overlay is None else overlay.name.encode()
        except RegistryError as error:  # opening a version says so
            content = error.message.encode()
        if content is None:
            return ""
        return hashlib.sha256(content + fingerprint(self._model_directory(model) / _WARMUP).encode()).hexdigest()

    def _outline(self, model: str) -> _Outline:
        """As it was listed before, where nothing has changed."""
        identity = self._identity(model)
        known = self._outlines.get(model)
        if known is not None and known.identity == identity:
            return known
        return self._outlined(model, identity) if identity else _Outline()

    def _outlined(self, model: str, identity: str) -> _Outline:
        from registry import triton_config  # many repositories have none, and protobuf takes its time

        policy: VersionPolicy | None = None
        try:
            said = self._said(model) or triton_config.parse("", name=model)
            policy = triton_config.policy_of(said)
            triton_config.read(said, _settings(said), self._warmup_data(model))
            return _Outline(identity, policy, triton_config.notes(said))
        except RegistryError as error:
            return _Outline(identity, policy, problem=error.message)

    def _configuration(self, model: str) -> Configuration | None:
        """None where there is none. Raises `Kind.INVALID_MODEL`, `Kind.DAMAGED`, `Kind.STORAGE`."""
        said = self._said(model)
        if said is None:
            return None
        from registry import triton_config

        return triton_config.read(said, _settings(said), self._warmup_data(model))

    def _said(self, model: str) -> Said | None:
        """None where there is neither a file nor an overlay. Raises as `_configuration`."""
        overlay = self._overlays.get(model)
        text = self.config_text(model) if overlay is None else overlay.configuration
        if text is None:
            return None
        from registry import triton_config

        return (triton_config.parse if overlay is None else triton_config.parse_json)(text, name=model)

    def _warmup_data(self, model: str) -> Callable[[str], bytes]:
        """Reads the data files of one model, up to `MAX_FILES_BYTES` of all of them together."""
        left = MAX_FILES_BYTES
        overlay = self._overlays.get(model)

        def read(file: str) -> bytes:
            nonlocal left
            if overlay is not None and overlay.places:
                raise refused(f"{_WARMUP}/{file} is not among the files of this load of '{model}', which have no place for it")
            content = _file_beside(self._model_directory(model) / _WARMUP, file, f"{model}/{_WARMUP}/{file}", left)
            left -= len(content)
            return content

        return read

    # --- files -----------------------------------------------------------------------------------------------------------------

    def _ref(self, model: str, version: int, identity: str) -> ModelVersionRef:
        overlay = self._overlays.get(model)
        found = "" if overlay is not None and overlay.places else fingerprint(self._version_directory(model, version))
        whole = hashlib.sha256(f"{found}\0{identity}".encode()).hexdigest()[:24] if identity else found
        content = whole if overlay is None else overlay.marked(whole)
        return ModelVersionRef(model, version, None, partial(self.open, model, version), content)

    def _stored(self, model: str, version: int, file: str) -> tuple[_Seal, _SealAll]:
        """How to seal a version that lies here: its ONNX file, and what is beside it."""
        path, title = self._onnx_file(model, version, file)

        def beside() -> Iterator[tuple[str, SealedFile]]:
            return ((one.name, self._sealed(one, f"{model}/{version}/{one.name}")) for one in self._beside(path))

        return (lambda: self._sealed(path, title)), beside

    def _onnx_file(self, model: str, version: int, file: str) -> tuple[Path, str]:
        """Where the ONNX file lies, and what to call it."""
        directory = self._version_directory(model, version)
        path = model_path(directory, file)
        title = f"{model}/{version}/{path.relative_to(directory).as_posix()}"
        if not path.is_file():
            raise RegistryError(Kind.NOT_FOUND, f"version {version} of model '{model}' has no file {title}")
        return path, title

    def _beside(self, onnx: Path) -> list[Path]:
        """Files that may be external data: all others with content, because only ONNX Runtime knows which ones it wants."""
        with storage_errors(f"list {onnx.parent.name}"):
            found = sorted(path for path in onnx.parent.iterdir() if path != onnx and path.is_file() and path.stat().st_size)
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


def model_path(directory: Path, file: str) -> Path:
    """The ONNX file of a version. What is called so may be a directory that holds `model.onnx` and its external data."""
    return directory / file / MODEL_FILE if (directory / file).is_dir() else directory / file


def fingerprint(directory: Path) -> str:
    """Changes when a file in the directory of a version is replaced or written; it reads none of them."""
    found: list[str] = []
    with suppress(OSError):  # gone; opening it will say so
        for entry in sorted(os.scandir(directory), key=lambda entry: entry.name):
            status = entry.stat()
            found.append(f"{entry.name}:{status.st_size}:{status.st_mtime_ns}:{status.st_ino}")
            found += [fingerprint(Path(entry.path))] if entry.is_dir() else []
    return hashlib.sha256("\0".join(found).encode()).hexdigest()[:24]


def _settings(said: Said) -> Settings:
    return Settings(said.source, (), remedy="remove it")


def _brought(overlay: Overlay, version: int, file: str) -> tuple[_Seal, _SealAll]:
    """How to seal a version that came with a load."""
    beside = [name for name in overlay.files(version) if name != file]
    return (lambda: overlay.sealed(version, file)), (lambda: ((name, overlay.sealed(version, name)) for name in beside))


def _file_beside(directory: Path, file: str, key: str, max_bytes: int) -> bytes:
    """The content of a file whose plain name stands in another one. No link is followed: that name need not be the operator's.

    Raises `Kind.INVALID_MODEL`, `Kind.STORAGE`.
    """
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    try:
        folder = os.open(directory, flags | os.O_DIRECTORY)
        try:
            fd = os.open(file, flags, dir_fd=folder)
        finally:
            os.close(folder)
        with open(fd, "rb") as opened:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise refused(f"{key} cannot be read: it is no file")
            content = opened.read(max_bytes + 1)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise refused(f"{key} cannot be read: {_NO_FILE[error.errno]}") from error
        raise RegistryError(Kind.STORAGE, f"cannot read {key}: {error.strerror or error}") from error
    if len(content) > max_bytes:
        raise refused(f"{key} is too large: the files of a model's warm-up have at most {MAX_FILES_BYTES} bytes together")
    return content


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
