"""Trace and log settings: read on both transports, changed on none."""

from __future__ import annotations

import json

import pytest

from gateway.control.calls import path
from gateway.pb import inference_pb2 as pb
from tests.gateway.control.desk import Desk


def asked(desk: Desk, target: str) -> dict:
    answer = desk.http.ask("GET", target)
    assert 200 == answer.status
    found: dict = json.loads(answer.body)
    return found


def test_nothing_is_traced() -> None:
    """Of the server and of a model, by the names and types that clients read."""
    desk = Desk()
    found = asked(desk, "/v2/trace/setting")
    assert (["OFF"], "1000", "-1") == (found["trace_level"], found["trace_rate"], found["trace_count"])
    assert found == asked(desk, "/v2/models/rows/trace/setting")
    for model in ("", "rows"):
        reply = desk.call(path("TraceSetting").decode(), pb.TraceSettingRequest(model_name=model).SerializeToString())
        settings = pb.TraceSettingResponse.FromString(reply.messages[0]).settings
        assert {name: value if isinstance(value, list) else [value] for name, value in found.items()} == {
            name: list(value.value) for name, value in settings.items()
        }


@pytest.mark.parametrize(
    ("level", "written"), [("debug", (True, True, True, 1)), ("info", (True, True, True, 0)), ("error", (False, False, True, 0))]
)
def test_what_is_logged(level: str, written: tuple) -> None:
    """As the server's settings say, with the types of the protocol."""
    desk = Desk()
    desk.level = level
    found = asked(desk, "/v2/logging")
    assert written == tuple(found[name] for name in ("log_info", "log_warning", "log_error", "log_verbose_level"))
    reply = desk.call(path("LogSettings").decode(), b"")
    settings = pb.LogSettingsResponse.FromString(reply.messages[0]).settings
    assert found == {name: getattr(value, value.WhichOneof("parameter_choice")) for name, value in settings.items()}


@pytest.mark.parametrize("explicit", [False, True])
def test_neither_is_changed_from_here(explicit: bool) -> None:
    """403 and PERMISSION_DENIED with the same text, also where callers may load and unload; settings are read as before."""
    desk = Desk(explicit=explicit)
    before = [asked(desk, target) for target in ("/v2/logging", "/v2/trace/setting")]
    texts = {
        "/v2/logging": "log settings are not changed from here: they are its own settings (logging)",
        "/v2/trace/setting": "trace settings are not changed from here: this server does not trace",
        "/v2/models/rows/trace/setting": "trace settings are not changed from here: this server does not trace",
    }
    for target, text in texts.items():
        for body in (b'{"log_info":false}', b'{"trace_level":null}', b"{}"):
            answer = desk.http.ask("POST", target, body)
            assert (403, {"error": text}) == (answer.status, json.loads(answer.body))
        assert 405 == desk.http.ask("DELETE", target).status
    trace, of_model, cleared, log = (
        pb.TraceSettingRequest(),
        pb.TraceSettingRequest(model_name="rows"),
        pb.TraceSettingRequest(),
        pb.LogSettingsRequest(),
    )
    for request in (trace, of_model):
        request.settings["trace_level"].value.append("TIMESTAMPS")
    cleared.settings["trace_level"].SetInParent()
    log.settings["log_info"].bool_param = False
    for rpc, request, target in (
        ("TraceSetting", trace, "/v2/trace/setting"), ("TraceSetting", of_model, "/v2/trace/setting"),
        ("TraceSetting", cleared, "/v2/trace/setting"), ("LogSettings", log, "/v2/logging"),
    ):  # fmt: skip
        reply = desk.call(path(rpc).decode(), request.SerializeToString())
        assert (7, texts[target]) == (reply.status, reply.text)
    assert before == [asked(desk, target) for target in ("/v2/logging", "/v2/trace/setting")]


def test_a_model_that_does_not_exist_has_no_settings() -> None:
    """On both transports."""
    desk = Desk()
    assert 404 == desk.http.ask("GET", "/v2/models/nobody/trace/setting").status
    assert 404 == desk.http.ask("GET", "/v2/models//trace/setting").status
    assert 5 == desk.call(path("TraceSetting").decode(), pb.TraceSettingRequest(model_name="nobody").SerializeToString()).status
    for rpc in ("TraceSetting", "LogSettings"):
        assert 3 == desk.call(path(rpc).decode(), b"\xff").status
