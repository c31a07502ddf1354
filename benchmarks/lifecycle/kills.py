"""Workers that are killed under load, one after the other, while everybody counts: raw callers over both protocols, and two gRPC clients.

Two workers and a spare. One round is one kill: the callers begin, a worker dies, two are ready again, the callers end, and their counts are
held against the server's. The next round begins once there is a spare again that has imported everything. The raw callers see what happened
to each connection; of the two gRPC clients one has the retry policy that `gateway.client` documents and one has none.
"""

from __future__ import annotations

import os
import random
import signal
import statistics
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import grpc
import numpy as np

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.callers import Answers, Callers, Size
from benchmarks.lifecycle.gateway import Gateway, await_, serving
from benchmarks.lifecycle.reloads import truths
from benchmarks.lifecycle.truth import Truth
from benchmarks.lifecycle.verdicts import bar, judge, outcomes
from benchmarks.load.messages import Prepared
from gateway.client import CallError, Client
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import SERVICE

SIZES = {"grpc": Size(connections=4, streams=4, rate=3000), "http": Size(connections=4, rate=1500)}
BEFORE_S, AFTER_S, LONGEST_S = 0.4, 0.4, 10.0
TICK_S = 0.25  # a worker writes what it has counted at least so often
MAY_HAPPEN = {"grpc closed", "http closed"}


