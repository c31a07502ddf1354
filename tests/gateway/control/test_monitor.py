"""The read-only port: metrics and health, and nothing else, over HTTP/1.1."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest

from gateway.control.monitor import Monitor
from gateway.control.state import ServerState
from gateway.limits import WireLimits
from gateway.wire.exchange import HttpRefusal
from gateway.wire.listener import Peer
from tests.gateway.serving.serving_fakes import FakeLoop
from tests.gateway.wire import http1_wire
from tests.gateway.wire.http2_wire import PREFACE, setting
from tests.gateway.wire.test_listener import Transport


def monitored(deed: Callable[[Monitor, http1_wire.Caller], None], *, ready: bool = True) -> None:
    """Run `deed` with a caller of the read-only port, whose page repeats what it was asked to accept."""

    async def run() -> None:
        state = ServerState("m", "9.9", ready=ready, started=ready)
        monitor = Monitor(lambda accept: (accept.encode(), "text/plain"), state, WireLimits(), clock=FakeLoop(), rng=random.Random(1))
        deed(monitor, http1_wire.Caller(application=monitor))  # type: ignore[arg-type]
        await monitor.listener.close()

    asyncio.run(run())


@pytest.mark.parametrize("ready", [True, False])
def test_the_read_only_port_has_metrics_and_health(ready: bool) -> None:
    """Liveness never depends on models; the page gets the Accept header."""

    def deed(monitor: Monitor, caller: http1_wire.Caller) -> None:
        caller.send(http1_wire.get("/metrics", "Accept: a/b"), http1_wire.get("/v2/health/live"), http1_wire.get("/v2/health/ready"))
        metrics, live, readiness = caller.answers()
        caller.send(http1_wire.get("/v2/health/startup"))
        assert (200 if ready else 503, b'{"started":%b}' % str(ready).lower().encode()) == (
            caller.answers()[-1].status,
            caller.answers()[-1].body,
        )
        assert (200, b"a/b", "text/plain") == (metrics.status, metrics.body, metrics.headers["content-type"])
        assert (200, 200 if ready else 503) == (live.status, readiness.status)

    monitored(deed, ready=ready)


def test_the_read_only_port_has_nothing_else() -> None:
    """No inference, no writes."""

    def deed(monitor: Monitor, caller: http1_wire.Caller) -> None:
        caller.send(http1_wire.post("/v2/models/rows/infer"), http1_wire.post("/metrics"))
        first, second = caller.answers()
        assert ((404, None), (405, "GET, HEAD")) == tuple((answer.status, answer.headers.get("allow")) for answer in (first, second))
        with pytest.raises(HttpRefusal):
            monitor.open_http("GET", b"/v2/models", [])

    monitored(deed)


def test_the_read_only_port_does_not_speak_http2() -> None:
    """A connection that begins so is closed at once."""

    def deed(monitor: Monitor, caller: http1_wire.Caller) -> None:
        peer, transport = Peer(monitor.listener), Transport()
        peer.connection_made(transport)  # type: ignore[arg-type]
        peer.data_received(PREFACE + setting())
        assert transport.aborted

    monitored(deed)
