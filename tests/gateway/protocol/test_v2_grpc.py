"""ModelInfer requests: what good callers send, and cases 26 to 44 of the catalogue of bad inputs, one request at a time.

Whole messages are decoded three ways, which must agree: as they are, again by a decoder that knows their head, and made large
enough that the wire is scanned first.
"""

from __future__ import annotations

import math
import struct
from typing import Any

import numpy as np
import pytest

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.pb import inference_pb2 as pb
from gateway.protocol.prescan import PRESCAN_BYTES
from gateway.protocol.tensors import DATATYPES, InferRequest
from gateway.protocol.v2_grpc import MAX_HEADS, Decoder, parse

LIMITS = RequestLimits()
UNKNOWN_FIELD = 15
LARGE = bytes([UNKNOWN_FIELD << 3 | 2]) + b"\x80\x80\x04" + bytes(PRESCAN_BYTES)  # 64 KiB in a field of a later protocol


def message(**fields: Any) -> bytes:
    return pb.ModelInferRequest(model_name="m", **fields).SerializeToString()


def tensor(datatype: str = "FP32", shape: tuple[int, ...] = (1, 2), name: str = "x", **fields: Any) -> dict[str, Any]:
    return {"name": name, "datatype": datatype, "shape": shape, **fields}


def decode(sent: bytes, limits: RequestLimits = LIMITS) -> InferRequest:
    """The three ways, their agreement, and the result."""
    decoder = Decoder(limits)
    first = decoder.decode(sent)
    assert first == decoder.decode(sent)
    assert first == decoder.decode(memoryview(sent))
    assert first == decoder.decode(sent + LARGE)
    return first


def refusal(sent: bytes, limits: RequestLimits = LIMITS) -> tuple[Code, str]:
    """The code and text, the same whether or not the wire is scanned first."""
    with pytest.raises(TidegateError) as small:
        Decoder(limits).decode(sent)
    with pytest.raises(TidegateError) as large:
        Decoder(limits).decode(sent + LARGE)
    assert small.value.code == large.value.code
    return small.value.code, small.value.message


def invalid(sent: bytes, limits: RequestLimits = LIMITS) -> str:
    code, text = refusal(sent, limits)
    assert Code.INVALID_ARGUMENT == code
    return text


def test_a_request_keeps_all_that_was_sent() -> None:
    """Names, version, id, requested outputs, parameters of every kind and the data arrive as sent."""
    parameters = {
        "a": pb.InferParameter(bool_param=True),
        "b": pb.InferParameter(int64_param=-1),
        "c": pb.InferParameter(string_param="s"),
        "d": pb.InferParameter(double_param=0.5),
        "e": pb.InferParameter(uint64_param=1 << 63),
    }
    request = decode(
        message(
            model_version="3",
            id="r1",
            parameters=parameters,
            inputs=[tensor(), tensor("INT64", (2,), "y")],
            outputs=[{"name": "p"}, {"name": "q"}],
            raw_input_contents=[struct.pack("<2f", 1, 2), struct.pack("<2q", 3, 4)],
        )
    )
    assert ("m", "3", "r1", ["p", "q"]) == (request.model, request.version, request.id, request.outputs)
    assert {"a": True, "b": -1, "c": "s", "d": 0.5, "e": 1 << 63} == request.parameters
    assert [("x", "FP32", (1, 2)), ("y", "INT64", (2,))] == [(i.name, i.datatype, i.shape) for i in request.inputs]
    assert [struct.pack("<2f", 1, 2), struct.pack("<2q", 3, 4)] == [bytes(i.data) for i in request.inputs]


def test_no_requested_outputs_means_all() -> None:
    """`outputs` is None where the caller named none."""
    assert decode(message(inputs=[tensor()], raw_input_contents=[bytes(8)])).outputs is None


def test_large_raw_contents_are_not_copied() -> None:
    """The tensor of a large request is a view of the message itself."""
    data = np.arange(PRESCAN_BYTES, dtype="<f4")
    sent = message(inputs=[tensor(shape=(1, data.size))], raw_input_contents=[data.tobytes()])
    [got] = Decoder(LIMITS).decode(sent).inputs
    assert isinstance(got.data, memoryview)
    assert sent is got.data.obj
    assert data.tobytes() == got.data


