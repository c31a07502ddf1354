"""The `data` of JSON tensors, held against the standard library's parser and a slow oracle (cases 53 and 55 to 62)."""

from __future__ import annotations

import json
import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol import json_data, payload
from gateway.protocol.json_data import FLOATING, SMALL_BYTES
from gateway.protocol.tensors import DATATYPES, InputTensor

LIMITS = RequestLimits()
FIXED = sorted(name for name, datatype in DATATYPES.items() if datatype.itemsize)
MISMATCH = "Unable to parse 'data': Shape does not match true shape of 'data' field of input 'x' for model 'm'"


def read(datatype: str, shape: tuple[int, ...], text: str, limits: RequestLimits = LIMITS) -> InputTensor:
    nonfinite = "NaN" in text or "Infinity" in text
    count = math.prod(shape)
    return json_data.from_json("x", datatype, shape, text.encode(), count=count, nonfinite=nonfinite, model="m", limits=limits)


def refusal(datatype: str, shape: tuple[int, ...], text: str, limits: RequestLimits = LIMITS) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        read(datatype, shape, text, limits)
    return refused.value.code, refused.value.message


def meaning(tensor: InputTensor) -> bytes | list[str]:
    return bytes(tensor.data) if tensor.texts is None else tensor.texts


class Misfit(Exception):
    """The oracle's no."""


def flattened(value: Any, shape: tuple[int, ...]) -> list[Any]:
    """Row-major values of a nested list of exactly that shape."""
    if not shape:
        return [value]
    if type(value) is not list or len(value) != shape[0]:
        raise Misfit
    return [leaf for part in value for leaf in flattened(part, shape[1:])]


def oracle(datatype: str, shape: tuple[int, ...], text: str) -> bytes | list[str]:
    """What the text means, one element at a time."""
    value = json.loads(text)
    flat = type(value) is list and len(value) == math.prod(shape) and not any(type(part) is list for part in value)
    values = value if flat else flattened(value, shape)
    kinds = {"BOOL": (bool,), "BYTES": (str,)}.get(datatype, (int, float) if datatype in FLOATING else (int,))
    if any(type(value) not in kinds for value in values):
        raise Misfit
    if datatype == "BYTES":
        return values
    try:
        return b"".join(payload.pack(datatype, [float(value) if datatype in FLOATING else value]) for value in values)
    except OverflowError:
        raise Misfit from None


NUMBERS = st.integers(-(2**65), 2**65) | st.integers(-5, 300) | st.floats(allow_nan=False, allow_infinity=False)
LEAVES = NUMBERS | st.booleans() | st.none() | st.text(max_size=3)
NESTED = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=3), max_leaves=8)
SHAPES = st.lists(st.integers(0, 3), max_size=3).map(tuple)


def lists_of(shape: tuple[int, ...], leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    for size in reversed(shape):
        leaf = st.lists(leaf, min_size=size, max_size=size)
    return leaf


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, tuple[int, ...], str]:
    """A datatype, a shape, and a text: mostly of that type and shape, nested or flat, with and without blanks and escapes."""
    datatype, shape = draw(st.sampled_from(sorted(DATATYPES))), draw(SHAPES)
    kind = {"BOOL": st.booleans(), "BYTES": st.text(max_size=3)}.get(datatype, NUMBERS)
    count = math.prod(shape)
    value = draw(lists_of(shape, kind) | st.lists(kind, min_size=count, max_size=count) | NESTED)
    return datatype, shape, json.dumps(value, ensure_ascii=draw(st.booleans()), indent=draw(st.none() | st.just(1)))


@given(cases())
@example(("FP32", (1, 1), "[[]]"))
@example(("FP32", (1,), "[[1]]"))
@example(("FP32", (), "1"))
@example(("BYTES", (), '"a"'))
@example(("INT8", (3, 1), "[[], [1], [2]]"))
@example(("FP32", (2,), '{"a":[1,2]}'))
@example(("FP32", (2,), '["a,1"]'))
@example(("BYTES", (1, 2), '[["],[","\\"]"]]'))
def test_every_text_means_what_the_oracle_says(case: tuple[str, tuple[int, ...], str]) -> None:
    """Any JSON as data of any datatype and shape: the same bytes or strings, or a refusal where the oracle refuses."""
    try:
        expected: object = oracle(*case)
    except Misfit:
        expected = None
    try:
        got: object = meaning(read(*case))
    except TidegateError:
        got = None
    assert expected == got


