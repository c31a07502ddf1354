"""Priorities and queue policies as callers of all transports meet them."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from registry.queueing import Queueing, QueuePolicy
from tests.gateway.control.desk import INFER, ROWS, STREAM, Desk, body, infer, tensors
from tests.gateway.serving.mixed_models import built
from tests.gateway.wire import http1_wire

HTTP_INFER = f"/v2/models/{ROWS}/infer"
TOO_HIGH = "parameter 'priority' of the request is 3, and the model has levels from 1 to 2"
OK, INVALID, DEADLINE, EXHAUSTED = 0, 3, 4, 8


def desk_with(queueing: Queueing, **options: Any) -> Desk:
    desk = Desk(**options)
    desk.service.set_routes(Routes({ROWS: {3: desk.version(built(ROWS, desk.loop), queueing=queueing)}}))
    return desk


def row(number: float, count: int = 1) -> np.ndarray:
    return np.full((count, 2), number, np.float32)


def streamed(message: bytes) -> str | dict:
    answer = pb.ModelStreamInferResponse.FromString(message)
    return answer.error_message or tensors(answer.infer_response.SerializeToString())


LEVELS = Queueing(priority_levels=2, default_priority_level=2)


def test_a_level_that_does_not_exist_is_the_callers_mistake() -> None:
    """On every transport, also where the message was learned; its neighbours in the tick are answered."""
    desk = desk_with(LEVELS)
    for _ in range(3):
        bad, good = desk.open(INFER, infer(ROWS, row(1), priority=3)), desk.open(INFER, infer(ROWS, row(2), priority=2))
        stream = desk.open(STREAM, infer(ROWS, row(1), priority=3), infer(ROWS, row(2)))
        desk.loop.settle()
        replies = desk.replies()
        assert (INVALID, TOO_HIGH) == (replies[bad].status, replies[bad].text)
        assert (OK, OK) == (replies[good].status, replies[stream].status)
        assert [True, False] == [streamed(message) == TOO_HIGH for message in replies[stream].messages]
        answers = [desk.http.ask("POST", HTTP_INFER, body([[1.0]], parameters={"priority": level})) for level in (3, 1)]
        assert [(400, TOO_HIGH), (200, None)] == [(answer.status, json.loads(answer.body).get("error")) for answer in answers]


def test_without_levels_a_priority_is_taken() -> None:
    """As Triton takes it."""
    desk = desk_with(Queueing())
    assert OK == desk.call(INFER, infer(ROWS, row(1), priority=7)).status
    assert 200 == desk.http.ask("POST", HTTP_INFER, body([[1.0]], parameters={"priority": 7})).status


def test_the_urgent_are_answered_first_whatever_their_transport() -> None:
    """Eight rows are a run; the long way, the learning one and the short one of each transport."""
    for _ in range(3):
        desk = desk_with(LEVELS, threaded=True)
        desk.open(INFER, infer(ROWS, row(0)))
        desk.loop.settle()
        low = [desk.open(INFER, infer(ROWS, row(1, 4))) for _ in range(4)]
        desk.http.now = desk.loop.time
        desk.http.send(http1_wire.post(HTTP_INFER, body([[1.0, 2.0]] * 4, parameters={"priority": 1})))
        urgent = desk.open(INFER, infer(ROWS, row(2, 4), priority=1))
        desk.finish_runs()
        assert not set(desk.replies()) & {urgent, *low}
        desk.finish_runs()
        assert {urgent} == set(desk.replies()) & {urgent, *low}
        assert [200] == desk.http.statuses()


@pytest.mark.parametrize(("action", "late"), [("reject", (DEADLINE, 504)), ("delay", (OK, 200))])
def test_a_queue_has_only_so_much_patience(action: Any, late: tuple[int, int]) -> None:
    """Refused on time with Triton's text, or served once nothing else waits. Waiting counts, running does not."""
    desk = desk_with(Queueing(default_queue_policy=QueuePolicy(timeout_action=action, default_timeout_us=100_000)), threaded=True)
    running = desk.open(INFER, infer(ROWS, row(0)))
    desk.loop.settle()
    waiting = desk.open(INFER, infer(ROWS, row(1)))
    desk.http.now = desk.loop.time
    desk.http.send(http1_wire.post(f"/v1/models/{ROWS}:predict", json.dumps({"instances": [[1.0, 2.0]]}).encode()))
    desk.loop.settle()
    desk.loop.advance(0.2)
    desk.http.now = desk.loop.time
    if action == "reject":
        assert (DEADLINE, "Request timeout expired") == (desk.replies()[waiting].status, desk.replies()[waiting].text)
    else:
        assert waiting not in desk.replies()
    for _ in range(4):
        desk.finish_runs()
    replies = desk.replies()
    assert (OK, late) == (replies[running].status, (replies[waiting].status, desk.http.statuses()[0]))


def test_a_full_level_refuses_with_a_time_to_come_back() -> None:
    """As any queue that is full."""
    desk = desk_with(Queueing(default_queue_policy=QueuePolicy(max_queue_size=1)), threaded=True)
    desk.open(INFER, infer(ROWS, row(0)))
    desk.loop.settle()
    waiting, refused = (desk.open(INFER, infer(ROWS, row(number))) for number in (1, 2))
    answer = desk.http.ask("POST", HTTP_INFER, body([[1.0]]))
    assert (429, "1", {"error": "Exceeds maximum queue size"}) == (answer.status, answer.headers["retry-after"], json.loads(answer.body))
    desk.finish_runs()
    desk.finish_runs()
    replies = desk.replies()
    assert (OK, EXHAUSTED, "Exceeds maximum queue size") == (replies[waiting].status, replies[refused].status, replies[refused].text)
