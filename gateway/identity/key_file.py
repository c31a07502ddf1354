"""The file of API keys: YAML, a line for each key under `keys:`. Others must not be able to read it, and nobody else to change it."""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from gateway import typed_yaml
from gateway.identity.keys import ApiKey
from gateway.identity.scopes import problem_among
from gateway.typed_yaml import MisfitError, YamlError

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_ID = re.compile(r"[0-9a-z]{8}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")
_TOO_OPEN = 0o026  # others read or write, the group writes


class KeyFileError(ValueError):
    """A file that cannot be used; the text names it and what is wrong."""


class Entry(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One key as it stands in the file."""

    id: str
    hash: str
    scopes: tuple[str, ...]
    expires: str | None = None

    def __post_init__(self) -> None:
        if _ID.fullmatch(self.id) is None:
            raise MisfitError("id", "expected 8 digits and small letters")
        if _HASH.fullmatch(self.hash) is None:
            raise MisfitError("hash", "expected sha256: and 64 hexadecimal digits, never the key itself")
        if problem := problem_among(self.scopes):
            raise MisfitError("scopes", problem)
        if self.expires is not None:
            try:
                moment(self.expires)
            except ValueError as error:
                raise MisfitError("expires", str(error)) from None


class KeyFile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The whole file: keys by name."""

    keys: dict[str, Entry] = {}

    def __post_init__(self) -> None:
        seen: dict[str, str] = {}
        for name, entry in self.keys.items():
            check_name(name)
            if seen.setdefault(entry.id, name) != name:
                raise MisfitError(f"keys.{name}", f"has the id of {seen[entry.id]}")


def read(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file. Raises KeyFileError."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            content = file.read(typed_yaml.MAX_FILE_BYTES + 1)
    except OSError as error:
        raise KeyFileError(f"{path}: {error.strerror}") from None
    if mode & _TOO_OPEN:
        raise KeyFileError(
            f"{path}: other users can read or change it (mode {mode & 0o777:03o}): chmod 600, or 440 with a group of its own"
        )
    try:
        found = typed_yaml.read(typed_yaml.compose(content, source=str(path)), KeyFile, folder=path.parent)
    except YamlError as error:
        raise KeyFileError(str(error.problems[0])) from None
    return tuple(_key(name, entry) for name, entry in found.keys.items())


def line(name: str, identity: str, digest: bytes, scopes: tuple[str, ...], expires: str | None) -> str:
    """A key as it is written into the file, under `keys:`."""
    until = f', expires: "{expires}"' if expires else ""
    return f'  {name}: {{id: "{identity}", hash: "sha256:{digest.hex()}", scopes: [{", ".join(map(_quoted, scopes))}]{until}}}'


def check_name(name: str) -> None:
    """Raises MisfitError for a name that no key can have."""
    if _NAME.fullmatch(name) is None:
        raise MisfitError(f"keys.{name[:64]}", "a name is 1 to 64 letters, digits, dots, dashes and underscores")


def moment(text: str) -> float:
    """Seconds since the Unix epoch of a date, at its beginning, or a time; in UTC unless it says otherwise. Raises ValueError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError('expected a date or a time, such as "2031-01-31" or "2031-01-31T12:00:00+01:00"') from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _key(name: str, entry: Entry) -> ApiKey:
    return ApiKey(
        name=name,
        id=entry.id,
        digest=bytes.fromhex(entry.hash.removeprefix("sha256:")),
        scopes=entry.scopes,
        expires_s=None if entry.expires is None else moment(entry.expires),
    )


def _quoted(scope: str) -> str:
    """A scope as YAML reads it back: names of models may hold anything printable."""
    escaped = scope.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
