"""What can be written in a rollout file, read from the declarations themselves: as a JSON schema for editors, and as tables for people.

The meaning of a field is the comment on the line that declares it, so it is written once.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterator
from typing import Any

import msgspec

from gateway.config_explain import comments_of
from gateway.rollout.plan import Plan
from gateway.setting_types import describe, is_struct, unwrapped

Struct = type[msgspec.Struct]


def schema() -> dict[str, Any]:
    """The JSON schema (2020-12) of a rollout file, with the meaning of every field."""
    found = msgspec.json.schema(Plan)
    for struct in _places():
        properties = found["$defs"][struct.__name__]["properties"]
        for name, key in _names(struct).items():
            form = properties[key].pop("description", "")
            meaning = comments_of(struct).get(name, "")
            properties[key] = {"description": _sentence(meaning, form), **properties[key]}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "A rollout of Tidegate", **found}


def tables() -> str:
    """Every field of a rollout file as tables in Markdown, one for each kind of section."""
    return "\n".join(part for struct, places in _places().items() for part in _table(struct, places))


def _table(struct: Struct, places: list[str]) -> Iterator[str]:
    yield f"### {' and '.join(f'`{place}`' for place in places if place) or 'The file'}\n"
    yield f"{' '.join(inspect.cleandoc(struct.__doc__ or '').split())}\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    comments = comments_of(struct)
    for info in msgspec.structs.fields(struct):
        yield f"| `{info.encode_name}` | {_words(info.type)} | {_default(info)} | {comments.get(info.name, '')} |"
    yield ""


def _places() -> dict[Struct, list[str]]:
    """Every kind of section with the places where it can stand, in reading order."""
    found: dict[Struct, list[str]] = {}

    def walk(struct: Struct, place: str) -> None:
        found.setdefault(struct, []).append(place)
        for info in msgspec.structs.fields(struct):
            inner, many = _inner(info.type)
            if inner is not None:
                walk(inner, f"{place}.{info.encode_name}{'[]' if many else ''}".lstrip("."))

    walk(Plan, "")
    return found


def _inner(kind: Any) -> tuple[Struct | None, bool]:
    """The section that a field holds, and whether it holds a list of them."""
    kind, _ = unwrapped(kind)
    many = typing.get_origin(kind) is tuple
    kind = typing.get_args(kind)[0] if many else kind
    return (kind if is_struct(kind) else None), many


def _names(struct: Struct) -> dict[str, str]:
    return {info.name: info.encode_name for info in msgspec.structs.fields(struct)}


def _words(kind: Any) -> str:
    inner, many = _inner(kind)
    _, optional = unwrapped(kind)
    if inner is None:
        return describe(kind)
    return ("a list of sections" if many else "a section") + (" or null" if optional else "")


def _default(info: msgspec.structs.FieldInfo) -> str:
    if info.required:
        return "required"
    value = info.default
    if isinstance(value, msgspec.Struct):
        usual = {other.encode_name: other.default for other in msgspec.structs.fields(value)}
        given = msgspec.to_builtins(value)
        changed = [f"{key}: {_yaml(shown)}" for key, shown in given.items() if shown != msgspec.to_builtins(usual[key])]
        return f"`{{{', '.join(changed)}}}`"
    return f"`{_yaml(value)}`"


def _yaml(value: Any) -> str:
    """A value as one would write it."""
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_yaml, value))}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'


def _sentence(meaning: str, form: str) -> str:
    return "; ".join(part for part in (meaning, form) if part)
