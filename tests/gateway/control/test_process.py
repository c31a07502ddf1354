"""What one process is made of: the router of its ports, its sockets, what loading does to its state, the read-only port."""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.config import Batching, Config, Logging, Repository, Server
from gateway.control import ports, worker
from gateway.control.health import statuses
from gateway.control.monitor import Monitor
from gateway.control.worker import Worker
from gateway.limits import WireLimits
from gateway.observe import logs
from gateway.observe.access import AccessLog
from gateway.serving.batching import Batcher
from gateway.wire.exchange import HttpRefusal
from tests.gateway.control.desk import Desk
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published
from tests.gateway.wire import http1_wire, http2_wire


@pytest.fixture
def settled() -> Iterator[None]:
    """The collector as it was before."""
    threshold = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*threshold)


@pytest.fixture
def taken() -> Iterator[int]:
    """A loopback port that somebody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        yield sock.getsockname()[1]


# --- the ports' router -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_type", "grpc"),
    [("application/grpc", True), ("application/grpc+proto", True), ("application/grpc;charset=utf-8", True),
     ("application/grpc-web", False), ("application/json", False), ("", False)],
)  # fmt: skip
def test_grpc_is_told_from_http_by_its_content_type(content_type: str, grpc: bool) -> None:
    """Either port takes either; grpc-web is another protocol."""
    desk = Desk()
    fields = [("content-type", content_type)] if content_type else []
    desk.wire.send(http2_wire.head(1, desk.wire.block(http2_wire.request("/v2/nothing", *fields)), last=True))
    (head,) = http2_wire.read_answers(b"".join(desk.wire.writes))[1].heads
    assert (b"200", b"12") == (head[b":status"], head[b"grpc-status"]) if grpc else head[b":status"] == b"404"


def test_a_header_list_over_its_limit_is_431_on_either_kind_of_call() -> None:
    """RFC 6585 §5."""
    desk = Desk()
    desk.wire.send(http2_wire.head(1, desk.wire.block(http2_wire.request("/v2", ("x-long", "l" * 20_000))), last=True, cuts=(16_000,)))
    assert b"431" == http2_wire.read_answers(b"".join(desk.wire.writes))[1].heads[0][b":status"]


# --- sockets -------------------------------------------------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_named_and_nothing_is_served(taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The exit status is 1; no second server on one port, which SO_REUSEPORT would allow."""
    said = []
    monkeypatch.setattr(logs, "configure", lambda settings: None)
    monkeypatch.setattr(worker._log, "error", lambda text, *values: said.append(text % values))
    server = Server(http_port=0, grpc_port=taken, metrics_port=0)
    assert 1 == worker.run(Config(server=server, repository=Repository(path=Path("nowhere"))))
    assert [f"cannot listen: 127.0.0.1:{taken}: Address already in use"] == said


def test_ports_that_are_taken_are_replaced_by_free_ones(taken: int) -> None:
    """The others stay as they are; all are different."""
    chosen = ports.choose("127.0.0.1", [taken, 0, taken])
    assert (0, 3) == (chosen[1], len(set(chosen)))
    assert [False, True, True] == [ports.is_free("127.0.0.1", port) for port in (taken, chosen[0], chosen[2])]


def test_a_host_of_another_machine_is_an_error_not_a_taken_port() -> None:
    """192.0.2.0/24 is nobody's (RFC 5737)."""
    with pytest.raises(OSError, match="assign"):
        ports.is_free("192.0.2.1", 0)


