"""Answers assembled by hand mean what protobuf's own serialization means, to protobuf and to the official client."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tritonclient.grpc import InferResult
from tritonclient.grpc import service_pb2 as theirs

from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.texts import pack_texts
from gateway.protocol.v2_grpc_answer import MAX_PLANS, ResponseEncoder, id_field, join, raw_header, stream_error, stream_ok, varint

SIGNATURE = Signature(
    "m",
    inputs=(TensorSpec("x", "FP32", (-1, 2)),),
    outputs=(TensorSpec("label", "BYTES", (-1,)), TensorSpec("p", "FP32", (-1, 3)), TensorSpec("n", "INT64", (-1,))),
    max_batch_size=64,
)
UNBATCHED = Signature("m", inputs=(), outputs=(TensorSpec("y", "FP64", (-1, 2)),), max_batch_size=0)


def expected(id_: str, outputs: list[tuple[str, str, tuple[int, ...]]], raws: list[bytes]) -> pb.ModelInferResponse:
    heads = [pb.ModelInferResponse.InferOutputTensor(name=name, datatype=datatype, shape=shape) for name, datatype, shape in outputs]
    return pb.ModelInferResponse(model_name="m", model_version="3", id=id_, outputs=heads, raw_output_contents=raws)


@settings(max_examples=300)
@given(st.text(max_size=300), st.integers(1, 200))
def test_an_answer_is_what_protobuf_would_write(id_: str, rows: int) -> None:
    """All outputs, strings among them, for any id and number of rows."""
    raws = [pack_texts(["ab", "", "é"] * rows)[: 5 * rows], bytes(12 * rows), bytes(8 * rows)]
    plan = ResponseEncoder(SIGNATURE, "3").plan(rows, ((), (3,), ()))
    sent = b"".join(join(id_field(id_), plan, raws))
    heads = [("label", "BYTES", (rows,)), ("p", "FP32", (rows, 3)), ("n", "INT64", (rows,))]
    assert expected(id_, heads, raws) == pb.ModelInferResponse.FromString(sent)
    assert () == plan.leads


@pytest.mark.parametrize("rows", [1, 40])
def test_leads_give_the_same_answer_as_join(rows: int) -> None:
    """Where all outputs are of fixed width, data between ready-made leads is the whole answer, in the order asked for."""
    encoder = ResponseEncoder(SIGNATURE, "3", (2, 1))
    plan = encoder.plan(rows, ((), (3,)))
    raws = [bytes(range(8)) * rows, b"\1\2\3" * 4 * rows]
    by_leads = id_field("i") + plan.leads[0] + raws[0] + plan.leads[1] + raws[1]
    assert b"".join(join(id_field("i"), plan, raws)) == by_leads
    assert expected("i", [("n", "INT64", (rows,)), ("p", "FP32", (rows, 3))], raws) == pb.ModelInferResponse.FromString(by_leads)
    assert ("n", "p") == tuple(spec.name for spec in encoder.outputs)


def test_a_model_without_a_batch_dimension_answers_its_own_shape() -> None:
    """Rows do not appear in the shape of an unbatched model's output."""
    plan = ResponseEncoder(UNBATCHED, "3").plan(1, ((5, 2),))
    sent = b"".join(join(b"", plan, [bytes(80)]))
    assert expected("", [("y", "FP64", (5, 2))], [bytes(80)]) == pb.ModelInferResponse.FromString(sent)


def test_large_data_is_passed_on_and_not_copied() -> None:
    """The parts of an answer hold the very buffers that came in."""
    data = memoryview(bytes(1 << 20))
    plan = ResponseEncoder(UNBATCHED, "3").plan(1, ((1 << 16, 2),))
    assert any(part is data for part in join(id_field("i"), plan, [data]))


