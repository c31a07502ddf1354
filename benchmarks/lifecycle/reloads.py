"""An alias that moves between two versions with different outputs, again and again, under a steady part of what the callers could reach.

The server has one core and the callers the other. Moves come at a fixed pace in stretches; between stretches answers are looked at. The
time from a move until the first answer of the other version, and a moment more in which the old one drains and is closed, is "during a
reload"; all other time of the same stretches is "steady". Latency counts from when a request was due, so a server that stands still pays
for everybody who waits; the callers look every 0.1 ms, which both kinds of time have in them.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.callers import Answers, Callers, Size
from benchmarks.lifecycle.gateway import Gateway, serving
from benchmarks.lifecycle.truth import Truth, read_grpc, read_http
from benchmarks.lifecycle.verdicts import bar, judge, outcomes, p99_us
from benchmarks.load.messages import Prepared
from benchmarks.processes import Cores
from registry.store import Store

SHARE = 0.6  # of what the same callers reach in a closed loop
SIZES = {"grpc": Size(connections=4, streams=16), "http": Size(connections=64)}
AFTER_S = 0.1  # after the first answer of the new version
LEAD_S, PERIOD_S = 0.5, 2.5  # a reload on a busy core takes up to 2 s where it has to start the child that tries versions
ENCODERS: dict[str, Callable[..., Prepared]] = {"grpc": registries.over_grpc, "http": registries.over_http}
READERS = {"grpc": read_grpc, "http": read_http}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much."""

    reloads: int
    per_stretch: int
    capacity_s: float


def truths(seed: int) -> tuple[dict[str, list[Prepared]], dict[str, Truth]]:
    """Requests and the judge of their answers, by protocol."""
    requests = {protocol: registries.requests(seed, encode) for protocol, encode in ENCODERS.items()}
    return requests, {protocol: Truth(asked, READERS[protocol], registries.by_version) for protocol, asked in requests.items()}


def measure(folder: Path, *, cores: Cores, pace: Pace, seed: int, python: str) -> dict[str, Any]:
    """All stretches on one server."""
    store = registries.two_versions(folder / "registry")
    requests, judges = truths(seed)
    with serving(folder, folder / "registry", "processes: {workers: 1}\n", cores=cores.server, python=python) as gateway:
        capacity = _capacity(gateway, requests, pace.capacity_s)
        numbers = itertools.cycle((2, 1))
        runs = []
        for first in range(0, pace.reloads, pace.per_stretch):
            count = min(pace.per_stretch, pace.reloads - first)
            runs.append(_stretch(gateway, store, requests, judges, capacity, [next(numbers) for _ in range(count)]))
        errors = gateway.errors()
    return {"reloads": {"capacity": {name: round(rate) for name, rate in capacity.items()}, "runs": runs, "log_errors": errors[:5]}}


def bars(measurements: dict[str, Any], *, requests: int) -> list[dict[str, Any]]:
    """Nothing failed, nothing was wrong, of enough requests; the worst of the two protocols' ratios of p99."""
    runs = measurements["reloads"]["runs"]
    ratios = [found for found in (ratio(runs, protocol) for protocol in SIZES) if found is not None]
    return [
        bar("reloads_requests", sum(run["requests"] for run in runs), ">=", requests),
        bar("reloads_failed", sum(run["failed"] for run in runs), "==", 0),
        bar("reloads_wrong", sum(run["wrong"] for run in runs), "==", 0),
        bar("reloads_unseen", sum(run["unseen"] for run in runs), "==", 0),
        bar("reloads_p99_vs_steady", max(ratios) if len(ratios) == len(SIZES) else None, "<=", 2.0),
    ]


def ratio(runs: list[dict[str, Any]], protocol: str) -> float | None:
    """The median over stretches of p99 during reloads over p99 in steady time."""
    found = [run[protocol]["during_p99_us"] / run[protocol]["steady_p99_us"] for run in runs if run[protocol]["during_p99_us"]]
    return float(np.median(found)) if found else None


