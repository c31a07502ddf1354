"""What tenants notice of each other: one that sends nine times as much, and one whose requests are large.

`python -m benchmarks.tenants` prints one JSON object as its last line; `--quick --json -` takes fewer rounds. One server on one core, two
tenants with API keys of their own and equal weights.

* `share`: the small tenant asks a model of long runs for a fifth of what the server can do, at a fixed pace; the big one offers nine
  times that at a fixed pace, so that together they ask for twice what there is. The bar is the median over rounds of the share of the small
  one's requests that are answered. By turns, both use one key: then the server cannot tell them apart, and that is what it was without.
* `heavy`: the small tenant asks for one row at a time at a fixed pace, alone and beside a tenant that sends one request of 8 MiB for
  every hundred of its own, at the pace of a link of 10 Gb/s, from a thread that gives way to it: what is measured is the server. The bar
  is the ratio of the p99 of both, counted from when a request was due, the median over rounds that alternate.

A round counts only if nothing else came back than answers and refusals of a full queue, and in `heavy` no refusal of a small request.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import command, render
from benchmarks.lifecycle.callers import Answers, Callers, Size
from benchmarks.load.headers import HeaderStyle
from benchmarks.load.messages import Prepared, grpc_message, request_id, rows_message
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import MLP, TABULAR, rows, write_repository
from benchmarks.processes import HOST, Server, free_ports, gateway_command, pick_cores, says_ready

RESULT = Path(__file__).parent / "results" / "tenants.json"
ROUNDS, QUICK_ROUNDS = 9, 3
SECONDS, QUICK_SECONDS = 3.0, 2.0
TENANTS = ("big", "small")
FULL = "RESOURCE_EXHAUSTED"
QUEUE_ROWS = 512  # of the queue
OF_CAPACITY, TIMES = 0.2, 9
SMALL_RATE, SMALLS_FOR_HEAVY = 1_500.0, 100
LINK = 1_250_000_000  # bytes a second: 10 Gb/s. Loopback would bring 8 MiB in one piece, for which the sender's own kernel needs 2 ms
HEAVY_ROWS = (8 << 20) // (4 * TABULAR.row[0])
Address = tuple[str, int]
Run = dict[str, Any]


class Bench:
    """One server and the tenants' keys."""

    def __init__(self, address: Address, keys: dict[str, str], seed: int) -> None:
        self.address = address
        self.styles = {name: HeaderStyle(credential=key) for name, key in keys.items()}
        self.mlp = [grpc_message(MLP, request_id(i), row) for i, row in enumerate(rows(MLP, 512, seed))]
        self.one_row = [grpc_message(TABULAR, request_id(i), row) for i, row in enumerate(rows(TABULAR, 2_048, seed))]
        self.heavy = [rows_message(TABULAR, request_id(0), rows(TABULAR, HEAVY_ROWS, seed))]

    def callers(self, tenant: str, requests: Sequence[Prepared], size: Size) -> Callers:
        """One tenant's, connected."""
        return Callers("grpc", self.address, requests, size, style=self.styles[tenant])

    def together(self, seconds: float, *groups: Callers) -> list[Answers]:
        """All of them at once."""
        for group in groups:
            group.start(seconds)
        return [group.finish() for group in groups]


def main() -> int:
    """Run, judge, write, report."""
    options = command.parser(__doc__, seed="rows").parse_args()
    cores = pick_cores()
    os.sched_setaffinity(0, {cores.load})
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (ROUNDS, SECONDS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        repository = write_repository(folder / "models", names=["mlp", "tabular"], seed=options.seed)
        http, grpc, metrics = free_ports(3)
        keys = {tenant: make_key(folder / "keys.yaml", tenant) for tenant in TENANTS}
        more = ["--set", f"auth.keys={folder / 'keys.yaml'}", "--set", f"limits.serving.max_queue_rows={QUEUE_ROWS}"]
        started = [*gateway_command(repository, http=http, grpc=grpc, metrics=metrics), *more]
        stack.enter_context(Server(started, core=cores.server, ready=says_ready(metrics), log=folder / "log"))
        bench = Bench((HOST, grpc), keys, options.seed)
        measurements = {"share": share(bench, rounds, seconds), "heavy": heavy(bench, rounds, seconds)}
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": measurements, "bars": judge(measurements),
    }  # fmt: skip
    status = command.conclude(result, options.json, RESULT)
    if not (options.json or options.quick):
        render.refresh()
    return status


