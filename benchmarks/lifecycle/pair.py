"""Two workers beside one, on two cores that they share with the load: more processes must not make a small machine slower.

Both servers are up; the one that is not loaded sleeps. Rounds alternate, and which of the two goes first does too.
"""

from __future__ import annotations

import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.gateway import Gateway, serving
from benchmarks.lifecycle.reloads import ENCODERS
from benchmarks.lifecycle.verdicts import bar
from benchmarks.load.messages import Prepared
from benchmarks.replayer import Load, LoadError, replay_grpc
from benchmarks.scrape import scrape

SIZE = {"connections": 8, "streams": 16}
WORKERS = (1, 2)


def measure(folder: Path, *, pair: int, seconds: float, cores: str, seed: int, python: str) -> dict[str, Any]:
    """So many rounds of so many seconds each."""
    registries.two_versions(folder / "registry")
    requests = registries.requests(seed, ENCODERS["grpc"])
    with ExitStack() as stack:
        servers = {}
        for count in WORKERS:
            settings = f"processes: {{workers: {count}, spare: false}}\n"
            servers[count] = stack.enter_context(serving(folder, folder / "registry", settings, cores=cores, python=python))
        for gateway in servers.values():
            _replay(gateway, requests, seconds)  # warm
        runs = []
        for number in range(pair):
            order = WORKERS if number % 2 else WORKERS[::-1]
            found = {count: _replay(servers[count], requests, seconds) for count in order}
            runs.append({"one": found[1], "two": found[2], "ratio": round(found[2]["rate"] / found[1]["rate"], 4)})
    return {"workers": {"runs": runs}}


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """The median of the ratios within a round."""
    return [bar("workers_two_vs_one", statistics.median(run["ratio"] for run in measurements["workers"]["runs"]), ">=", 1.0)]


def _replay(gateway: Gateway, requests: list[Prepared], seconds: float) -> dict[str, float]:
    load = Load(warmup_s=0.3, seconds=seconds, **SIZE)
    before, cpu = scrape(gateway.metrics), gateway.server.cpu_s()
    report = replay_grpc(gateway.address("grpc"), [request.wire for request in requests], load=load)
    if report.ok != sum(report.statuses.values()):
        raise LoadError(f"answers that are not OK: {report.statuses} {report.failures}")
    cpu, added = gateway.server.cpu_s() - cpu, scrape(gateway.metrics).since(before)
    return {
        "rate": round(report.rate), "p99_us": round(report.p99_us), "mean_batch": round(added.rows / added.batches, 1),
        "server_cpu": round(cpu / report.elapsed_s, 3), "load_cpu": round(report.load_cpu, 3),
    }  # fmt: skip
