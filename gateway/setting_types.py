"""What a setting may be, by its type: in words, and as paths. Knows types, no YAML and no setting of the gateway."""

from __future__ import annotations

import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

PLACE = Path | str  # a path, or a URL, which stays the text that it is


def describe(kind: Any) -> str:
    """A type in words: "a whole number from 0 to 65535". A type that says what it is in its `Meta.description` is called that."""
    kind, optional = unwrapped(kind)
    info = msgspec.inspect.type_info(kind) if kind not in (Path, PLACE) else None
    match info:
        case msgspec.inspect.Metadata():
            words = str((info.extra_json_schema or {})["description"])
        case msgspec.inspect.IntType():
            words = "a whole number" + _range(info.ge, info.le)
        case msgspec.inspect.FloatType():
            words = "a number" + (_between(info.gt, info.lt, info.le) if info.gt is not None else _range(info.ge, info.le, info.lt))
        case msgspec.inspect.LiteralType():
            words = "one of " + ", ".join(typing.get_args(kind))
        case msgspec.inspect.VarTupleType():
            words = "a list of " + _plural(describe(typing.get_args(kind)[0]).removeprefix("a "))
        case msgspec.inspect.BoolType():
            words = "true or false"
        case msgspec.inspect.StrType():
            words = "text"
        case msgspec.inspect.DictType():
            words = "texts by name"
        case None:
            words = "a path" if kind is Path else "a path or a URL"
        case _:
            words = "a mapping"
    return words + (" or null" if optional else "")


def setting_paths(cls: type[msgspec.Struct], prefix: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every setting and section below `cls`, as a file writes it; the key of a mapping by name is written `<name>`, the
    place in a list `<number>`."""
    for info in msgspec.structs.fields(cls):
        path = (*prefix, info.encode_name)
        yield path
        kind, _ = unwrapped(info.type)
        if typing.get_origin(kind) is dict:
            kind, path = typing.get_args(kind)[1], (*path, "<name>")
        elif typing.get_origin(kind) is tuple:
            kind, path = typing.get_args(kind)[0], (*path, "<number>")
        if is_struct(kind):
            yield from setting_paths(kind, path)


def is_struct(kind: Any) -> bool:
    """Whether a type is a section of settings."""
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def unwrapped(kind: Any) -> tuple[Any, bool]:
    """The type without `| None`, and whether it had that."""
    if typing.get_origin(kind) in (typing.Union, types.UnionType) and kind != PLACE:
        (inner,) = (part for part in typing.get_args(kind) if part is not type(None))
        return inner, True
    return kind, False


def _plural(words: str) -> str:
    """Of what a list holds: "whole number of at least 1", "text", "path", "mapping"."""
    return re.sub(r"number|text|path|mapping", lambda match: match[0] + "s", words, count=1)


def _between(low: float, below: float | None, high: float | None) -> str:
    """Of a range that its lower bound is not part of."""
    return f" above {low:g}" + (f" and below {below:g}" if below is not None else f" and at most {high:g}" if high is not None else "")


def _range(low: float | None, high: float | None, below: float | None = None) -> str:
    if below is not None:
        return f" from {low:g} and below {below:g}" if low is not None else f" below {below:g}"
    if low is not None and low == high:
        return f" that is {low:g}"
    if low is not None and high is not None:
        return f" from {low:g} to {high:g}" if isinstance(low, float) else f" from {low} to {high}"
    return f" of at least {low}" if low is not None else f" of at most {high}" if high is not None else ""
