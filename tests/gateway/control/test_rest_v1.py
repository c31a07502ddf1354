"""The paths of protocol v1: models, status, readiness, metadata, labels, and what is refused by name."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.control.parking import Parking
from gateway.serving.routing import Routes
from tests.gateway.control.desk import Desk
from tests.gateway.serving.mixed_models import ROWS, built

OK = {"error_code": "OK", "error_message": ""}


def asked(desk: Desk, target: str, method: str = "GET", sent: bytes | None = None, *fields: str) -> tuple[int, Any]:
    """Status and JSON of an answer."""
    answer = desk.http.ask(method, target, sent, *fields)
    return answer.status, json.loads(answer.body) if answer.body else None


def line(version: str, state: str = "AVAILABLE", status: dict[str, str] = OK) -> dict[str, Any]:
    return {"version": version, "state": state, "status": status}


def status(*lines: dict[str, Any], ready: bool = True, name: str = ROWS) -> tuple[int, dict[str, Any]]:
    return 200, {"model_version_status": list(lines), "name": name, "ready": ready}


def aliased() -> Desk:
    """Versions 3 (champion) and 10 (challenger) of the rows, 7 that failed, and models without a champion."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    return desk


def failed(reason: str) -> dict[str, str]:
    return {"error_code": "UNAVAILABLE", "error_message": reason}


def test_the_models_are_those_of_v2() -> None:
    """KServe's list; HEAD has no body."""
    desk = Desk()
    assert (200, {"models": ["rows", "texts", "whole"]}) == asked(desk, "/v1/models")
    assert (200, None) == asked(desk, "/v1/models", "HEAD")


def test_the_root_says_that_the_server_is_alive() -> None:
    """As KServe's clients of protocol v1 ask."""
    assert (200, {"status": "alive"}) == asked(Desk(), "/")


def test_a_status_has_every_version_and_whether_the_model_is_ready() -> None:
    """TensorFlow Serving's list and KServe's word in one object."""
    assert status(line("3")) == asked(Desk(), "/v1/models/rows")
    desk = aliased()
    assert status(line("3"), line("7", "END", failed("no")), line("10")) == asked(desk, "/v1/models/rows")
    assert (200, None) == asked(desk, "/v1/models/%72ows", "HEAD")


@pytest.mark.parametrize(
    ("path", "expected"),
    [("versions/3", status(line("3"))), ("versions/10", status(line("10"))),
     ("versions/7", status(line("7", "END", failed("no")), ready=False)),
     ("labels/champion", status(line("3"))), ("labels/challenger", status(line("10"))),
     ("labels/broken", status(line("7", "END", failed("no")), ready=False))],
)  # fmt: skip
def test_a_status_of_one_version(path: str, expected: tuple[int, dict[str, Any]]) -> None:
    """By its number or by an alias; ready is that one."""
    assert expected == asked(aliased(), f"/v1/models/rows/{path}")


def test_a_version_that_loads_is_loading_and_a_model_that_failed_is_not_ready() -> None:
    """With the reason; one that serves while its newer content failed has both."""
    desk = Desk()
    table = Routes(
        {ROWS: {3: desk.version(built(ROWS, desk.loop))}},
        {("bad", 1): "no memory", (ROWS, 3): "golden request 1 fails"},
        loading=frozenset({(ROWS, 4), ("new", 1)}),
        unloading=frozenset({(ROWS, 2)}),
    )
    desk.service.set_routes(table)
    message = {"error_code": "OK", "error_message": "golden request 1 fails"}
    draining = {"error_code": "OK", "error_message": "requests that have it are being answered"}
    lines = line("2", "UNLOADING", draining), line("3", status=message), line("4", "LOADING")
    assert status(*lines) == asked(desk, "/v1/models/rows")
    assert 404 == asked(desk, "/v1/models/rows/versions/2")[0]  # as inference says of it
    assert status(line("1", "END", failed("no memory")), ready=False, name="bad") == asked(desk, "/v1/models/bad")
    assert status(line("1", "LOADING"), ready=False, name="new") == asked(desk, "/v1/models/new")


def test_another_table_has_other_states() -> None:
    """What was gathered of the one before is thrown away."""
    desk = Desk()
    asked(desk, "/v1/models/rows")
    desk.service.set_routes(Routes({ROWS: {4: desk.version(built(ROWS, desk.loop), 4)}}))
    assert status(line("4")) == asked(desk, "/v1/models/rows")


def test_a_model_that_sleeps_is_ready_and_is_not_awakened_by_looking() -> None:
    """START: it is known, and loaded when somebody asks it something. Metadata awakens it, and is there a moment later."""
    desk = Desk()
    woken: list[str] = []
    desk.service.parking = Parking(desk.loop, desk.loop.now, woken.append, max_bytes=1 << 20)
    awake = desk.service.routes
    desk.service.set_routes(Routes(aliases={ROWS: {"champion": 3}}, asleep=frozenset({ROWS})))
    asleep = {"error_code": "OK", "error_message": "it is loaded when somebody asks for it"}
    for path, version in (("", "0"), ("/versions/5", "5"), ("/labels/champion", "3"), ("/labels/other", "0")):
        assert status(line(version, "START", asleep)) == asked(desk, f"/v1/models/rows{path}")
    assert [] == woken
    assert (503, {"error": "the model is being loaded"}) == asked(desk, "/v1/models/rows/metadata")
    assert [ROWS] == woken
    desk.service.set_routes(awake)
    assert 200 == asked(desk, "/v1/models/rows/metadata")[0]


