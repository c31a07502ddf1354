"""The people's client against a small gRPC server that speaks our contract."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gateway import client_tensors as tensors
from gateway.client import CallError, Client
from gateway.errors import Code, TidegateError
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, TensorSpec
from tests.gateway.fake_server import FakeServer


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def client(server: FakeServer) -> Iterator[Client]:
    with Client(server.target) as made:
        yield made


def test_arrays_come_back_as_they_were(client: Client) -> None:
    """Names, dtypes, shapes and values survive the way there and back."""
    inputs = {
        "a": np.arange(6, dtype=np.float32).reshape(2, 3),
        "b": np.array([[True], [False]]),
        "c": np.array([["x", "çé"], ["", "\0"]], object),
        "d": np.array([2**63], np.uint64),
        "e": np.array([1.5], ">f8"),
    }
    answer = client.infer("m", inputs, request_id="r1")
    assert ("m", "7", "r1") == (answer.model, answer.version, answer.id)
    assert list(inputs) == list(answer.outputs)
    for name, value in inputs.items():
        np.testing.assert_array_equal(value, answer.outputs[name])


def test_lists_take_the_datatype_of_the_model(client: Client, server: FakeServer) -> None:
    """The metadata is asked for once and turns numbers into the model's type."""
    inputs = {"x": [[1, 2]], "n": [[3.0, 4]], "t": [["a", "b"]], "h": [[1.0, 3.14159]], "b": [[True, False]]}
    first = client.infer("m", inputs).outputs
    client.infer("m", inputs)
    assert ["ModelMetadata", "ModelInfer", "ModelInfer"] == server.calls
    assert (np.float32, np.int32, np.float32, np.bool_) == tuple(first[name].dtype for name in ("x", "n", "h", "b"))
    assert [["a", "b"]] == first["t"].tolist()
    assert [[1.0, 3.140625]] == first["h"].tolist()


def test_a_pair_says_its_datatype(client: Client, server: FakeServer) -> None:
    """The bits of BF16 are uint16 to numpy, so the caller names the datatype; no metadata is needed."""
    bits = np.array([[0x3F80, 0x4000]], np.uint16)
    assert [[1.0, 2.0]] == client.infer("m", {"h": (bits, "BF16")}).outputs["h"].tolist()
    assert ["ModelInfer"] == server.calls


@pytest.mark.parametrize(
    ("inputs", "text"),
    [
        ({"n": [[1.5, 2]]}, "input 'n' is no INT32 tensor: it holds fractions"),
        ({"n": [[2**31, 0]]}, "input 'n' is no INT32 tensor: a number is out of range"),
        ({"x": [["a"]]}, "input 'x' is no FP32 tensor: it is ragged or holds text"),
        ({"x": [[1], [1, 2]]}, "input 'x' is no FP32 tensor: setting an array element with a sequence"),
        ({"x": [[1e300]]}, "input 'x' is no FP32 tensor: overflow encountered in cast"),
        ({"b": [[1, 0]]}, "input 'b' is no BOOL tensor: it holds numbers; write true and false"),
        ({"z": [1]}, "unexpected inference input 'z' for model 'm'; it has x, n, t, h, b"),
        ({"x": np.array([1j])}, "numpy's complex128 has no datatype in the protocol"),
    ],
)
def test_values_that_do_not_fit_are_refused_before_sending(client: Client, server: FakeServer, inputs: dict[str, Any], text: str) -> None:
    """The error names the input; nothing is sent."""
    with pytest.raises(TidegateError) as caught:
        client.infer("m", inputs)
    assert Code.INVALID_ARGUMENT is caught.value.code
    assert caught.value.message.startswith(text)
    assert "ModelInfer" not in server.calls


