"""The health service's answers, once and watched."""

from __future__ import annotations

import pytest
from grpc_health.v1 import health_pb2

from gateway.control.health import CHECK, WATCH, Health, statuses
from gateway.errors import Code, TidegateError

SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)
INFERENCE = "inference.GRPCInferenceService"


def asked(service: str) -> bytes:
    return health_pb2.HealthCheckRequest(service=service).SerializeToString()


def status(message: bytes) -> int:
    return health_pb2.HealthCheckResponse.FromString(message).status


class Caller:
    """Notes what is sent to it."""

    def __init__(self) -> None:
        self.told: list[int] = []

    def send(self, message: bytes) -> None:
        self.told.append(status(message))


def test_paths_are_those_of_the_contract() -> None:
    """Check and Watch are where the health service's descriptor says."""
    service = health_pb2.DESCRIPTOR.services_by_name["Health"]
    assert [CHECK, WATCH] == [f"/{service.full_name}/{name}".encode() for name in ("Check", "Watch")]


def test_check_before_and_after_the_server_is_ready() -> None:
    """Server, service and models go from NOT_SERVING to SERVING; a model that does not serve says so."""
    health = Health()
    assert [NOT_SERVING, NOT_SERVING] == [status(health.check(asked(name))) for name in ("", INFERENCE)]
    health.update(statuses(ready=True, models={"a": True, "b": False}))
    assert [SERVING, SERVING] == [status(health.check(asked(name))) for name in ("", INFERENCE)]
    assert [SERVING, NOT_SERVING] == [status(health.check(asked(name))) for name in ("model/a", "model/b")]


def test_no_model_serves_where_the_server_does_not() -> None:
    """A draining server takes its models with it."""
    assert {"": False, INFERENCE: False, "model/a": False} == statuses(ready=False, models={"a": True})


@pytest.mark.parametrize("service", ["model/a", "a", "inference", "model/" + "x" * 10_000])
def test_check_of_an_unknown_name_is_not_found(service: str) -> None:
    """Names that are not in the table are NOT_FOUND, with a text that does not carry all of a long one."""
    with pytest.raises(TidegateError) as refused:
        Health().check(asked(service))
    assert Code.NOT_FOUND == refused.value.code
    assert 128 > len(refused.value.message)


def test_garbage_is_invalid() -> None:
    """Bytes that are no request are INVALID_ARGUMENT in either call, and nothing is watched."""
    health, caller = Health(), Caller()
    for call in (health.check, lambda message: health.watch(message, caller.send)):
        with pytest.raises(TidegateError) as refused:
            call(b"\xff")
        assert Code.INVALID_ARGUMENT == refused.value.code
    health.update(statuses(ready=True, models={}))
    assert [] == caller.told


def test_watch_tells_the_status_and_its_changes() -> None:
    """The first answer comes at once, later ones only with another status."""
    health, caller = Health(), Caller()
    health.watch(asked(INFERENCE), caller.send)
    for ready in (False, True, True, False):
        health.update(statuses(ready=ready, models={}))
    assert [NOT_SERVING, SERVING, NOT_SERVING] == caller.told


def test_watch_of_a_model_that_comes_and_goes() -> None:
    """A name that is not there yet, or not any more, is SERVICE_UNKNOWN and the watch lives on."""
    health, caller = Health(), Caller()
    health.watch(asked("model/a"), caller.send)
    health.update(statuses(ready=True, models={"a": True}))
    health.update(statuses(ready=True, models={}))
    assert [UNKNOWN, SERVING, UNKNOWN] == caller.told


def test_an_ended_watch_is_told_nothing() -> None:
    """After `end`, which may come twice, changes go to the other watchers only."""
    health, gone, there = Health(), Caller(), Caller()
    watch = health.watch(asked(""), gone.send)
    health.watch(asked(""), there.send)
    watch.end()
    watch.end()
    health.update(statuses(ready=True, models={}))
    assert ([NOT_SERVING], [NOT_SERVING, SERVING]) == (gone.told, there.told)


def test_a_watch_may_end_while_it_is_told() -> None:
    """A caller whose stream turns out to be gone ends its watch within `send`; the others are told all the same."""
    health, there = Health(), Caller()
    watches = []

    def send(message: bytes) -> None:
        if status(message) == SERVING:
            watches[0].end()

    watches.append(health.watch(asked(""), send))
    health.watch(asked(""), there.send)
    health.update(statuses(ready=True, models={}))
    assert [NOT_SERVING, SERVING] == there.told
