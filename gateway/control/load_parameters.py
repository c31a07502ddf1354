"""What a load may bring with it, read from either transport: a model configuration, and files of versions. Nothing is passed over.

Source: github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import Code, TidegateError, invalid, too_large
from gateway.protocol.tensors import shown
from registry.errors import RegistryError
from registry.overlay import MAX_CONFIGURATION_BYTES, MAX_FILES, Path, path_of

FILES_DENIED = TidegateError(
    Code.PERMISSION_DENIED, "files of a load are not allowed: publish them, or let repository.load_files allow what nobody has signed"
)
_CONFIG, _FILE, _DEPENDENTS = "config", "file:", "unload_dependents"


@dataclass(frozen=True, slots=True)
class Brought:
    """Nothing, a configuration, or a configuration with files."""

    configuration: str | None = None
    files: Mapping[Path, bytes] = field(default_factory=dict)

    @property
    def size_bytes(self) -> int:
        """Of all of it."""
        return len((self.configuration or "").encode()) + sum(map(len, self.files.values()))


def brought_by(parameters: Mapping[str, object], *, files: bool) -> Brought:
    """The parameters of a load. Files are bytes, or texts in base64. Without `files` they are denied.

    Raises TidegateError: INVALID_ARGUMENT for what is unknown or of another type, TOO_LARGE, PERMISSION_DENIED.
    """
    found: dict[Path, bytes] = {}
    for name, value in parameters.items():
        if name.startswith(_FILE):
            if not files:
                raise FILES_DENIED
            found[_path(name.removeprefix(_FILE))] = _content(name, value)
        elif name != _CONFIG:
            raise invalid(f"unknown parameter '{shown(name)}'")
    configuration = parameters.get(_CONFIG)
    if _CONFIG not in parameters and found:
        raise invalid("files need a 'config' beside them: it is the configuration of the model that they make")
    if _CONFIG not in parameters:
        return Brought()
    if not isinstance(configuration, str):
        raise invalid("parameter 'config' must be a string: the model configuration as JSON")
    _check_size(configuration, found)
    return Brought(configuration, found)


def check_unload(parameters: Mapping[str, object]) -> None:
    """The parameters of an unload. No model here depends on another, so that none is unloaded with it. Raises INVALID_ARGUMENT."""
    for name, value in parameters.items():
        if name != _DEPENDENTS:
            raise invalid(f"unknown parameter '{shown(name)}'")
        if not isinstance(value, bool):
            raise invalid(f"parameter '{_DEPENDENTS}' must be true or false")


def _check_size(configuration: str, files: Mapping[Path, bytes]) -> None:
    size = len(configuration.encode())
    if size > MAX_CONFIGURATION_BYTES:
        raise too_large(f"parameter 'config' has {size} bytes, the limit is {MAX_CONFIGURATION_BYTES}")
    if len(files) > MAX_FILES:
        raise too_large(f"the load has {len(files)} files, the limit is {MAX_FILES}")


def _path(text: str) -> Path:
    try:
        return path_of(text)
    except RegistryError as error:
        raise invalid(f"parameter 'file:{shown(text)}': {error.message}") from None


def _content(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        if isinstance(value, str):
            return binascii.a2b_base64(value, strict_mode=True)  # twice as fast as base64's own validation
    except ValueError:
        pass
    raise invalid(f"parameter '{shown(name)}' must be the content of a file: bytes, or in JSON a string of base64")
