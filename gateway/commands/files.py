"""Small files that are named on the command line: read up to a bound; whatever is wrong with one names it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.commands.output import UsageError

T = TypeVar("T")
MAX_DOCUMENT_BYTES = 1 << 20


def content(path: Path, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> bytes:
    """Raises `UsageError` for a file that cannot be read or is larger."""
    try:
        with path.open("rb") as file:
            found = file.read(max_bytes + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(found) > max_bytes:
        raise UsageError(f"{path}: larger than the {max_bytes} bytes that are allowed")
    return found


def check_readable(path: Path) -> None:
    """Raises `UsageError` for a file that cannot be read, whatever its size is."""
    try:
        path.open("rb").close()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def document(path: Path, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> Any:
    """What a YAML or JSON file says. Raises `UsageError` with the line of a mistake."""
    from registry.yaml_text import YamlError, parse_yaml

    try:
        return parse_yaml(content(path, max_bytes=max_bytes))
    except YamlError as error:
        raise UsageError(f"{path}: {error}" if str(error) else f"{path}: neither YAML nor JSON") from None


def text(path: Path, *, max_bytes: int = MAX_DOCUMENT_BYTES) -> str:
    """A text file. Raises `UsageError` where it is not UTF-8."""
    try:
        return content(path, max_bytes=max_bytes).decode()
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not a text in UTF-8") from None


def understood(path: Path, read: Callable[[], T]) -> T:
    """What `read` makes of a file's content; its refusal becomes a `UsageError` that names the file."""
    import msgspec

    from registry.errors import RegistryError

    try:
        return read()
    except RegistryError as error:
        raise UsageError(f"{path}: {error.message}") from None
    except msgspec.ValidationError as error:
        raise UsageError(f"{path}: {error}") from None
