"""The comparison of sampled answers with ONNX Runtime's."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.load.answers import decode_grpc, decode_http, difference
from benchmarks.load.messages import Prepared, binary_request, grpc_message, json_request
from benchmarks.models import TABULAR
from gateway.pb import inference_pb2 as pb

ROW = np.arange(16, dtype=np.float32)
PREPARED = Prepared(TABULAR, "7", ROW, b"")
LABEL, PROBABILITIES = np.array([1]), np.array([[0.25, 0.75]], np.float32)
GOOD = ("7", [("label", LABEL), ("probabilities", PROBABILITIES)])


@pytest.mark.parametrize(
    ("answer", "part"),
    [
        (("8", GOOD[1]), "carries the id"),
        (("7", GOOD[1][:1]), "outputs"),
        (("7", [("label", LABEL), ("probabilities", PROBABILITIES + 0.01)]), "probabilities"),
        (("7", [("label", LABEL - 1), ("probabilities", PROBABILITIES)]), "label"),
        (("7", [("label", LABEL), ("probabilities", PROBABILITIES.ravel())]), "probabilities"),
    ],
)
def test_each_way_of_being_wrong_is_named(answer, part):
    """Ids, names, values and shapes all have to be right."""
    assert part in difference(PREPARED, answer, [LABEL, PROBABILITIES])


def test_the_right_answer_has_no_difference():
    """Up to the last bits of float32 sums."""
    assert difference(PREPARED, ("7", [("label", LABEL), ("probabilities", PROBABILITIES + 1e-7)]), [LABEL, PROBABILITIES]) is None


def test_a_label_may_differ_only_where_probabilities_tie():
    """The batch decides the last bits of a sum, and so the winner of a tie."""
    tie = np.array([[0.5, 0.5]], np.float32)
    assert difference(PREPARED, ("7", [("label", LABEL), ("probabilities", tie)]), [LABEL - 1, tie]) is None


def test_grpc_messages_decode_and_wrong_lengths_are_refused():
    """The five bytes before a message say its length."""
    response = pb.ModelInferResponse(id="7", raw_output_contents=[LABEL.tobytes(), PROBABILITIES.tobytes()])
    response.outputs.add(name="label", datatype="INT64", shape=[1])
    response.outputs.add(name="probabilities", datatype="FP32", shape=[1, 2])
    body = response.SerializeToString()
    wire = b"\0" + len(body).to_bytes(4, "big") + body
    assert difference(PREPARED, decode_grpc(wire), [LABEL, PROBABILITIES]) is None
    with pytest.raises(ValueError, match="message of"):
        decode_grpc(wire + b"x")


def test_binary_http_answers_decode():
    """The JSON says how many bytes of each tensor follow it."""
    document = (
        b'{"id":"7","outputs":[{"name":"label","datatype":"INT64","shape":[1],"parameters":{"binary_data_size":8}},'
        b'{"name":"probabilities","datatype":"FP32","shape":[1,2],"parameters":{"binary_data_size":8}}]}'
    )
    head = b"HTTP/1.1 200 OK\r\nInference-Header-Content-Length: %d\r\n\r\n" % len(document)
    answer = decode_http(head + document + LABEL.tobytes() + PROBABILITIES.tobytes())
    assert difference(PREPARED, answer, [LABEL, PROBABILITIES]) is None


def test_requests_say_the_same_row_in_every_encoding():
    """Raw, typed, JSON and binary bodies carry the row that was given."""
    for typed in (False, True):
        request = pb.ModelInferRequest.FromString(grpc_message(TABULAR, "7", ROW, typed=typed).wire[5:])
        contents = request.inputs[0].contents.fp32_contents
        assert ROW.tolist() == (list(contents) if typed else np.frombuffer(request.raw_input_contents[0], "<f4").tolist())
    assert binary_request(TABULAR, "7", ROW, "h").wire.endswith(ROW.tobytes())
    head, _, body = json_request(TABULAR, "7", ROW, "h").wire.partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
