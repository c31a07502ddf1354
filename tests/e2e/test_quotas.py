"""Quotas on a real server of two workers: what one tenant holds counts wherever its connections are, and ends with a worker."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import RPCS
from tests.e2e.server import Server, serving
from tests.e2e.test_lifecycle import await_
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

INFER = RPCS["ModelInfer"]
X = np.array([[1.0, 2.0]], np.float32)
SETTINGS = """
processes: {workers: 2, spare: false}
batching: {max_queue_delay_ms: %d}
default_tenant: {%s}
"""
ADMITTED, CROWDED, EARLY = (
    f'tidegate_tenant_requests_total{{outcome="{outcome}",tenant="_other"}}' for outcome in ("admitted", "concurrency", "requests_per_s")
)


def request() -> pb.ModelInferRequest:
    made = pb.ModelInferRequest(model_name="rows")
    made.inputs.add(name="x", datatype="FP32", shape=X.shape)
    made.raw_input_contents.append(X.tobytes())
    return made


class Lines:
    """gRPC channels, each with a connection of its own."""

    def __init__(self, server: Server, count: int) -> None:
        options = [("grpc.use_local_subchannel_pool", 1), ("grpc.enable_retries", 0)]
        self.channels = [grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options) for _ in range(count)]
        self.calls = [
            channel.unary_unary(INFER.path, INFER.request.SerializeToString, INFER.response.FromString) for channel in self.channels
        ]
        for channel in self.channels:
            grpc.channel_ready_future(channel).result(timeout=10)

    def close(self) -> None:
        for channel in self.channels:
            channel.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("quotas")
    published(made / "registry", "rows", graphs.twice(), aliases={"champion": 1})
    return made


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def started(stack: ExitStack, folder: Path, *, delay_ms: int, quotas: str) -> Server:
    return stack.enter_context(serving(folder, folder / "registry", SETTINGS % (delay_ms, quotas)))


def codes(futures: list[grpc.Future]) -> list[str]:
    return sorted(future.code().name for future in futures)


def test_what_is_in_flight_counts_over_both_workers_and_dies_with_one(stack: ExitStack, folder: Path) -> None:
    """Requests that wait a long time for company, on connections to both workers; then one is killed, and what it held is free."""
    server = started(stack, folder, delay_ms=20_000, quotas="concurrency: 4")
    lines = Lines(server, 4)
    stack.callback(lines.close)
    held = [call.future(request(), timeout=60) for call in lines.calls]
    await_(lambda: server.gauge("tidegate_inflight_requests") == 4)
    shares = {series: value for series, value in server.values().items() if series.startswith("tidegate_worker_inflight_requests")}
    assert [2.0, 2.0] == list(shares.values())
    refused = [call.future(request(), timeout=10) for call in lines.calls]
    assert ["RESOURCE_EXHAUSTED"] * 4 == codes(refused)
    assert {"over the quota of 4 requests in flight (concurrency)"} == {future.details() for future in refused}
    pushbacks = [dict(future.trailing_metadata())["grpc-retry-pushback-ms"] for future in refused]
    assert ["1000"] * 4 == pushbacks
    line = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
    line.request("POST", "/v2/models/rows/infer", body, {"content-type": "application/json"})
    answer = line.getresponse()
    assert (429, "1", True) == (answer.status, answer.getheader("retry-after"), b"concurrency" in answer.read())
    line.close()
    await_(lambda: (4.0, 5.0) == (server.gauge(ADMITTED), server.gauge(CROWDED)))
    os.kill(server.workers()[0], signal.SIGKILL)
    await_(lambda: sum(future.done() for future in held) == 2)
    await_(lambda: len(server.workers()) == 2 and all(value == 1.0 for value in _ready(server)))
    more = Lines(server, 4)
    stack.callback(more.close)
    again = [call.future(request(), timeout=60) for call in more.calls]
    await_(lambda: sum(future.done() for future in again) == 2)
    assert ["RESOURCE_EXHAUSTED"] * 2 == codes([future for future in again if future.done()])
    await_(lambda: 6.0 <= server.gauge(ADMITTED))
    for future in (*held, *again):
        future.cancel()


def _ready(server: Server) -> list[float]:
    found = [value for series, value in server.values().items() if series.startswith("tidegate_worker_ready")]
    return found if len(found) == 2 else [0.0]


def test_a_rate_holds_over_both_workers_and_other_settings_are_taken_over(stack: ExitStack, folder: Path) -> None:
    """A crowd on eight connections gets no more than rate and burst; a reload lets more in on the connections that are open."""
    server = started(stack, folder, delay_ms=0, quotas="requests_per_s: 50, burst: 10")
    lines = Lines(server, 8)
    stack.callback(lines.close)
    clock = SystemClock()
    begun, good = clock.now(), _crowd(lines, clock, seconds=2.0)
    lasted = clock.now() - begun
    assert 50 * 2.0 * 0.9 <= good <= 50 * lasted + 10 + 8  # where two workers let one in at the same moment, both may
    await_(lambda: server.gauge(EARLY) > 0)
    config = folder / "server.yaml"
    config.write_text(config.read_text().replace("requests_per_s: 50, burst: 10", "concurrency: 1000"))
    os.kill(server.child.pid, signal.SIGHUP)
    await_(lambda: all(call.future(request(), timeout=10).exception() is None for call in lines.calls * 10))
    config.write_text(config.read_text().replace("concurrency: 1000", ""))
    os.kill(server.child.pid, signal.SIGHUP)
    await_(lambda: EARLY not in server.values())
    assert ["OK"] * 8 == codes([call.future(request(), timeout=10) for call in lines.calls])


def _crowd(lines: Lines, clock: SystemClock, *, seconds: float) -> int:
    """Good answers to callers that ask without pause."""
    until, good = clock.now() + seconds, [0] * len(lines.calls)

    def ask(index: int) -> None:
        while clock.now() < until:
            good[index] += lines.calls[index].future(request(), timeout=10).code() is grpc.StatusCode.OK

    threads = [threading.Thread(target=ask, args=(index,)) for index in range(len(lines.calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(good)


def test_a_caller_that_vanishes_holds_nothing(stack: ExitStack, folder: Path) -> None:
    """Connections that are cut while their requests wait; the place is free once the server has let go of them."""
    server = started(stack, folder, delay_ms=300, quotas="concurrency: 1")
    body = b'{"inputs":[{"name":"x","datatype":"FP32","shape":[1,2],"data":[1,2]}]}'
    wire = b"POST /v2/models/rows/infer HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    for _ in range(3):
        with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as caller:
            caller.sendall(wire)
            await_(lambda: server.gauge("tidegate_inflight_requests") == 1)
        await_(lambda: server.gauge("tidegate_inflight_requests") == 0)
    with socket.create_connection(("127.0.0.1", server.http_port), timeout=10) as caller:
        caller.sendall(wire)
        assert caller.recv(1 << 16).startswith(b"HTTP/1.1 200")
