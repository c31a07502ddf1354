"""The REST surface from bytes to bytes: routes, inference in JSON and binary, errors with their statuses."""

from __future__ import annotations

import json
import logging
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.state import EXTENSIONS
from gateway.errors import Code
from gateway.limits import Limits, ServingLimits
from gateway.observe.slabs import HTTP
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from gateway.serving.sessions import Placement
from gateway.serving.versions import Description
from tests import naive
from tests.gateway.control.desk import Desk, body
from tests.gateway.serving.mixed_models import ROWS, TAG, built
from tests.gateway.wire import http1_wire

INFER = "/v2/models/rows/infer"


def asked(desk: Desk, method: str, target: str, sent: bytes | None = None, *fields: str) -> tuple[int, object]:
    """Status and JSON of an answer."""
    answer = desk.http.ask(method, target, sent, *fields)
    return answer.status, json.loads(answer.body) if answer.body else None


def outputs(value: object) -> dict[str, list]:
    return {output["name"]: np.array(output["data"]).reshape(output["shape"]).tolist() for output in value["outputs"]}  # type: ignore[index]


def rows(tag: int, count: int = 1, features: int = 2) -> list[list[float]]:
    return [[float(tag * TAG + (row * features + column) % TAG) for column in range(features)] for row in range(count)]


GOOD = [
    ("/v2", {"name": "desk", "version": "9.9", "extensions": list(EXTENSIONS)}),
    ("/v2/", {"name": "desk", "version": "9.9", "extensions": list(EXTENSIONS)}),
    ("/v2/health/live", {"live": True}),
    ("/v2/health/ready", {"ready": True}),
    ("/v2/models", {"models": ["rows", "texts", "whole"]}),
    ("/v2/models/rows/ready", {"name": "rows", "ready": True}),
    ("/v2/models/%72ows/versions/3/ready?x=1", {"name": "rows", "ready": True}),
]


@pytest.mark.parametrize(("target", "value"), GOOD)
def test_questions_about_the_server_are_answered(target: str, value: object) -> None:
    """With GET, and with HEAD without the body."""
    desk = Desk()
    assert (200, value) == asked(desk, "GET", target)
    assert (200, None) == asked(desk, "HEAD", target)


@pytest.mark.parametrize("target", ["/v2/models/rows", "/v2/models/rows/versions/3"])
def test_metadata_says_what_a_model_takes(target: str) -> None:
    """Names, datatypes, shapes, versions, platform."""
    x = {"name": "x", "datatype": "FP32", "shape": [-1, -1]}
    total, y = {"name": "sum", "datatype": "FP32", "shape": [-1]}, {"name": "y", "datatype": "FP32", "shape": [-1, -1]}
    expected = {"name": "rows", "versions": ["3"], "platform": "onnxruntime_onnx", "inputs": [x], "outputs": [total, y]}
    assert (200, expected) == asked(Desk(), "GET", target)


@pytest.mark.parametrize(
    ("placement", "properties"),
    [
        (Placement(), {}),
        (Placement("cuda", (), 2, 1), {"provider": "cuda"}),
        (Placement("cpu", (("tensorrt", "a"), ("cuda", "b"))), {"provider": "cpu", "providers_missed": "tensorrt,cuda"}),
    ],
)
def test_metadata_says_where_a_model_runs(placement: Placement, properties: dict[str, str]) -> None:
    """On both transports; nothing where it is the processor and nobody asked for more. The configuration has the instances."""
    desk = Desk()
    desk.service.version("rows", "").description = Description(placement=placement)
    status, told = asked(desk, "GET", "/v2/models/rows")
    assert (200, properties) == (status, told.get("properties", {}))
    reply = desk.call("/inference.GRPCInferenceService/ModelMetadata", pb.ModelMetadataRequest(name="rows").SerializeToString())
    assert properties == dict(pb.ModelMetadataResponse.FromString(reply.messages[0]).properties)
    (group,) = asked(desk, "GET", "/v2/models/rows/config")[1]["instance_group"]
    assert placement.instances == group["count"]
    assert ([1], "KIND_GPU") == (group["gpus"], group["kind"]) or placement.device is None