def test_more_heads_than_are_kept() -> None:
    """A decoder that has met more heads than it keeps decodes old and new ones alike."""
    decoder = Decoder(LIMITS)
    for index in [*range(MAX_HEADS + 2), 0, MAX_HEADS]:
        sent = message(inputs=[tensor(name=f"x{index}")], raw_input_contents=[bytes(8)])
        assert f"x{index}" == decoder.decode(sent).inputs[0].name


VALUES = {
    "BOOL": [True, False], "UINT8": [0, 255], "UINT16": [1, 65535], "UINT32": [1, 2**32 - 1], "UINT64": [1, 2**64 - 1],
    "INT8": [-128, 127], "INT16": [-32768, 32767], "INT32": [-(2**31), 2**31 - 1], "INT64": [-(2**63), 2**63 - 1],
    "FP32": [1.5, math.inf], "FP64": [-0.0, 1e300],
}  # fmt: skip
FIELDS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents",
    "UINT64": "uint64_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents",
    "INT64": "int64_contents", "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip


@pytest.mark.parametrize("datatype", VALUES)
def test_typed_contents_equal_raw_contents(datatype: str) -> None:
    """The extremes of every numeric datatype give the same tensor typed and raw."""
    values = VALUES[datatype]
    raw = np.array(values, DATATYPES[datatype].numpy).tobytes()
    typed = decode(message(inputs=[tensor(datatype, contents={FIELDS[datatype]: values})]))
    assert decode(message(inputs=[tensor(datatype)], raw_input_contents=[raw])) == typed
    assert raw == bytes(typed.inputs[0].data)


@pytest.mark.parametrize("datatype", ["FP16", "BF16"])
def test_half_floats_come_raw(datatype: str) -> None:
    """FP16 and BF16 have no typed field; raw they arrive as they are."""
    [got] = decode(message(inputs=[tensor(datatype)], raw_input_contents=[b"\1\2\3\4"])).inputs
    assert b"\1\2\3\4" == bytes(got.data)


def test_strings_come_raw_and_typed() -> None:
    """BYTES are UTF-8 texts either way; an empty string and one with NUL (case 39) are strings."""
    texts = ["", "ü\0z"]
    raw = b"".join(struct.pack("<I", len(t.encode())) + t.encode() for t in texts)
    as_raw = decode(message(inputs=[tensor("BYTES")], raw_input_contents=[raw]))
    typed = decode(message(inputs=[tensor("BYTES", contents={"bytes_contents": [t.encode() for t in texts]})]))
    assert [texts, texts] == [as_raw.inputs[0].texts, typed.inputs[0].texts]


def test_an_empty_typed_tensor_needs_no_contents() -> None:
    """A shape without elements says all there is to say; `bind` decides whether a model takes it."""
    [got] = decode(message(inputs=[tensor(shape=(0, 4))])).inputs
    assert ((0, 4), b"") == (got.shape, got.data)


@pytest.mark.parametrize(("raws", "inputs"), [(1, 2), (2, 1), (3, 2)])
def test_case_26_27_as_many_raw_contents_as_inputs(raws: int, inputs: int) -> None:
    """Fewer or more raw contents than inputs say how many were expected."""
    sent = message(inputs=[tensor(name=f"x{i}") for i in range(inputs)], raw_input_contents=[bytes(8)] * raws)
    assert f"expected {inputs} raw input contents but got {raws} for model 'm'" == invalid(sent)


@pytest.mark.parametrize("contents", [{"fp32_contents": [1, 2]}, {}])
def test_case_28_raw_and_typed_together(contents: dict[str, Any]) -> None:
    """Typed contents, even empty ones, beside raw contents are refused with the text that clients know."""
    sent = message(inputs=[tensor(contents=contents)], raw_input_contents=[bytes(8)])
    assert "contents field must not be specified when using raw_input_contents for 'x' for model 'm'" == invalid(sent)


