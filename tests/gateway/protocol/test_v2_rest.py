"""REST bodies that are good: JSON, binary, mixed and raw, and what of them asks for which answer."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import RequestLimits
from gateway.protocol import payload
from gateway.protocol.binary import ResponsePlan
from gateway.protocol.tensors import DATATYPES, InferRequest, Signature, TensorSpec
from gateway.protocol.texts import pack_texts
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),), 8)


def read(body: bytes, header_length: bytes | None = None, signature: Signature = SIGNATURE) -> tuple[InferRequest, ResponsePlan]:
    return decode(body, header_length=header_length, model="m", version="", signature=signature, limits=LIMITS)


def request(body: Any, tail: bytes | None = None) -> InferRequest:
    text = json.dumps(body).encode()
    return read(text)[0] if tail is None else read(text + tail, b"%d" % len(text))[0]


def x(**fields: Any) -> dict[str, Any]:
    return {"name": "x", "shape": [1, 2], "datatype": "FP32"} | fields


X = x(data=[1, 2.5])
TWO = np.array([1, 2.5], "<f4").tobytes()


def test_a_body_becomes_a_request() -> None:
    """Name, datatype, shape, bytes; model and version come from the path."""
    got = request({"inputs": [X]})
    (tensor,) = got.inputs
    assert ("m", "", "", None, {}) == (got.model, got.version, got.id, got.outputs, got.parameters)
    assert ("x", "FP32", (1, 2), TWO, None) == (tensor.name, tensor.datatype, tensor.shape, tensor.data, tensor.texts)


def test_order_blanks_and_escapes_do_not_matter() -> None:
    """Keys in any order and spelling, characters as escapes."""
    text = b' {"outputs" : [ ] , "\\u0069nputs":[\n{"data":[ [1 , 2.5] ],"shape":[1,\t2],"datatype":"FP32","n\\u0061me":"\\u0078"} ] } \n'
    (tensor,) = read(text)[0].inputs
    assert ("x", TWO) == (tensor.name, bytes(tensor.data))


def test_id_outputs_and_parameters_are_kept() -> None:
    """A quote and a backslash in an id do not disturb the count of quotes."""
    body = {
        "id": 'a"\\é',
        "inputs": [X],
        "outputs": [{"name": "y"}, {"name": "z"}],
        "parameters": {"priority": 1, "a": "b", "c": 1.5, "d": True},
    }
    got = request(body)
    assert ('a"\\é', ["y", "z"], {"priority": 1, "a": "b", "c": 1.5, "d": True}) == (got.id, got.outputs, got.parameters)


def test_null_is_nothing_where_clients_write_it() -> None:
    """id, outputs, parameters, and the names that belong into the path."""
    body = {"id": None, "inputs": [x(data=[1, 2.5], parameters=None)], "outputs": None, "parameters": None}
    got = request(body | {"model_name": None, "model_version": None})
    assert ("", None, {}, TWO) == (got.id, got.outputs, got.parameters, got.inputs[0].data)


def test_case_63_unknown_fields_are_ignored() -> None:
    """On every level, whatever they hold."""
    extra = {"later": {"data": [1], "inputs": [], "deep": [[{"a": [None]}]]}}
    body = extra | {"inputs": [X | extra], "outputs": [{"name": "y"} | extra], "model_name": "m", "model_version": ""}
    assert TWO == request(body).inputs[0].data


def test_several_inputs_keep_their_order() -> None:
    """Of different datatypes and ways of being written."""
    inputs = [x(name="b", data=[[1, 2.5]]), {"name": "a", "shape": [2], "datatype": "BYTES", "data": ['"', "inputs"]}]
    got = request({"inputs": inputs})
    assert [("b", None), ("a", ['"', "inputs"])] == [(tensor.name, tensor.texts) for tensor in got.inputs]


def test_nan_beside_strings_that_look_like_it() -> None:
    """Names, strings and ids with NaN in them are not touched."""
    texts = {"name": "NaN", "shape": [3], "datatype": "BYTES", "data": ["NaN", "-Infinity", "\\"]}
    got = request({"id": "Infinity", "inputs": [texts, x(data=[math.nan, -math.inf]), X]})
    assert ("Infinity", "NaN", ["NaN", "-Infinity", "\\"]) == (got.id, got.inputs[0].name, got.inputs[0].texts)
    assert [payload.pack("FP32", [math.nan, -math.inf]), TWO] == [tensor.data for tensor in got.inputs[1:]]


# --- binary ------------------------------------------------------------------------------------------------------------------------


def test_binary_inputs_lie_behind_the_json_in_order() -> None:
    """Beside one that is in the JSON; a string input is length-prefixed."""
    texts = {"name": "t", "shape": [2], "datatype": "BYTES", "parameters": {"binary_data_size": 11}}
    inputs = [
        x(parameters={"binary_data_size": 8}),
        x(name="j", data=[1, 2.5]),
        texts,
        x(name="e", shape=[0], parameters={"binary_data_size": 0}),
    ]
    got = request({"inputs": inputs}, TWO + pack_texts(["ab", "c"]))
    assert [TWO, TWO, b"", b""] == [bytes(tensor.data) for tensor in got.inputs]
    assert ["ab", "c"] == got.inputs[2].texts


def test_case_69_the_header_decides_and_not_the_content_type() -> None:
    """A JSON body may come with its own length."""
    assert TWO == request({"inputs": [X]}, b"").inputs[0].data


def test_other_parameters_beside_the_size_are_checked_and_ignored() -> None:
    """As everywhere."""
    assert TWO == bytes(request({"inputs": [x(parameters={"binary_data_size": 8, "content_type": "np"})]}, TWO).inputs[0].data)


@pytest.mark.parametrize(
    ("shape", "batch", "data", "expected"),
    [((-1, 2), 8, 8, (1, 2)), ((-1, -1), 8, 12, (1, 3)), ((-1, 2, -1), 8, 24, (1, 2, 3)), ((3,), 0, 12, (3,)),
     ((-1,), 0, 12, (3,)), ((), 0, 4, ())],
)  # fmt: skip
def test_a_raw_request_is_the_data_of_the_only_input(shape: tuple[int, ...], batch: int, data: int, expected: tuple[int, ...]) -> None:
    """One row; one free dimension follows from the length."""
    signature = Signature("m", (TensorSpec("x", "FP32", shape),), (), batch)
    got, plan = read(bytes(range(data)), b"0", signature)
    assert ("x", "FP32", expected, bytes(range(data))) == (
        got.inputs[0].name,
        got.inputs[0].datatype,
        got.inputs[0].shape,
        got.inputs[0].data,
    )
    assert plan.is_binary("y")


@pytest.mark.parametrize(("shape", "batch", "expected"), [((-1, 1), 8, (1, 1)), ((1,), 0, (1,)), ((-1,), 8, (1,)), ((-1, -1), 8, (1, 1))])
def test_a_raw_request_for_a_string_is_the_string(shape: tuple[int, ...], batch: int, expected: tuple[int, ...]) -> None:
    """Without a length in front."""
    got, _ = read("größe".encode(), b"0", Signature("m", (TensorSpec("x", "BYTES", shape),), (), batch))
    assert (expected, ["größe"]) == (got.inputs[0].shape, got.inputs[0].texts)


ALL = {"parameters": {"binary_data_output": True}}


# --- plans -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [False, False]),
        (ALL, [True, True]),
        ({"parameters": {"binary_data_output": False}}, [False, False]),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": True}}, {"name": "z"}]}, [True, False]),
        ({"outputs": [{"name": "y", "parameters": {"binary_data": False}}, {"name": "z"}]} | ALL, [False, True]),
        ({"outputs": [{"name": "y", "parameters": {"a": 1}}, {"name": "z"}]} | ALL, [True, True]),
    ],
)  # fmt: skip
def test_the_plan_says_which_outputs_are_binary(fields: dict[str, Any], expected: list[bool]) -> None:
    """What an output says wins over what the request says; the key does not stay among the parameters."""
    got, plan = read(json.dumps({"inputs": [X]} | fields).encode())
    assert expected == [plan.is_binary("y"), plan.is_binary("z")]
    assert {} == got.parameters


def test_equal_plans_are_one_object() -> None:
    """So that sinks can be kept by plan."""
    body = json.dumps({"inputs": [X], "outputs": [{"name": "y", "parameters": {"binary_data": True}}]}).encode()
    assert read(body)[1] is read(body)[1]
    assert hash(read(body)[1]) == hash(read(body)[1])


# --- round trips -------------------------------------------------------------------------------------------------------------------


@st.composite
def tensors(draw: st.DrawFn) -> tuple[str, tuple[int, ...], bytes]:
    """A datatype, a shape, and raw bytes of any value that the datatype has."""
    datatype = draw(st.sampled_from(sorted(DATATYPES)))
    shape = tuple(draw(st.lists(st.integers(0, 4), max_size=3)))
    count = math.prod(shape)
    if datatype == "BYTES":
        return datatype, shape, pack_texts(draw(st.lists(st.text(max_size=4), min_size=count, max_size=count)))
    if datatype == "BOOL":
        return datatype, shape, bytes(draw(st.lists(st.integers(0, 1), min_size=count, max_size=count)))
    size = count * DATATYPES[datatype].itemsize
    return datatype, shape, draw(st.binary(min_size=size, max_size=size))


def as_json(datatype: str, shape: tuple[int, ...], data: bytes) -> Any:
    if datatype == "BYTES":
        values = payload.raw("x", datatype, shape, data, model="m", limits=LIMITS).texts
        array = np.empty(len(values or ()), object)
        array[:] = values
    elif datatype == "BF16":
        array = (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    else:
        array = np.frombuffer(data, DATATYPES[datatype].numpy)
    return array.reshape(shape).tolist()


def same_bits(datatype: str, expected: bytes, got: bytes) -> bool:
    """Equal, but for which of the NaNs a NaN is: JSON has one."""
    if datatype not in {"FP16", "FP32", "FP64", "BF16"}:
        return expected == got
    if datatype == "BF16":
        expected, got = [(np.frombuffer(data, "<u2").astype("<u4") << 16).tobytes() for data in (expected, got)]
        datatype = "FP32"
    kind = DATATYPES[datatype].numpy
    bits = np.array_equal(np.frombuffer(expected, kind), np.frombuffer(got, kind), equal_nan=True)
    return bits and bool(
        (np.signbit(np.frombuffer(expected, kind)) == np.signbit(np.frombuffer(got, kind)))[~np.isnan(np.frombuffer(got, kind))].all()
    )


@given(tensors(), st.booleans())
def test_every_datatype_comes_through_json_and_binary(tensor: tuple[str, tuple[int, ...], bytes], ensure_ascii: bool) -> None:
    """The same bits by either way, NaN and the infinities included."""
    datatype, shape, data = tensor
    head = {"name": "x", "shape": list(shape), "datatype": datatype}
    text = json.dumps({"inputs": [head | {"data": as_json(*tensor)}]}, ensure_ascii=ensure_ascii).encode()
    (by_json,) = read(text)[0].inputs
    (by_binary,) = request({"inputs": [head | {"parameters": {"binary_data_size": len(data)}}]}, data).inputs
    if datatype == "BYTES":
        assert by_json.texts == by_binary.texts
    else:
        assert data == bytes(by_binary.data)
        assert same_bits(datatype, data, bytes(by_json.data))


@given(tensors())
def test_every_datatype_comes_through_a_raw_request(tensor: tuple[str, tuple[int, ...], bytes]) -> None:
    """Where the model has one input, whose row the body is."""
    datatype, shape, data = tensor
    if datatype == "BYTES" or not data:
        return
    got, _ = read(data, b"0", Signature("m", (TensorSpec("x", datatype, (-1, *shape)),), (), 8))
    assert ((1, *shape), data) == (got.inputs[0].shape, bytes(got.inputs[0].data))