class RpcClient:
    """One blocking gRPC client in a closed loop, by rounds."""

    def __init__(self, target: str, *, retries: bool) -> None:
        self.ok = 0
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._rows = registries.rows(3, 1)
        self._client = Client(target) if retries else None
        self._channel = grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)])
        self._once = self._channel.unary_unary(f"/{SERVICE}/ModelInfer", response_deserializer=pb.ModelInferResponse.FromString)

    def begin(self) -> None:
        """Call until `end`."""
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Wait for the last answer."""
        self._stop.set()
        self._thread.join()

    def close(self) -> None:
        """Let go of the channel."""
        self._channel.close()
        if self._client is not None:
            self._client.close()

    def _run(self) -> None:
        while not self._stop.wait(0.002):
            try:
                version, values = self._asked()
            except CallError as error:
                self.outcomes[error.status] += 1
            except grpc.RpcError as error:
                self.outcomes[error.code().name] += 1
            else:
                self.ok += 1
                if not np.array_equal(values, self._rows * np.float32(version)):
                    self.wrong.append(f"version {version} answered {values.tolist()}")

    def _asked(self) -> tuple[int, np.ndarray]:
        if self._client is not None:
            answer = self._client.infer(registries.MODEL, {"input": self._rows})
            return int(answer.version), answer.outputs["output"]
        request = pb.ModelInferRequest(model_name=registries.MODEL, raw_input_contents=[self._rows.tobytes()])
        request.inputs.add(name="input", datatype="FP32", shape=self._rows.shape)
        said = self._once(request.SerializeToString(), timeout=10.0)
        return int(said.model_version), np.frombuffer(said.raw_output_contents[0], np.float32).reshape(self._rows.shape)


def measure(folder: Path, *, kills: int, cores: str, seed: int, python: str) -> dict[str, Any]:
    """All rounds on one server."""
    registries.two_versions(folder / "registry")
    requests, judges = truths(seed)
    chance = random.Random(seed)
    with serving(folder, folder / "registry", "processes: {workers: 2}\n", cores=cores, python=python) as gateway:
        await_(lambda: gateway.workers_ready() == 2 and gateway.has_spare(2), "two workers and a spare", 60)
        target = "{}:{}".format(*gateway.address("grpc"))
        clients = {"retrying": RpcClient(target, retries=True), "plain": RpcClient(target, retries=False)}
        runs = [_round(gateway, clients, requests, judges, chance) for _ in range(kills)]
        for client in clients.values():
            client.close()
        exits = gateway.values().get('tidegate_worker_exits_total{reason="killed by SIGKILL"}', 0.0)
    told = {name: {"ok": client.ok, "outcomes": dict(client.outcomes), "wrong": client.wrong[:5]} for name, client in clients.items()}
    return {"kills": {"runs": runs, "clients": told, "exits": exits}}


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """What callers saw, how fast the other worker was there, and what the counters lost."""
    found = measurements["kills"]
    runs, clients = found["runs"], found["clients"]
    unfit = sum(count for run in runs for outcome, count in run["outcomes"].items() if outcome not in MAY_HAPPEN)
    plain = sum(count for outcome, count in clients["plain"]["outcomes"].items() if outcome != "UNAVAILABLE")
    wrong = sum(run["wrong"] for run in runs) + sum(len(client["wrong"]) for client in clients.values())
    return [
        bar("kills_wrong", wrong, "==", 0),
        bar("kills_other_outcomes", unfit, "==", 0),
        bar("kills_connections_lost_of_others", max(run["ended"] - run["held"] for run in runs), "<=", 0),
        bar("kills_retrying_client_errors", sum(clients["retrying"]["outcomes"].values()), "==", 0),
        bar("kills_plain_client_not_unavailable", plain, "==", 0),
        bar("kills_capacity_back_s", max(run["back_s"] for run in runs), "<=", 2.0),
        bar("kills_counts_lost_beyond_a_tick", max(run["uncounted"] - run["last_tick"] for run in runs), "<=", 0),
        bar("kills_counted_exits", found["exits"] - len(runs), "==", 0),
    ]


def _round(
    gateway: Gateway, clients: dict[str, RpcClient], requests: dict[str, list[Prepared]], judges: dict[str, Truth], chance: random.Random
) -> dict[str, Any]:
    """One kill."""
    counted = gateway.counted_ok()
    answered = sum(client.ok for client in clients.values())
    groups = [Callers(name, gateway.address(name), requests[name], size).start(LONGEST_S) for name, size in SIZES.items()]
    for client in clients.values():
        client.begin()
    time.sleep(BEFORE_S)
    held = gateway.serving_workers()
    victim = chance.choice(sorted(held))
    exits = _exits(gateway)
    killed_ns = time.monotonic_ns()
    os.kill(victim, signal.SIGKILL)
    back_s = await_(lambda: _exits(gateway) > exits and gateway.workers_ready() == 2, "two workers ready", 30)
    time.sleep(AFTER_S)
    for client in clients.values():
        client.end()
    for group in groups:
        group.stop()
    answers = [group.finish() for group in groups]
    answered = sum(each.ok for each in answers) + sum(client.ok for client in clients.values()) - answered
    added = gateway.settled_ok(counted + answered, 0.5) - counted
    judged = [judge(each, judges[each.protocol]) for each in answers]
    await_(lambda: gateway.has_spare(2), "a spare", 60)
    return {
        "answers": answered, "back_s": round(back_s, 3), "held": held[victim], "ended": sum(each.ended for each in answers),
        "outcomes": outcomes(answers), "wrong": sum(each.wrong_count for each in judged),
        "faults": [text for each in judged for text in each.wrong],
        "uncounted": answered - added, "last_tick": round(_last_tick(answers, killed_ns) * held[victim] / sum(held.values())),
    }  # fmt: skip


def _exits(gateway: Gateway) -> float:
    return sum(value for series, value in gateway.values().items() if series.startswith("tidegate_worker_exits_total"))


def _last_tick(answers: list[Answers], killed_ns: int) -> int:
    """Answers of all workers in the last tick before the kill."""
    begin = killed_ns - int(TICK_S * 1e9)
    return sum(int(((each.ended_ns > begin) & (each.ended_ns <= killed_ns)).sum()) for each in answers)


def median_back_s(measurements: dict[str, Any]) -> float:
    """Seconds until two workers were ready again."""
    return statistics.median(run["back_s"] for run in measurements["kills"]["runs"])