def test_case_29_neither_raw_nor_typed() -> None:
    """An input without data is refused with the text that clients know."""
    assert "unable to find data for input tensor 'x' for model 'm' in request." == invalid(message(inputs=[tensor()]))


@pytest.mark.parametrize("size", [0, 7, 9, 16])
def test_case_30_raw_bytes_that_do_not_fit_the_shape(size: int) -> None:
    """One byte less or more, none, and twice as many name the expected and the received size."""
    expected = f"input byte size mismatch for input 'x' for model 'm'. Expected 8, got {size}"
    assert expected == invalid(message(inputs=[tensor()], raw_input_contents=[bytes(size)]))


@pytest.mark.parametrize(("datatype", "itemsize"), [("FP32", 4), ("BOOL", 1), ("INT8", 1), ("INT64", 8), ("UINT64", 8)])
@pytest.mark.parametrize("count", [1, 3, 200])
def test_case_31_typed_elements_that_do_not_fit_the_shape(datatype: str, itemsize: int, count: int) -> None:
    """Too few or too many typed elements are told like raw ones, in bytes."""
    sent = message(inputs=[tensor(datatype, contents={FIELDS[datatype]: [1] * count})])
    assert f"input byte size mismatch for input 'x' for model 'm'. Expected {2 * itemsize}, got {count * itemsize}" == invalid(sent)


@pytest.mark.parametrize("count", [1, 3])
def test_case_31_typed_strings_that_do_not_fit_the_shape(count: int) -> None:
    """Too few or too many typed strings are counted."""
    assert "string elements" in invalid(message(inputs=[tensor("BYTES", contents={"bytes_contents": [b"a"] * count})]))


@pytest.mark.parametrize(
    ("datatype", "contents"),
    [
        ("FP32", {"int_contents": [1, 2]}),
        ("FP32", {"fp32_contents": [1, 2], "int_contents": [1]}),
        ("INT32", {"uint_contents": [1, 2]}),
        ("BYTES", {"fp32_contents": [1, 2]}),
        ("BYTES", {"bytes_contents": [b"a", b"b"], "bool_contents": [True]}),
        ("BOOL", {"bytes_contents": [b""]}),
    ],
)
def test_case_32_typed_elements_in_a_wrong_field(datatype: str, contents: dict[str, Any]) -> None:
    """Elements of a field that belongs to another datatype, alone or beside the right ones, are refused."""
    assert "has typed contents in a field other than" in invalid(message(inputs=[tensor(datatype, contents=contents)]))


@pytest.mark.parametrize(
    ("datatype", "values"),
    [("INT8", [300, 0]), ("INT8", [0, -129]), ("UINT8", [0, 256]), ("INT16", [32768, 0]), ("UINT16", [65536, 0])],
)
def test_case_33_typed_numbers_out_of_range(datatype: str, values: list[int]) -> None:
    """A narrow integer that its wider field holds and its datatype does not is refused, never wrapped."""
    sent = message(inputs=[tensor(datatype, contents={FIELDS[datatype]: values})])
    assert f"data of input 'x' for model 'm' has a number out of range for {datatype}" == invalid(sent)


@pytest.mark.parametrize("byte", [2, 255])
def test_case_34_bool_bytes_that_are_no_truth(byte: int) -> None:
    """Raw BOOL is 0 or 1."""
    assert "neither 0 nor 1" in invalid(message(inputs=[tensor("BOOL")], raw_input_contents=[bytes([1, byte])]))


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"\1\0\0\0a\1\0\0", "ends within the length of a string element"),  # case 35
        (b"\xff\xff\xff\xffabcd", "says 4294967295 bytes, 4 are left"),  # case 36
        (b"\1\0\0\0a", "expected 2 string elements"),  # case 37
        (b"\1\0\0\0a" * 3, "unexpected number of string elements 3"),
        (b"\1\0\0\0a\5\0\0\0b", "says 5 bytes, 1 are left"),
        (b"\1\0\0\0a\1\0\0\0\xff", "is not UTF-8"),  # case 38
    ],
)
def test_case_35_to_38_raw_strings(raw: bytes, text: str) -> None:
    """Truncated prefixes, lengths beyond the data, wrong counts and bytes that are no UTF-8 are each told apart."""
    assert text in invalid(message(inputs=[tensor("BYTES")], raw_input_contents=[raw]))


