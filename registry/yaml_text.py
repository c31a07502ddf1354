"""Small YAML or JSON documents from others as plain values: what JSON can say, nothing implicit.

No aliases (they multiply), no key twice (readers disagree on which counts), no dates: an unquoted date stays the text it is.
"""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import yaml

from registry.errors import refused

MAX_YAML_BYTES = 1 << 20
_TIMESTAMP = "tag:yaml.org,2002:timestamp"


class YamlError(Exception):
    """What is wrong, after the line where that is known; empty where nothing more is known than that it is no YAML."""


class _Loader(yaml.SafeLoader):
    """`SafeLoader` without aliases, merges, dates and repeated keys."""

    yaml_implicit_resolvers = {
        first: [(tag, pattern) for tag, pattern in resolvers if tag != _TIMESTAMP]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event: Any = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(problem="references are not allowed", problem_mark=event.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key is no text", problem_mark=key.start_mark)
            if key.value in seen:
                raise yaml.MarkedYAMLError(problem=f"'{key.value[:64]}' is given twice", problem_mark=key.start_mark)
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def read_yaml(content: bytes, *, name: str) -> Any:
    """A document of a submitted model, as `parse_yaml` reads it. Raises `Kind.INVALID_MODEL` naming `name` and the line."""
    if len(content) > MAX_YAML_BYTES:
        raise refused(f"'{name}' has more than {MAX_YAML_BYTES} bytes")
    try:
        return parse_yaml(content)
    except YamlError as error:
        raise refused(f"'{name}' is no YAML that can be read{f': {error}' if str(error) else ''}") from error


def parse_yaml(content: bytes) -> Any:
    """Mappings, lists, texts, numbers, truth values and None. Raises YamlError."""
    with suppress(ValueError, RecursionError):  # YAML has another meaning for JSON's escapes, so what is JSON is read as JSON
        return json.loads(content, object_pairs_hook=_once)
    try:
        return _Loader(content.decode()).get_single_data()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise YamlError(f"line {mark.line + 1 if mark else 1}: {error.problem}") from error
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise YamlError from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON. Raises `ValueError` for a repeated key, which the YAML reader then names with its line."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key occurs twice")
    return found