@pytest.mark.parametrize("path", ["", "/versions/3", "/labels/champion"])
def test_metadata_describes_the_one_signature(path: str) -> None:
    """As TensorFlow Serving's JSON has it; without a version, of the one that answers."""
    code, found = asked(aliased(), f"/v1/models/rows{path}/metadata")
    assert (200, {"name": "rows", "signature_name": "", "version": "3"}) == (code, found["model_spec"])
    default = found["metadata"]["signature_def"]["signature_def"]["serving_default"]
    x = default["inputs"]["x"]
    assert ("DT_FLOAT", ["-1", "-1"]) == (x["dtype"], [one["size"] for one in x["tensor_shape"]["dim"]])
    assert ["sum", "y"] == list(default["outputs"])


PREDICT = "/v1/models/rows:predict"
BAD = [
    ("GET", "/v1", 404, "Not Found"), ("GET", "/v1/", 404, "Not Found"), ("GET", "/v1/models/", 404, "Not Found"),
    ("GET", "/v1/nothing/rows", 404, "Not Found"), ("GET", "/v1/models/rows/nothing", 404, "Not Found"),
    ("GET", "/v1/models/rows/", 404, "Not Found"), ("GET", "/v1/models/rows/versions", 404, "Not Found"),
    ("GET", "/v1/models/rows/versions/", 404, "Not Found"), ("GET", "/v1/models/rows/labels/", 404, "Not Found"),
    ("GET", "/v1/models/rows/versions/3/ready", 404, "Not Found"), ("GET", "/v1/models/rows/metadata/more", 404, "Not Found"),
    ("GET", "/v1/models/%ff", 404, "Not Found"), ("POST", "/v1/models/:predict", 404, "Not Found"),
    ("POST", "/v1/models/rows:nothing", 404, "Not Found"), ("POST", "/v1/models/rows:", 404, "Not Found"),
    ("POST", "/v1/models/rows/metadata:predict", 404, "Not Found"), ("POST", "/v1/models/rows/versions/:predict", 404, "Not Found"),
    ("GET", "/v1/models/nobody", 404, "Request for unknown model: 'nobody' is not found"),
    ("GET", "/v1/models/nobody/metadata", 404, "Request for unknown model: 'nobody' is not found"),
    ("GET", "/v1/models/rows/versions/4", 404, "Request for unknown model: 'rows' version 4 is not found"),
    ("GET", "/v1/models/rows/versions/03", 404, "Request for unknown model: 'rows' version 03 is not found"),
    ("GET", "/v1/models/rows/labels/nobody", 404, "Request for unknown model: 'rows' alias nobody is not found"),
    ("GET", "/v1/models/rows/versions/4/metadata", 404, "Request for unknown model: 'rows' version 4 is not found"),
    ("GET", "/v1/models/idle", 503, "model 'idle' serves no version: no alias stands for one"),
    ("GET", "/v1/models/headless/metadata", 503, "model 'headless' has no champion: name a version or alias"),
    ("GET", "/v1/models/rows/versions/champion", 400, "'champion' is not a version number: ask for an alias by its name behind /labels/"),
    ("GET", "/v1/models/rows/versions/%d9%a3", 400, "'٣' is not a version number: ask for an alias by its name behind /labels/"),
    ("GET", "/v1/models/rows/labels/3/metadata", 400, "'3' is not a label: ask for a version by its number behind /versions/"),
    ("POST", "/v1/models/rows/versions/a:predict", 400, "'a' is not a version number: ask for an alias by its name behind /labels/"),
    ("POST", "/v1/models/rows/labels/10:predict", 400, "'10' is not a label: ask for a version by its number behind /versions/"),
    ("POST", "/v1/models/rows:classify", 501, ":classify is not supported: use :predict"),
    ("POST", "/v1/models/rows/versions/3:regress", 501, ":regress is not supported: use :predict"),
    ("POST", "/v1/models/rows:explain", 501, ":explain is not supported: explainers are not served"),
    ("GET", PREDICT, 405, "Method Not Allowed"), ("PUT", PREDICT, 405, "Method Not Allowed"),
    ("POST", "/v1/models/rows", 405, "Method Not Allowed"), ("DELETE", "/v1/models/rows/metadata", 405, "Method Not Allowed"),
    ("POST", "/v1/models", 405, "Method Not Allowed"), ("POST", "/", 405, "Method Not Allowed"),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "code", "text"), BAD)
def test_what_cannot_be_answered_has_a_status_and_a_text(method: str, target: str, code: int, text: str) -> None:
    """JSON with one text and no more; the connection lives on."""
    desk = aliased()
    assert (code, {"error": text}) == asked(desk, target, method, b"" if method == "POST" else None)
    assert 200 == asked(desk, "/v1/models/rows")[0]


def test_a_model_that_answers_by_alias_only_is_not_ready_by_its_name() -> None:
    """Its versions are there to be seen; KServe's word is about requests that name none."""
    assert status(line("10"), ready=False, name="headless") == asked(aliased(), "/v1/models/headless")
    assert status(line("10"), name="headless") == asked(aliased(), "/v1/models/headless/labels/challenger")


@pytest.mark.parametrize(("method", "target", "allowed"), [("GET", PREDICT, "POST"), ("POST", "/v1/models/rows", "GET, HEAD")])
def test_a_wrong_method_is_told_the_right_ones(method: str, target: str, allowed: str) -> None:
    """RFC 9110 §15.5.6: Allow."""
    assert allowed == Desk().http.ask(method, target, b"" if method == "POST" else None).headers["allow"]


def test_before_the_repository_was_read_nothing_is_told() -> None:
    """A model that is not there may come."""
    desk = Desk()
    desk.service.set_routes(Routes(partial=True))
    assert (503, {"error": "the server is starting"}) == asked(desk, "/v1/models/rows")