def test_case_38_typed_strings_that_are_not_utf8() -> None:
    """Typed strings are held to UTF-8 as raw ones are."""
    assert "is not UTF-8" in invalid(message(inputs=[tensor("BYTES", contents={"bytes_contents": [b"\xff", b""]})]))


@pytest.mark.parametrize("typed", [True, False])
def test_case_39_strings_over_a_limit(typed: bool) -> None:
    """Too many strings in one tensor, too many over all tensors, and one too long are TOO_LARGE."""
    limits = RequestLimits(max_string_elements=3, max_string_bytes=2)

    def sent(*tensors: list[bytes]) -> bytes:
        heads = [tensor("BYTES", (len(texts),), f"x{i}") for i, texts in enumerate(tensors)]
        if typed:
            return message(inputs=[head | {"contents": {"bytes_contents": texts}} for head, texts in zip(heads, tensors, strict=True)])
        raws = [b"".join(struct.pack("<I", len(text)) + text for text in texts) for texts in tensors]
        return message(inputs=heads, raw_input_contents=raws)

    assert [["aa", "bb"], ["c"]] == [i.texts for i in decode(sent([b"aa", b"bb"], [b"c"]), limits).inputs]
    assert Code.TOO_LARGE == refusal(sent([b"a"] * 4), limits)[0]
    assert Code.TOO_LARGE == refusal(sent([b"a"] * 2, [b"b"] * 2), limits)[0]
    assert Code.TOO_LARGE == refusal(sent([b"aaa"]), limits)[0]


GROUP = bytes([UNKNOWN_FIELD << 3 | 3])
END_GROUP = bytes([UNKNOWN_FIELD << 3 | 4])


@pytest.mark.parametrize(
    "sent",
    [
        b"\xff" * 20,
        b"\x0a\x05ab",  # a string that ends early
        b"\x1a\x02\xc3\x28",  # an id that is no UTF-8
        b"\x0a\x01\xff",  # a model name that is no UTF-8
        b"\x0b\x01m",  # a group that never ends
        b"\x00\x00",  # field number 0
        b"\x0f",  # wire type 7
        b"\x2a\x02\x0a\x05",  # an input whose name ends after it
        GROUP * 101 + END_GROUP * 101,
        END_GROUP,
        GROUP,
    ],
    ids=lambda sent: sent[:8].hex(),
)
def test_case_41_garbage(sent: bytes) -> None:
    """What is no message at all is INVALID_ARGUMENT, not an error of ours."""
    assert "the message is not a valid ModelInferRequest" == invalid(sent)


def test_case_41_known_fields_of_a_wrong_wire_type() -> None:
    """protobuf takes a known number with another wire type for an unknown field, and so do we."""
    assert "m" == decode(message() + b"\x18\x07").model  # id as a varint
    assert "unable to find data" in invalid(message(inputs=[tensor()]) + b"\x38\x07")  # raw contents as a varint


@pytest.mark.parametrize("extra", [b"\x7a\x03abc", b"\x78\x01", b"\x79" + bytes(8), b"\x7d" + bytes(4), GROUP + b"\x08\x01" + END_GROUP])
def test_case_42_unknown_fields_are_ignored(extra: bytes) -> None:
    """A later client's fields, of any wire type and anywhere, change nothing."""
    sent = message(id="i", inputs=[tensor()], raw_input_contents=[bytes(8)])
    assert decode(sent) == decode(extra + sent) == decode(sent + extra)


def test_case_42_unknown_fields_in_an_input_and_its_contents() -> None:
    """Also within submessages, typed contents among them."""
    contents = b"\x7a\x01a" + pb.InferTensorContents(fp32_contents=[1, 2]).SerializeToString() + b"\x78\x01"
    head = pb.ModelInferRequest.InferInputTensor(name="x", datatype="FP32", shape=[1, 2]).SerializeToString()
    body = head + b"\x7a\x01a" + bytes([5 << 3 | 2, len(contents)]) + contents
    [got] = decode(message() + bytes([5 << 3 | 2, len(body)]) + body).inputs
    assert struct.pack("<2f", 1, 2) == got.data


