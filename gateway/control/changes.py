"""What differs between two settings, in words: what a reload takes over, and what needs a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec

from gateway.config import Config

Struct = TypeVar("Struct", bound=msgspec.Struct)

TAKEN_OVER = (
    ("models",),
    ("batching",),
    ("logging", "level"),
    ("logging", "format"),
    ("auth", "keys"),
    ("auth", "jwt"),
    ("auth", "clients"),
    ("auth", "anonymous"),
    ("auth", "realm"),
    ("tenants",),
    ("default_tenant",),
)  # fmt: skip - what a reload changes; of `auth` while there is such a section before and after
_SECRET = ("repository", "options")  # may hold credentials: named, never shown


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Changes that a reload takes over, and changes that need a restart: "section.setting: before -> after" each."""
    taken: list[str] = []
    restart: list[str] = []
    for path, before, after in _changes(msgspec.to_builtins(old, enc_hook=str), msgspec.to_builtins(new, enc_hook=str)):
        target = taken if any(path[: len(prefix)] == prefix for prefix in TAKEN_OVER) else restart
        target.append(f"{'.'.join(path)}: {'changed' if path[: len(_SECRET)] == _SECRET else f'{_shown(before)} -> {_shown(after)}'}")
    return taken, restart


def taken_over(old: Config, new: Config) -> Config:
    """`old` with what a reload changes as `new` has it. Raises MisfitError where the rest of `old` does not allow that."""
    return _replaced(old, new, TAKEN_OVER)


def _replaced(old: Struct, new: Struct, paths: Sequence[tuple[str, ...]]) -> Struct:
    changes = {}
    for name in {path[0] for path in paths}:
        below = [path[1:] for path in paths if path[0] == name]
        before, after = getattr(old, name), getattr(new, name)
        if not all(below):
            changes[name] = after
        elif before is not None and after is not None:
            changes[name] = _replaced(before, after, below)
    return msgspec.structs.replace(old, **changes)


def _changes(old: object, new: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _changes(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield path, old, new


def _shown(value: object) -> str:
    return "unset" if value is None else msgspec.json.encode(value).decode()[:120]
