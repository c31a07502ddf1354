"""What differs between two settings, in words: what a reload takes over, and what needs a restart. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.config import Config

TAKEN_OVER = (("models",), ("batching",), ("logging", "level"), ("logging", "format"))  # what a reload changes


def differences(old: Config, new: Config) -> tuple[list[str], list[str]]:
    """Changes that a reload takes over, and changes that need a restart: "section.setting: before -> after" each."""
    taken: list[str] = []
    restart: list[str] = []
    for path, before, after in _changes(msgspec.to_builtins(old, enc_hook=str), msgspec.to_builtins(new, enc_hook=str)):
        target = taken if any(path[: len(prefix)] == prefix for prefix in TAKEN_OVER) else restart
        target.append(f"{'.'.join(path)}: {_shown(before)} -> {_shown(after)}")
    return taken, restart


def _changes(old: object, new: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], object, object]]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            yield from _changes(old.get(key), new.get(key), (*path, key))
    elif old != new:
        yield path, old, new


def _shown(value: object) -> str:
    return "unset" if value is None else msgspec.json.encode(value).decode()[:120]
