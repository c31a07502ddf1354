"""The description of the HTTP surface put to use: what an answer must be by it, values that it allows, and values spoiled against it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from tests.gateway.wire.http1_wire import Answer
from tests.naive import resolved, schema_problem

Document = dict[str, Any]
WRONG: list[Any] = [None, True, -1, 1.5, "\u2028", [], {}, [None], {"x": None}]  # one at least of every type, for whatever place


def answer_problem(document: Document, method: str, template: str, answer: Answer) -> str:
    """Why an answer is not one of those described; "" where it is."""
    answers = document["paths"][template][method.lower()]["responses"]
    said = answers.get(str(answer.status))
    if said is None:
        return f"status {answer.status} is not described: {answer.body[:200]!r}"
    said = resolved(said["$ref"], document) if "$ref" in said else said
    missing = [name for name, header in said.get("headers", {}).items() if header.get("required") and name.lower() not in answer.headers]
    if missing:
        return f"{answer.status} without {missing}"
    if not answer.body:
        return "" if method == "HEAD" or "content" not in said else f"{answer.status} without a body"
    kind = answer.headers["content-type"].partition(";")[0]
    if kind not in said.get("content", {}):
        return f"{answer.status} of the type {kind} is not described"
    return "" if kind != "application/json" else schema_problem(json.loads(answer.body), said["content"][kind]["schema"], document)


def body_schema(document: Document, template: str) -> dict[str, Any]:
    """Of the JSON that a route takes."""
    found: dict[str, Any] = document["paths"][template]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return found


def values(schema: dict[str, Any], root: Document, depth: int = 5) -> st.SearchStrategy[Any]:
    """Values of the form of a schema, of the keywords that request bodies use."""
    if "$ref" in schema:
        if not depth:
            return st.sampled_from([least for least in (0, [], {}) if not schema_problem(least, schema, root)])
        return st.deferred(lambda: values(resolved(schema["$ref"], root), root, depth - 1))
    for choice in ("anyOf", "oneOf"):
        if choice in schema and "properties" not in schema:
            return st.one_of([values(each, root, depth) for each in schema[choice]])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    kinds = schema.get("type", ["null", "boolean", "integer", "string"])
    return st.one_of([_of_kind(kind, schema, root, depth) for kind in ([kinds] if isinstance(kinds, str) else kinds)])


def _of_kind(kind: str, schema: dict[str, Any], root: Document, depth: int) -> st.SearchStrategy[Any]:
    if kind == "array":
        items = values(schema["items"], root, depth)
        return st.lists(items, min_size=schema.get("minItems", 0), max_size=min(3, schema.get("maxItems", 3)))
    if kind == "object":
        if "properties" not in schema:
            return st.dictionaries(st.text(max_size=3), values(schema.get("additionalProperties", {}), root, depth), max_size=3)
        members = {name: values(each, root, depth) for name, each in schema["properties"].items()}
        needed = {name: members.pop(name) for name in schema.get("required", ())}
        made = st.fixed_dictionaries(needed, optional=members)
        return made.filter(lambda value: not schema_problem(value, schema, root)) if "anyOf" in schema else made
    plain: dict[str, st.SearchStrategy[Any]] = {
        "string": st.text(max_size=5), "boolean": st.booleans(), "null": st.none(),
        "integer": st.integers(schema.get("minimum", -(1 << 65)), 1 << 65), "number": st.floats(allow_nan=False, allow_infinity=False),
    }  # fmt: skip
    return plain[kind]


def spoiled(value: Any, schema: dict[str, Any], root: Document) -> Iterator[Any]:
    """The value with one thing in it replaced or taken away, wherever the schema forbids what comes out."""
    return (each for each in _changed(value) if schema_problem(each, schema, root))


def _changed(value: Any) -> Iterator[Any]:
    yield from WRONG
    if isinstance(value, dict):
        for name, member in value.items():
            rest = {key: each for key, each in value.items() if key != name}
            yield rest
            yield from ({**rest, name: each} for each in _changed(member))
        yield {**value, "unheard_of": 1}
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield from ([*value[:index], each, *value[index + 1 :]] for each in _changed(item))
