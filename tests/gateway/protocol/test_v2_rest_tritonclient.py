"""What tritonclient's HTTP client writes is read, what it asks for it can read: its codec against ours, without sockets."""

from __future__ import annotations

import numpy as np
import pytest
from tritonclient.http import InferenceServerClient, InferInput, InferRequestedOutput

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol.binding import bind
from gateway.protocol.rest_answer import RestEncoder, id_part
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.v2_rest import decode

LIMITS = RequestLimits()
WITH_NUMPY = sorted(name for name in DATATYPES if name != "BF16")


def sample(datatype: str) -> np.ndarray:
    if datatype == "BYTES":
        return np.array([["a", 'ä"'], ["", "\\"]], object)
    return np.array([[0, 1], [1, 0]]).astype(DATATYPES[datatype].numpy)


def echoed(datatype: str, *, binary_in: bool, outputs: list[InferRequestedOutput] | None) -> np.ndarray:
    """Through its writer, our reader, our writer, its reader."""
    sent = InferInput("x", [2, 2], datatype).set_data_from_numpy(sample(datatype), binary_data=binary_in)
    body, length = InferenceServerClient.generate_request_body([sent], outputs=outputs, request_id="7")
    signature = Signature("m", (TensorSpec("x", datatype, (-1, 2)),), (TensorSpec("y", datatype, (-1, 2)),), 8)
    header = None if length is None else b"%d" % length
    request, plan = decode(body, header_length=header, model="m", version="", signature=signature, limits=LIMITS)
    bound = bind(signature, request, LIMITS)
    (data,) = bound.data
    array = np.array(data, object) if isinstance(data, list) else np.frombuffer(data, DATATYPES[datatype].numpy)
    encoder = RestEncoder(signature, "1", bound.outputs, plan)
    ((headers, answer),) = encoder.answers([id_part(request.id)], [0], [bound.rows], [array.reshape(2, 2)])
    size = dict(headers).get(b"inference-header-content-length")
    result = InferenceServerClient.parse_response_body(answer, header_length=None if size is None else int(size))
    assert "7" == result.get_response()["id"]
    return result.as_numpy("y")


@pytest.mark.parametrize("datatype", WITH_NUMPY)
@pytest.mark.parametrize("binary_in", [True, False])
@pytest.mark.parametrize("out", ["all", "binary", "json"])
def test_tensors_make_the_round_trip(datatype: str, binary_in: bool, out: str) -> None:
    """Every datatype that numpy has, binary and JSON, both ways."""
    outputs = None if out == "all" else [InferRequestedOutput("y", binary_data=out == "binary")]
    got = echoed(datatype, binary_in=binary_in, outputs=outputs)
    expected = sample(datatype)
    if datatype == "BYTES":
        got = np.array([text.decode() if isinstance(text, bytes) else text for text in got.reshape(-1)], object).reshape(got.shape)
    np.testing.assert_array_equal(expected, got)


def test_sequences_and_classes_are_refused_by_name() -> None:
    """What the client can ask for and this server will not do."""
    sent = InferInput("x", [2, 2], "FP32").set_data_from_numpy(sample("FP32"))
    for body, length in (
        InferenceServerClient.generate_request_body([sent], sequence_id=5, sequence_start=True),
        InferenceServerClient.generate_request_body([sent], outputs=[InferRequestedOutput("y", class_count=3)]),
    ):
        signature = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),), 8)
        with pytest.raises(TidegateError) as refused:
            bind(signature, decode(body, header_length=b"%d" % length, model="m", version="", limits=LIMITS)[0], LIMITS)
        assert Code.UNIMPLEMENTED == refused.value.code