@pytest.mark.parametrize("datatype", FIXED)
@pytest.mark.parametrize("nested", [False, True])
def test_long_data_is_turned_over_in_pieces(datatype: str, nested: bool) -> None:
    """200,000 values, as many texts as pieces: the same bytes as from numpy."""
    values = (np.random.default_rng(0).random((400, 250, 2)) * 100).astype("i1" if DATATYPES[datatype].numpy.kind in "iu" else "f4")
    values = values % 2 == 1 if datatype == "BOOL" else values
    text = json.dumps((values if nested else values.reshape(-1)).tolist())
    assert len(text) > 10 * SMALL_BYTES
    expected = payload.pack(datatype, values.reshape(-1).tolist())
    assert expected == read(datatype, (400, 250, 2), text).data


@pytest.mark.parametrize("shape", [(60_000,), (300, 200), (300, 100, 2)])
def test_long_strings_are_read_in_any_nesting(shape: tuple[int, ...]) -> None:
    """Brackets, commas, quotes and backslashes within strings are no structure."""
    texts = ['],["', "\\", '\\"', ""] * 15_000
    assert texts == read("BYTES", shape, json.dumps(np.array(texts, object).reshape(shape).tolist())).texts
    assert texts == read("BYTES", shape, json.dumps(texts)).texts


