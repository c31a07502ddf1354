"""What it costs to know who calls: API keys, keys and quotas, TLS, each beside the same gateway without, on one core and by turns.

`python -m benchmarks.credentials` runs it whole, in about six minutes, and writes benchmarks/results/credentials.json and the pages
rendered from it; `--quick --json -` takes fewer rounds and prints one JSON object as its last line. Compared are answers per second of
the server's processor time, within each round, so that other work on the machine weighs little; a bar is the median over rounds, with
an interval that holds it in 95 of 100 cases.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import command, render
from benchmarks.encryption import Certificate, Encryption
from benchmarks.load.headers import CONSTANT, HeaderStyle
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import TABULAR, write_repository
from benchmarks.processes import HOST, Server, free_ports, gateway_command, pick_cores, says_ready
from benchmarks.replayer import Load
from benchmarks.runs import Target, medians, run
from benchmarks.workloads import Workload, Workloads

RESULT = Path(__file__).parent / "results" / "credentials.json"
PAIRS, QUICK_PAIRS = 20, 6
TLS_ROUNDS, QUICK_TLS_ROUNDS = 5, 2
SECONDS, WARMUP_S = 0.6, 0.1
IDENTITY_AT_LEAST, TLS_AT_LEAST, PEER_AT_LEAST = 0.9, 0.6, 4.0
QUOTAS_AT_LEAST = 0.8  # all three quotas of a tenant, reckoned with in every request on top of its key: 0.4 µs of a request of 4.3
ASKING = {"identified": ("with_key", IDENTITY_AT_LEAST), "metered": ("with_key_and_quotas", QUOTAS_AT_LEAST)}
# Far above what the load asks for: each quota is reckoned with in every request, and none refuses.
QUOTAS = ("requests_per_s=1e8", "burst=100000000", "concurrency=100000", "bytes_per_s=100000000000")


@dataclass(frozen=True, slots=True)
class Kind:
    """One way to ask, as both gateways are asked."""

    port: str
    workload: Workload
    connections: int
    streams: int = 1
    style: HeaderStyle = CONSTANT


def main() -> int:
    """Run, judge, write, report."""
    options = command.parser(__doc__, seed="rows and headers").parse_args()
    start, cores = time.monotonic(), pick_cores()
    os.sched_setaffinity(0, {cores.load})
    pairs, rounds = (QUICK_PAIRS, QUICK_TLS_ROUNDS) if options.quick else (PAIRS, TLS_ROUNDS)
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        repository = write_repository(folder / "models", names=["tabular"], seed=options.seed)
        key, certificate = make_key(folder / "keys.yaml"), Certificate.made(folder)
        keys = folder / "keys.yaml"
        variants = {"open": [], "identified": identified(keys), "metered": metered(keys), "secure": certificate.settings}
        targets = {who: gateway(stack, repository, folder / f"{who}.log", core=cores.server, more=more) for who, more in variants.items()}
        workloads = Workloads(repository, options.seed)
        compared = {who: targets[who] for who in ("open", *ASKING)}
        measurements = measure(compared, kinds(workloads), key, pairs=pairs, seed=options.seed)
        encryption = Encryption(targets["open"], targets["secure"], workloads, certificate, cores)
        wrong = encryption.wrong()
        measurements |= encryption.measure(stack, repository, folder / "peer.log", rounds=rounds)
    measurements = {name: {**one, "median": medians(one["runs"])} for name, one in measurements.items()}
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "seconds": round(time.monotonic() - start), "wrong": wrong, "measurements": measurements, "bars": judge(measurements, wrong),
    }  # fmt: skip
    status = command.conclude(result, options.json or ("-" if options.quick else None), RESULT)
    if options.json is None and not options.quick:
        render.refresh()
    return status


def make_key(path: Path) -> str:
    """A key that may ask the model, as an operator makes one."""
    scopes = ["--scope", f"infer:{TABULAR.name}", "--scope", "meta"]
    arguments = [sys.executable, "-m", "gateway.cli", "key", "new", "bench", *scopes, "--file", str(path), "--json"]
    made: str = json.loads(subprocess.run(arguments, capture_output=True, check=True, text=True).stdout)["key"]
    return made


def identified(keys: Path) -> list[str]:
    """Settings of a gateway that asks for keys."""
    return ["--set", f"auth.keys={keys}"]


def metered(keys: Path) -> list[str]:
    """Settings of a gateway that asks for keys and holds every caller to quotas."""
    return [*identified(keys), *[part for quota in QUOTAS for part in ("--set", f"default_tenant.{quota}")]]


def gateway(stack: ExitStack, repository: Path, log: Path, *, core: int, more: list[str]) -> dict[str, Target]:
    """One server, up until the end of the bench."""
    http, grpc, metrics = free_ports(3)
    started = [*gateway_command(repository, http=http, grpc=grpc, metrics=metrics), *more]
    server = stack.enter_context(Server(started, core=core, ready=says_ready(metrics), log=log))
    return {name: Target(HOST, port, server.cpu_s, metrics, log) for name, port in (("grpc", grpc), ("rest", http))}


def kinds(workloads: Workloads) -> dict[str, Kind]:
    """The serving bench's small requests, and headers that differ in every request."""
    return {
        "grpc_4x16": Kind("grpc", workloads.raw, 4, 16),
        "grpc_4x16_headers": Kind("grpc", workloads.raw, 4, 16, HeaderStyle(varying=True)),
        "grpc_64x1": Kind("grpc", workloads.raw, 64),
        "rest_json": Kind("rest", workloads.json, 64),
        "rest_binary": Kind("rest", workloads.binary, 64),
    }


