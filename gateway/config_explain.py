"""Every setting with its type, default and meaning, read from the declarations themselves. Prints nothing.

The meaning of a setting is the comment on the line that declares it, so it is written once; `docs/configuration.md` is
`markdown()`, and a test keeps it fresh.
"""

from __future__ import annotations

import ast
import inspect
import io
import textwrap
import tokenize
import typing
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from gateway.config import Config
from gateway.setting_types import describe

_UNITS = {
    "us": "microseconds", "ms": "milliseconds", "s": "seconds", "bytes": "bytes", "rows": "rows", "rate": "bytes per second",
    "port": "", "size": "rows", "share": "0 to 1",
}  # fmt: skip
_INTRODUCTION = """\
# Configuration

A server reads one YAML file: `tidegate serve --config tidegate.yaml`. Flags win over the file, and `--set section.setting=value`
wins over both. The environment is not read. A setting that is unknown, misplaced, repeated or of the wrong type is an error with its line
and column; `tidegate config check tidegate.yaml` reports all of them and exits with 1.

Relative paths are taken from the file's folder. Write `true` and `false`, decimal numbers, and quotes around a text that
looks like something else: `on`, `010` and `1:30`, which YAML readers disagree about, are refused. Every number under `limits`
is above 0.

This page is printed by `tidegate config explain --markdown`; a comment in the source is the only place where a setting is described.
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `default` is its YAML text, "" where a value is required; `unit` is "" for what has none."""

    path: str
    type: str
    default: str
    unit: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Section:
    """One struct of settings; `path` is "" for the whole file, the key of a mapping by name is written `<name>`."""

    path: str
    meaning: str
    settings: tuple[Setting, ...]


def sections(cls: type[msgspec.Struct] = Config, path: str = "") -> Iterator[Section]:
    """All sections in the order of the declarations; those without settings of their own are left out."""
    comments = comments_of(cls)
    settings: list[Setting] = []
    below: list[tuple[type[msgspec.Struct], str]] = []
    for info in msgspec.structs.fields(cls):
        where = f"{path}.{info.name}".lstrip(".")
        struct, where = _struct_of(info.type, where)
        if struct:
            below.append((struct, where))
        else:
            settings.append(Setting(where, describe(info.type), _default(info), _unit(info.name), comments.get(info.name, "")))
    if settings:
        yield Section(path, inspect.cleandoc(cls.__doc__ or ""), tuple(settings))
    for struct, where in below:
        yield from sections(struct, where)


def find(prefix: str) -> list[Section]:
    """The sections and settings at or below a dotted path; empty when there are none."""
    found = []
    for section in sections():
        kept = tuple(setting for setting in section.settings if f"{setting.path}.".startswith(f"{prefix}." if prefix else ""))
        if kept:
            found.append(Section(section.path, section.meaning, kept))
    return found


def markdown() -> str:
    """The page `docs/configuration.md`."""
    parts = [_INTRODUCTION]
    for section in sections():
        rows = [f"| `{_last(row.path)}` | {row.type} | {_cell(row)} | {row.meaning} |" for row in section.settings]
        parts.append(
            "\n".join(
                [f"## `{section.path}`", "", section.meaning, "", "| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""]
            )
        )
    return "\n".join(parts)


def _cell(setting: Setting) -> str:
    if not setting.default:
        return "required"
    number = setting.default
    return f"`{number}`" + (f" ({_sized(int(number))})" if setting.unit == "bytes" and number.isdigit() and int(number) >= 1024 else "")


def _sized(size: int) -> str:
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if size >= scale and size % scale == 0:
            return f"{size // scale} {unit}"
    return f"{size} bytes"


def _last(path: str) -> str:
    return path.rpartition(".")[2]


def _struct_of(kind: Any, where: str) -> tuple[type[msgspec.Struct] | None, str]:
    """The struct behind a field, if it is a section or a mapping of sections by name."""
    kinds = [part for part in typing.get_args(kind) or (kind,) if part is not type(None)]
    if typing.get_origin(kind) is dict and _is_struct(kinds[1]):
        return typing.cast(type[msgspec.Struct], kinds[1]), f"{where}.<name>"
    return (kinds[0] if _is_struct(kinds[0]) else None), where


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _default(info: msgspec.structs.FieldInfo) -> str:
    if info.required:
        return ""
    if info.default_factory is dict:
        return "{}"
    value = info.default
    if isinstance(value, bool) or value is None:
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, tuple):
        return "[" + ", ".join(str(part) for part in value) + "]"
    return f"{value:g}" if isinstance(value, float) else str(value) if isinstance(value, int | str | Path) else ""


def _unit(name: str) -> str:
    return _UNITS.get(name.rpartition("_")[2], "")


def comments_of(cls: type) -> dict[str, str]:
    """The comment on the declaring line of each field of a class."""
    source = textwrap.dedent(inspect.getsource(cls))
    by_line = {
        token.start[0]: token.string.lstrip("# ")
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    }
    (body,) = (node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    declared = [node for node in body if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)]
    return {typing.cast(ast.Name, node.target).id: by_line.get(node.end_lineno or 0, "") for node in declared}
