"""Bodies of `:predict` that are wrong, each with its code and what its text must name."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.errors import Code
from gateway.limits import RequestLimits
from gateway.protocol import v1_values
from gateway.protocol.tensors import Signature, TensorSpec
from tests.gateway.protocol.v1_bodies import LIMITS, MIXED, ROWS, TEXT, invalid, refusal, values

GOOD = '{"instances":[[1,2]]}'


@pytest.mark.parametrize("body", ["", " ", "null", "[]", "1", "[[1,2]]", '"x"'])
def test_bodies_that_are_no_object(body: str) -> None:
    """Also none at all."""
    invalid(body)


@pytest.mark.parametrize(
    "body",
    [GOOD[:-1], GOOD + "x", GOOD + "{}", "\ufeff" + GOOD, GOOD.encode("utf-16"), GOOD.replace('"', "'"), GOOD.replace("[1,2]", "[1,2],"),
     GOOD.replace("1,", "01,"), GOOD.replace("1,", "1,,"), b'{"instances":[["\xff"]]}', b'{"\xff":1,"instances":[[1,2]]}',
     '{"later":"\\ud800","instances":[[1,2]]}', GOOD.replace("1,", "1 NaN,"), GOOD.replace("1,", "NaN5,"), GOOD.replace("1,", "1NaN,"),
     GOOD.replace("1,", "Infinity0,"), GOOD.replace("1,", "--Infinity,"), GOOD.replace("1,", "+NaN,"), GOOD.replace("1,", "nan,")],
)  # fmt: skip
def test_texts_that_are_not_strict_json(body: str | bytes) -> None:
    """Truncated, more behind, other encodings, bad strings and numbers, tokens that are part of something."""
    invalid(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [({}, "the request must have either 'instances' or 'inputs'"),
     ({"signature_name": "serving_default"}, "either 'instances' or 'inputs'"),
     ({"instances": [[1, 2]], "inputs": [[1, 2]]}, "the request must have either 'instances' or 'inputs'"),
     ({"instances": []}, "'instances' must be a list of one value or more"), ({"instances": 5}, "'instances' must be a list"),
     ({"instances": None}, "'instances' must be a list"), ({"instances": {"x": [1, 2]}}, "'instances' must be a list"),
     ({"instances": "ab"}, "'instances' must be a list"), ({"inputs": None}, "as FP32: Expected `float`, got `null`"),
     ({"instances": [[1, 2]], "signature_name": "classify"},
      "Serving signature name: \"classify\" not found: model 'm' has only \"serving_default\""),
     ({"instances": [[1, 2]], "signature_name": None}, "Expected `str`, got `null` - at `$.signature_name`"),
     ({"instances": [[1, 2]], "signature_name": 5}, "Expected `str`, got `int` - at `$.signature_name`")],
)  # fmt: skip
def test_what_the_body_must_have(body: dict[str, Any], text: str) -> None:
    """One of two keys, a list of rows, the one signature."""
    assert text in invalid(body)


@pytest.mark.parametrize(
    ("body", "text"),
    [({"instances": [[1, 2], [3]]}, "input 'x' for model 'm' is ragged at [1]"),
     ({"inputs": [[1, 2], 3]}, "input 'x' for model 'm' is ragged at [1]"),
     ({"instances": [{"x": [1, 2]}, {"x": [3]}]}, "input 'x' for model 'm' is ragged at [1]"),
     ({"instances": [[1, 2], []]}, "input 'x' for model 'm' is ragged at [1]"), ({"instances": [[], [1]]}, "is ragged at [1]"),
     ({"inputs": {"x": [[[1]], [[1, 2]]]}}, "input 'x' for model 'm' is ragged at [1][0]"),
     ({"instances": [[1, "2"]]}, "input 'x' for model 'm' has a string at [0][1] where FP32 is expected"),
     ({"instances": [[1, 2], [1, {"b64": "YQ=="}]]}, "input 'x' for model 'm' has an object at [1][1] where FP32 is expected"),
     ({"instances": [[1, 2], [3, True]]}, "input 'x' for model 'm' as FP32: Expected `float`, got `bool` at [1][1]"),
     ({"instances": [[1, None]]}, "as FP32: Expected `float`, got `null` at [0][1]"),
     ({"inputs": "5"}, "input 'x' for model 'm' has a string where FP32 is expected"),
     ({"instances": [{"x": "a"}]}, "input 'x' for model 'm' has a string at [0] where FP32 is expected"),
     ({"instances": [{"x": {"y": 1}}]}, "input 'x' for model 'm' has an object at [0] where FP32 is expected"),
     ({"instances": [[1, 2], {"x": [1, 2]}]}, "input 'x' for model 'm' has an object at [1] where FP32 is expected"),
     ({"instances": [{"x": [1, 2]}, [1, 2]]}, "a value for each input of model 'm' is expected in instance 1: Expected `object`"),
     ({"instances": [{"x": [1, 2]}, {"y": [1, 2]}]}, "unexpected inference input 'y' for model 'm' in instance 1"),
     ({"instances": [{}]}, "missing required input 'x' for model 'm' in instance 0"),
     ({"inputs": {}}, "missing required input 'x' for model 'm'"),
     ({"inputs": {"x": [[1, 2]], "y": 1}}, "unexpected inference input 'y' for model 'm'"),
     ({"instances": [[1e39, 2]]}, "data of input 'x' for model 'm' has a number out of range for FP32")],
)  # fmt: skip
def test_values_that_fit_no_tensor_name_the_input_and_the_place(body: dict[str, Any], text: str) -> None:
    """Ragged, mistyped, missing, unknown, out of range."""
    assert text in invalid(body)


@pytest.mark.parametrize(
    ("datatype", "value", "text"),
    [("INT64", [1.5], "as INT64: Expected `int`, got `float` at [0]"), ("INT64", [1, 1.0], "as INT64: Expected `int`, got `float` at [1]"),
     ("INT8", [128], "a number out of range for INT8"), ("UINT8", [-1], "a number out of range for UINT8"),
     ("BOOL", [1], "got `int` at [0]"),
     ("INT64", [2**64], "a number out of range for INT64"), ("BYTES", [5], "has a number at [0] where BYTES is expected"),
     ("BYTES", ["a", None], "has null at [1] where BYTES is expected"), ("BYTES", ["a", True], "has true at [1] where BYTES is expected"),
     ("BYTES", ["a", ["b"]], "input 'x' for model 'm' is ragged at [1]"),
     ("BYTES", [["a"], []], "input 'x' for model 'm' is ragged at [1]"),
     ("BYTES", ["[", "],", 5], "has a number at [2]")],
)  # fmt: skip
def test_elements_have_the_type_of_the_models_datatype(datatype: str, value: Any, text: str) -> None:
    """Nothing is rounded, wrapped, read out of strings or made of null."""
    signature = Signature("m", (TensorSpec("x", datatype, (-1,)),), (), 8)
    for body in ({"instances": value}, {"inputs": value}, {"inputs": {"x": value}}, {"instances": [{"x": element} for element in value]}):
        assert text in invalid(body, signature)


@pytest.mark.parametrize("count", [10, 40_000])
@pytest.mark.parametrize(
    ("element", "what"), [("null", "Expected `float`, got `null`"), ('"a"', "a string"), ("{}", "an object"), ("[1]", "is ragged")]
)
def test_one_element_among_many_is_found(count: int, element: str, what: str) -> None:
    """In texts that are read at once and in those that are read in pieces."""
    text = invalid(f'{{"inputs":[{"[0,1]," * count}[5,{element}],[2,3]]}}')
    assert what in text
    assert f"at [{count}]{'' if what == 'is ragged' else '[1]'}" in text


def test_several_inputs_need_their_names() -> None:
    """In rows and in columns."""
    text = "a value for each of the 3 inputs of model 'm'"
    assert f"'instances' must be a list of objects with {text}" == invalid({"instances": [[1, 2]]}, MIXED)
    assert f"'inputs' must be an object with {text}" == invalid({"inputs": [[1, 2]]}, MIXED)
    lacking = {"tag": "a", "sensor": [[1]]}
    assert "missing required input 'signal' for model 'm' in instance 1" == invalid({"instances": [ROWS[0], lacking]}, MIXED)
    assert "input 'sensor' for model 'm' is ragged at [1]" == invalid({"instances": [ROWS[0], {**ROWS[1], "sensor": [[1, 2]]}]}, MIXED)


@pytest.mark.parametrize(
    ("element", "text"),
    [({"b64": "YQ="}, "an invalid base64 text at [1]"), ({"b64": "Y Q=="}, "an invalid base64 text at [1]"),
     ({"b64": "_-8="}, "an invalid base64"),
     ({"b64": "YQ==YQ=="}, "an invalid base64 text at [1]"), ({"b64": "ü"}, "an invalid base64 text at [1]"),
     ({"b64": "="}, "an invalid base64"),
     ({"b64": "/w=="}, "a string element that is not UTF-8 at [1]"), ({"b64": 5}, "an object at [1] where BYTES is expected"),
     ({"b65": "YQ=="}, 'an object that is not {"b64": "…"} at [1]'), ({}, "an object at [1]"),
     ({"b64": "YQ==", "c": "d"}, "an object at [1]")],
)  # fmt: skip
def test_bytes_are_strict_base64_of_utf_8(element: dict[str, Any], text: str) -> None:
    """ONNX Runtime has no strings but those of UTF-8."""
    for body in ({"instances": ["a", element]}, {"inputs": ["a", element]}, {"inputs": {"text": ["a", element]}}):
        assert f"input 'text' for model 'm' has {text}" in invalid(body, TEXT)


@pytest.mark.parametrize(
    "body",
    ['{"instances":[[1,2]],"instances":[[1,2]]}', '{"inputs":[[1,2]],"inputs":[[1,2]]}', '{"later":1,"later":1,"instances":[[1,2]]}',
     '{"instances":[{"x":[1,2],"x":[1,2]}]}', '{"inputs":{"x":[[1,2]],"\\u0078":[[1,2]]}}', '{"later":{"a":1,"a":1},"instances":[[1,2]]}',
     '{"signature_name":"","signature_name":"","instances":[[1,2]]}', '{"instances":[[NaN,2]],"instances":[[1,2]]}'],
)  # fmt: skip
def test_equal_keys(body: str) -> None:
    """On every level: a log might keep the other one."""
    assert "the JSON of the request has the same key twice in one object" == invalid(body)


@pytest.mark.parametrize(
    "body",
    ['{"instances":[[1,2]],"later":NaN}', '{"instances":[[NaN,2]],"later":-Infinity}',
     '{"instances":[{"x":[NaN,1]}],"later":[1e0,Infinity]}'],
)  # fmt: skip
def test_tokens_outside_of_data(body: str) -> None:
    """They are no JSON, and nothing else may have them."""
    assert "the request has NaN or Infinity outside floating-point data" == invalid(body)


@pytest.mark.parametrize("datatype", ["INT64", "BOOL"])
def test_tokens_in_data_of_another_type(datatype: str) -> None:
    """Never a number, whatever stands for them meanwhile."""
    signature = Signature("m", (TensorSpec("x", datatype, (-1,)),), (), 8)
    invalid('{"inputs":[NaN]}', signature)
    invalid('{"instances":[Infinity]}', signature)


def test_a_body_that_has_every_stand_in_is_refused() -> None:
    """Its writer knows what it does."""
    numbers = ",".join(f"{digit}e0" for digit in range(1, 10))
    assert 9 == len(values(f'{{"inputs":[{numbers}]}}')["x"])
    assert "beside every number that could stand for them" in invalid(f'{{"inputs":[NaN,{numbers}]}}')


@pytest.mark.parametrize("depth", [9, 17, 120, 2_000, 250_000])
def test_nesting(depth: int) -> None:
    """In values, in what is ignored, closed or not."""
    nest = "[" * depth + "1" + "]" * depth
    bodies = [f'{{"instances":{nest}}}', f'{{"inputs":{nest}}}']
    bodies += [f'{{"instances":[{{"x":{nest}}}]}}', f'{{"inputs":{{"x":{nest}}}}}', "[" * depth]
    bodies += [f'{{"instances":{nest.replace("1", "NaN")}}}', '{"inputs":' * depth + "1" + "}" * depth]
    if depth > LIMITS.max_json_depth:
        bodies.append(f'{{"later":{nest},"instances":[[1,2]]}}')
    for body in bodies:
        invalid(body)
        invalid(body, MIXED)
        invalid(body, TEXT)


def test_too_many_dimensions_are_refused_before_the_lists_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    """Once for each of them, that is."""
    monkeypatch.setattr(v1_values, "shape_of", None)
    assert "input 'x' for model 'm' has 9 dimensions, the limit is 8" == invalid({"inputs": [[[[[[[[[1]]]]]]]]]})


def test_limits_of_tensors_hold() -> None:
    """Elements, bytes, strings and their lengths, the size of the text."""
    limits = RequestLimits(max_elements=4, max_tensor_bytes=64, max_string_elements=3, max_string_bytes=8, max_json_bytes=200)
    assert "has more than 4 elements" in refusal({"inputs": [0, 0, 0, 0, 0]}, limits=limits)[1]
    wide = Signature("m", (TensorSpec("x", "FP64", (-1,)),), (), 8)
    assert Code.TOO_LARGE == refusal({"inputs": [0, 0]}, wide, RequestLimits(max_tensor_bytes=15))[0]
    assert Code.TOO_LARGE == refusal({"inputs": [""] * 4}, TEXT, limits)[0]
    assert Code.TOO_LARGE == refusal({"inputs": ["", "", "", {"b64": ""}]}, TEXT, limits)[0]
    assert Code.TOO_LARGE == refusal({"inputs": ["a" * 9]}, TEXT, limits)[0]
    assert Code.TOO_LARGE == refusal({"inputs": [{"b64": "YWFhYWFhYWFh"}]}, TEXT, limits)[0]
    assert (Code.TOO_LARGE, "the JSON of the request is larger than 200 bytes") == refusal(GOOD + " " * 200, limits=limits)
    assert Code.TOO_LARGE == refusal({"instances": [[1, 2]], "later": "a" * 2_000_000})[0]
    assert "the limit is 2" in refusal({"inputs": {"tag": 1, "signal": 2, "sensor": 3}}, MIXED, RequestLimits(max_inputs=2))[1]


def test_a_name_is_shown_cut_and_on_one_line() -> None:
    """Of a signature or an input, of any size."""
    for body in ({"instances": [[1, 2]], "signature_name": "a\n" * 500_000}, {"inputs": {"x": [[1, 2]], "a\n\x1b" * 300_000: 1}}):
        assert len(invalid(body)) < 300