def measure(targets: dict[str, dict[str, Target]], asked: dict[str, Kind], key: str, *, pairs: int, seed: int) -> dict[str, Any]:
    """Every kind on all gateways by turns; who comes first changes with each round."""
    runs: dict[str, list[dict[str, Any]]] = {}
    for number in range(pairs):
        for name, kind in asked.items():
            load = Load(connections=kind.connections, streams=kind.streams, warmup_s=WARMUP_S, seconds=SECONDS, seed=seed)
            for who in [*targets][:: 1 if number % 2 else -1]:
                shown = key if who in ASKING else ""
                workload = with_field(kind.workload, shown) if kind.workload.http else kind.workload
                done = run(targets[who][kind.port], workload, load, replace(kind.style, credential=shown))
                runs.setdefault(f"{name}_{who}", []).append(done.document())
    return {name: {"runs": entries} for name, entries in runs.items()}


def with_field(workload: Workload, key: str) -> Workload:
    """The same HTTP/1.1 requests with a credential in them."""
    if not key:
        return workload
    field = b"authorization: Bearer " + key.encode() + b"\r\n"
    return replace(workload, wires=[wire.replace(b"\r\n", b"\r\n" + field, 1) for wire in workload.wires])


def judge(measurements: dict[str, Any], wrong: list[str]) -> list[dict[str, Any]]:
    """A bar for every kind with and without. Runs that do not count, and wrong answers over TLS, leave it without a value."""
    bars = []
    for name in measurements:
        kind, _, who = name.rpartition("_")
        if who in ASKING:
            what, bound = ASKING[who]
            bars.append(_bar(f"{kind}_{what}", measurements, name, f"{kind}_open", bound, "per_cpu_s"))
        elif who == "plaintext":
            bars.append(_bar(f"{kind}_with_tls", measurements, f"{kind}_tls", name, TLS_AT_LEAST, "per_cpu_s", wrong))
        elif kind.startswith("grpc_aio_"):
            ours = name.replace("grpc_aio", "grpc")
            bars.append(_bar(f"{ours}_vs_grpc_aio", measurements, ours, name, PEER_AT_LEAST, "rate", wrong))
    return bars


def _bar(
    name: str, measurements: dict[str, Any], one: str, other: str, bound: float, figure: str, wrong: list[str] | None = None
) -> dict[str, Any]:
    paired = list(zip(measurements[one]["runs"], measurements[other]["runs"], strict=True))
    counts = not wrong and not any(first["faults"] or second["faults"] for first, second in paired)
    ratios = sorted(first[figure] / second[figure] for first, second in paired) if counts else []
    value = round(statistics.median(ratios), 4) if ratios else None
    return {
        "name": name, "value": value, "interval": _interval(ratios), "op": ">=", "bound": bound, "holds": (value or 0.0) >= bound,
    }  # fmt: skip


def _interval(ratios: list[float]) -> list[float]:
    """Between which the median lies in 95 of 100 cases, by the binomial distribution of ranks."""
    if not ratios:
        return []
    outside = max(0, int((len(ratios) - 1.96 * len(ratios) ** 0.5) / 2))
    return [round(ratios[outside], 4), round(ratios[-1 - outside], 4)]


if __name__ == "__main__":
    raise SystemExit(main())