@pytest.mark.parametrize(
    ("status", "code"),
    [
        ("INVALID_ARGUMENT", Code.INVALID_ARGUMENT),
        ("NOT_FOUND", Code.NOT_FOUND),
        ("RESOURCE_EXHAUSTED", Code.OVERLOADED),
        ("DEADLINE_EXCEEDED", Code.DEADLINE_EXCEEDED),
        ("UNIMPLEMENTED", Code.UNIMPLEMENTED),
        ("INTERNAL", Code.INTERNAL),
        ("DATA_LOSS", Code.INTERNAL),
    ],
)
def test_a_failed_call_has_our_code_and_their_text(client: Client, status: str, code: Code) -> None:
    """Every status of gRPC becomes a code of the documentation."""
    with pytest.raises(CallError) as caught:
        client.infer(status, {"fail": np.zeros(1)})
    assert (code, "because", status) == (caught.value.code, caught.value.message, caught.value.status)
    assert f"{status}: because" == str(caught.value)


def test_too_large_is_told_from_overloaded(client: Client) -> None:
    """Both are RESOURCE_EXHAUSTED; the pushback says whether a retry can help."""
    with pytest.raises(CallError) as caught:
        client.infer("RESOURCE_EXHAUSTED", {"fail": np.zeros(1)}, request_id="never")
    assert Code.TOO_LARGE is caught.value.code


def test_unavailable_is_retried(client: Client, server: FakeServer) -> None:
    """A draining server costs a retry, not an error."""
    server.failures = 2
    assert [1.0] == client.infer("m", {"x": np.ones(1)}).outputs["x"].tolist()
    assert 3 == server.calls.count("ModelInfer")


def test_no_server_is_an_error_of_its_own() -> None:
    """Nobody listening is UNAVAILABLE, within the deadline."""
    with Client("127.0.0.1:1") as client, pytest.raises(CallError) as caught:
        client.live(timeout_s=5)
    assert Code.UNAVAILABLE is caught.value.code


def test_a_deadline_ends_the_wait(client: Client, server: FakeServer) -> None:
    """A call that takes too long fails on time, and the server hears of it."""
    with pytest.raises(CallError) as caught:
        client.infer("m", {"park": np.zeros(1)}, timeout_s=0.05)
    assert Code.DEADLINE_EXCEEDED is caught.value.code
    assert server.cancelled.wait(5)


def test_metadata_parameters_and_versions_are_sent(client: Client, server: FakeServer) -> None:
    """What a caller says beside the tensors arrives."""
    client.infer("m", {"x": np.zeros(1)}, version="3", metadata=(("x-tenant", "a"),))
    assert "a" == server.metadata[-1]["x-tenant"]
    message = client.request("m", {"x": np.zeros(1)}, outputs=("y",), parameters={"a": True, "b": 2, "c": 0.5, "d": "s"})
    assert ["y"] == [output.name for output in message.outputs]
    assert {"a": True, "b": 2, "c": 0.5, "d": "s"} == {
        key: getattr(value, value.WhichOneof("parameter_choice")) for key, value in message.parameters.items()
    }


def test_many_requests_are_answered_in_order(client: Client) -> None:
    """Pipelined, bounded, and in the order they were given."""
    batches = ({"x": np.full((1,), number, np.int64)} for number in range(100))
    assert list(range(100)) == [int(answer.outputs["x"][0]) for answer in client.infer_many("m", batches, max_inflight=8)]
    assert [] == list(client.infer_many("m", []))


def test_a_failure_among_many_cancels_the_rest(client: Client, server: FakeServer) -> None:
    """Nothing stays under way behind the caller's back."""
    batches = [{"fail-beside-parked": np.zeros(1)}, {"park": np.zeros(1)}]
    with pytest.raises(CallError):
        list(client.infer_many("INTERNAL", batches, max_inflight=2))
    assert server.cancelled.wait(5)


def test_many_takes_no_more_than_it_may_have_under_way(client: Client) -> None:
    """The source is read as answers are taken."""
    taken: list[int] = []

    def source() -> Iterator[dict[str, np.ndarray]]:
        for number in range(50):
            taken.append(number)
            yield {"x": np.zeros(1)}

    answers = client.infer_many("m", source(), max_inflight=4)
    next(answers)
    assert 5 == len(taken)
    answers.close()


