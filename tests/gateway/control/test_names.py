"""The id under which a request is logged, as answers tell it: to each its own, whatever else is in its batch."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest

from gateway.pb import inference_pb2 as pb
from gateway.serving.batch import Batch
from tests.gateway.control.desk import INFER, STREAM, Desk, body, infer, tensors
from tests.gateway.serving.mixed_models import ROWS, TAG, TEXTS, WHOLE

PARAMETER = "tidegate-request-id"


def logged(desk: Desk) -> list[str]:
    """Every request gets a name: all of them, in order."""
    told: list[str] = []

    def hold(batch: Batch, _then: Callable[[], None]) -> bool:
        names = [f"{len(told) + at:036d}" for at in range(len(batch.items))]
        batch.names = np.frombuffer("".join(names).encode(), np.uint8).reshape(-1, 36)
        told.extend(names)
        return False

    desk.batcher.hold = hold
    return told


def name_of(message: bytes) -> str:
    return pb.ModelInferResponse.FromString(message).parameters[PARAMETER].string_param


def row(tag: int, count: int = 1) -> np.ndarray:
    return (tag * TAG + np.arange(2 * count)).astype(np.float32).reshape(count, 2)


@pytest.mark.parametrize("lengths", [(1,), (0,), (1, 3), (2, 0, 5)])
@pytest.mark.parametrize("calls", [1, 3, 9])
def test_every_answer_of_a_tick_has_its_own_name(calls: int, lengths: tuple[int, ...]) -> None:
    """Laid out together or one by one, beside a request that fails: the log's row and the answer go by one name."""
    desk = Desk()
    told = logged(desk)
    sent = {}
    for tag in range(1, calls + 1):
        own = str(tag) * lengths[tag % len(lengths)]
        sent[desk.open(INFER, infer(ROWS, row(tag), request_id=own))] = tag, own
    desk.loop.settle()
    replies = desk.replies()
    found = set()
    for stream, (tag, own) in sent.items():
        (message,) = replies[stream].messages
        answer = pb.ModelInferResponse.FromString(message)
        assert (own, 1) == (answer.id, len(answer.parameters))
        found.add(name_of(message))
        assert tensors(message)["y"] == tensors(desk_answer(tag))["y"]
    assert (calls, set(told)) == (len(told), found)


def desk_answer(tag: int) -> bytes:
    """What a server without a log says: the same, without a parameter."""
    (message,) = Desk().call(INFER, infer(ROWS, row(tag))).messages
    assert not pb.ModelInferResponse.FromString(message).parameters
    return message


@pytest.mark.parametrize(
    "message",
    [
        infer(TEXTS, np.array([["a"]], object), np.array([[1]], np.int64), request_id="t"),
        infer(WHOLE, np.zeros((2, 2), np.float64), request_id="w"),
    ],
)
def test_texts_and_whole_arrays_have_one_too(message: bytes) -> None:
    """They are put together another way."""
    desk = Desk()
    told = logged(desk)
    reply = desk.call(INFER, message)
    assert (0, told, 1) == (reply.status, [name_of(part) for part in reply.messages], len(told)), reply


def test_answers_of_a_stream_have_one_each() -> None:
    """In the message: a stream has one head for all of them."""
    desk = Desk()
    logged(desk)
    stream = desk.open(STREAM, *[infer(ROWS, row(tag), request_id=f"s{tag}") for tag in range(1, 6)])
    desk.loop.settle()
    answers = [pb.ModelStreamInferResponse.FromString(message).infer_response for message in desk.replies()[stream].messages]
    assert [f"s{tag}" for tag in range(1, 6)] == [answer.id for answer in answers]
    names = {answer.parameters[PARAMETER].string_param for answer in answers}
    assert ({36}, 5) == ({len(name) for name in names}, len(names))


def test_over_http_it_is_a_header() -> None:
    """Of answers, and of no answer that is an error before there was a version."""
    desk = Desk()
    logged(desk)
    answers = [desk.http.ask("POST", f"/v2/models/{ROWS}/infer", body(row(tag).tolist())) for tag in (1, 2)]
    assert ["0" * 36, "0" * 35 + "1"] == [answer.headers[PARAMETER] for answer in answers]
    assert json.loads(answers[0].body)["outputs"]
    refused = desk.http.ask("POST", "/v2/models/nobody/infer", body(row(1).tolist()))
    assert PARAMETER not in refused.headers
