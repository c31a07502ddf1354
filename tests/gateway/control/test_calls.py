"""Every gRPC method: the contract's, health and reflection, and refusals by name."""

from __future__ import annotations

import logging

import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from gateway.control.calls import inference_methods, path
from gateway.control.health import CHECK, WATCH, statuses
from gateway.control.reflection import PATHS
from gateway.control.state import EXTENSIONS
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import LABELS_INGEST, MODEL_DRIFT, RPCS
from gateway.serving.routing import Routes
from tests.gateway.control.desk import Desk

OK, INVALID, NOT_FOUND, UNIMPLEMENTED, INTERNAL, UNAVAILABLE = 0, 3, 5, 12, 13, 14
SERVED = set(RPCS) - {name for name in RPCS if "SharedMemory" in name}


def call(desk: Desk, rpc: str, **fields: str):
    """The answer of an inference call."""
    reply = desk.call(path(rpc).decode(), RPCS[rpc].request(**fields).SerializeToString())
    assert (OK, "") == (reply.status, reply.text)
    return RPCS[rpc].response.FromString(reply.messages[0])


def test_every_call_of_the_contract_has_a_method_of_one_kind() -> None:
    """Streaming only where the contract streams."""
    desk = Desk()
    methods = inference_methods(desk.service, desk.state, desk.extensions)
    assert {rpc.path.encode() for rpc in (*RPCS.values(), MODEL_DRIFT, LABELS_INGEST)} == set(methods)
    streaming = {name for name in RPCS if methods[path(name)].streaming is not None}
    assert {"ModelStreamInfer"} == streaming
    assert not [name for name in RPCS if (methods[path(name)].unary is None) != (name in streaming)]


@pytest.mark.parametrize("name", sorted(set(RPCS) - SERVED))
def test_what_is_not_supported_is_refused_by_its_name(name: str) -> None:
    """UNIMPLEMENTED, with a text that says what."""
    reply = Desk().call(path(name).decode(), b"")
    word = "shared memory" if "SharedMemory" in name else name
    assert (UNIMPLEMENTED, True) == (reply.status, word in reply.text)


def test_the_server_says_what_it_is_and_whether_it_is_ready() -> None:
    """Liveness never depends on readiness."""
    desk = Desk()
    metadata = call(desk, "ServerMetadata")
    assert ("desk", "9.9", list(EXTENSIONS)) == (metadata.name, metadata.version, list(metadata.extensions))
    for ready in (True, False):
        desk.state.ready = ready
        assert (True, ready) == (call(desk, "ServerLive").live, call(desk, "ServerReady").ready)


def test_a_model_says_what_it_takes_and_whether_it_is_ready() -> None:
    """Of the version that is asked for, or of all that serve."""
    desk = Desk()
    newer = {number: desk.version(desk.models["rows"], number) for number in (3, 10)}
    desk.service.set_routes(Routes({"rows": newer}, {("broken", 1): "no"}))
    for fields, versions in (({"name": "rows"}, ["3", "10"]), ({"name": "rows", "version": "3"}, ["3"])):
        metadata = call(desk, "ModelMetadata", **fields)
        assert ("rows", versions, [("x", "FP32", [-1, -1])]) == (
            metadata.name, list(metadata.versions), [(tensor.name, tensor.datatype, list(tensor.shape)) for tensor in metadata.inputs]
        )  # fmt: skip
    assert [True, False] == [call(desk, "ModelReady", name=name).ready for name in ("rows", "broken")]