def test_liveness_readiness_and_metadata(client: Client) -> None:
    """What a server says about itself and its models."""
    assert client.live()
    assert client.ready("m", "2")
    assert not client.ready("m", "1")
    assert ("fake", "1", ("a", "b")) == client.server_metadata()
    model = client.metadata("m")
    assert (("1", "2"), "onnxruntime_onnx", TensorSpec("y", "FP32", (-1,))) == (model.versions, model.platform, model.outputs[0])


def test_waiting_for_a_server(client: Client, server: FakeServer) -> None:
    """Readiness is polled; a server that never comes is a false, not an exception."""
    server.failures = 2
    assert client.wait_ready(10)
    with Client("127.0.0.1:1") as nobody:
        assert not nobody.wait_ready(0.2)


def test_answers_with_typed_contents_are_read() -> None:
    """Other servers of the protocol answer so."""
    message = pb.ModelInferResponse()
    message.outputs.add(name="a", datatype="FP32", shape=[2]).contents.fp32_contents.extend([1.5, 2.5])
    message.outputs.add(name="b", datatype="BYTES", shape=[1]).contents.bytes_contents.append(b"x")
    assert {"a": [1.5, 2.5], "b": ["x"]} == {name: value.tolist() for name, value in tensors.decode(message).items()}


@pytest.mark.parametrize(
    ("datatype", "shape", "raw"),
    [("FP32", [2], b"\0" * 4), ("FP32", [1], b"\0" * 3), ("BYTES", [1], b"\5\0\0\0ab"), ("BYTES", [2], b"\0\0\0\0"), ("FP1", [1], b"")],
)
def test_an_answer_that_contradicts_itself_is_an_error(datatype: str, shape: list[int], raw: bytes) -> None:
    """A broken answer is never an empty or shifted array."""
    message = pb.ModelInferResponse(raw_output_contents=[raw])
    message.outputs.add(name="a", datatype=datatype, shape=shape)
    with pytest.raises(TidegateError, match="output 'a' of the answer cannot be read"):
        tensors.decode(message)


@settings(max_examples=60)
@given(st.data(), st.sampled_from(sorted(set(DATATYPES) - {"BYTES", "BF16"})))
def test_every_array_survives_encoding(data: st.DataObject, name: str) -> None:
    """Bit for bit, for every datatype and shape."""
    array = data.draw(hnp.arrays(DATATYPES[name].numpy, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0)))
    made, datatype = tensors.as_array(array, None)
    message = pb.ModelInferResponse(raw_output_contents=[tensors.encode(made, datatype)])
    message.outputs.add(name="a", datatype=datatype, shape=array.shape)
    assert name == datatype
    np.testing.assert_array_equal(array, tensors.decode(message)["a"])


@settings(max_examples=60)
@given(st.lists(st.text(max_size=5), max_size=8))
def test_every_text_survives_encoding(values: list[str]) -> None:
    """Lengths and UTF-8, lone surrogates aside."""
    values = [value.encode("utf-8", "ignore").decode() for value in values]
    array, datatype = tensors.as_array(np.array(values, object), None)
    message = pb.ModelInferResponse(raw_output_contents=[tensors.encode(array, datatype)])
    message.outputs.add(name="a", datatype=datatype, shape=array.shape)
    assert values == tensors.decode(message)["a"].tolist()


def test_a_token_goes_with_every_call(server: FakeServer) -> None:
    """Also with those that ask for metadata, and beside a call's own; without one nothing is sent."""
    with Client(server.target, token="tidegate_x") as client:
        client.infer("m", {"x": [[1, 2]]}, metadata=[("x-id", "7")])
        list(client.infer_many("m", [{"x": np.ones((1, 2), np.float32)}]))
        client.live()
    assert {"Bearer tidegate_x"} == {metadata["authorization"] for metadata in server.metadata}
    assert "7" == server.metadata[1]["x-id"]
    with Client(server.target) as client:
        client.live()
    assert "authorization" not in server.metadata[-1]
