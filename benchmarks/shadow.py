"""What a shadow costs those whom stable answers: the same registry served with and without, by short turns, on one core.

`python -m benchmarks.shadow` prints one JSON object as its last line; `--quick --json -` takes fewer rounds. A registry holds the tabular
model of the serving bench twice; `plain` and its `twin` serve version 1, `shadowed` does so in a rollout that is in a shadow step of all
units. A round is one short window of each at full load and one at half load; who comes first changes from round to round, and the same
requests are sent in each. A machine that others use changes its pace from second to second: what is compared lies within two seconds, the
median over rounds is judged, and what the twin makes of the same comparison is the noise that stands beside it.

* `half`: requests at a fixed pace that is half of what `plain` has just answered, timed from when each was due. Bars: the shadow's
  coverage, and p99 as a share of those without.
* `full`: as fast as answers come. The shadow has to see that there is no time for it. Bar: answers a second as a share of those without.
* `broken`: at half load, candidates that hang, grow, are slow, or whose process is killed ten times a second. Bar: requests without a
  good answer, of all together.

A window counts only if every answer is good. Each request of `shadowed` has one outcome on the metrics page; coverage is the share of those
that found room. All servers, the processes of their shadows among them, share one core.
"""

from __future__ import annotations

import os
import re
import signal
import statistics
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import command
from benchmarks.drift_tax import interval
from benchmarks.lifecycle.callers import Answers, Callers, Size
from benchmarks.load.messages import Prepared, grpc_message, request_id
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import TABULAR, rows
from benchmarks.processes import HOST, Cores, Server, free_ports, gateway_command, pick_cores, says_ready
from benchmarks.shadow_models import CANDIDATES
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from registry.publish import publish
from registry.store import Store

RESULT = Path(__file__).parent / "results" / "shadow.json"
ROUNDS, QUICK_ROUNDS = 48, 12
ROUNDS_A_START = 12  # then all servers are started anew: one and the same process may be faster than its twin all its life
SECONDS = 0.4
CAPACITY_S = 1.5  # of the window that says what half load is beside broken candidates
BROKEN_S, QUICK_BROKEN_S = 8.0, 4.0
OF_CAPACITY = 0.5
COVERAGE_AT_LEAST, P99_AT_MOST, THROUGHPUT_AT_LEAST = 0.99, 1.10, 0.95
PATIENCE_S = 60.0
SETTLED_S = 10.0  # in which a candidate that hangs or whose process is killed again and again is given up
KILL_EVERY_S = 0.1
SENT_ROWS = 4_096  # different ones, sent in turn
MODEL = TABULAR.name
SERVERS = {"plain": None, "twin": None, "shadowed": 100.0}  # → percent of units; None: no rollout
_SHADOW = re.compile(r'^tidegate_rollout_shadow_total\{.*outcome="(\w+)".*\} (\S+)$', re.MULTILINE)
Run = dict[str, Any]
COMPARED = (("p99_at_half_load", "half", "p99_us"), ("throughput_at_full_load", "full", "rate"))


