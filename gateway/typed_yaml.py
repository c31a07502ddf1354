"""YAML text read into typed structs, with the line of every mistake. Knows YAML and types, no setting of the gateway.

The walk goes by the type, not by what YAML guesses: `on`, `010` and `1:30` mean different things to different readers
and are refused with the text to write instead. All mistakes of a file are reported together. A file has at most
`MAX_FILE_BYTES`; aliases are followed only where the type expects a value, so they cannot multiply.
"""

from __future__ import annotations

import difflib
import math
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from gateway.setting_types import PLACE, describe, is_struct, setting_paths, unwrapped

MAX_FILE_BYTES = 1 << 20
_TAGS = {f"tag:yaml.org,2002:{name}": name for name in ("null", "bool", "int", "float", "str", "timestamp", "value", "merge", "map", "seq")}
_WHOLE = re.compile(r"[-+]?(0|[1-9][0-9_]*)")
_NUMBER = re.compile(r"[-+]?(0|[1-9][0-9_]*)?(\.[0-9]*)?([eE][-+]?[0-9]+)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9_]+")
_FAILED: Any = object()
_RESOLVER: Any = yaml.SafeLoader("")

S = TypeVar("S", bound=msgspec.Struct)


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `source` is a file or a flag, `line` and `column` count from 1 and are 0 for a flag."""

    source: str
    line: int
    column: int
    path: str  # dotted path of the setting, "" for the whole file
    message: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}:{self.column}" if self.line else self.source
        return f"{place}: {self.path}: {self.message}" if self.path else f"{place}: {self.message}"


class YamlError(Exception):
    """All mistakes of one file and its overrides, in the order of the file."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class MisfitError(ValueError):
    """Raised by a struct's `__post_init__`: values that do not fit together. `path` is relative to the struct."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path = path
        self.message = message


def compose(data: bytes, *, source: str) -> yaml.MappingNode:
    """The nodes of a YAML document that is one mapping; an empty one is an empty mapping. Raises `YamlError`."""
    text = _decode(data, source)
    try:
        loader = yaml.SafeLoader(text)
        loader.name = source  # every mark carries it
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        message = ", ".join(part for part in (error.context, error.problem) if part)
        raise YamlError([_problem(source, mark, message)]) from None
    except yaml.YAMLError as error:
        raise YamlError([_problem(source, None, str(error).splitlines()[0])]) from None
    except RecursionError:
        raise YamlError([_problem(source, None, "nested too deeply")]) from None
    if node is None or _is_null(node):
        return yaml.MappingNode("tag:yaml.org,2002:map", [], _flag_mark(source))
    if not isinstance(node, yaml.MappingNode):
        raise YamlError([_problem(source, node.start_mark, f"expected a mapping of settings, got {_kind(node)}")])
    return node


def overlay(root: yaml.MappingNode, path: Sequence[str], value: object, *, source: str) -> yaml.MappingNode:
    """A copy of `root` with one setting replaced. A string value stands for itself, other values for their YAML text."""
    mark = _flag_mark(source)
    text, style = (value, '"') if isinstance(value, str) else (_yaml_text(value), None)
    leaf = yaml.ScalarNode("tag:yaml.org,2002:str" if style else _implicit_tag(text), text, mark, mark, style=style)
    return _grafted(root, tuple(path), leaf, mark)


def overlay_text(root: yaml.MappingNode, path: Sequence[str], text: str, *, source: str) -> yaml.MappingNode:
    """As `overlay`, for a value written as in the file: `8`, `true`, `localhost`, `[a, b]`. Raises `YamlError` for a list that is none."""
    mark = _flag_mark(source)
    if text.startswith("["):
        return _grafted(root, tuple(path), compose(f"list: {text}".encode(), source=source).value[0][1], mark)
    return _grafted(root, tuple(path), yaml.ScalarNode(_implicit_tag(text), text, mark, mark), mark)


def read(root: yaml.MappingNode, cls: type[S], *, folder: Path, hints: Mapping[str, str] | None = None) -> S:
    """The struct that `root` describes; relative paths of a file are taken from `folder`. Raises `YamlError` with every mistake.

    `hints` say what to do instead of keys that other programs know: advice by the key as it is written.
    """
    walk = _Walk(cls, root, folder, hints or {})
    value = walk.struct(root, cls, ())
    if walk.problems:
        raise YamlError(sorted(walk.problems, key=lambda problem: (problem.line, problem.column)))
    return typing.cast(S, value)


def problem_at(root: yaml.MappingNode, path: str, message: str) -> Problem:
    """A mistake of what stands at a dotted path, or of the closest thing above it that the file has."""
    parts = tuple(path.split(".")) if path else ()
    mark = _nearest(root, parts).start_mark
    return Problem(mark.name, mark.line + 1, mark.column + 1, ".".join(map(_plain, parts)), message)


@dataclass(slots=True)
class _Walk:
    """One reading: nodes against types, mistakes collected."""

    root: type[msgspec.Struct]
    document: yaml.MappingNode
    folder: Path
    hints: Mapping[str, str]
    problems: list[Problem] = field(default_factory=list)

    def fail(self, node: yaml.Node, path: tuple[str, ...], message: str) -> Any:
        mark = node.start_mark
        self.problems.append(Problem(mark.name, mark.line + 1, mark.column + 1, ".".join(map(_plain, path)), message))
        return _FAILED

    def struct(self, node: yaml.Node, cls: type[msgspec.Struct], path: tuple[str, ...]) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self.fail(node, path, f"expected a mapping, got {_kind(node)}")
        fields = {info.encode_name: info for info in msgspec.structs.fields(cls)}
        values: dict[str, Any] = {}
        mistakes = len(self.problems)
        for key, key_node, child in self.entries(node, path):
            if key in fields:
                values[fields[key].name] = self.value(child, fields[key].type, (*path, key))
            else:
                self.fail(key_node, (*path, key), "unknown setting" + self.advice(key, list(fields)))
        for missing in [info for info in fields.values() if info.required and info.name not in values]:
            if is_struct(missing.type):  # a section: say which of its settings is wanted
                values[missing.name] = self.struct(_empty(node.start_mark), missing.type, (*path, missing.encode_name))
            else:
                self.fail(node, (*path, missing.encode_name), f"required: {describe(missing.type)}")
        return self.built(node, cls, values, path) if len(self.problems) == mistakes else _FAILED

    def built(self, node: yaml.MappingNode, cls: type[msgspec.Struct], values: dict[str, Any], path: tuple[str, ...]) -> Any:
        try:
            return cls(**values)
        except MisfitError as error:
            parts = tuple(error.path.split(".")) if error.path else ()
            return self.fail(_nearest(node, parts), (*path, *parts), error.message)

    def entries(self, node: yaml.MappingNode, path: tuple[str, ...]) -> Iterator[tuple[str, yaml.Node, yaml.Node]]:
        seen: dict[str, yaml.Node] = {}
        for key_node, child in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self.fail(key_node, path, "a key must be a name")
            elif key_node.value in seen:
                first = seen[key_node.value].start_mark
                self.fail(key_node, (*path, key_node.value), f"set twice; first on line {first.line + 1}")
            else:
                seen[key_node.value] = key_node
                yield key_node.value, key_node, child

    def advice(self, key: str, names: list[str]) -> str:
        if key == "<<":
            return "; merge keys are not supported"
        if key in self.hints:
            return f"; {self.hints[key]}"
        if close := difflib.get_close_matches(key, names, 1):
            return f"; did you mean {close[0]!r}?"
        homes = [".".join(known[:-1]) for known in setting_paths(self.root) if known[-1] == key and len(known) > 1]
        if homes:
            return f"; it belongs under {homes[0]!r}"
        return f"; known here: {', '.join(names)}" if len(names) <= 12 else ""

    def value(self, node: yaml.Node, kind: Any, path: tuple[str, ...]) -> Any:
        kind, optional = unwrapped(kind)
        if node.tag not in _TAGS:
            return self.fail(node, path, f"the tag {node.tag.removeprefix('tag:yaml.org,2002:')!r} is not supported")
        if _is_null(node):
            return None if optional else self.fail(node, path, f"expected {_what(kind)}, got nothing")
        if is_struct(kind):
            return self.struct(node, kind, path)
        origin = typing.get_origin(kind)
        if origin is dict:
            item = typing.get_args(kind)[1]
            return self.texts(node, path) if item is str else self.named(node, item, path)
        if origin is tuple:
            return self.sequence(node, kind, path)
        return self.scalar(node, kind, path)

    def named(self, node: yaml.Node, kind: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(node, yaml.MappingNode):
            return self.fail(node, path, f"expected a mapping by name, got {_kind(node)}")
        values = {key: self.value(child, kind, (*path, key)) for key, _, child in self.entries(node, path)}
        return _FAILED if _FAILED in values.values() else values

    def texts(self, node: yaml.Node, path: tuple[str, ...]) -> Any:
        """A mapping of texts. No value is repeated in a message: it may be a secret, wherever it should not be one."""
        if not isinstance(node, yaml.MappingNode):
            return self.fail(node, path, "expected texts by name")
        values: dict[str, Any] = {}
        for key, _, child in self.entries(node, path):
            text = isinstance(child, yaml.ScalarNode) and (child.style is not None or _TAGS.get(child.tag) == "str")
            values[key] = child.value if text else self.fail(child, (*path, key), "expected text; put the value in quotes")
        return _FAILED if _FAILED in values.values() else values

    def sequence(self, node: yaml.Node, kind: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(node, yaml.SequenceNode):
            return self.fail(node, path, f"expected {describe(kind)}, got {_kind(node)}")
        item = typing.get_args(kind)[0]
        values = tuple(self.value(child, item, (*path, str(index))) for index, child in enumerate(node.value))
        return _FAILED if _FAILED in values else values

    def scalar(self, node: yaml.Node, kind: Any, path: tuple[str, ...]) -> Any:
        if not isinstance(node, yaml.ScalarNode):
            return self.fail(node, path, f"expected {describe(kind)}, got {_kind(node)}")
        try:
            value = _converted(node, kind)
            if kind == PLACE and "://" in str(value):
                return value
            return self.file(node, str(value)) if kind in (Path, PLACE) else msgspec.convert(value, kind)
        except (ValueError, msgspec.ValidationError) as error:
            reason = "" if isinstance(error, msgspec.ValidationError) else str(error)
            return self.fail(node, path, f"expected {describe(kind)}, got {_kind(node)}" + (f"; {reason}" if reason else ""))

    def file(self, node: yaml.ScalarNode, text: str) -> Path:
        if not text or "\0" in text:
            raise ValueError
        given_by_flag = node.start_mark.line < 0
        return Path(text).expanduser() if given_by_flag else self.folder / Path(text).expanduser()


def _converted(node: yaml.ScalarNode, kind: Any) -> object:
    """The scalar as the type wants it, not yet held against its bounds. Raises `ValueError` with advice, or with no text."""
    base = _base(kind)
    if base is bool:
        return _boolean(node)
    if base is int or base is float:
        return _number(node, base)
    if node.style is None and _TAGS[node.tag] != "str":  # a text with a form of its own is not had by quotes
        raise ValueError("" if _has_form(kind) else f'put it in quotes if it is meant as text: "{node.value}"')
    if isinstance(base, tuple) and (close := difflib.get_close_matches(node.value, base, 1)) and node.value not in base:
        raise ValueError(f"did you mean {close[0]!r}?")
    return node.value


def _boolean(node: yaml.ScalarNode) -> bool:
    if node.style is None and node.value.lower() in ("true", "false"):
        return bool(node.value.lower() == "true")
    if node.value.lower() in ("yes", "on", "no", "off"):
        raise ValueError(f"write {'true' if node.value.lower() in ('yes', 'on') else 'false'}")
    raise ValueError


def _number(node: yaml.ScalarNode, base: type) -> int | float:
    text = node.value
    if node.style is not None:
        raise ValueError("remove the quotes" if _NUMBER.fullmatch(text) and text else "")
    if _LEADING_ZERO.fullmatch(text):
        raise ValueError("a leading zero means octal to some readers: write the decimal number without it")
    if _WHOLE.fullmatch(text):
        return int(text.replace("_", ""))
    if base is float and text.strip("+-.") and _NUMBER.fullmatch(text) and math.isfinite(value := float(text.replace("_", ""))):
        return value
    raise ValueError("write it in plain decimal digits" if _TAGS[node.tag] == "int" else "")


def _decode(data: bytes, source: str) -> str:
    if len(data) > MAX_FILE_BYTES:
        raise YamlError([_problem(source, None, f"{len(data)} bytes are more than a settings file may have ({MAX_FILE_BYTES})")])
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - (data.rfind(b"\n", 0, error.start) + 1) + 1
        raise YamlError([Problem(source, line, column, "", "not UTF-8 text")]) from None


def _grafted(node: yaml.MappingNode, path: tuple[str, ...], leaf: yaml.ScalarNode, mark: yaml.Mark) -> yaml.MappingNode:
    """`node` with the first value under `path[0]` replaced; a repeated key stays, to be reported."""
    key, rest = path[0], path[1:]
    entries = list(node.value)
    place = next((index for index, (name, _) in enumerate(entries) if name.value == key), len(entries))
    name, below = entries[place] if place < len(entries) else (yaml.ScalarNode("tag:yaml.org,2002:str", key, mark, mark), _empty(mark))
    if rest and _is_null(below):
        below = _empty(mark)
    if not rest:
        entries[place : place + 1] = [(name, leaf)]
    elif isinstance(below, yaml.MappingNode):  # anything else is wrong in the file, and the walk will say so
        entries[place : place + 1] = [(name, _grafted(below, rest, leaf, mark))]
    return yaml.MappingNode(node.tag, entries, node.start_mark, node.end_mark)


def _empty(mark: yaml.Mark) -> yaml.MappingNode:
    return yaml.MappingNode("tag:yaml.org,2002:map", [], mark, mark)


def _nearest(node: yaml.Node, path: tuple[str, ...]) -> yaml.Node:
    """The value at `path`, or the closest mapping or list above it that the file has."""
    if not path:
        return node
    if isinstance(node, yaml.MappingNode):
        found = [child for key, child in node.value if key.value == path[0]]
    else:
        found = node.value[int(path[0]) :][:1] if isinstance(node, yaml.SequenceNode) and path[0].isdecimal() else []
    return _nearest(found[0], path[1:]) if found else node


def _problem(source: str, mark: yaml.Mark | None, message: str) -> Problem:
    return Problem(source, mark.line + 1 if mark else 1, mark.column + 1 if mark else 1, "", message)


def _flag_mark(source: str) -> yaml.Mark:
    return yaml.Mark(source, 0, -1, -1, None, 0)


def _implicit_tag(text: str) -> str:
    return str(_RESOLVER.resolve(yaml.ScalarNode, text, (True, False)))


def _yaml_text(value: object) -> str:
    return {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else str(value)


def _plain(key: str) -> str:
    """A key as one short printable word."""
    return "".join(letter if letter.isprintable() else "?" for letter in key[:64])


def _kind(node: yaml.Node) -> str:
    """A node in the words of an error; its text is cut, and control characters are escaped by `repr`."""
    if isinstance(node, yaml.ScalarNode):
        if _is_null(node):
            return "nothing"
        shown = node.value if len(node.value) <= 40 else node.value[:37] + "..."
        return f"the text {shown!r}" if node.style or _TAGS.get(node.tag) == "str" else repr(shown)[1:-1]
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"


def _is_null(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and not node.style and str(node.tag) == "tag:yaml.org,2002:null"


def _what(kind: Any) -> str:
    return "a mapping" if is_struct(kind) or typing.get_origin(kind) is dict else describe(kind)


def _has_form(kind: Any) -> bool:
    return typing.get_origin(kind) is typing.Annotated and any(meta.pattern for meta in typing.get_args(kind)[1:])


def _base(kind: Any) -> Any:
    """`int` for `Annotated[int, …]`, the tuple of choices for a `Literal`, the type itself otherwise."""
    if typing.get_origin(kind) is typing.Annotated:
        return typing.get_args(kind)[0]
    return typing.get_args(kind) if typing.get_origin(kind) is typing.Literal else kind
