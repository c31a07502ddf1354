"""REST bodies that were seen before mean what the long way says they mean."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.rest_answer import id_part
from gateway.protocol.rest_template import RestTemplates
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
TARGET = b"/v2/models/m/infer"
MEANING = object()
X = {"name": "x", "shape": [1, 2], "datatype": "FP32"}
SIZED = X | {"parameters": {"binary_data_size": 8}}


def text(body: Any, **style: Any) -> bytes:
    return json.dumps(body, **style).encode()


def taught(body: bytes, header_length: bytes | None = None) -> RestTemplates:
    templates = RestTemplates(LIMITS)
    templates.learn(TARGET, body, header_length, MEANING)
    return templates


def found(templates: RestTemplates, body: bytes, header_length: bytes | None = None) -> tuple[bytes, list[Any]] | None:
    got = templates.find(TARGET, body, header_length)
    if got is None:
        return None
    assert got[0] is MEANING
    return got[1], [data if type(data) is list else bytes(data) for data in got[2]]


def decoded(body: bytes, header_length: bytes | None = None) -> tuple[bytes, list[Any]]:
    got, _ = decode(body, header_length=header_length, model="m", version="", limits=LIMITS)
    return id_part(got.id), [bytes(tensor.data) if tensor.texts is None else tensor.texts for tensor in got.inputs]


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}])
@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("extra", [{}, {"outputs": [{"name": "y"}]}, {"parameters": {"timeout": 5}}, {"later": {"data": 1}}])
def test_other_numbers_in_the_same_body(style: dict[str, Any], nested: bool, extra: dict[str, Any]) -> None:
    """Flat or nested, whatever stands behind the data."""
    bodies = [text({"inputs": [X | {"data": [row] if nested else row}]} | extra, **style) for row in ([1, 2], [-0.5, 1e30])]
    assert decoded(bodies[1]) == found(taught(bodies[0]), bodies[1])


COLUMNS = ({"name": "n", "shape": [2, 1], "datatype": "FP32"}, {"name": "s", "shape": [2, 1], "datatype": "BYTES"},
           {"name": "b", "shape": [2], "datatype": "BOOL"}, {"name": "h", "shape": [2], "datatype": "BF16"})  # fmt: skip


def table(numbers: list[float], texts: list[str], flags: list[bool], *, nested: bool = False, **style: Any) -> bytes:
    columns: list[list[Any]] = [[[value] for value in values] if nested else values for values in (numbers, texts)]  # type: ignore[attr-defined]
    data = [*columns, flags, numbers]
    return text({"inputs": [column | {"data": values} for column, values in zip(COLUMNS, data, strict=True)], "id": None}, **style)


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}])
@pytest.mark.parametrize("nested", [False, True])
def test_other_values_in_the_same_columns(style: dict[str, Any], nested: bool) -> None:
    """Several inputs, as tabular models have them; strings that hold what stands between the columns."""
    templates = taught(table([1, 2], ["a", "b"], [True, False], nested=nested, **style))
    for texts in (["", "ä"], ['"]},{"name":"b"', "],"], ['"data":', "\\"]):
        body = table([0.1, -5], texts, [False, True], nested=nested, **style)
        assert decoded(body) == found(templates, body)


def test_much_longer_strings_take_the_long_way() -> None:
    """Their size would not be charged."""
    templates = taught(table([1, 2], ["a", "b"], [True, False]))
    assert found(templates, table([1, 2], ["a" * 200, "b"], [True, False])) is not None
    assert found(templates, table([1, 2], ["a" * 300, "b"], [True, False])) is None
    strict = RestTemplates(RequestLimits(max_string_bytes=100))
    body = table([1, 2], ["a", "b"], [True, False])
    strict.learn(TARGET, body, None, MEANING)
    assert found(strict, body) is None


@pytest.mark.parametrize("style", [{}, {"separators": (",", ":")}])
def test_another_leading_id(style: dict[str, Any]) -> None:
    """As clients write it; it comes back as an answer carries it."""
    bodies = [text({"id": name, "inputs": [X | {"data": [1, 2]}]}, **style) for name in ("a", "123e4567-e89b-12d3-a456-426614174000")]
    assert decoded(bodies[1]) == found(taught(bodies[0]), bodies[1])
    assert found(taught(bodies[0]), text({"inputs": [X | {"data": [1, 2]}]}, **style)) is None


@pytest.mark.parametrize("name", ["", 'a"', "a\\", "é", "\n", "a" * 129, None, 5])
def test_an_id_that_needs_a_look_takes_the_long_way(name: Any) -> None:
    """Escapes, other alphabets, too long, none, no string."""
    good, other = (text({"id": value, "inputs": [X | {"data": [1, 2]}]}, ensure_ascii=False) for value in ("a", name))
    assert found(taught(good), other) is None


@pytest.mark.parametrize("inputs", [[SIZED], [SIZED, SIZED | {"name": "k"}]])
@pytest.mark.parametrize("head", [{}, {"id": "a"}])
def test_other_bytes_behind_the_same_json(inputs: list[Any], head: dict[str, Any]) -> None:
    """Each input its own."""
    json_part = text(head | {"inputs": inputs, "outputs": [{"name": "y", "parameters": {"binary_data": True}}]})
    length, size = b"%d" % len(json_part), 8 * len(inputs)
    body = json_part + bytes(range(size))
    assert decoded(body, length) == found(taught(json_part + bytes(size), length), body, length)
    assert found(taught(json_part + bytes(size), length), body + b"\0", length) is None
    assert found(taught(json_part + bytes(size), length), body[:-1], length) is None


@pytest.mark.parametrize(
    "data",
    ["[1]", "[1,2,3]", "[[1],[2]]", "[1,true]", "[1,1e39]", "[1,NaN]", "[1,2]]", "[[1,2]", '[1,2],"z":[3]', "", "[1,]", "null", "[1,2] []"],
)
def test_numbers_that_do_not_fit_take_the_long_way(data: str) -> None:
    """Which says why."""
    body = text({"inputs": [X | {"data": [1, 2]}]})
    assert found(taught(body), body.replace(b"[1, 2]}", data.encode() + b"}")) is None


def test_another_path_is_another_request() -> None:
    """Models and versions are in the path."""
    body = text({"inputs": [X | {"data": [1, 2]}]})
    assert taught(body).find(b"/v2/models/other/infer", body, None) is None


def test_bodies_that_differ_only_behind_the_data_are_told_apart() -> None:
    """Up to four of them."""
    bodies = [text({"inputs": [X | {"data": [1, 2]}], "outputs": [{"name": f"y{i}"}]}) for i in range(5)]
    templates = RestTemplates(LIMITS)
    for index, body in enumerate(bodies):
        templates.learn(TARGET, body, None, index)
    assert [0, 1, 2, 3, None] == [got and got[0] for got in (templates.find(TARGET, body, None) for body in bodies)]


@pytest.mark.parametrize(
    "body",
    [{"inputs": []}, {"inputs": [X | {"data": [1, 2]}, X | {"data": [float("nan"), 2]}]},
     {"inputs": [X | {"shape": [1, 1, 2], "data": [[[1, 2]]]}]}, {"inputs": [X | {"shape": [1, 9_000], "data": [0] * 9_000}]},
     {"inputs": [X | {"parameters": {"data": 1}, "data": [1, 2]}]}, {"inputs": [X | {"data": [float("nan"), 2]}]},
     {"inputs": [X | {"data": [1, 2]}], "id": "a"}, {"inputs": [X | {"data": [1, 2]}], "later": "a" * 2_000},
     {"later": "a" * 2_000, "inputs": [X | {"data": [1, 2]}]}],
)  # fmt: skip
def test_what_cannot_be_told_apart_safely_is_not_learned(body: Any) -> None:
    """No inputs, a second key `data`, tokens, deep nesting, long data, an id elsewhere, too long a text."""
    sent = text(body)
    assert found(taught(sent), sent) is None


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_binary_data_with_rules_of_its_own_is_not_learned(datatype: str) -> None:
    """Its bytes must be looked at every time."""
    json_part = text({"inputs": [SIZED | {"datatype": datatype, "shape": [8] if datatype == "BOOL" else [2]}]})
    assert found(taught(json_part + bytes(8), b"%d" % len(json_part)), json_part + bytes(8), b"%d" % len(json_part)) is None


def test_raw_requests_are_not_learned() -> None:
    """They have no JSON to compare."""
    assert found(taught(bytes(8), b"0"), bytes(8), b"0") is None


def test_a_body_is_wanted_at_second_sight() -> None:
    """A body that never returns pushes nothing out; another number or id is no other body, another path is."""
    templates = RestTemplates(LIMITS)
    bodies = [text({"id": str(i), "inputs": [X | {"data": [i, 2]}]}) for i in range(3)]
    assert [False, True, True] == [templates.wants(TARGET, body, None) for body in bodies]
    assert not templates.wants(b"/other", bodies[0], None)
    sized = text({"inputs": [SIZED]})
    assert [False, True] == [templates.wants(TARGET, sized + bytes(8), b"%d" % len(sized)) for _ in range(2)]


def test_what_cannot_be_learned_is_not_wanted_for_ever() -> None:
    """Trying costs a second parse."""
    templates, body = RestTemplates(LIMITS), text({"inputs": [X | {"data": [1, 2]}]})
    assert [False] + [True] * 8 + [False] * 3 == [templates.wants(TARGET, body, None) for _ in range(12)]


def test_the_memory_is_bounded() -> None:
    """Thousands of different bodies, as from an attacker; what is learned afterwards is found."""
    templates = RestTemplates(LIMITS)
    for index in range(3_000):
        body = text({"inputs": [X | {"name": str(index), "data": [1, 2]}]})
        templates.wants(TARGET, body, None)
        templates.learn(TARGET, body, None, MEANING)
        assert found(templates, body) is not None
    held = [len(value) for value in vars(templates).values() if isinstance(value, (dict, set))]
    assert max(held) <= 2_048


@pytest.mark.parametrize("header", [b"-1", b"x", b"99999"])
def test_a_bad_header_length_is_refused_here_too(header: bytes) -> None:
    """In the words of the long way."""
    with pytest.raises(TidegateError, match="must be a number of bytes within the body"):
        RestTemplates(LIMITS).find(TARGET, b"{}", header)


PIECES = st.sampled_from(
    [b"1", b",", b"[", b"]", b"{", b"}", b'"', b'"data":', b'"id":"b",', b" ", b"2.5", b"-", b"e9", b"\\", b"\xff", b"x", b"NaN"]
)
KNOWN = [
    (text({"id": "a", "inputs": [X | {"data": [1, 2]}], "outputs": [{"name": "y"}]}), None),
    (text({"inputs": [X | {"data": [[1, 2]]}]}), None),
    (table([1, 2], ["a", "b"], [True, False], nested=True), None),
    (table([1, 2], ["a", "b"], [True, False], separators=(",", ":")), None),
    (text({"id": "a", "inputs": [SIZED]}) + bytes(8), b"%d" % len(text({"id": "a", "inputs": [SIZED]}))),
]


@given(st.sampled_from(KNOWN), st.lists(st.tuples(st.integers(0, 300), st.integers(0, 3), PIECES), min_size=1, max_size=3))
def test_what_is_found_is_what_the_long_way_says(known: tuple[bytes, bytes | None], edits: list[tuple[int, int, bytes]]) -> None:
    """Any change of a known body: not found, or the same id and data as decoded."""
    body, header_length = known
    templates = taught(body, header_length)
    for at, length, piece in edits:
        body = body[:at] + piece + body[at + length :]
    try:
        got = found(templates, body, header_length)
    except TidegateError:
        got = None
    assert got is None or got == decoded(body, header_length)