def test_case_43_parameters() -> None:
    """Unknown names and parameters without a value pass, too many are TOO_LARGE; what is reserved is `bind`'s to judge."""
    request = decode(message(parameters={"x-mine": pb.InferParameter(int64_param=1), "empty": pb.InferParameter()}))
    assert {"x-mine": 1} == request.parameters
    many = {f"p{i}": pb.InferParameter(bool_param=True) for i in range(33)}
    assert Code.TOO_LARGE == refusal(message(parameters=many))[0]
    assert Code.TOO_LARGE == refusal(message(inputs=[tensor(parameters=many)]))[0]
    assert Code.TOO_LARGE == refusal(message(outputs=[{"name": "p", "parameters": many}]))[0]


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"inputs": [tensor(parameters={"shared_memory_region": pb.InferParameter(string_param="r")})]}, "shared_memory_region"),
        ({"outputs": [{"name": "p", "parameters": {"classification": pb.InferParameter(int64_param=3)}}]}, "classification"),
        ({"outputs": [{"name": "p", "parameters": {"shared_memory_offset": pb.InferParameter(int64_param=0)}}]}, "shared_memory_offset"),
    ],
)
def test_case_43_tensors_parameters_are_refused_by_name(fields: dict[str, Any], name: str) -> None:
    """Shared memory and classification are UNIMPLEMENTED, never ignored."""
    code, text = refusal(message(**fields))
    assert Code.UNIMPLEMENTED == code
    assert f"parameter '{name}'" in text


def test_case_44_ids() -> None:
    """An id is any text of up to 256 bytes, CRLF and NUL too, and comes back as it was; a longer one is refused."""
    for good in ["", "a\r\nb\0", "é" * 128, "x" * 256]:
        assert good == decode(message(id=good)).id
    for long in ["x" * 257, "é" * 129, "x" * (1 << 20)]:
        assert "the request's id has more than 256 bytes" == invalid(message(id=long))


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"inputs": [tensor()] * 65}, Code.INVALID_ARGUMENT),
        ({"outputs": [{"name": "p"}] * 65}, Code.TOO_LARGE),  # case 7
        ({"inputs": [tensor(shape=(1,) * 9)]}, Code.INVALID_ARGUMENT),  # case 20
        ({"inputs": [tensor()], "raw_input_contents": [b""] * 20_000}, Code.INVALID_ARGUMENT),
        ({"inputs": [tensor(shape=(1,) * 30_000)], "raw_input_contents": [b""]}, Code.INVALID_ARGUMENT),
    ],
)
def test_too_many_of_anything(fields: dict[str, Any], code: Code) -> None:
    """Counts are refused alike in small messages, by their parsed form, and in large ones, on the wire."""
    assert code == refusal(message(**fields))[0]


@pytest.mark.parametrize("shape", [(-1, 2), (2, -5), (-2, -4), (1 << 62, 4), ((1 << 4), (1 << 60) + 2)])
def test_case_14_to_18_impossible_shapes(shape: tuple[int, ...]) -> None:
    """Negative dimensions and products that overflow 64 bits are refused before data is looked at."""
    invalid(message(inputs=[tensor(shape=shape)], raw_input_contents=[bytes(32)]))


@pytest.mark.parametrize("datatype", ["", "FP7", "fp32", "STRING"])
def test_case_9_unknown_datatypes(datatype: str) -> None:
    """Datatypes are exact, upper-case names."""
    assert "unknown datatype" in invalid(message(inputs=[tensor(datatype)], raw_input_contents=[bytes(8)]))


def test_other_calls_messages() -> None:
    """`parse` gives the message of any call, or says whose message the bytes are not."""
    assert "m" == parse(pb.ModelReadyRequest, pb.ModelReadyRequest(name="m").SerializeToString()).name
    with pytest.raises(TidegateError, match="the message is not a valid ModelReadyRequest"):
        parse(pb.ModelReadyRequest, b"\xff")