@pytest.mark.parametrize("padding", [0, 50_000])
@pytest.mark.parametrize("datatype", sorted(FLOATING))
def test_nan_and_infinity_are_read_for_floating_types(datatype: str, padding: int) -> None:
    """In few and in many values, between others."""
    values = [1.5] * padding + [math.nan, math.inf, -math.inf, -1.5]
    assert payload.pack(datatype, values) == read(datatype, (len(values),), json.dumps(values)).data
    assert payload.pack(datatype, values) == read(datatype, (len(values) // 2, 2), json.dumps(np.reshape(values, (-1, 2)).tolist())).data


@pytest.mark.parametrize(
    "token", ["NaN", "Infinity", "-Infinity", "-NaN", "1NaN", "Infinity5", "NaNNaN", '"NaN"', "+Infinity", "nan", "inf"]
)
@pytest.mark.parametrize("datatype", ["FP32", "INT32", "BOOL", "BYTES"])
def test_case_55_other_types_and_other_spellings_are_refused(token: str, datatype: str) -> None:
    """Only the three tokens, and only where the datatype has such values; a string stays a string."""
    allowed = (datatype == "FP32" and token in {"NaN", "Infinity", "-Infinity"}) or (datatype == "BYTES" and token == '"NaN"')
    if allowed:
        read(datatype, (1,), f"[{token}]")
    else:
        assert Code.INVALID_ARGUMENT == refusal(datatype, (1,), f"[{token}]")[0]


@pytest.mark.parametrize(
    ("datatype", "number"),
    [("FP32", "1e39"), ("FP32", "-1e39"), ("FP32", "1e999"), ("FP64", "1e999"), ("FP64", "9" * 5_000), ("FP16", "65520"), ("BF16", "1e39"),
     ("INT64", "9" * 5_000), ("INT64", str(2**63)), ("UINT64", str(2**64)), ("UINT64", "-1"), ("INT8", "128"), ("INT32", str(2**70))],
)  # fmt: skip
@pytest.mark.parametrize("padding", [0, 40_000])
def test_case_56_numbers_out_of_range_are_refused(datatype: str, number: str, padding: int) -> None:
    """Never infinity, never wrapped, also deep in long data."""
    code, text = refusal(datatype, (padding + 1,), f"[{'0,' * padding}{number}]")
    assert (Code.INVALID_ARGUMENT, f"data of input 'x' for model 'm' has a number out of range for {datatype}") == (code, text)


@pytest.mark.parametrize(
    ("number", "value"), [("-0", 0.0), ("-0.0", -0.0), ("1E2", 100.0), ("3.4028235e38", 3.4028234663852886e38), ("1e-999", 0.0)]
)
def test_case_56_numbers_in_range_are_read(number: str, value: float) -> None:
    """Integers for floats, signs, capital exponents, the largest float32, underflow to zero."""
    assert np.float32(value).tobytes() == read("FP32", (1,), f"[{number}]").data


@pytest.mark.parametrize("padding", [0, 40_000])
@pytest.mark.parametrize(
    ("datatype", "element"),
    [("INT32", "1.5"), ("INT32", "1.0"), ("INT32", "1e3"), ("INT32", "true"), ("INT32", '"7"'), ("FP32", '"7"'), ("FP32", "null"),
     ("FP32", "true"), ("BOOL", "1"), ("BOOL", "0"), ("BOOL", "null"), ("FP32", "{}")],
)  # fmt: skip
def test_case_58_elements_have_the_type_of_the_datatype(datatype: str, element: str, padding: int) -> None:
    """Nothing is truncated, parsed out of strings or made of null."""
    good = "true," if datatype == "BOOL" else "0,"
    code, text = refusal(datatype, (padding + 1,), f"[{good * padding}{element}]")
    assert Code.INVALID_ARGUMENT == code
    assert text.startswith(f"Unable to parse 'data' of input 'x' for model 'm' as {datatype}: Expected ")
    assert "position" not in text
    assert "$" not in text


@pytest.mark.parametrize(
    ("shape", "text", "place"),
    [((3,), "[0,true,0]", "[1]"), ((2, 2), "[[0,1],[2,null]]", "[1][1]"), ((2, 2), "[0,1,2,null]", "[1][1]"), ((), "null", None),
     ((40_001, 1), f"[{'[0],' * 40_000}[null]]", "[40000][0]"), ((1, 2), "[[NaN,true]]", "[0][1]")],
)  # fmt: skip
def test_an_element_of_another_type_is_told_with_its_place(shape: tuple[int, ...], text: str, place: str | None) -> None:
    """Its indices in the tensor, however the list is written and in whatever pieces it is read."""
    message = refusal("FP32", shape, text)[1]
    assert message.endswith(f" at {place}") if place else message.endswith("got `null`")


def test_empty_tensors_of_strings_make_no_lists() -> None:
    """However many rows they have; what is no empty list is refused."""
    assert [] == read("BYTES", (0,), "[ ]").texts == read("BYTES", (2, 0), "[[],[]]").texts
    for shape, text in (((0,), "[5]"), ((2, 0), "[[],[null]]"), ((0,), "null"), ((2, 0), '[[],[""]]')):
        assert Code.INVALID_ARGUMENT == refusal("BYTES", shape, text)[0]
    text = f"[{'[],' * 100_000}[]]"
    tracemalloc.start()
    read("BYTES", (100_001, 0), text)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * len(text)


@pytest.mark.parametrize(
    "text",
    ["[[1,2],[3]]", "[[1,2],3,4]", "[1,2,3]", "[1,2,3,4,5]", "[[1,2,3,4]]", "[[[1],[2]],[[3],[4]]]", "[]", "[[1,2],[3,4],[]]", "5",
     "[[1,2],[3,4,5]]", "[[],[]]", '{"a":[[1,2],[3,4]]}'],
)  # fmt: skip
@pytest.mark.parametrize("blanks", ["", " " * SMALL_BYTES])
def test_case_59_ragged_and_misshaped_data_is_refused(text: str, blanks: str) -> None:
    """The words that clients know, for short and for long texts."""
    code, message = refusal("FP32", (2, 2), text + blanks)
    assert Code.INVALID_ARGUMENT == code
    assert MISMATCH == message or "Expected `float`, got `object`" in message


def test_case_60_a_shape_above_the_limit_of_bytes_is_refused_first() -> None:
    """By elements times width, before anything is parsed."""
    limits = RequestLimits(max_tensor_bytes=800)
    assert (Code.TOO_LARGE, "input 'x' for model 'm' has more than 800 bytes") == refusal("FP64", (101,), "[", limits)
    assert bytes(800) == read("FP64", (100,), json.dumps([0] * 100), limits).data


@pytest.mark.parametrize("text", ['"YWJj"', '["a"]', '["a","b","c"]', '[["a"],["b"]]', '["a",1]', '["a",null]', '["a",["b"]]'])
def test_case_62_strings_that_are_not_the_list_of_the_shape_are_refused(text: str) -> None:
    """One string in base64, a wrong count, a wrong nesting, other types."""
    assert Code.INVALID_ARGUMENT == refusal("BYTES", (2,), text)[0]


def test_case_39_strings_are_bounded_in_count_and_length() -> None:
    """TOO_LARGE, as in binary form; a character outside ASCII counts as its bytes."""
    limits = RequestLimits(max_string_bytes=8, max_string_elements=3)
    assert ["ä" * 4, "a" * 8] == read("BYTES", (2,), json.dumps(["ä" * 4, "a" * 8]), limits).texts
    assert Code.TOO_LARGE == refusal("BYTES", (1,), json.dumps(["ä" * 5]), limits)[0]
    assert Code.TOO_LARGE == refusal("BYTES", (1,), json.dumps(["a" * 9]), limits)[0]
    assert Code.TOO_LARGE == refusal("BYTES", (4,), json.dumps([""] * 4), limits)[0]


@given(st.text(alphabet='[]{},"\\0123eE.-+ NaInfity', max_size=40), st.sampled_from(["FP32", "INT64", "BYTES", "BOOL"]), SHAPES)
def test_no_text_does_more_than_be_refused(text: str, datatype: str, shape: tuple[int, ...]) -> None:
    """Broken JSON, too, which the parser of the body would have refused."""
    try:
        read(datatype, shape, text)
    except TidegateError as error:
        code = error.code
    else:
        code = Code.OK
    assert code in {Code.OK, Code.INVALID_ARGUMENT}