BAD = [
    ("GET", "/v3", 404), ("GET", "/v3/models/rows", 404), ("GET", "/v2/nothing", 404), ("GET", "/v2/models/rows/nothing", 404),
    ("GET", "/v2/models/rows/versions/3/ready/more", 404), ("GET", "/v2/models//ready", 404), ("GET", "/v2/models/%ff", 404),
    ("GET", "/v2/models/nobody", 404), ("GET", "/v2/models/rows/versions/4", 404), ("GET", "/v2/models/nobody/ready", 404),
    ("GET", "/v2/models/%2572ows", 404), ("GET", "/v2/models/rows%2Fready", 404), ("GET", "/v2/models/rows/versions", 404),
    ("GET", "/v2/models/broken", 503), ("GET", "/v2/models/broken/ready", 503),
    ("DELETE", "/v2", 405), ("DELETE", "/v2/models/rows", 405), ("GET", INFER, 405), ("PUT", "/v2/health/live", 405),
    ("GET", "/v2/systemsharedmemory/status", 501), ("GET", "/v2/cudasharedmemory/region/a/register", 501),
    ("GET", "/v2/models/rows/generate", 501), ("GET", "/v2/models/rows/generate_stream", 501),
]  # fmt: skip


@pytest.mark.parametrize(("method", "target", "status"), BAD)
def test_what_cannot_be_answered_has_a_status_and_a_text(method: str, target: str, status: int) -> None:
    """JSON with one text and no more; the connection lives on."""
    desk = Desk()
    found, value = asked(desk, method, target)
    assert status == found
    assert {"error"} == set(value) or (503, {"name": "broken", "ready": False}) == (found, value)  # type: ignore[call-overload]
    assert 200 == asked(desk, "GET", "/v2")[0]


@pytest.mark.parametrize(("method", "target", "allowed"), [("GET", INFER, "POST"), ("DELETE", "/v2/models/rows", "GET, HEAD")])
def test_a_wrong_method_is_told_the_right_ones(method: str, target: str, allowed: str) -> None:
    """RFC 9110 §15.5.6: Allow."""
    assert allowed == Desk().http.ask(method, target).headers["allow"]


def test_readiness_is_the_states_and_liveness_is_not() -> None:
    """503 while models load, and while the server drains."""
    desk = Desk()
    desk.state.ready = False
    assert ((503, {"ready": False}), (200, {"live": True})) == (
        asked(desk, "GET", "/v2/health/ready"),
        asked(desk, "GET", "/v2/health/live"),
    )


# --- inference -------------------------------------------------------------------------------------------------------------------


def test_inference_in_json_gives_the_rows_and_the_id() -> None:
    """The long way, the learning one and the short one; the version where it is named."""
    desk = Desk()
    for tag in range(1, 6):
        for target in (INFER, "/v2/models/rows/versions/3/infer"):
            status, value = asked(desk, "POST", target, body(rows(tag, 3), id=f"r{tag}"))
            assert (200, "rows", "3", f"r{tag}") == (status, value["model_name"], value["model_version"], value["id"])  # type: ignore[index]
            assert naive.rows_answer(rows(tag, 3)) == tuple(outputs(value).values())


requests = st.lists(
    st.tuples(
        st.integers(1, 12), st.sampled_from([1, 2, 5]), st.sampled_from(["", "a", "ü", "x" * 99]),
        st.sampled_from([(), ("y",), ("y", "sum")]),
    ),
    min_size=1, max_size=10,
)  # fmt: skip


@settings(max_examples=500)
@given(requests)
def test_every_mix_of_one_read_is_answered_to_each_its_own_in_order(asked: list) -> None:
    """Pipelined requests of any sizes, ids and selections."""
    desk = Desk()
    sent = []
    for tag, (count, features, request_id, chosen) in enumerate(asked, 1):
        more = {"id": request_id} if request_id else {}
        if chosen:
            more["outputs"] = [{"name": name} for name in chosen]
        sent.append(http1_wire.post(INFER, body(rows(tag, count, features), **more)))
    desk.http.send(b"".join(sent))
    desk.loop.settle()
    for tag, ((count, features, request_id, chosen), answer) in enumerate(zip(asked, desk.http.answers(), strict=True), 1):
        value = json.loads(answer.body)
        known = dict(zip(("sum", "y"), naive.rows_answer(rows(tag, count, features)), strict=True))
        assert (200, request_id) == (answer.status, value.get("id", ""))
        assert [(name, known[name]) for name in chosen or known] == list(outputs(value).items())