@dataclass(slots=True)
class Bench:
    """The servers, up."""

    servers: dict[str, Server]
    ports: dict[str, tuple[int, int]]  # of gRPC, of metrics
    requests: list[Prepared]

    def load(self, name: str, size: Size, seconds: float) -> tuple[Answers, dict[str, float]]:
        """One run, and what became of its requests in the shadow."""
        grpc, metrics = self.ports[name]
        before = outcomes(metrics)
        answers = Callers("grpc", (HOST, grpc), self.requests, size).start(seconds).finish()
        return answers, {outcome: count - before.get(outcome, 0.0) for outcome, count in settled(metrics, before, answers.ok).items()}


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write, report."""
    options = command.parser(__doc__, seed="rows").parse_args(arguments)
    cores = pick_cores()
    os.sched_setaffinity(0, {cores.load})
    inputs = rows(TABULAR, SENT_ROWS, options.seed)
    requests = [grpc_message(TABULAR, request_id(i), row) for i, row in enumerate(inputs)]
    rounds = QUICK_ROUNDS if options.quick else ROUNDS
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), cores, requests, rounds)
        found["broken"] = broken(Path(folder), cores, requests, QUICK_BROKEN_S if options.quick else BROKEN_S, found["capacity"])
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": found, "bars": judge(found),
    }  # fmt: skip
    return command.conclude(result, options.json, RESULT)


def measure(folder: Path, cores: Cores, requests: list[Prepared], rounds: int) -> dict[str, Any]:
    """Rounds at full load and at half load."""
    found: dict[str, Any] = {"half": [], "full": [], "capacity": 0.0}
    closed = Size(connections=4, streams=16, room=1 << 20)
    for start in range(0, rounds, ROUNDS_A_START):
        with started(folder / str(start), cores, requests, SERVERS, "alike") as bench:
            for name in bench.servers:  # until a shadow is there, whichever server it is
                bench.load(name, closed, 0.5)
            found["capacity"] = found["capacity"] or bench.load("plain", closed, CAPACITY_S)[0].ok / CAPACITY_S
            for number in range(min(ROUNDS_A_START, rounds - start)):
                turn = _turn(list(bench.servers), number)
                full = {name: _figures(*bench.load(name, closed, SECONDS)) for name in turn}
                half = Size(connections=4, streams=16, rate=OF_CAPACITY * full["plain"]["rate"], room=1 << 20)
                found["full"].append(full)
                found["half"].append({name: _figures(*bench.load(name, half, SECONDS)) for name in turn})
    found["noise"] = {name: _spread(_shares(found[kind], "twin", figure)) for name, kind, figure in COMPARED}
    return found


def _turn(names: list[str], number: int) -> list[str]:
    """Everybody is first, second and last as often, and follows everybody else as often."""
    turned = names[number % len(names) :] + names[: number % len(names)]
    return turned if number // len(names) % 2 else turned[::-1]


def broken(folder: Path, cores: Cores, requests: list[Prepared], seconds: float, capacity: float) -> dict[str, Run]:
    """One run for each broken candidate."""
    found = {}
    size = Size(connections=4, streams=16, rate=OF_CAPACITY * capacity, room=1 << 21)
    for name in [name for name in CANDIDATES if name != "alike"]:
        more = ["--set", f"models.{MODEL}.run_timeout_s=0.5"]
        with started(folder / name, cores, requests, {"shadowed": 100.0}, name, more) as bench, ExitStack() as stack:
            if name == "crashing":
                stack.enter_context(killing(bench.servers["shadowed"]))
            answers, outcome = bench.load("shadowed", size, seconds)
            found[name] = _figures(answers, outcome) | {"processes_left": len(children(bench.servers["shadowed"]))}
    return found


def _figures(answers: Answers, shadow: dict[str, float]) -> Run:
    seen = sum(shadow.values())
    found: Run = {
        "rate": round(answers.ok / answers.seconds), "p50_us": round(float(np.quantile(answers.latency_us, 0.5))),
        "p99_us": round(float(np.quantile(answers.latency_us, 0.99))),
        "faults": [f"{count} × {name}" for name, count in answers.outcomes.items()],
    }  # fmt: skip
    if seen:
        found |= {"shadow": {name: round(count) for name, count in shadow.items() if count}}
        found["coverage"] = round(shadow.get("mirrored", 0.0) / (seen - shadow.get("percent", 0.0)), 4)
        if round(seen) != answers.ok:
            found["faults"].append(f"{answers.ok} requests were answered, and {seen:.0f} have an outcome")
    return found


def judge(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Medians over rounds; a window that does not count leaves its bar without a value."""
    half, full = found["half"], found["full"]
    coverage = [one["shadowed"].get("coverage", 0.0) for one in half]
    errors = sum(len(run["faults"]) for run in found["broken"].values())
    return [
        _bar("coverage_at_half_load", coverage, ">=", COVERAGE_AT_LEAST, half),
        _bar("p99_at_half_load_with_and_without", _shares(half, "shadowed", "p99_us"), "<=", P99_AT_MOST, half),
        _bar("throughput_at_full_load_with_and_without", _shares(full, "shadowed", "rate"), ">=", THROUGHPUT_AT_LEAST, full),
        {"name": "errors_beside_broken_candidates", "value": errors, "op": "==", "bound": 0, "holds": errors == 0},
    ]


def _shares(rounds: list[dict[str, Run]], name: str, figure: str) -> list[float]:
    """A figure of one server as a share of what it is without a shadow: of `plain` and `twin` together, or of `plain` for the twin."""
    others = ("plain",) if name == "twin" else ("plain", "twin")
    return [one[name][figure] / statistics.geometric_mean([one[other][figure] for other in others]) for one in rounds]


def _spread(values: list[float]) -> dict[str, Any]:
    """The median, between which values it lies in 95 of 100 cases, and the quartiles."""
    lower, middle, upper = np.quantile(values, (0.25, 0.5, 0.75)).round(4).tolist()
    return {"value": middle, "interval": interval(values), "quartiles": [lower, upper]}


