"""Load and unload on both transports, up to the question that goes to the supervisor and from its answer on."""

from __future__ import annotations

import base64
import json
import os
from contextlib import closing

import pytest

from gateway.control.calls import path
from gateway.control.model_control import MAX_WAITING
from gateway.errors import Code
from gateway.pb import inference_pb2 as pb
from gateway.wire.status import ANSWERS
from registry.overlay import MAX_FILES, Overlay
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


def loading(model: str = "rows", **parameters: object) -> bytes:
    """A RepositoryModelLoadRequest with parameters of the types that they have."""
    request = pb.RepositoryModelLoadRequest(model_name=model)
    fields = {bool: "bool_param", int: "int64_param", str: "string_param", bytes: "bytes_param"}
    for name, value in parameters.items():
        setattr(request.parameters[name], fields[type(value)], value)
    return bytes(request.SerializeToString())


def received(desk: Desk, number: int) -> tuple[str, str, dict[tuple[int, str], bytes]]:
    """What came with a load, as the supervisor reads it."""
    with closing(Overlay.received(os.getpid(), desk.bundles[number])) as overlay:
        files = {(version, name): overlay.sealed(version, name) for version in overlay.versions for name in overlay.files(version)}
        contents = {path: bytes(file.map()) if file.size_bytes else b"" for path, file in files.items()}
        for file in files.values():
            file.close()
        return overlay.model, overlay.configuration, contents


def test_a_configuration_and_files_come_with_a_load() -> None:
    """On both transports; whoever is asked reads them until the answer is there."""
    desk = Desk(explicit=True, repository={"load_files": True})
    files = {(1, "model.onnx"): bytes(range(256)), (12, "w.bin"): b""}
    named = {f"file:{version}/{name}": content for (version, name), content in files.items()}
    coded = {name: base64.b64encode(content).decode() for name, content in named.items()}
    post(desk, LOAD, json.dumps({"parameters": {"config": '{"name":"é"}', **coded}}).encode())
    stream = desk.open(path("RepositoryModelLoad").decode(), loading("texts", config="{}", **named))
    post(desk, LOAD, b'{"parameters":{"config":"{}"}}')
    assert [(1, "rows", True), (2, "texts", True), (3, "rows", True)] == desk.changes
    assert [("rows", '{"name":"é"}', files), ("texts", "{}", files), ("rows", "{}", {})] == [received(desk, number) for number in (1, 2, 3)]
    descriptors = list(desk.bundles.values())
    desk.control.told(2, Code.OK, "")
    assert 0 == desk.replies()[stream].status
    desk.control.close()
    assert [False] * 3 == [os.path.exists(f"/proc/self/fd/{descriptor}") for descriptor in descriptors]


MODEL_FILE = "file:1/model.onnx"
BAD_NAMES = ["file:1/../model.onnx", "file:model.onnx", "file:", "file:/etc/passwd", "file:0/model.onnx", "File:1/model.onnx", "file"]


@pytest.mark.parametrize("value", ["not base64", "eA", 1, None, [], "é"])
def test_a_file_that_is_no_base64_is_refused_over_http(value: object) -> None:
    """By its name, and nobody is asked."""
    desk = Desk(explicit=True, repository={"load_files": True})
    post(desk, LOAD, json.dumps({"parameters": {"config": "{}", MODEL_FILE: value}}).encode())
    status, text = answered(desk)
    assert (400, True, []) == (status, text.startswith(f"parameter '{MODEL_FILE}' must be the content of a file"), desk.changes)


BAD_FILES = [{MODEL_FILE: b"x"}, {"config": "{}", MODEL_FILE: 1}, *[{"config": "{}", name: b"x"} for name in BAD_NAMES]]


@pytest.mark.parametrize("parameters", BAD_FILES)
def test_files_that_are_none_are_refused_by_name(parameters: dict[str, object]) -> None:
    """On both transports, and nobody is asked."""
    desk = Desk(explicit=True, repository={"load_files": True})
    coded = {name: "eA==" if value == b"x" else value for name, value in parameters.items()}
    post(desk, LOAD, json.dumps({"parameters": coded}).encode())
    reply = desk.call(path("RepositoryModelLoad").decode(), loading(**parameters))
    assert (400, 3, []) == (answered(desk)[0], reply.status, desk.changes)
    assert reply.text == answered(desk)[1]


def test_files_are_bounded_in_number_and_what_waits_in_bytes() -> None:
    """A third load of 400 bytes has no room beside two; there is room again when one has been answered."""
    desk = Desk(explicit=True, repository={"load_files": True, "load_bytes": 1000})
    many = {f"file:1/{number}": b"" for number in range(MAX_FILES + 1)}
    assert 8 == desk.call(path("RepositoryModelLoad").decode(), loading(config="{}", **many)).status
    message = loading(config="{}", **{"file:1/model.onnx": bytes(400)})
    streams = [desk.open(path("RepositoryModelLoad").decode(), message) for _ in range(3)]
    assert (2, {streams[2]: 8}) == (len(desk.changes), {one: reply.status for one, reply in desk.replies().items() if one in streams})
    desk.control.told(1, Code.OK, "")
    desk.open(path("RepositoryModelLoad").decode(), message)
    assert 3 == len(desk.changes)


BAD = [
    (LOAD, b"x", 400), (LOAD, b"[]", 400), (LOAD, b'{"parameters":1}', 400), (LOAD, b"\xff", 400),
    (LOAD, b'{"parameters":{"more":1}}', 400), (LOAD, b'{"parameters":{"unload_dependents":true}}', 400),
    (LOAD, b'{"parameters":{"config":{}}}', 400), (LOAD, b'{"parameters":{"config":null}}', 400),
    (LOAD, b'{"parameters":{"config":"\\ud800"}}', 400), (LOAD, b'{"parameters":{"config":"%b"}}' % (b" " * (256 << 10) + b"x"), 413),
    (LOAD, b'{"parameters":{"config":"{}","file:1/model.onnx":""}}', 403), (LOAD, b'{"parameters":{"file:1/model.onnx":""}}', 403),
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
    typed = loading(config=b"{}")
    open_ended = loading(config="{}", **{"file:1/model.onnx": b"x"})
    overridden, denied = (desk.open(path("RepositoryModelLoad").decode(), message) for message in (typed, open_ended))
    broken = desk.open(path("RepositoryModelUnload").decode(), b"\xff")
    unload = pb.RepositoryModelUnloadRequest(model_name="rows")
    unload.parameters["unload_dependents"].string_param = "yes"
    worded = desk.open(path("RepositoryModelUnload").decode(), unload.SerializeToString())
    assert [12, 3, 7, 3, 3] == [desk.replies()[one].status for one in (named, overridden, denied, broken, worded)]
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