def test_plans_are_kept_and_their_number_is_bounded() -> None:
    """The same rows and shapes give the same plan; a model with free output shapes cannot fill the memory."""
    encoder = ResponseEncoder(UNBATCHED, "3")
    first = encoder.plan(1, ((1, 2),))
    assert first is encoder.plan(1, ((1, 2),))
    for size in range(2, MAX_PLANS + 2):
        encoder.plan(1, ((size, 2),))
    again = encoder.plan(1, ((1, 2),))
    assert first == again
    assert first is not again


ARRAYS = {name: np.arange(6).astype(datatype.numpy) for name, datatype in DATATYPES.items() if name not in {"BYTES", "BF16"}}


@pytest.mark.parametrize("datatype", ARRAYS)
def test_the_official_client_reads_every_datatype(datatype: str) -> None:
    """tritonclient's as_numpy gives back the array that was sent."""
    array = ARRAYS[datatype].reshape(2, 3)
    signature = Signature("m", inputs=(), outputs=(TensorSpec("y", datatype, (-1, 3)),), max_batch_size=8)
    plan = ResponseEncoder(signature, "1").plan(2, ((3,),))
    sent = b"".join(join(id_field("i"), plan, [array.tobytes()]))
    got = InferResult(theirs.ModelInferResponse.FromString(sent)).as_numpy("y")
    assert got is not None
    assert array.tolist() == got.tolist()
    assert (array.dtype, array.shape) == (got.dtype, got.shape)


def test_the_official_client_reads_strings() -> None:
    """BYTES come back as the UTF-8 of what the model said."""
    texts = ["on time", "", "verspätet"]
    signature = Signature("m", inputs=(), outputs=(TensorSpec("y", "BYTES", (-1,)),), max_batch_size=8)
    sent = b"".join(join(b"", ResponseEncoder(signature, "1").plan(3, ((),)), [pack_texts(texts)]))
    got = InferResult(theirs.ModelInferResponse.FromString(sent)).as_numpy("y")
    assert got is not None
    assert texts == [value.decode() for value in got]


def finality(got: Any) -> dict[str, bool]:
    """What an answer of a stream says of itself, as Triton's clients read it."""
    return {name: said.bool_param for name, said in got.infer_response.parameters.items()}


def test_an_answer_of_a_stream_wraps_an_answer() -> None:
    """`stream_ok` puts an answer of any size into a ModelStreamInferResponse without an error, and says that it is the request's last."""
    for elements in (1, 1 << 16):
        plan = ResponseEncoder(UNBATCHED, "3").plan(1, ((elements, 2),))
        parts = join(id_field("i"), plan, [bytes(16 * elements)])
        got = pb.ModelStreamInferResponse.FromString(b"".join(stream_ok(parts)))
        assert {"triton_final_response": True} == finality(got)
        got.infer_response.parameters.clear()
        assert ("", pb.ModelInferResponse.FromString(b"".join(parts))) == (got.error_message, got.infer_response)


@pytest.mark.parametrize("id_", ["", "i", "é" * 128])
def test_an_error_of_a_stream_names_its_request(id_: str) -> None:
    """`stream_error` carries the text, the id where the caller named one, and that nothing more comes of that request."""
    got = pb.ModelStreamInferResponse.FromString(stream_error("es ging schief: ü" * 20, id_part=id_field(id_)))
    expected = "es ging schief: ü" * 20, id_, {"triton_final_response": True}
    assert expected == (got.error_message, got.infer_response.id, finality(got))


@settings(max_examples=300)
@given(st.integers(0, (1 << 64) - 1))
def test_varints_are_protobufs(value: int) -> None:
    """Any unsigned number is written as protobuf writes it."""
    assert pb.StatisticDuration(ns=value).SerializeToString() == (b"\x10" + varint(value) if value else b"")


def test_a_raw_header_names_the_field_and_the_size() -> None:
    """The header of an output's data is that of raw_output_contents."""
    for size in (0, 127, 128, 1 << 25):
        number = pb.ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER
        assert bytes([number << 3 | 2]) == raw_header(size)[:1]
        assert varint(size) == raw_header(size)[1:]
        assert math.ceil(max(1, size.bit_length()) / 7) == len(varint(size))
