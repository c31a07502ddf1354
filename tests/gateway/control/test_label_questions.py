"""Labels on both transports: passed on whole, answered when they are kept, and refused where nobody could."""

from __future__ import annotations

import json

import pytest

from gateway.control.label_questions import MAX_BYTES, MAX_WAITING, PATIENCE_S
from gateway.errors import Code
from gateway.identity.gate import Known
from gateway.pb import tidegate_pb2 as pb
from tests.gateway.control.desk import Desk
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.wire import http1_wire, http2_wire

PATH = "/tidegate.Labels/Ingest"
ITEM = {"label_id": "a", "model": "rows", "client_request_id": "c", "value": 1}


def post(desk: Desk, body: bytes, *fields: str) -> http1_wire.Answer:
    """The answer over HTTP."""
    return desk.http.ask("POST", "/v1/labels", body, "Content-Type: application/json", *fields)


def sent(desk: Desk, *items: dict[str, object], **more: object) -> None:
    """Labels over HTTP whose answer is not there yet."""
    body = json.dumps({"labels": items or [ITEM], **more}).encode()
    desk.http.now = desk.loop.time
    desk.http.send(http1_wire.post("/v1/labels", body, "Content-Type: application/json"))


def test_labels_are_passed_on_as_they_came() -> None:
    """Over both, and each gets the answer that is written for it."""
    desk = Desk()
    message = pb.LabelsRequest(model="rows", labels=[pb.Label(label_id="a", value=1.0, client_request_id="c")]).SerializeToString()
    stream = desk.open(PATH, message)
    sent(desk, ITEM)
    assert [(1, message, True), (2, json.dumps({"labels": [ITEM]}).encode(), False)] == desk.brought
    desk.labels.told(2, Code.OK, "", b'{"accepted":1}')
    desk.labels.told(1, Code.OK, "", pb.LabelsResponse(accepted=1).SerializeToString())
    desk.loop.settle()
    assert 1 == pb.LabelsResponse.FromString(desk.replies()[stream].messages[0]).accepted
    (answer,) = http1_wire.read_answers(b"".join(desk.http.writes), "POST")
    assert (200, b'{"accepted":1}') == (answer.status, answer.body)
    desk.labels.told(2, Code.OK, "", b"again")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"", "is no request with labels"), (b"[]", "is no request with labels"), (b'{"labels": 1}', "is no request with labels"),
        (b'{"labels": []}', "0 labels, where 1 to 10000"), (b'{"labels": [1]}', "is no request with labels"),
        (b'{"labels": [' + b"{}," * 10_000 + b"{}]}", "10001 labels"),
    ],
)  # fmt: skip
def test_what_is_no_request_with_labels_goes_no_further(body: bytes, says: str) -> None:
    """400, with what is wrong."""
    desk = Desk()
    answer = post(desk, body)
    assert (400, True, []) == (answer.status, says in json.loads(answer.body)["error"], desk.brought)


def test_a_broken_message_is_refused() -> None:
    """INVALID_ARGUMENT, also one without labels."""
    for message in (b"\xff", b""):
        assert 3 == Desk().call(PATH, message).status


def test_where_labels_are_not_taken_everybody_is_told() -> None:
    """UNAVAILABLE and 503, with the setting."""
    desk = Desk()
    desk.takes_labels = False
    answer = post(desk, json.dumps({"labels": [ITEM]}).encode())
    assert (503, True) == (answer.status, "labels.enabled" in json.loads(answer.body)["error"])
    assert 14 == desk.call(PATH, pb.LabelsRequest(labels=[pb.Label()]).SerializeToString()).status


def test_an_error_or_no_answer_is_unavailable() -> None:
    """What the keeper says is passed on; where it says nothing, nobody waits for ever."""
    desk = Desk()
    message = pb.LabelsRequest(labels=[pb.Label()]).SerializeToString()
    first, second, gone = (desk.open(PATH, message) for _ in range(3))
    desk.wire.send(http2_wire.reset(gone))
    desk.labels.told(1, Code.UNAVAILABLE, "the disk is full", b"")
    desk.loop.advance(PATIENCE_S)
    replies = desk.replies()
    assert [(14, "the disk is full"), (14, True)] == [
        (replies[first].status, replies[first].text), (replies[second].status, "send the same again" in replies[second].text)
    ]  # fmt: skip
    assert gone not in replies


def test_so_many_wait_and_no_more() -> None:
    """The next one is told to come again, one that is too large is told its bound."""
    desk = Desk()
    message = pb.LabelsRequest(labels=[pb.Label()]).SerializeToString()
    for _ in range(MAX_WAITING):
        desk.labels._want(message, lambda _found: None, message=True, demand=lambda _model: None)
    assert (8, MAX_WAITING) == (desk.call(PATH, message).status, len(desk.brought))
    found: list[object] = []
    Desk().labels._want(b" " * (MAX_BYTES + 1), found.append, message=False, demand=lambda _model: None)
    assert Code.TOO_LARGE is found[0].code  # type: ignore[attr-defined]


def test_who_may_not_write_labels_of_a_model_writes_none() -> None:
    """One model without a right, and nothing of the request is stored; the scope infer is not enough."""
    desk = Desk(auth=auth())
    keys = {scope: api_key(scope.replace(":", "-").replace("*", "all"), scope) for scope in ("labels:rows", "labels:*", "infer:rows")}
    desk.gate.renew(Known(keys=tuple(known for _, known in keys.values())))
    items = [ITEM, ITEM | {"model": "texts"}]
    for scope, one, two in (("labels:rows", 200, 403), ("labels:*", 200, 200), ("infer:rows", 403, 403)):
        for count, status in ((1, one), (2, two)):
            before = len(desk.brought)
            desk.labels._ask = lambda number, *_: desk.loop.call_soon(desk.labels.told, number, 0, "", b"{}")  # type: ignore[assignment]
            answer = post(desk, json.dumps({"labels": items[:count]}).encode(), f"Authorization: Bearer {keys[scope][0]}")
            assert (status, before) == (answer.status, len(desk.brought)), scope
    assert 401 == post(desk, json.dumps({"labels": items}).encode()).status
