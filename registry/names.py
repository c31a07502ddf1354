"""The grammar of names: models, versions, aliases, digests, publish ids. Pure; joins no paths of requests, because names are keys."""

from __future__ import annotations

import hashlib
import re
from typing import Annotated

import msgspec

from registry.errors import Kind, RegistryError

MODEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
MAX_VERSION = (1 << 63) - 1  # Triton's versions are int64
MAX_LABEL = 256  # characters of a publisher or publish id
MAX_REASON = 1000  # characters
MAX_FILE_NAME_BYTES = 255  # what Linux file systems hold

Digest = Annotated[str, msgspec.Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
ALIAS_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_IMMUTABLE = re.compile(
    r"tidegate-registry\.json|(blobs|trash)/.*|models/[^/]+/(versions|log)/.*|signatures/[0-9a-f]{64}/[0-9a-f]{64}\.json"
    r"|rollouts/[^/]+/[0-9]{8}/(journal|claims)/[0-9]{8,19}\.json"
    r"|triggers/[^/]+/([0-9a-f]{32}\.json|([0-9a-f]{32}/journal|claims)/[0-9]{8,19}\.json)"
)
_NUMBERED = re.compile(r"[0-9]{8,19}\.json")


def check_model_name(name: str) -> str:
    """`name` itself. Raises `Kind.INVALID_NAME`."""
    if MODEL_NAME.fullmatch(name) is None:
        raise RegistryError(Kind.INVALID_NAME, f"model name {name[:160]!r} does not match {MODEL_NAME.pattern}")
    return name


def check_label(value: str, *, what: str) -> str:
    """`value` itself: 1 to 256 printable characters. Raises `Kind.INVALID_NAME`."""
    if not 0 < len(value) <= MAX_LABEL or not value.isprintable():
        raise RegistryError(Kind.INVALID_NAME, f"{what} must be 1 to {MAX_LABEL} printable characters")
    return value


def check_alias_name(name: str) -> str:
    """`name` itself: a letter, then letters, digits, `_` and `-`, so that no alias reads as a number.

    Raises `Kind.INVALID_NAME`, also for "latest" in any case: somebody decides which version serves, not the order of publishing.
    """
    if ALIAS_NAME.fullmatch(name) is None:
        raise RegistryError(Kind.INVALID_NAME, f"alias {name[:80]!r} does not match {ALIAS_NAME.pattern}")
    if name.lower() == "latest":
        raise RegistryError(Kind.INVALID_NAME, "'latest' cannot be an alias: no version serves because it is the newest")
    return name


def check_reason(text: str) -> str:
    """`text` itself: at most 1000 printable characters. Raises `Kind.INVALID_NAME`."""
    if len(text) > MAX_REASON or not text.isprintable():
        raise RegistryError(Kind.INVALID_NAME, f"a reason must be at most {MAX_REASON} printable characters")
    return text


def is_immutable(key: str) -> bool:
    """Whether what `key` holds never changes once it is there."""
    return _IMMUTABLE.fullmatch(key) is not None


def is_plain_file_name(name: str) -> bool:
    """Whether `name` stays inside its directory on every system: printable, no separator, not hidden, at most 255 bytes."""
    return (
        bool(name)
        and name.isprintable()
        and not name.startswith(".")
        and not set(name) & set("/\\")
        and len(name.encode(errors="replace")) <= MAX_FILE_NAME_BYTES
    )


def digest_of(content: bytes) -> str:
    """`sha256:` and 64 hexadecimal digits."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def blob_key(digest: str) -> str:
    """Where the content with this digest lies."""
    hexadecimal = digest.removeprefix("sha256:")
    return f"blobs/sha256/{hexadecimal[:2]}/{hexadecimal}"


def trash_key(run: str, digest: str) -> str:
    """Where the collection `run` has put the content with this digest."""
    return f"trash/{run}/{digest.removeprefix('sha256:')}"


def numbered(number: int) -> str:
    """File name of a version or log entry; eight digits sort as text for the first hundred million."""
    return f"{number:08d}.json"


def number_of(file_name: str) -> int | None:
    """The inverse of `numbered`; None for any other file."""
    if _NUMBERED.fullmatch(file_name) is None:
        return None
    number = int(file_name.removesuffix(".json"))
    return number if 0 < number <= MAX_VERSION and numbered(number) == file_name else None
