"""Health, asked while callers keep the server busy in a closed loop: over HTTP on a new connection each time as an orchestrator does, over
gRPC with the standard service, and on the supervisor's own port."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from grpc_health.v1 import health_pb2

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.callers import Callers, Size
from benchmarks.lifecycle.gateway import Gateway, serving
from benchmarks.lifecycle.reloads import truths
from benchmarks.lifecycle.verdicts import bar, judge, outcomes
from benchmarks.processes import Cores
from benchmarks.replayer import LoadError

SIZES = {"grpc": Size(connections=4, streams=16, room=1 << 21), "http": Size(connections=64, room=1 << 20)}
WARM, BETWEEN_S = 3, 0.02
HEALTH = "/grpc.health.v1.Health/Check"


def measure(folder: Path, *, probes: int, cores: Cores, seed: int, python: str) -> dict[str, Any]:
    """So many probes of each kind, by turns; the server has one core."""
    registries.two_versions(folder / "registry")
    requests, judges = truths(seed)
    with serving(folder, folder / "registry", "processes: {workers: 1}\n", cores=cores.server, python=python) as gateway:
        with grpc.insecure_channel("{}:{}".format(*gateway.address("grpc"))) as channel:
            kinds = _kinds(gateway, channel)
            groups = [Callers(name, gateway.address(name), requests[name], size) for name, size in SIZES.items()]
            cpu, start = gateway.server.cpu_s(), time.monotonic()
            for group in groups:
                group.start(600)
            runs = [{name: _timed(ask) for name, ask in kinds.items()} for _ in range(WARM + probes)][WARM:]
            for group in groups:
                group.stop()
            busy = (gateway.server.cpu_s() - cpu) / (time.monotonic() - start)
        answers = [group.finish() for group in groups]
    wrong = sum(judge(each, judges[each.protocol]).wrong_count for each in answers if each.ok <= SIZES[each.protocol].room)
    slowest = {name: max(run[name] for run in runs) for name in kinds}
    medians = {name: round(float(np.median([run[name] for run in runs])), 2) for name in kinds}
    return {"health": {
        "probes": len(runs) * len(kinds), "slowest_ms": slowest, "median_ms": medians, "server_cpu": round(busy, 3),
        "answers": sum(each.ok for each in answers), "outcomes": outcomes(answers), "wrong": wrong, "runs": runs,
    }}  # fmt: skip


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """The slowest answer of each kind."""
    found = measurements["health"]
    return [
        bar("health_probes", found["probes"], ">=", 200),
        bar("health_failed_or_wrong", sum(found["outcomes"].values()) + found["wrong"], "==", 0),
        *(bar(f"health_{name}_slowest_ms", slowest, "<=", 50) for name, slowest in found["slowest_ms"].items()),
    ]


def _kinds(gateway: Gateway, channel: grpc.Channel) -> dict[str, Callable[[], None]]:
    check = channel.unary_unary(
        HEALTH,
        request_serializer=health_pb2.HealthCheckRequest.SerializeToString,
        response_deserializer=health_pb2.HealthCheckResponse.FromString,
    )

    def over_http(port: int) -> None:
        status, _ = gateway.get("/v2/health/ready", port)
        if status != 200:
            raise LoadError(f"a ready server answers {status}")

    def over_grpc() -> None:
        if check(health_pb2.HealthCheckRequest(), timeout=10).status != health_pb2.HealthCheckResponse.SERVING:
            raise LoadError("a ready server does not serve")

    return {"http": lambda: over_http(gateway.http), "grpc": over_grpc, "monitor": lambda: over_http(gateway.metrics)}


def _timed(ask: Callable[[], None]) -> float:
    """Milliseconds."""
    time.sleep(BETWEEN_S)
    start = time.perf_counter()
    ask()
    return round((time.perf_counter() - start) * 1e3, 2)
