"""REST bodies whose tensors are wrong, by their number in the catalogue of bad inputs: A (1 to 25)."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binding import bind
from gateway.protocol.tensors import BoundRequest, Signature, TensorSpec
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), 8)
PAIR = Signature("m", (TensorSpec("x", "FP32", (-1, 2)), TensorSpec("k", "INT64", (-1,))), (), 8)
GOOD = '{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}'
SIZED = '{"name":"x","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}'
EIGHT = bytes(8)


def infer(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> BoundRequest:
    sent = body.encode() if isinstance(body, str) else body
    got, _ = decode(sent, header_length=header_length, model="m", version="1", signature=signature, limits=LIMITS)
    return bind(signature, got, LIMITS)


def inputs(text: str) -> str:
    return '{"inputs":[' + text + "]}"


def x(**fields: Any) -> str:
    return json.dumps({"name": "x", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]} | fields)


def binary(text: str, tail: bytes = EIGHT) -> tuple[bytes, bytes]:
    return text.encode() + tail, b"%d" % len(text.encode())


def refusal(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        infer(body, header_length, signature)
    text = refused.value.message
    assert text.isprintable()
    assert len(text.encode()) <= 512
    assert "msgspec" not in text
    return refused.value.code, text


def invalid(body: bytes | str, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> str:
    code, text = refusal(body, header_length, signature)
    assert Code.INVALID_ARGUMENT == code
    return text


def test_the_good_ones_are_good() -> None:
    """What the cases below vary fits by itself."""
    assert 1 == infer(inputs(GOOD)).rows == infer(*binary(inputs(SIZED))).rows == infer(inputs(x())).rows


@pytest.mark.parametrize(
    ("body", "part"),
    [("{}", "missing required input(s) ['x']"), ('{"inputs":[]}', "missing required input(s) ['x']"),
     ('{"inputs":null}', "Expected `array`"),
     ('{"inputs":{}}', "Expected `array`"), ('{"inputs":"x"}', "Expected `array`")],
)  # fmt: skip
def test_case_01_inputs_missing_empty_null_or_an_object(body: str, part: str) -> None:
    """Where none came, those that are required are named."""
    assert part in invalid(body)


def test_case_02_03_04_missing_extra_and_equal_inputs() -> None:
    """Named in the text."""
    assert "missing required input(s) ['k']" in invalid(inputs(GOOD), signature=PAIR)
    assert "unexpected inference input 'z' for model 'm'" == invalid(inputs(f"{GOOD},{x(name='z')}"))
    assert "input 'x' already exists in request for model 'm'" == invalid(inputs(f"{GOOD},{GOOD}"), signature=PAIR)


@pytest.mark.parametrize("name", ['""', json.dumps("x" * 2**20), '"x\\u0000"', '"\\ud800"', '"\\udc00x"', "null", "1", '"\\n"'])
def test_case_05_odd_names(name: str) -> None:
    """Shown cut and escaped; lone surrogates are no JSON text."""
    invalid(inputs(GOOD.replace('"x"', name)))


def test_case_06_07_unknown_equal_and_too_many_outputs() -> None:
    """The count comes first."""
    assert "unexpected inference output 'q' for model 'm'" == invalid(f'{{"inputs":[{GOOD}],"outputs":[{{"name":"q"}}]}}')
    assert "output 'y' already exists in request" == invalid(f'{{"inputs":[{GOOD}],"outputs":[{{"name":"y"}},{{"name":"y"}}]}}')
    many = ",".join(['{"name":"y"}'] * 100_000)
    assert Code.TOO_LARGE == refusal(f'{{"inputs":[{GOOD}],"outputs":[{many}]}}')[0]


@pytest.mark.parametrize("datatype", ["FP64", "INT32", "FP7", "", "fp32", "STRING"])
def test_case_08_09_another_or_unknown_datatype(datatype: str) -> None:
    """Case-sensitive."""
    invalid(inputs(x(datatype=datatype)))


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_case_10_half_precision_is_taken_from_json(datatype: str) -> None:
    """Only the typed fields of protobuf lack it."""
    signature = Signature("m", (TensorSpec("x", datatype, (-1, 2)),), (), 8)
    assert 4 == infer(inputs(x(datatype=datatype)), signature=signature).size


@pytest.mark.parametrize("shape", [[2], [1, 1, 2], [1, 3], [2, 1], []])
def test_case_12_13_24_wrong_rank_or_dimension(shape: list[int]) -> None:
    """With as many values as the shape says."""
    count = 1
    for size in shape:
        count *= size
    got = invalid(inputs(x(shape=shape, data=[0] * count)))
    assert f"unexpected shape for input 'x' for model 'm'. Expected [-1,2], got {json.dumps(shape).replace(' ', '')}" == got


@pytest.mark.parametrize("shape", ["[-1,2]", "[2,-5]", "[-2,-5]"])
def test_case_14_15_negative_dimensions(shape: str) -> None:
    """Each by itself."""
    assert "shape of input 'x' for model 'm' has a negative dimension" == invalid(inputs(GOOD.replace("[1,2]", shape, 1)))


@pytest.mark.parametrize("shape", [[0, 2], [3, 0], [0]])
def test_case_16_empty_tensors(shape: list[int]) -> None:
    """By either way of sending."""
    invalid(inputs(x(shape=shape, data=[])))
    invalid(*binary(inputs(json.dumps({"name": "x", "shape": shape, "datatype": "FP32", "parameters": {"binary_data_size": 0}})), b""))


@pytest.mark.parametrize(
    "shape", ["[16,1152921504606846978]", "[4,1152921504606846978]", "[9223372036854775808]", "[1180591620717411303424,0]"]
)
def test_case_17_18_19_products_and_dimensions_beyond_64_bits(shape: str) -> None:
    """By either way of sending."""
    invalid(inputs(GOOD.replace("[1,2]", shape, 1)))
    invalid(*binary(inputs(SIZED.replace("[1,2]", shape, 1))))


@pytest.mark.parametrize(
    "shape", ["[1,2.0]", "[1,2e0]", '[1,"2"]', "[true,2]", "[null,2]", "null", "2", "[[1],2]", "{}", '"[1,2]"', "[NaN,2]"]
)
def test_case_19_shapes_that_are_no_list_of_integers(shape: str) -> None:
    """Nothing is converted; a second time neither."""
    for _ in range(2):
        invalid(inputs(GOOD.replace("[1,2]", shape, 1)))
        invalid(*binary(inputs(SIZED.replace("[1,2]", shape, 1))))


def test_case_20_a_shape_of_four_million_entries() -> None:
    """Its text is never read."""
    invalid(inputs(GOOD.replace("[1,2]", f"[{'1,' * 4_000_000}1]", 1)))
    assert "input 'x' for model 'm' has 9 dimensions, the limit is 8" == invalid(inputs(GOOD.replace("[1,2]", str([1] * 9), 1)))


def test_case_21_a_billion_strings_in_four_bytes() -> None:
    """Refused by count."""
    head = '{"name":"x","shape":[1000000000],"datatype":"BYTES",'
    invalid(*binary(inputs(head + '"parameters":{"binary_data_size":4}}'), bytes(4)))
    assert Code.INVALID_ARGUMENT == refusal(inputs(head + '"data":["a"]}'))[0]


def test_case_22_more_rows_than_a_batch_holds() -> None:
    """They are split later, not refused."""
    assert 9 == infer(inputs(x(shape=[9, 2], data=[0] * 18))).rows


def test_case_23_different_batch_dimensions() -> None:
    """Named."""
    other = '{"name":"k","shape":[2],"datatype":"INT64","data":[1,2]}'
    assert "input 'k' batch size does not match other inputs" in invalid(inputs(f"{GOOD},{other}"), signature=PAIR)
