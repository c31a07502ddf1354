"""Counts as parts of a document, and back. Each part names what it is made of; what does not fit a fresh one of that plan is refused."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np

from gateway.rollout.units import Units


class SavedError(Exception):
    """A document that is not to be gone on from; the message says why."""


class SavedArray(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="array"):
    """Little-endian."""

    kind: str
    shape: tuple[int, ...]
    content: bytes


class SavedUnits(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="units"):
    """`units.Units`."""

    keys: bytes
    marks: bytes
    limit: int
    passed_over: int


class SavedPart(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True, tag="part"):
    """Whatever has a `STATE`: the attributes that it names."""

    values: dict[str, Saved]


Saved = SavedArray | SavedUnits | SavedPart | bool | int | float | str


def taken(part: Any) -> SavedPart:
    """Everything that `part.STATE` names."""
    return SavedPart({name: _saved(getattr(part, name)) for name in part.STATE})


def put(part: Any, saved: SavedPart) -> None:
    """Become what was taken; arrays are written in place. Raises `SavedError` for another kind of part, or for one of another shape."""
    if set(saved.values) != set(part.STATE):
        raise SavedError(f"a {type(part).__name__} has {sorted(part.STATE)}, and the document {sorted(saved.values)}")
    for name, value in saved.values.items():
        try:
            setattr(part, name, _restored(value, getattr(part, name)))
        except ValueError as error:
            raise SavedError(f"{type(part).__name__}.{name}: {error}") from error


def _saved(value: Any) -> Saved:
    if hasattr(value, "STATE"):
        return taken(value)
    if isinstance(value, np.ndarray):
        kind = value.dtype.newbyteorder("<")
        return SavedArray(kind.str, value.shape, np.ascontiguousarray(value, kind).tobytes())
    if isinstance(value, Units):
        keys, marks = value.taken()
        return SavedUnits(keys, marks, value.limit, value.passed_over)
    assert isinstance(value, bool | int | float | str), value
    return value


def _restored(saved: Saved, now: Any) -> Any:
    if isinstance(now, np.ndarray):
        if not isinstance(saved, SavedArray) or saved.shape != now.shape or saved.kind != now.dtype.newbyteorder("<").str:
            raise ValueError(f"not an array of {now.shape} {now.dtype}")
        now[...] = np.frombuffer(saved.content, saved.kind).reshape(saved.shape)
        return now
    if isinstance(now, Units):
        if not isinstance(saved, SavedUnits):
            raise ValueError("not a set of units")
        now.put(saved.keys, saved.marks, saved.limit, saved.passed_over)
        return now
    if hasattr(now, "STATE") and isinstance(saved, SavedPart):
        put(now, saved)
        return now
    if type(saved) is not type(now):
        raise ValueError(f"{saved!r} where {type(now).__name__} is meant")
    return saved
