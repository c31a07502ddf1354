"""What it costs to ask callers who they are: two gateways on one core, of which one asks for an API key, loaded by turns.

`python -m benchmarks.credentials` prints one JSON object as its last line; `--quick --json -` takes fewer rounds. gRPC on 4 connections of
16 streams, with headers that are always the same and with headers that differ in every request, and JSON on 64 connections. Compared are
answers per second of the server's processor time, within each round, so that other work on the machine weighs little; a bar is the
median over rounds.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks import command
from benchmarks.load.headers import HeaderStyle
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import TABULAR, write_repository
from benchmarks.processes import HOST, Server, free_ports, gateway_command, pick_cores, says_ready
from benchmarks.replayer import Load
from benchmarks.runs import Target, run
from benchmarks.workloads import Workload, Workloads

RESULT = Path(__file__).parent / "results" / "credentials.json"
ROUNDS, QUICK_ROUNDS = 21, 9
SECONDS, QUICK_SECONDS = 3.0, 1.2
STYLES = {
    "constant": HeaderStyle(),
    "plain": HeaderStyle(varying=True),
    "huffman_indexed": HeaderStyle(varying=True, huffman=True, indexed=True),
}
AT_LEAST = {"grpc": 0.9, "rest": 0.85}  # by the first word of a measurement


def main() -> int:
    """Run, judge, write, report."""
    options = command.parser(__doc__, seed="rows and headers").parse_args()
    cores = pick_cores()
    os.sched_setaffinity(0, {cores.load})
    rounds, seconds = (QUICK_ROUNDS, QUICK_SECONDS) if options.quick else (ROUNDS, SECONDS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        repository = write_repository(folder / "models", names=["tabular"], seed=options.seed)
        key = make_key(folder / "keys.yaml")
        asking = ["--set", f"auth.keys={folder / 'keys.yaml'}"]
        targets = {
            who: gateway(stack, repository, folder / f"{who}.log", core=cores.server, more=more)
            for who, more in (("open", []), ("asking", asking))
        }
        measurements = measure(targets, Workloads(repository, options.seed), key, rounds=rounds, seconds=seconds, seed=options.seed)
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": measurements, "bars": judge(measurements),
    }  # fmt: skip
    return command.conclude(result, options.json, RESULT)


def make_key(path: Path) -> str:
    """A key that may ask the model, as an operator makes one."""
    scopes = ["--scope", f"infer:{TABULAR.name}", "--scope", "meta"]
    arguments = [sys.executable, "-m", "gateway.cli", "key", "new", "bench", *scopes, "--file", str(path), "--json"]
    made: str = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)["key"]
    return made


def gateway(stack: ExitStack, repository: Path, log: Path, *, core: int, more: list[str]) -> dict[str, Target]:
    """One server, up until the end of the bench."""
    http, grpc, metrics = free_ports(3)
    started = [*gateway_command(repository, http=http, grpc=grpc, metrics=metrics), *more]
    server = stack.enter_context(Server(started, core=core, ready=says_ready(metrics), log=log))
    return {name: Target(HOST, port, server.cpu_s, metrics, log) for name, port in (("grpc", grpc), ("rest", http))}


def measure(
    targets: dict[str, dict[str, Target]], workloads: Workloads, key: str, *, rounds: int, seconds: float, seed: int
) -> dict[str, Any]:
    """Every wire and style on both gateways by turns; who comes first changes with each round."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(rounds):
        for who in ("open", "asking") if number % 2 else ("asking", "open"):
            shown = key if who == "asking" else ""
            for name, style in STYLES.items():
                load = Load(connections=4, streams=16, warmup_s=0.2, seconds=seconds, seed=seed)
                done = run(targets[who]["grpc"], workloads.raw, load, replace(style, credential=shown))
                found.setdefault(f"grpc_{name}_{who}", []).append(done.document())
            load = Load(connections=64, warmup_s=0.2, seconds=seconds, seed=seed)
            found.setdefault(f"rest_json_{who}", []).append(run(targets[who]["rest"], with_field(workloads.json, shown), load).document())
    return {name: {"runs": runs} for name, runs in found.items()}


def with_field(workload: Workload, key: str) -> Workload:
    """The same HTTP/1.1 requests with a credential in them."""
    if not key:
        return workload
    field = b"authorization: Bearer " + key.encode() + b"\r\n"
    return replace(workload, wires=[wire.replace(b"\r\n", b"\r\n" + field, 1) for wire in workload.wires])


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """One bar for each wire and style: asking by open. Runs that do not count make it None."""
    names = [name.removesuffix("_open") for name in measurements if name.endswith("_open")]
    return [_bar(name, measurements[f"{name}_asking"]["runs"], measurements[f"{name}_open"]["runs"]) for name in names]


def _bar(name: str, asking: list[dict[str, Any]], free: list[dict[str, Any]]) -> dict[str, Any]:
    ratios = [one["per_cpu_s"] / other["per_cpu_s"] for one, other in zip(asking, free, strict=True) if not one["faults"] + other["faults"]]
    value = round(statistics.median(ratios), 4) if len(ratios) == len(asking) else None
    bound = AT_LEAST[name.partition("_")[0]]
    return {"name": f"{name}_with_a_key_vs_without", "value": value, "op": ">=", "bound": bound, "holds": (value or 0.0) >= bound}


if __name__ == "__main__":
    raise SystemExit(main())