def test_a_model_is_asked_about_by_alias() -> None:
    """Metadata answers with the number; a model without a champion is not ready unless a version is named."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    for version, numbers in (("", ["3", "10"]), ("champion", ["3"]), ("challenger", ["10"]), ("10", ["10"])):
        assert numbers == list(call(desk, "ModelMetadata", name="rows", version=version).versions)
    ready = {("rows", ""): True, ("rows", "challenger"): True, ("rows", "broken"): False, ("headless", ""): False}
    ready |= {("headless", "challenger"): True, ("idle", ""): False}
    assert ready == {(name, version): call(desk, "ModelReady", name=name, version=version).ready for name, version in ready}
    for name in ("ModelReady", "ModelMetadata"):
        reply = desk.call(path(name).decode(), RPCS[name].request(name="rows", version="nobody").SerializeToString())
        assert (NOT_FOUND, "Request for unknown model: 'rows' alias nobody is not found") == (reply.status, reply.text)


@pytest.mark.parametrize("name", ["ModelReady", "ModelMetadata"])
@pytest.mark.parametrize(("message", "status"), [(pb.ModelReadyRequest(name="no").SerializeToString(), NOT_FOUND), (b"\xff", INVALID)])
def test_a_question_about_nothing_has_an_error(name: str, message: bytes, status: int) -> None:
    """An unknown model, and bytes that are no question."""
    reply = Desk().call(path(name).decode(), message)
    assert (status, []) == (reply.status, reply.messages)


def test_a_fault_of_ours_costs_its_own_call_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL with a constant text; the log has the rest."""
    desk = Desk()
    desk.service.routes = None  # type: ignore[assignment]
    with caplog.at_level(logging.ERROR):
        reply = desk.call(path("ModelReady").decode(), b"")
    assert (INTERNAL, "internal error") == (reply.status, reply.text)
    assert ["call failed: /inference.GRPCInferenceService/ModelReady"] == caplog.messages
    assert call(desk, "ServerLive").live


# --- health and reflection -----------------------------------------------------------------------------------------------------


def told(reply) -> list[int]:
    return [health_pb2.HealthCheckResponse.FromString(message).status for message in reply.messages]


def test_health_is_checked_once_over_the_wire() -> None:
    """SERVING, or NOT_FOUND."""
    desk = Desk()
    desk.health.update(statuses(ready=True, models={}))
    assert [1] == told(desk.call(CHECK.decode(), b""))
    assert NOT_FOUND == desk.call(CHECK.decode(), health_pb2.HealthCheckRequest(service="no").SerializeToString()).status


def test_health_is_watched_until_the_server_stops() -> None:
    """Each change is a message; the half-close of the caller ends nothing; the end is UNAVAILABLE, so that the caller goes elsewhere."""
    desk = Desk()
    stream_id = desk.open(WATCH.decode(), b"", last=True)
    desk.health.update(statuses(ready=True, models={}))
    desk.health.update(statuses(ready=False, models={}))
    assert ([2, 1, 2], -1) == (told(desk.replies()[stream_id]), desk.replies()[stream_id].status)
    desk.health.close()
    assert UNAVAILABLE == desk.replies()[stream_id].status
    assert {} == desk.wire.connection.streams


def test_a_second_question_of_one_watch_is_ignored() -> None:
    """As on unary calls."""
    desk = Desk()
    stream_id = desk.open(WATCH.decode(), b"", b"", last=False)
    assert [2] == told(desk.replies()[stream_id])


def test_a_watch_of_garbage_ends_with_its_error() -> None:
    """INVALID_ARGUMENT."""
    desk = Desk()
    stream_id = desk.open(WATCH.decode(), b"\xff", last=False)
    assert INVALID == desk.replies()[stream_id].status


def test_a_caller_that_goes_away_is_watched_no_more() -> None:
    """Reset, and connection lost."""
    desk = Desk()
    desk.open(WATCH.decode(), b"")
    desk.open(WATCH.decode(), b"")
    desk.wire.send(b"\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08")
    assert 1 == len(desk.health._watches)
    desk.wire.connection.lost()
    assert set() == desk.health._watches


@pytest.mark.parametrize("where", PATHS)
def test_reflection_answers_message_by_message(where: bytes) -> None:
    """Both versions; the call ends well with the half-close, and with an error for what is no question."""
    desk = Desk()
    question = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    stream_id = desk.open(where.decode(), question, question, last=True)
    reply = desk.replies()[stream_id]
    names = [
        {service.name for service in reflection_pb2.ServerReflectionResponse.FromString(message).list_services_response.service}
        for message in reply.messages
    ]
    assert (OK, 2) == (reply.status, len(names))
    assert {"inference.GRPCInferenceService", "grpc.health.v1.Health"} <= names[0]
    stream_id = desk.open(where.decode(), b"\xff", last=False)
    assert INVALID == desk.replies()[stream_id].status