def test_a_port_that_may_not_be_bound_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below 1024, for those without the right."""

    def refuse(self: socket.socket, address: object) -> None:
        raise PermissionError

    monkeypatch.setattr(ports.socket, "socket", type("Refusing", (socket.socket,), {"bind": refuse}))
    assert not ports.is_free("127.0.0.1", 80)


# --- the worker ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("cores", "us", "seconds"), [(2, 250, 250e-6), (1, 250, 5e-3), (1, 9_000, 9e-3), (1, 0, 0.0), (4, 0, 0.0)])
def test_on_one_core_longer_runs_stay_inline(cores: int, us: int, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread overlaps nothing there; 0 is never."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    config = Config(repository=Repository(path=Path("r")), batching=Batching(inline_max_us=us))
    assert seconds == pytest.approx(worker._inline_max_s(config))


@pytest.mark.parametrize(("share", "kind"), [(0.0, None), (0.5, AccessLog)])
def test_the_access_log_stands_before_the_metrics_only_where_it_is_wanted(share: float, kind: type | None) -> None:
    """Without it nothing is paid."""
    made = Worker(Config(repository=Repository(path=Path("r")), logging=Logging(access_share=share)))
    assert isinstance(made._observer(), kind or type(made.metrics))


def test_a_worker_is_ready_when_its_models_are(tmp_path: Path, settled: None) -> None:
    """Routes, readiness, health, and a collector that looks rarely; what failed is NOT_SERVING."""
    graphs.saved(tmp_path / "good" / "1" / "model.onnx", graphs.twice())
    graphs.saved(tmp_path / "bad" / "1" / "model.onnx", graphs.sequence())

    async def load() -> tuple[Worker, Any, bool]:
        made = Worker(Config(repository=Repository(path=tmp_path)))
        service, listener, monitor = made._compose()
        before = made.state.ready
        await made._load(service)
        await listener.close()
        await monitor.listener.close()
        return made, service, before

    made, service, before = asyncio.run(load())
    assert (False, True, [1]) == (before, made.state.ready, service.routes.numbers("good"))
    assert statuses(ready=True, models={"good": True, "bad": False}) == made.health._serving
    assert gc.get_threshold()[0] > 10_000
    assert isinstance(service.batcher, Batcher)


def test_a_model_that_serves_nothing_is_not_serving(tmp_path: Path, settled: None) -> None:
    """It exists, so its health is known; the server is ready, its neighbour serves."""
    published(tmp_path / "r", "idle", graphs.twice())
    published(tmp_path / "r", "good", graphs.twice(), aliases={"champion": 1})

    async def load() -> Worker:
        made = Worker(Config(repository=Repository(path=tmp_path / "r")))
        service, listener, monitor = made._compose()
        await made._load(service)
        await listener.close()
        await monitor.listener.close()
        return made

    made = asyncio.run(load())
    assert (True, statuses(ready=True, models={"good": True, "idle": False})) == (made.state.ready, made.health._serving)


def test_a_drained_worker_is_not_ready_and_waits_for_what_is_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """Readiness goes first, connections last; requests that are open are waited for, within the grace."""
    seen: list[tuple[str, bool]] = []
    made = Worker(Config(repository=Repository(path=Path("r"))))
    budget = SimpleNamespace(requests=2)

    async def close(name: str) -> None:
        seen.append((name, made.state.ready))

    def sweep() -> None:
        seen.append(("sweep", made.state.ready))
        budget.requests -= 1

    listener = SimpleNamespace(
        peers=(), drain=lambda: seen.append(("drain", made.state.ready)), sweep=sweep, close=lambda: close("listener")
    )
    monitor = SimpleNamespace(listener=SimpleNamespace(close=lambda: close("monitor")))
    service = SimpleNamespace(batcher=SimpleNamespace(budget=budget), routes=Desk().service.routes)
    made.state.ready = True
    asyncio.run(made._drain(listener, service, monitor))  # type: ignore[arg-type]
    assert [(name, False) for name in ("drain", "sweep", "sweep", "listener", "monitor")] == seen
    assert (True, {False}) == (made.state.draining, set(made.health._serving.values()))


# --- the read-only port --------------------------------------------------------------------------------------------------------------


def monitored(deed: Any) -> None:
    """Run `deed(desk, caller)` with a caller of the read-only port."""

    async def run() -> None:
        desk = Desk()
        serving: Any = SimpleNamespace(limits=WireLimits(), peers={1, 2}, refused=5)
        monitor = Monitor(desk.totals, desk.state, desk.service, serving, clock=desk.loop, rng=random.Random(1))
        caller = http1_wire.Caller(application=monitor)  # type: ignore[arg-type]
        deed(desk, monitor, caller)
        await monitor.listener.close()

    asyncio.run(run())


def test_the_read_only_port_has_metrics_and_health() -> None:
    """Gauges as they are now, what is loaded by name."""

    def deed(desk: Desk, monitor: Monitor, caller: http1_wire.Caller) -> None:
        desk.batcher.budget.requests, desk.batcher.budget.bytes = 3, 400
        caller.send(http1_wire.get("/metrics"), http1_wire.get("/v2/health/live"), http1_wire.get("/v2/health/ready"))
        metrics, *health = caller.answers()
        families = {family.name: family for family in text_string_to_metric_families(metrics.body.decode())}
        names = ("inflight_requests", "inflight_bytes", "connections", "connections_refused", "ready")
        assert [3, 400, 2, 5, 1] == [families[f"tidegate_{name}"].samples[0].value for name in names]
        assert {"rows", "texts", "whole"} == {sample.labels["model"] for sample in families["tidegate_model_loaded"].samples}
        assert metrics.headers["content-type"].startswith("text/plain")
        assert [(200, b'{"live":true}'), (200, b'{"ready":true}')] == [(answer.status, answer.body) for answer in health]

    monitored(deed)


def test_the_read_only_port_speaks_openmetrics_to_those_who_ask() -> None:
    """By the Accept header."""

    def deed(desk: Desk, monitor: Monitor, caller: http1_wire.Caller) -> None:
        (answer,) = caller.send(http1_wire.get("/metrics", "Accept: application/openmetrics-text;version=1.0.0")).answers()
        assert answer.headers["content-type"].startswith("application/openmetrics-text")

    monitored(deed)


def test_the_read_only_port_has_nothing_else() -> None:
    """No inference, no writes; over HTTP/2 the same."""

    def deed(desk: Desk, monitor: Monitor, caller: http1_wire.Caller) -> None:
        caller.send(http1_wire.post("/v2/models/rows/infer"), http1_wire.post("/metrics"))
        first, second = caller.answers()
        assert ((404, None), (405, "GET, HEAD")) == tuple((answer.status, answer.headers.get("allow")) for answer in (first, second))
        wire = http2_wire.Wire(program=SimpleNamespace(route=monitor._route)).start()  # type: ignore[arg-type]
        wire.open(1, "/metrics").open(3, "/v2/health/ready", ("x-long", "l" * 20_000))
        heads = [answer.heads[0][b":status"] for answer in http2_wire.read_answers(wire.take()).values()]
        assert [b"405", b"431"] == heads
        with pytest.raises(HttpRefusal):
            monitor.open_http("GET", b"/v2/models", [])

    monitored(deed)
