"""What counting every row costs a server: the same registry served with and without, by turns, on one core.

A registry holds the tabular model of the serving bench, with 16 or with 256 features, and a reference profile of its inputs and outputs.
`unwatched` serves it with `drift.watched=false`; `watched` counts every row and evaluates each second; `ruled` does so under a contract
with a range and without missing values, and has no bar. Requests of one row are like the reference: the profile is of the very rows that
are sent, so a test of them against it stays quiet however often they come again. `moved` ones are not, and have no bar.

Throughput is in answers per second of the processor time of the server's whole tree, the evaluating process among it. A run lasts longer
than the time between two evaluations, so each has its share of them. A run counts only if the server says that it counted as many rows
for drift as were answered, and none where it watches nothing. Ratios and differences are taken within a pair of runs; a bar is the median
over pairs, with an interval that holds it in 95 of 100 cases.
"""

from __future__ import annotations

import re
import statistics
import time
import urllib.request
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.models import Served, rows, session, tabular
from benchmarks.processes import HOST, Cores, Server, free_ports, gateway_command, says_ready
from benchmarks.replayer import Load
from benchmarks.runs import Target, medians, run
from benchmarks.workloads import Workload, grpc_workload
from registry.columns import Column
from registry.parts import Parts
from registry.profile import encode
from registry.profiling import profile_of
from registry.publish import publish
from registry.schema import ContractFile, Range, Terms
from registry.store import Store

