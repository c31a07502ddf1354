"""Load and unload on both transports, up to the question that goes to the supervisor and from its answer on."""

from __future__ import annotations

import json

import pytest

from gateway.control.calls import path
from gateway.control.model_control import MAX_WAITING
from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from gateway.wire.status import ANSWERS
from tests.gateway.control.desk import Desk

LOAD = "/v2/repository/models/rows/load"


def post(desk: Desk, target: str, body: bytes = b"") -> None:
    """Begin a request over HTTP."""
    desk.http.now = desk.loop.time
    desk.http.send(b"POST %b HTTP/1.1\r\nHost: desk\r\nContent-Length: %d\r\n\r\n%b" % (target.encode(), len(body), body))
    desk.loop.settle()


def answered(desk: Desk) -> tuple[int, str]:
    """Status and error of the last answer over HTTP."""
    head, _, body = desk.http.writes[-1].partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)["error"] if body else ""


def call(desk: Desk, rpc: str = "RepositoryModelLoad", **fields: str) -> int:
    kind = pb.RepositoryModelLoadRequest if rpc == "RepositoryModelLoad" else pb.RepositoryModelUnloadRequest
    return desk.open(path(rpc).decode(), kind(**fields).SerializeToString())


@pytest.mark.parametrize(("action", "load"), [("load", True), ("unload", False)])
def test_both_transports_ask_and_wait(action: str, load: bool) -> None:
    """The answer has no content; over HTTP names are decoded."""
    desk = Desk(explicit=True)
    post(desk, f"/v2/repository/models/%72ows/{action}", b'{"parameters":{}}')
    stream = call(desk, f"RepositoryModel{action.capitalize()}", model_name="texts")
    assert ([(1, "rows", load), (2, "texts", load)], []) == (desk.changes, desk.http.writes)
    desk.control.told(2, Code.OK, "")
    desk.control.told(1, Code.OK, "")
    desk.loop.settle()
    reply = desk.replies()[stream]
    assert ((200, ""), 0, [b""]) == (answered(desk), reply.status, reply.messages)


@pytest.mark.parametrize("code", [Code.NOT_FOUND, Code.FAILED_PRECONDITION, Code.UNAVAILABLE])
def test_what_went_wrong_is_told(code: Code) -> None:
    """With its code and text."""
    desk = Desk(explicit=True)
    post(desk, LOAD)
    stream = call(desk, model_name="rows")
    for number in (1, 2):
        desk.control.told(number, code, "failed to load 'rows'")
    desk.loop.settle()
    reply = desk.replies()[stream]
    assert (ANSWERS[code].http, "failed to load 'rows'") == answered(desk)
    assert (ANSWERS[code].grpc, "failed to load 'rows'") == (reply.status, reply.text)


def test_without_explicit_control_both_are_denied() -> None:
    """403 and PERMISSION_DENIED; nobody is asked."""
    desk = Desk()
    post(desk, LOAD)
    streams = [call(desk, rpc, model_name="rows") for rpc in ("RepositoryModelLoad", "RepositoryModelUnload")]
    assert 403 == answered(desk)[0]
    assert [(7, True)] * 2 == [(desk.replies()[one].status, "not allowed" in desk.replies()[one].text) for one in streams]
    assert [] == desk.changes


BAD = [
    (LOAD, b"x", 400), (LOAD, b"[]", 400), (LOAD, b'{"parameters":1}', 400), (LOAD, b"\xff", 400),
    (LOAD, b'{"parameters":{"more":1}}', 400), (LOAD, b'{"parameters":{"unload_dependents":true}}', 400),
    (LOAD, b'{"parameters":{"config":"{}"}}', 501), (LOAD, b'{"parameters":{"file:1/model.onnx":""}}', 501),
    ("/v2/repository/models/rows/unload", b'{"parameters":{"config":"{}"}}', 400),
    ("/v2/repository/models/rows/unload", b'{"parameters":{"unload_dependents":"yes"}}', 400),
    ("/v2/repository/main/models/rows/load", b"", 501), ("/v2/repository/models//load", b"", 404),
    ("/v2/repository/models/rows/", b"", 404), ("/v2/repository/models/%ff/load", b"", 404),
    ("/v2/repository/models/rows/reload", b"", 404),
]  # fmt: skip


@pytest.mark.parametrize(("target", "body", "status"), BAD)
def test_a_bad_request_over_http_asks_nobody(target: str, body: bytes, status: int) -> None:
    """Its status, and the connection lives on."""
    desk = Desk(explicit=True)
    post(desk, target, body)
    assert (status, []) == (answered(desk)[0], desk.changes)
    assert 200 == desk.http.ask("GET", "/v2/health/live").status
    assert 405 == desk.http.ask("GET", LOAD).status


def test_a_bad_message_over_grpc_asks_nobody() -> None:
    """Repositories have no names, parameters have; a message that is none is none."""
    desk = Desk(explicit=True)
    named = call(desk, model_name="rows", repository_name="main")
    request = pb.RepositoryModelLoadRequest(model_name="rows")
    request.parameters["config"].string_param = "{}"
    overridden = desk.open(path("RepositoryModelLoad").decode(), request.SerializeToString())
    broken = desk.open(path("RepositoryModelUnload").decode(), b"\xff")
    unload = pb.RepositoryModelUnloadRequest(model_name="rows")
    unload.parameters["unload_dependents"].string_param = "yes"
    worded = desk.open(path("RepositoryModelUnload").decode(), unload.SerializeToString())
    assert [12, 12, 3, 3] == [desk.replies()[one].status for one in (named, overridden, broken, worded)]
    assert [] == desk.changes
    unload.parameters["unload_dependents"].bool_param = True
    desk.open(path("RepositoryModelUnload").decode(), unload.SerializeToString())
    assert [(1, "rows", False)] == desk.changes


def test_so_many_wait_and_no_more() -> None:
    """The next one is told at once."""
    desk = Desk(explicit=True)
    streams = [call(desk, model_name="rows") for _ in range(MAX_WAITING + 1)]
    assert MAX_WAITING == len(desk.changes)
    assert 8 == desk.replies()[streams[-1]].status


def test_a_server_that_stops_keeps_nobody_waiting() -> None:
    """UNAVAILABLE for who waits; an answer that comes later is for nobody, and who comes later is told the same."""
    desk = Desk(explicit=True)
    stream = call(desk, model_name="rows")
    desk.control.close()
    desk.control.told(1, Code.OK, "")
    assert (14, "the server is shutting down") == (desk.replies()[stream].status, desk.replies()[stream].text)
    later = call(desk, model_name="rows")
    assert (14, "the server is shutting down") == (desk.replies()[later].status, desk.replies()[later].text)


def test_a_caller_that_went_away_is_not_answered() -> None:
    """And nothing else happens."""
    desk = Desk(explicit=True)
    stream = call(desk, model_name="rows")
    desk.wire.send(b"\x00\x00\x04\x03\x00" + stream.to_bytes(4, "big") + (8).to_bytes(4, "big"))  # RST_STREAM CANCEL
    desk.control.told(1, Code.OK, "")
    assert stream not in desk.replies()
