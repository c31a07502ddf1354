"""The configuration of a version on both transports: GET …/config and ModelConfig."""

from __future__ import annotations

import json
from typing import Any

import pytest
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2 as triton

from gateway.config import Versions
from gateway.control.calls import path
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from gateway.serving.versions import Description
from registry.pb import model_config_pb2 as config_pb
from tests.gateway.control.desk import Desk, Reply
from tests.gateway.serving.mixed_models import ROWS, built

POLICY = config_pb.ModelConfig(version_policy=config_pb.ModelVersionPolicy(all={})).SerializeToString()


def asked(desk: Desk, target: str, method: str = "GET") -> tuple[int, Any]:
    answer = desk.http.ask(method, target)
    return answer.status, json.loads(answer.body) if answer.body else None


def called(desk: Desk, **fields: str) -> Reply:
    return desk.call(path("ModelConfig").decode(), pb.ModelConfigRequest(**fields).SerializeToString())


def told(reply: Reply) -> Any:
    assert (0, "") == (reply.status, reply.text)
    return pb.ModelConfigResponse.FromString(reply.messages[0]).config


def test_both_transports_tell_the_same() -> None:
    """Triton's client for gRPC and its classes read either."""
    desk = Desk()
    cases = [({"name": "rows"}, "rows"), ({"name": "texts", "version": "3"}, "texts/versions/3"), ({"name": "whole"}, "whole")]
    for fields, target in cases:
        status, found = asked(desk, f"/v2/models/{target}/config")
        theirs = json_format.ParseDict(found, triton.ModelConfig())
        assert (200, told(called(desk, **fields)).SerializeToString(deterministic=True)) == (
            status, theirs.SerializeToString(deterministic=True)
        )  # fmt: skip


def test_it_says_how_a_model_is_served() -> None:
    """Rows, dims without them, joining, platform."""
    _, rows = asked(Desk(), "/v2/models/rows/config")
    _, whole = asked(Desk(), "/v2/models/whole/config")
    assert ("rows", "onnxruntime_onnx", "onnxruntime", 8) == tuple(rows[name] for name in ("name", "platform", "backend", "max_batch_size"))
    assert (0, [[-1]], [[-1, -1]], True, False) == (
        whole["max_batch_size"], [port["dims"] for port in rows["input"]], [port["dims"] for port in whole["input"]],
        "dynamic_batching" in rows, "dynamic_batching" in whole,
    )  # fmt: skip
    assert [("sum", "TYPE_FP32"), ("y", "TYPE_FP32")] == [(port["name"], port["data_type"]) for port in rows["output"]]
    assert (200, None) == asked(Desk(), "/v2/models/rows/config", "HEAD")


def test_a_version_that_joins_nothing_says_so() -> None:
    """By leaving dynamic_batching out."""
    desk = Desk()
    desk.service.set_routes(Routes({ROWS: {1: desk.version(built(ROWS, desk.loop), 1, joins=False)}}))
    assert "dynamic_batching" not in asked(desk, "/v2/models/rows/config")[1]
    assert not told(called(desk, name="rows")).HasField("dynamic_batching")


def test_each_version_has_its_own() -> None:
    """By number, by alias, or the one that a request without a version means."""
    desk = Desk()
    routes = desk.aliased()
    routes.versions[ROWS][10].max_delay_s = 3e-3
    desk.service.set_routes(routes)
    for version, delay in (("", 0), ("3", 0), ("champion", 0), ("10", 3000), ("challenger", 3000)):
        infix = f"/versions/{version}" if version else ""
        _, found = asked(desk, f"/v2/models/rows{infix}/config")
        assert delay == found["dynamic_batching"]["max_queue_delay_microseconds"]
        assert delay == told(called(desk, name="rows", version=version)).dynamic_batching.max_queue_delay_microseconds


@pytest.mark.parametrize(
    ("chosen", "of_registry", "expected"),
    [
        (Versions(), False, {"all": {}}), (Versions(latest=2), False, {"latest": {"num_versions": 2}}),
        (Versions(specific=(3, 10)), False, {"specific": {"versions": [3, 10]}}), (Versions(all=True), True, {"all": {}}),
        (Versions(), True, {"specific": {"versions": [3, 10]}}),
        (Versions(aliases=("champion",)), True, {"specific": {"versions": [3, 10]}}),
    ],
)  # fmt: skip
def test_which_versions_there_are(chosen: Versions, of_registry: bool, expected: dict) -> None:
    """By the settings, else by the file; what aliases choose is told as what serves."""
    desk = Desk()
    versions = {number: desk.version(built(ROWS, desk.loop), number) for number in (3, 10)}
    for version in versions.values():
        version.description = Description(configuration=POLICY)
    desk.service.set_routes(Routes({ROWS: versions}, aliases={ROWS: {}} if of_registry else {}))
    desk.chosen[ROWS] = chosen
    assert expected == asked(desk, "/v2/models/rows/config")[1]["version_policy"]


@pytest.mark.parametrize(
    ("fields", "target", "http", "grpc", "text"),
    [
        ({"name": "no"}, "no", 404, 5, "Request for unknown model: 'no' is not found"),
        ({"name": "rows", "version": "9"}, "rows/versions/9", 404, 5, "Request for unknown model: 'rows' version 9 is not found"),
        ({"name": "rows", "version": "0x3"}, "rows/versions/0x3", 404, 5, "Request for unknown model: 'rows' version 0x3 is not found"),
        ({"name": "broken"}, "broken", 503, 14, "Request for unknown model: 'broken' has no version that is ready"),
        ({}, "%20", 404, 5, None),
    ],
)
def test_a_question_about_nothing_has_an_error(fields: dict[str, str], target: str, http: int, grpc: int, text: str | None) -> None:
    """Of the same kind on both transports; the connection lives on."""
    desk = Desk()
    status, answer = asked(desk, f"/v2/models/{target}/config")
    reply = called(desk, **fields)
    assert (http, grpc, ["error"]) == (status, reply.status, list(answer))
    if text is not None:
        assert (text, text) == (answer["error"], reply.text)
    assert 200 == asked(desk, "/v2/models/rows/config")[0]


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("POST", "/v2/models/rows/config", 405), ("GET", "/v2/models/rows/config/", 404), ("GET", "/v2/models/rows/config/more", 404),
        ("GET", "/v2/models/rows/versions/3/config/more", 404), ("GET", "/v2/config", 404), ("GET", "/v2/models//config", 404),
    ],
)  # fmt: skip
def test_only_this_path_and_method(method: str, target: str, status: int) -> None:
    """As everywhere."""
    assert status == asked(Desk(), target, method)[0]


def test_bytes_that_are_no_question_are_refused() -> None:
    """INVALID_ARGUMENT."""
    reply = Desk().call(path("ModelConfig").decode(), b"\xff")
    assert (3, "the message is not a valid ModelConfigRequest") == (reply.status, reply.text)


def test_before_the_repository_was_read_nothing_is_known() -> None:
    """UNAVAILABLE: it may come."""
    desk = Desk()
    desk.service.set_routes(Routes(partial=True))
    assert ((503, {"error": "the server is starting"}), 14) == (asked(desk, "/v2/models/rows/config"), called(desk, name="rows").status)