PAIRS, QUICK_PAIRS, MOVED_PAIRS = 24, 6, 3
PAIRS_A_START = 3  # then all servers are started anew: one and the same process may be a few percent faster than its twin all its life
WARMUP_S, SECONDS = 0.1, 1.1
THROUGHPUT_AT_LEAST = {16: 0.97, 256: 0.85}  # by features
P99_MORE_AT_MOST_US = 50.0
SENT_ROWS = 4096  # different ones, sent in turn
PATIENCE_S = 10.0  # for an evaluation to say what was counted
UNWATCHED = ("--set", "drift.watched=false")
OUTPUTS = (("label", "INT64"), ("probabilities", "FP32"))
TERMS = ContractFile(inputs={"input": Terms(nulls="refused", range=Range(min=-1e6, max=1e6))})
_COUNTED = re.compile(r"^tidegate_drift_rows_total\{[^}]*\} (\S+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Kind:
    """What is asked, and of which servers."""

    workload: Workload
    connections: int
    streams: int
    servers: tuple[str, ...]


@dataclass(slots=True)
class Ledger:
    """A server that is loaded, and what it owes: rows answered that it has not said to have counted."""

    target: Target
    watched: bool
    counted: int = 0
    last: dict[str, Any] = field(default_factory=dict)

    def load(self, workload: Workload, load: Load) -> dict[str, Any]:
        """One run. Whether it counts is complete only after the next `settle`."""
        self.settle()
        self.last = run(self.target, workload, load).document()
        return self.last

    def settle(self) -> None:
        """Hold what the server says against the last run, waiting for its next evaluation."""
        due = self.counted + (self.last.get("answers", 0) if self.watched else 0)
        end = time.monotonic() + PATIENCE_S
        while (said := rows_counted(self.target.metrics_port or 0)) != due and time.monotonic() < end:
            time.sleep(0.05)
        if said != due:
            self.last.setdefault("faults", []).append(f"{said - self.counted} rows were counted for drift, not {due - self.counted}")
        self.counted, self.last = said, {}


def measure(folder: Path, cores: Cores, *, quick: bool, seed: int) -> dict[str, Any]:
    """All measurements: name → runs and medians."""
    found: dict[str, Any] = {}
    for features in THROUGHPUT_AT_LEAST:
        pairs = QUICK_PAIRS if quick else PAIRS
        found |= _measure_width(folder / str(features), features, cores, pairs=pairs, seed=seed)
    return {name: {"runs": runs, "median": medians(runs)} for name, runs in found.items()}


def served(features: int) -> Served:
    """The tabular model with so many features."""
    return Served("tabular", (features,), OUTPUTS)


def publish_watched(store: Store, model: Served, inputs: np.ndarray, terms: ContractFile | None = None) -> list[np.ndarray]:
    """One version of a tabular model, its champion, whose profile is of `inputs` [rows, features]; gives the outputs for them."""
    path = submitted(store, model)
    outputs = session(path).run(None, {"input": inputs})
    made = [Column("output", name, values) for (name, _), values in zip(model.outputs, outputs, strict=True)]
    profile = profile_of([Column("input", "input", inputs), *made]).profile
    parts = Parts(contract=terms, profile=encode(profile))
    publish(store, path, name=model.name, publisher="bench", now_s=1e9, parts=parts, trial=lambda files, limits: None)
    store.aliases(model.name).move("champion", to=1, expected_from=None, actor="bench", reason="", now_s=1e9)
    return outputs


def submitted(store: Store, model: Served) -> Path:
    """The file of a tabular model, beside the registry."""
    path = store.medium.root.parent / f"{model.name}.onnx"
    path.write_bytes(tabular(np.random.default_rng(0), *model.row).SerializeToString())
    return path


def workload(model: Served, inputs: np.ndarray, outputs: Sequence[np.ndarray]) -> Workload:
    """Requests of one row each, and their answers."""
    return grpc_workload(model, inputs, [[output[at : at + 1] for output in outputs] for at in range(len(inputs))])


def start(stack: ExitStack, store: Store, log: Path, core: int, more: Sequence[str] = ()) -> Ledger:
    """A server, up until the stack ends."""
    http, grpc, metrics = free_ports(3)
    command = [*gateway_command(store.medium.root, http=http, grpc=grpc, metrics=metrics), *more]
    server = stack.enter_context(Server(command, core=core, ready=says_ready(metrics), log=log))
    if not more:
        _await_evaluation(metrics)
    return Ledger(Target(HOST, grpc, server.cpu_s, metrics, log), watched=not more)


def _await_evaluation(metrics_port: int) -> None:
    """Until the evaluating process has begun: it imports for seconds while it gives way to a server under load, once in a server's life."""
    end = time.monotonic() + PATIENCE_S
    while not _COUNTED.search(_page(metrics_port)) and time.monotonic() < end:
        time.sleep(0.05)


def rows_counted(metrics_port: int) -> int:
    """What the metrics page says of all versions."""
    return sum(int(float(value)) for value in _COUNTED.findall(_page(metrics_port)))


def _page(metrics_port: int) -> str:
    with urllib.request.urlopen(f"http://{HOST}:{metrics_port}/metrics", timeout=5) as answer:
        page: bytes = answer.read()
        return page.decode()


def _measure_width(folder: Path, features: int, cores: Cores, *, pairs: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    model = served(features)
    inputs = rows(model, SENT_ROWS, seed)
    for name in ("plain", "ruled"):
        (folder / name).mkdir(parents=True)
    plain, ruled = Store.create(folder / "plain" / "registry"), Store.create(folder / "ruled" / "registry")
    like = workload(model, inputs, publish_watched(plain, model, inputs))
    publish_watched(ruled, model, inputs, TERMS)
    changed = inputs * np.float32(1.5) + np.float32(0.5)
    moved = workload(model, changed, session(submitted(plain, model)).run(None, {"input": changed}))
    both = ("unwatched", "watched")
    stores = {"unwatched": (plain, UNWATCHED), "watched": (plain, ()), "ruled": (ruled, ())}
    first = {f"grpc_4x16_{features}": Kind(like, 4, 16, (*both, "ruled")), f"grpc_1x1_{features}": Kind(like, 1, 1, both)}
    last = {f"grpc_4x16_{features}_moved": Kind(moved, 4, 16, both)}
    found: dict[str, list[dict[str, Any]]] = {}
    for kinds, rounds in (*[(first, PAIRS_A_START)] * (pairs // PAIRS_A_START), (last, MOVED_PAIRS)):
        with ExitStack() as stack:
            servers = {
                name: start(stack, store, folder / f"{name}.log", cores.server, more) for name, (store, more) in stores.items()
            }  # fmt: skip
            for name, runs in _by_turns(servers, kinds, pairs=rounds, seed=seed).items():
                found.setdefault(name, []).extend(runs)
    return found


def _by_turns(servers: dict[str, Ledger], kinds: dict[str, Kind], *, pairs: int, seed: int) -> dict[str, list[dict[str, Any]]]:
    """Every kind on all its servers; who comes first changes with each round."""
    found: dict[str, list[dict[str, Any]]] = {}
    for number in range(pairs):
        for name, kind in kinds.items():
            load = Load(connections=kind.connections, streams=kind.streams, warmup_s=WARMUP_S, seconds=SECONDS, seed=seed)
            for server in kind.servers[:: 1 if number % 2 else -1]:
                found.setdefault(f"{name}_{server}", []).append(servers[server].load(kind.workload, load))
    for server in servers.values():
        server.settle()
    return found


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """Throughput and p99 for each number of features. Runs that do not count leave a bar without a value."""
    bars = []
    for features, bound in THROUGHPUT_AT_LEAST.items():
        many, single = (_paired(measurements, f"grpc_{shape}_{features}") for shape in ("4x16", "1x1"))
        ratios = [watched["per_cpu_s"] / unwatched["per_cpu_s"] for watched, unwatched in many]
        more = [watched["p99_us"] - unwatched["p99_us"] for watched, unwatched in single]
        bars.append(_bar(f"throughput_watched_{features}_features", ratios, ">=", bound))
        bars.append(_bar(f"p99_us_more_watched_{features}_features", more, "<=", P99_MORE_AT_MOST_US))
    return bars


def _paired(measurements: dict[str, Any], name: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs with and without; none where one has a fault."""
    runs = [measurements.get(f"{name}_{server}", {}).get("runs", []) for server in ("watched", "unwatched")]
    return list(zip(*runs, strict=True)) if not any(run["faults"] for side in runs for run in side) else []


def _bar(name: str, values: list[float], op: str, bound: float) -> dict[str, Any]:
    value = round(statistics.median(values), 4) if values else None
    holds = value is not None and (value >= bound if op == ">=" else value <= bound)
    return {"name": name, "value": value, "interval": interval(values), "op": op, "bound": bound, "holds": holds}


def interval(values: list[float]) -> list[float]:
    """Between which the median lies in 95 of 100 cases, by the binomial distribution of ranks."""
    if not values:
        return []
    ordered, outside = sorted(values), max(0, int((len(values) - 1.96 * len(values) ** 0.5) / 2))
    return [round(ordered[outside], 4), round(ordered[-1 - outside], 4)]