def make_key(path: Path, tenant: str) -> str:
    """A key that may ask both models, as an operator makes one."""
    arguments = [sys.executable, "-m", "gateway.cli", "key", "new", tenant, "--scope", "infer:*", "--file", str(path), "--json"]
    made: str = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)["key"]
    return made


def share(bench: Bench, rounds: int, seconds: float) -> dict[str, Any]:
    """The small tenant beside the big one, as two tenants and as one, by turns."""
    closed = Size(connections=8, streams=32)
    for _ in range(2):
        (alone,) = bench.together(1.5, bench.callers("small", bench.mlp, closed))
    capacity = alone.ok / alone.seconds
    found: dict[str, Any] = {"capacity": round(capacity), "runs": [], "as_one": []}
    for _ in range(rounds):
        found["as_one"].append(beside(bench, "big", capacity, seconds))
        found["runs"].append(beside(bench, "small", capacity, seconds))
    return found


def beside(bench: Bench, key: str, capacity: float, seconds: float) -> Run:
    """One round, in which the small tenant shows this key."""
    rate = OF_CAPACITY * capacity
    big = Size(connections=8, streams=128, rate=TIMES * rate)
    small = Size(connections=4, streams=128, rate=rate)
    much, little = bench.together(seconds, bench.callers("big", bench.mlp, big), bench.callers(key, bench.mlp, small))
    due = rate * seconds
    return {
        "answered_of_demand": round(min(little.ok / due, 1.0), 4), "of_capacity": round((much.ok + little.ok) / seconds / capacity, 3),
        "big_rate": round(much.ok / seconds), "big_offered": round((much.ok + much.failed) / seconds),
        "small_rate": round(little.ok / seconds), "small_p99_us": p99(little),
        "refused": {"big": much.outcomes[FULL], "small": little.outcomes[FULL]},
        "faults": faults(much, little, allowed=FULL),
    }  # fmt: skip


def heavy(bench: Bench, rounds: int, seconds: float) -> dict[str, Any]:
    """The small tenant alone and beside one with large requests, by turns."""
    found: dict[str, Any] = {"alone": [], "beside": []}
    for _ in range(rounds):
        for name in ("alone", "beside"):
            groups = [bench.callers("small", bench.one_row, Size(connections=4, streams=16, rate=SMALL_RATE))]
            if name == "beside":
                size = Size(connections=1, streams=4, rate=SMALL_RATE / SMALLS_FOR_HEAVY, pace=LINK, gives_way=True)
                groups.append(bench.callers("big", bench.heavy, size))
            small, *others = bench.together(seconds, *groups)
            found[name].append({
                "rate": round(small.ok / small.seconds), "p50_us": round(float(np.median(small.latency_us))), "p99_us": p99(small),
                "large_answered": sum([each.ok for each in others]), "large_refused": sum([each.outcomes[FULL] for each in others]),
                "faults": [*faults(small), *faults(*others, allowed=FULL)],
            })  # fmt: skip
    return found


def p99(answers: Answers) -> int:
    """Of good answers, from when each request was due [µs]."""
    return round(float(np.quantile(answers.latency_us, 0.99)))


def faults(*groups: Answers, allowed: str = "") -> list[str]:
    """What came back instead of answers, but for what was to be expected."""
    return [f"{count} × {name}" for group in groups for name, count in group.outcomes.items() if name != allowed]


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians over rounds; a round that does not count makes its bar None."""
    shared, alone, loaded = measurements["share"]["runs"], measurements["heavy"]["alone"], measurements["heavy"]["beside"]
    answered = [run["answered_of_demand"] for run in shared]
    ratios = [one["p99_us"] / other["p99_us"] for one, other in zip(loaded, alone, strict=True)]
    return [
        _bar("small_tenant_answered_of_demand_beside_9_times", None if _faulty(shared) else statistics.median(answered), ">=", 0.95),
        _bar("small_p99_beside_8_mib_requests_vs_alone", None if _faulty(alone, loaded) else statistics.median(ratios), "<=", 2.0),
    ]


def _faulty(*runs: list[Run]) -> bool:
    return any(run["faults"] for each in runs for run in each)


def _bar(name: str, value: float | None, op: str, bound: float) -> dict[str, Any]:
    holds = value is not None and (value >= bound if op == ">=" else value <= bound)
    return {"name": name, "value": None if value is None else round(value, 4), "op": op, "bound": bound, "holds": holds}


if __name__ == "__main__":
    raise SystemExit(main())