def test_inference_in_binary() -> None:
    """The JSON part says how long it is; the outputs come back as bytes."""
    desk = Desk()
    data = np.array(rows(4, 2), "<f4")
    tensor = {"name": "x", "datatype": "FP32", "shape": [2, 2], "parameters": {"binary_data_size": 16}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    for _ in range(3):
        answer = desk.http.ask("POST", INFER, head + data.tobytes(), f"Inference-Header-Content-Length: {len(head)}")
        size = int(answer.headers["inference-header-content-length"])
        assert (200, "application/octet-stream") == (answer.status, answer.headers["content-type"])
        assert (data.sum(axis=1).tobytes() + (-data).tobytes()) == answer.body[size:]


@pytest.mark.parametrize(
    ("sent", "target", "status", "code"),
    [
        (b"{", INFER, 400, "INVALID_ARGUMENT"),
        (b'{"inputs":[]}', INFER, 400, "INVALID_ARGUMENT"),
        (body([[1.0]]), "/v2/models/nobody/infer", 404, "NOT_FOUND"),
        (body([[1.0]]), "/v2/models/rows/versions/4/infer", 404, "NOT_FOUND"),
        (body([[1.0]]), "/v2/models/broken/infer", 503, "UNAVAILABLE"),
    ],
)
def test_a_bad_request_gets_its_error_and_is_counted_as_of_no_model(sent: bytes, target: str, status: int, code: str) -> None:
    """The text in JSON; the next request is served."""
    desk = Desk()
    found, value = asked(desk, "POST", target, sent)
    assert (status, ["error"]) == (found, list(value))  # type: ignore[call-overload]
    slab = dict(desk.totals.snapshot().items())["_unknown", ""]
    assert (1, 1) == (slab.requests[HTTP, Code[code]], slab.requests.sum())
    assert 200 == asked(desk, "POST", INFER, body([[1.0]]))[0]


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/x-pickle", "text/html"])
def test_other_kinds_of_bodies_are_refused(kind: str) -> None:
    """415, before anything is read of them."""
    assert 415 == asked(Desk(), "POST", INFER, body([[1.0]]), f"Content-Type: {kind}")[0]
    assert 200 == asked(Desk(), "POST", INFER, body([[1.0]]), "Content-Type: Application/JSON ; charset=utf-8")[0]


def test_overload_says_when_to_come_back_and_is_counted_as_of_its_version() -> None:
    """429 with Retry-After."""
    desk = Desk(Limits(serving=ServingLimits(max_inflight_bytes=4)))
    answer = desk.http.ask("POST", INFER, body([[1.0, 2.0]]))
    assert (429, "1") == (answer.status, answer.headers["retry-after"])
    assert 1 == dict(desk.totals.snapshot().items())[ROWS, "3"].requests[HTTP, Code.OVERLOADED]


def test_a_timeout_of_the_request_is_kept() -> None:
    """In microseconds; the default is the server's."""
    desk = Desk(threaded=True)
    desk.http.send(http1_wire.post(INFER, body([[1.0]], parameters={"timeout": 500_000})))
    desk.loop.settle()
    desk.loop.advance(0.49)
    assert [] == desk.http.statuses()
    desk.loop.advance(0.02)
    assert [504] == desk.http.statuses()
    desk.http.now = desk.loop.time
    desk.finish_runs()
    desk.http.send(http1_wire.post(INFER, body([[1.0]])))
    desk.loop.settle()
    desk.loop.advance(10.1)
    assert [504, 504] == desk.http.statuses()


def test_an_alias_is_a_version_and_the_answer_has_its_number() -> None:
    """In the path; the long way, the learning one and the short one; metadata and readiness too."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    for tag in range(1, 6):
        for version, number in (("champion", "3"), ("challenger", "10"), ("10", "10")):
            status, value = asked(desk, "POST", f"/v2/models/rows/versions/{version}/infer", body(rows(tag)))
            assert (200, number) == (status, value["model_version"])  # type: ignore[index]
            assert naive.rows_answer(rows(tag)) == tuple(outputs(value).values())
        assert "3" == asked(desk, "POST", INFER, body(rows(tag)))[1]["model_version"]  # type: ignore[index]
    assert ["10"] == asked(desk, "GET", "/v2/models/rows/versions/challenger")[1]["versions"]  # type: ignore[index]
    assert (200, {"name": "rows", "ready": True}) == asked(desk, "GET", "/v2/models/rows/versions/champion/ready")
    assert (503, {"name": "rows", "ready": False}) == asked(desk, "GET", "/v2/models/rows/versions/broken/ready")
    assert (503, {"name": "idle", "ready": False}) == asked(desk, "GET", "/v2/models/idle/ready")


def test_an_alias_in_the_body_agrees_with_the_path() -> None:
    """As a number must."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    target = "/v2/models/rows/versions/champion/infer"
    assert 200 == asked(desk, "POST", target, body(rows(1), model_version="champion"))[0]
    assert 400 == asked(desk, "POST", target, body(rows(1), model_version="challenger"))[0]


@pytest.mark.parametrize(
    ("target", "status", "text"),
    [
        ("rows/versions/nobody", 404, "Request for unknown model: 'rows' alias nobody is not found"),
        ("rows/versions/broken", 503, "Request for unknown model: 'rows' alias broken stands for version 7, which is not at ready state"),
        ("headless", 503, "model 'headless' has no champion: name a version or alias"),
        ("idle", 503, "model 'idle' serves no version: no alias stands for one"),
    ],
)
def test_an_alias_that_leads_nowhere_is_refused(target: str, status: int, text: str) -> None:
    """With its reason, for inference and metadata."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    assert (status, {"error": text}) == asked(desk, "POST", f"/v2/models/{target}/infer", body(rows(1)))
    assert (status, {"error": text}) == asked(desk, "GET", f"/v2/models/{target}")


def test_new_routes_are_used_at_once_whatever_was_remembered() -> None:
    """A body that was learned goes to the new version."""
    desk = Desk()
    for tag in range(1, 4):
        asked(desk, "POST", INFER, body(rows(tag)))
    desk.service.set_routes(Routes({ROWS: {4: desk.version(built(ROWS, desk.loop), 4)}}))
    assert "4" == asked(desk, "POST", INFER, body(rows(4)))[1]["model_version"]  # type: ignore[index]


def test_numbers_that_json_cannot_express_are_refused_where_that_is_asked_for() -> None:
    """`strict_json` names the output; without it the tokens of Python are written."""
    found = []
    for strict in (False, True):
        desk = Desk(strict_json=strict)
        desk.models[ROWS].run = lambda arrays, options=None: [np.array([np.nan], np.float32), arrays[0]]  # type: ignore[method-assign]
        found.append(desk.http.ask("POST", INFER, body([[1.0]])))
    assert ([200, True], [True, True]) == ([found[0].status, b"NaN" in found[0].body], [found[1].status >= 400, b"'sum'" in found[1].body])


def test_a_fault_of_ours_costs_its_own_call_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """500 with a constant text; the log has the rest, with the model's name cut."""
    desk = Desk()
    desk.service.routes = SimpleNamespace(resolve=lambda *_: 1 / 0)  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        assert (500, {"error": "internal error"}) == asked(desk, "POST", "/v2/models/" + "m" * 3_000 + "/infer", body([[1.0]]))
    assert [f"infer failed: {'m' * 128}"] == caplog.messages


def test_a_caller_that_goes_away_is_not_computed() -> None:
    """Its rows are dropped before the run."""
    desk = Desk(threaded=True)
    desk.http.send(http1_wire.post(INFER, body([[1.0]])), http1_wire.post(INFER, body([[2.0]])))
    desk.loop.settle()
    desk.http.send(http1_wire.post(INFER, body([[3.0]])))
    desk.loop.settle()
    desk.http.connection.connection_lost()
    desk.finish_runs()
    desk.finish_runs()
    assert (1, 0) == (desk.models[ROWS].runs, desk.batcher.budget.requests)
