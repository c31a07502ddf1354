"""The format version of state files: every one carries it, this release reads its own and the one before, and refuses any other by number.

Format 1 wrote no number into its files, so a file without one is of format 1. Pure.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from registry.errors import Kind, RegistryError, damaged
from registry.names import digest_of

FORMAT = 2
_State = TypeVar("_State")


class _Numbered(msgspec.Struct):
    """What is looked at first: another format may have other fields."""

    format: int = 1


def decode_state(content: bytes, type_: type[_State], *, key: str, what: str) -> _State:
    """Strict JSON of `what`. Raises `Kind.UNSUPPORTED` for a format of another release, else `Kind.DAMAGED`; both name `key`."""
    try:
        number = msgspec.json.decode(content, type=_Numbered).format
        if not 1 <= number <= FORMAT:
            raise RegistryError(Kind.UNSUPPORTED, f"{key} has format {number}; this release reads formats 1 to {FORMAT}")
        return msgspec.json.decode(content, type=type_)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not {what}: {error}") from error


def decode_checked(content: bytes, type_: type[_State], *, key: str, what: str) -> _State:
    """What `encode_checked` wrote. Raises as `decode_state`, and `Kind.DAMAGED` where the content is not what its own digest says."""
    state: Any = decode_state(content, type_, key=key, what=what)
    unchecked: _State = msgspec.structs.replace(state, check="")
    if encode_checked(unchecked) != content:
        raise damaged(f"{key} does not match its own digest")
    return unchecked


def encode_checked(state: Any) -> bytes:
    """Deterministic JSON of a struct whose last field, `check`, becomes the digest of the rest: nothing else vouches for it."""
    unchecked = encode_state(msgspec.structs.replace(state, check=""))
    return encode_state(msgspec.structs.replace(state, check=digest_of(unchecked)))


def encode_state(state: msgspec.Struct) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(state, order="deterministic")