def _capacity(gateway: Gateway, requests: dict[str, list[Prepared]], seconds: float) -> dict[str, float]:
    """Answers a second of both groups in a closed loop at once; the first run warms up."""
    for _ in range(2):
        groups = [Callers(name, gateway.address(name), requests[name], size).start(seconds) for name, size in SIZES.items()]
        answers = [group.finish() for group in groups]
    return {each.protocol: each.ok / each.seconds for each in answers}


def _stretch(
    gateway: Gateway,
    store: Store,
    requests: dict[str, list[Prepared]],
    judges: dict[str, Truth],
    capacity: dict[str, float],
    numbers: list[int],
) -> dict[str, Any]:
    """Some moves, one after the other."""
    seconds = LEAD_S + PERIOD_S * len(numbers)
    groups = []
    for name, size in SIZES.items():
        rate = SHARE * capacity[name]
        paced = Size(connections=size.connections, streams=size.streams, rate=rate, room=int(rate * (seconds + 1)) + 1000)
        groups.append(Callers(name, gateway.address(name), requests[name], paced))
    start = time.monotonic()
    spent, server_spent = time.process_time(), gateway.server.cpu_s()
    for group in groups:
        group.start(seconds)
    moves = []
    for place, number in enumerate(numbers):
        time.sleep(max(0.0, start + LEAD_S + place * PERIOD_S - time.monotonic()))
        moves.append((time.monotonic_ns(), number))
        registries.champion(store, number)
    answers = [group.finish() for group in groups]
    passed = time.monotonic() - start
    shares = {"server_cpu": (gateway.server.cpu_s() - server_spent) / passed, "load_cpu": (time.process_time() - spent) / passed}
    return {name: round(share, 3) for name, share in shares.items()} | report(answers, judges, moves)


def report(groups: list[Answers], judges: dict[str, Truth], moves: list[tuple[int, int]]) -> dict[str, Any]:
    """One stretch: `moves` are the moments (monotonic nanoseconds) and the version from then on."""
    found: dict[str, Any] = {
        "requests": sum(each.ok + each.failed for each in groups), "failed": sum(each.failed for each in groups),
        "outcomes": outcomes(groups), "wrong": 0, "unseen": 0, "faults": [text for each in groups for text in each.failures],
    }  # fmt: skip
    for answers in groups:
        judged = judge(answers, judges[answers.protocol])
        found["wrong"] += judged.wrong_count
        found["faults"] += judged.wrong
        windows, unseen = reload_windows(answers.ended_ns, judged.versions, moves)
        found["unseen"] += unseen
        during = np.zeros(answers.ended_ns.size, bool)
        for begin, end in windows:
            during |= (answers.ended_ns >= begin) & (answers.started_ns <= end)
        latency = answers.latency_us
        found[answers.protocol] = {
            "answers": answers.ok, "rate": round(answers.ok / answers.seconds),
            "steady_p99_us": p99_us([latency[~during]]), "during_p99_us": p99_us([latency[during]]),
            "steady_max_us": round(float(latency[~during].max(initial=0.0)), 1),
            "during_max_us": round(float(latency[during].max(initial=0.0)), 1),
            "reload_s": round(float(np.median([(end - begin) / 1e9 - AFTER_S for begin, end in windows])), 3) if windows else None,
        }  # fmt: skip
    return found


def reload_windows(ended_ns: np.ndarray, versions: np.ndarray, moves: list[tuple[int, int]]) -> tuple[list[tuple[int, int]], int]:
    """From each move until `AFTER_S` past the first answer of its version, and how many moves were not seen before the next one."""
    windows, unseen = [], 0
    for place, (moved, number) in enumerate(moves):
        until = moves[place + 1][0] if place + 1 < len(moves) else np.iinfo(np.int64).max
        of_it = ended_ns[(versions == number) & (ended_ns > moved) & (ended_ns < until)]
        if of_it.size:
            windows.append((moved, int(of_it.min()) + int(AFTER_S * 1e9)))
        else:
            unseen += 1
    return windows, unseen