def _bar(name: str, values: list[float], op: str, bound: float, rounds: list[dict[str, Run]]) -> dict[str, Any]:
    counts = not any(run["faults"] for one in rounds for run in one.values())
    found = _spread(values)
    value = found["value"] if counts else None
    holds = value is not None and (value >= bound if op == ">=" else value <= bound)
    return {"name": name, **found, "value": value, "op": op, "bound": bound, "holds": holds}


# --- servers -------------------------------------------------------------------------------------------------------------------------


@contextmanager
def started(
    folder: Path, cores: Cores, requests: list[Prepared], servers: dict[str, float | None], candidate: str, more: list[str] | None = None
) -> Iterator[Bench]:  # fmt: skip
    """Servers of registries of their own, with the rollouts that they are to have, under way."""
    bench = Bench({}, {}, requests)
    with ExitStack() as stack:
        for name, percent in servers.items():
            store = registry(folder / name, candidate)
            http, grpc, metrics = free_ports(3)
            line = [
                *gateway_command(store.medium.root, http=http, grpc=grpc, metrics=metrics),
                "--set",
                "drift.watched=false",
                *(more or []),
            ]
            server = Server(line, core=cores.server, ready=says_ready(metrics), log=folder / f"{name}.log")
            bench.servers[name] = stack.enter_context(server)
            bench.ports[name] = grpc, metrics
            if percent is not None:
                Operations(store, now=time.time).apply(plan(percent), actor="bench")
        for name, percent in servers.items():
            if percent:
                until_shadowed(bench, name)
        yield bench


def registry(folder: Path, candidate: str) -> Store:
    """Stable as version 1 and champion, the candidate as version 2."""
    folder.mkdir(parents=True)
    store = Store.create(folder / "registry")
    for number, name in enumerate(("alike", candidate), 1):
        path = folder / f"{number}.onnx"
        path.write_bytes(CANDIDATES[name]().SerializeToString() if number == 1 else changed(name))
        publish(store, path, name=MODEL, publisher="bench", now_s=1e9, trial=lambda files, limits: None)
    store.aliases(MODEL).move("champion", to=1, expected_from=None, actor="bench", reason="", now_s=1e9)
    return store


def changed(name: str) -> bytes:
    """The candidate's file. What is already there under another number would not be published again."""
    model = CANDIDATES[name]()
    model.producer_name = "candidate"
    made: bytes = model.SerializeToString()
    return made


def plan(percent: float) -> Plan:
    """One shadow step that goes on, whatever is found."""
    until = {"verdict": None, "min_duration": "1h", "on_fail": "pause"}
    document = {
        "apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "shadow"},
        "spec": {
            "model": MODEL, "candidate": {"version": 2},
            "strategy": {"steps": [{"shadow": {"percent": percent, "max_share_of_capacity": 0.3}, "until": until}, {"setWeight": 5}]},
        },
    }  # fmt: skip
    return msgspec.convert(document, Plan)


def until_shadowed(bench: Bench, name: str) -> None:
    """Ask, now and then, until what is asked has a shadow."""
    grpc, metrics = bench.ports[name]
    end = time.monotonic() + PATIENCE_S
    while not outcomes(metrics):
        assert time.monotonic() < end, f"no shadow began on {name}"
        Callers("grpc", (HOST, grpc), bench.requests, Size(connections=1, streams=1, rate=50.0)).start(0.2).finish()
        time.sleep(0.2)


def outcomes(metrics_port: int) -> dict[str, float]:
    """Of requests of the shadow so far."""
    with urllib.request.urlopen(f"http://{HOST}:{metrics_port}/metrics", timeout=5) as answer:
        return {outcome: float(count) for outcome, count in _SHADOW.findall(answer.read().decode())}


def settled(metrics_port: int, before: dict[str, float], answers: int) -> dict[str, float]:
    """As `outcomes`, once every one of so many requests has one, or none is to be expected any more."""
    end, found = time.monotonic() + SETTLED_S, outcomes(metrics_port)
    while found and sum(found.values()) - sum(before.values()) < answers and time.monotonic() < end:
        time.sleep(0.05)
        found = outcomes(metrics_port)
    return found


def children(server: Server) -> list[int]:
    """The processes of models of a server."""
    return [pid for pid in server.pids if b"isolated_child" in _command_line(pid)]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


@contextmanager
def killing(server: Server) -> Iterator[None]:
    """Meanwhile the process of its candidate is killed again and again."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(KILL_EVERY_S):
            for pid in children(server):
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    raise SystemExit(main())
