"""Is a candidate that is as good as stable let through by a real server? Rollouts of a model to itself, under gRPC traffic.

`python -m benchmarks.alike` prints one JSON object as its last line; `--quick --json -` takes fewer rollouts. A server holds `MODELS`
models, each with two versions of the same content, and each in a rollout from the one to the other: 10, then 50 % of the users, by their
verdicts.
Compiled callers ask for all of them as fast as answers come, each user with a row that never changes. Some rows have no number in one
place, so that their answers have none either: a failure that clusters by user and is the same in both arms. Also counted are runs that
take longer than `SLOW_MS`, which may fail a rollout and delay none; whether latencies are larger anywhere, and whether classes are mixed
otherwise, may pause one.

What must hold: with α_fail of 1 %, no more rollouts are failed, or paused by evidence, than that and the binomial error of so many; every
request is answered. A rollout that is still open after its share of the requests says nothing, and is ended.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from benchmarks import command
from benchmarks.lifecycle.callers import Callers, Size
from benchmarks.load.messages import Prepared
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import TABULAR, Served, rows, tabular
from benchmarks.processes import HOST, Server, free_ports, gateway_command, pick_cores, says_ready
from benchmarks.rollout import ALPHA_FAIL, allowed, bar, upper
from gateway.pb import inference_pb2 as pb
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from gateway.rollout.status import Status
from registry.publish import publish
from registry.store import Store

RESULT = Path(__file__).parent / "results" / "alike.json"
ROLLOUTS, QUICK_ROLLOUTS = 100, 10
MODELS = 10  # at once
USERS = 12_000  # of each model
BAD_USERS = 0.02
SLOW_MS = 5.0
LOOK_S, LONGEST_S = 1.0, 60.0
ENOUGH = {"ratio": 1.5, "or_abs": 0.05}

Document = dict[str, Any]


def main() -> int:
    """Run, judge, write."""
    options = command.parser(__doc__, seed="the users and their rows").parse_args()
    cores = pick_cores()
    os.sched_setaffinity(0, {cores.load})
    wanted = QUICK_ROLLOUTS if options.quick else ROLLOUTS
    with tempfile.TemporaryDirectory() as folder:
        found = measure(Path(folder), cores.server, wanted, options.seed)
    result = {
        "machine": describe_machine(), "versions": describe_versions(), "seed": options.seed, "quick": options.quick,
        "measurements": found, "bars": judge(found),
    }  # fmt: skip
    return command.conclude(result, options.json, RESULT)


def measure(folder: Path, core: int, wanted: int, seed: int) -> Document:
    """So many rollouts, `MODELS` at a time."""
    names = [f"alike{number}" for number in range(MODELS)]
    store = registry(folder / "registry", names)
    http, grpc, metrics = free_ports(3)
    line = [*gateway_command(folder / "registry", http=http, grpc=grpc, metrics=metrics), "--set", "drift.watched=false"]
    bench = Bench(
        Operations(store, now=time.time),
        grpc,
        [one for alike in zip(*[messages(name, seed) for name in names], strict=True) for one in alike],
    )
    ends: list[Document] = []
    with Server(line, core=core, ready=says_ready(metrics), log=folder / "server.log"):
        while len(ends) < wanted:
            ends += bench.turn(names[: wanted - len(ends)], {name: 3 - store.resolve(name, "champion") for name in names})
            print(f"{len(ends)}: {dict(Counter(end['phase'] for end in ends))}", file=sys.stderr, flush=True)
    return summary(ends, bench)


@dataclass(slots=True)
class Bench:
    """A server, who calls it, and the rollouts of its registry."""

    operations: Operations
    port: int
    requests: Sequence[Prepared]
    sent: int = 0
    turns: int = 0
    failures: Counter[str] = field(default_factory=Counter)

    def turn(self, names: Sequence[str], candidates: Mapping[str, int]) -> list[Document]:
        """One rollout of each model, from when it begins until all are over."""
        self.turns += 1
        plans = [plan(name, candidates[name], self.turns) for name in names]
        ids = [self.operations.apply(each, actor="bench", force=True).status.id for each in plans]
        callers = Callers("grpc", (HOST, self.port), self.requests, Size(connections=4, streams=16, room=1)).start(LONGEST_S)
        end = time.monotonic() + LONGEST_S
        while time.monotonic() < end and not all(_over(self.operations.status(each)) for each in ids):
            time.sleep(LOOK_S)
        callers.stop()
        answers = callers.finish()
        self.sent += answers.ok
        self.failures += answers.outcomes
        return [self._ended(each) for each in ids]

    def _ended(self, rollout: str) -> Document:
        """What came of it; nothing more goes on then."""
        status = self.operations.status(rollout)
        if not status.final:
            self.operations.abort(rollout, actor="bench", reason="it has had its share of the requests")
        evidence = bool(status.tripped) or status.cause in ("invalid", "failed")
        return {
            "id": rollout,
            "phase": status.phase,
            "step": status.step,
            "cause": status.cause,
            "evidence": evidence,
            "why": status.reason,
        }


def _over(status: Status) -> bool:
    return status.final or status.phase == "paused"


def registry(
    folder: Path, names: Sequence[str], made: Callable[[int], Any] = lambda number: tabular(np.random.default_rng(number))
) -> Store:
    """Each model twice, as `made(its place)`: the same graph, and other names of who made it, since the same bytes are published once."""
    store = Store.create(folder)
    for number, name in enumerate(names):
        for version in (1, 2):
            model = made(number)
            model.producer_name = f"version {version}"
            path = folder.parent / "model.onnx"
            path.write_bytes(model.SerializeToString())
            publish(store, path, name=name, publisher="bench", now_s=1e9, trial=lambda files, limits: None)
        store.aliases(name).move("champion", to=1, expected_from=None, actor="bench", reason="", now_s=1e9)
    return store


def messages(name: str, seed: int) -> list[Prepared]:
    """One for each user of a model, who stands in a parameter."""
    model, random = replace(TABULAR, name=name), np.random.default_rng([seed, len(name), *name.encode()])
    values = rows(model, USERS, int(random.integers(1 << 31)))
    values[random.random(USERS) < BAD_USERS, 0] = np.nan
    return [_message(model, f"{index:08x}", f"user{index}", row) for index, row in enumerate(values)]


def _message(model: Served, request_id: str, user: str, row: np.ndarray) -> Prepared:
    request = pb.ModelInferRequest(model_name=model.name, id=request_id)
    request.parameters["user"].string_param = user
    request.inputs.add(name="input", datatype="FP32", shape=(1, *row.shape))
    request.raw_input_contents.append(row.astype("<f4").tobytes())
    body = request.SerializeToString()
    return Prepared(model, request_id, row, b"\0" + len(body).to_bytes(4, "big") + body)


def plan(name: str, candidate: int, turn: int) -> Plan:
    """Two steps by verdicts."""
    metrics: list[Document] = [
        {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": ENOUGH},
        {"name": "bad_output", "type": "rate", "event": "bad_output", "critical": True, "pass_if": ENOUGH},
        {"name": "slow", "type": "rate", "event": f"latency_ms > {SLOW_MS}", "critical": True},
        {"name": "latency", "type": "dominance"}, {"name": "mix", "type": "distribution", "of": "class"},
    ]  # fmt: skip
    steps = [{"setWeight": weight, "until": {"min_units": units}} for weight, units in ((10, 1_000), (50, 5_000))]
    spec = {
        "model": name, "candidate": {"version": candidate}, "unit": {"from": ["parameter:user"]}, "keep_stable_warm": "1s",
        "inline": True,  # in a process of its own, a candidate is slower than its equal
        "rollback_window": 0, "strategy": {"steps": steps},
        "analysis": {"alpha": {"fail": ALPHA_FAIL}, "warmup": {"requests": 0, "duration": "0s"}, "metrics": metrics},
    }  # fmt: skip
    document = {"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": f"{name}-{turn}"}, "spec": spec}
    return msgspec.convert(document, Plan)


def summary(ends: list[Document], bench: Bench) -> Document:
    """How many ended in which way."""
    failed = [end for end in ends if end["phase"] in ("rolled_back", "rolling_back", "failed")]
    paused = [end for end in ends if end["phase"] == "paused" and end["evidence"]]
    promoted = sum(end["phase"] in ("succeeded", "baking") for end in ends)
    shares = {name: {"share": round(count / len(ends), 4), "upper_95": round(upper(count, len(ends)), 4)}
              for name, count in (("failed", len(failed)), ("paused", len(paused)), ("promoted", promoted))}  # fmt: skip
    return {
        "rollouts": len(ends), **shares, "requests": bench.sent, "not_answered": dict(bench.failures),
        "phases": dict(Counter(end["phase"] for end in ends)), "others": [end for end in ends if end["phase"] != "succeeded"],
    }  # fmt: skip


def judge(found: Document) -> list[Document]:
    """Shares within α and their error, and nobody without an answer."""
    return [
        allowed("alike_failed", found, "failed", ALPHA_FAIL),
        allowed("alike_paused_by_evidence", found, "paused", ALPHA_FAIL),
        bar("requests_not_answered", float(sum(found["not_answered"].values())), "<=", 0.0),
        bar("alike_promoted", found["promoted"]["share"], ">=", 0.9),
    ]


if __name__ == "__main__":
    raise SystemExit(main())
