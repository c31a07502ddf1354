"""How long counting keeps an event loop from anything else: a model of 1,000 features, in one process and on a server of one core.

In the process: `Watch.served` for batches of up to 256 rows, each called often with the thread beside it at work. Time counts while this
process has the core, so that others on the machine weigh nothing; what its own thread takes from the loop does.

On the server: single requests to a small model, while a client sends 64 rows of 1,000 features at a time to the other one. How long the
slowest took says what a request may have to wait for, with and without counting; runs of the large model are most of it.
"""

from __future__ import annotations

import threading
import time
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from benchmarks.drift_tax import OUTPUTS, UNWATCHED, publish_watched, start, workload
from benchmarks.load.messages import request_id, rows_message
from benchmarks.models import Served, rows
from benchmarks.processes import Cores
from benchmarks.replayer import Load, LoadError, replay_grpc
from benchmarks.runs import Target
from gateway.drift.gathered import room_for
from gateway.drift.layout import layout_of
from gateway.drift.recorder import Recorder
from gateway.drift.tables import tables_of
from gateway.drift.watching import Aside, Tick, Watch
from gateway.protocol.tensors import Signature, TensorSpec
from registry.columns import Column
from registry.profiling import profile_of
from registry.store import Store

FEATURES, MAX_ROWS = 1_000, 256
BATCH_ROWS = (1, 8, 16, 24, 25, 32, 33, 64, 128, 256)
CALLS, QUICK_CALLS = 400, 100
REFERENCE_ROWS = 2_048
ROWS_A_REQUEST, SECONDS, ROUNDS, QUICK_ROUNDS = 64, 2.0, 5, 2
AT_MOST_MS = 1.0
WIDE, SMALL = Served("wide", (FEATURES,), OUTPUTS), Served("tabular", (16,), OUTPUTS)


def calls_us(*, quick: bool, seed: int) -> dict[str, Any]:
    """Of the calling thread, by rows of a batch: the median call and the longest."""
    inputs = rows(WIDE, REFERENCE_ROWS, seed)
    sure = np.random.default_rng(seed).random(REFERENCE_ROWS).astype(np.float32)
    outputs = [(sure < 0.5).astype(np.int64), np.column_stack((1 - sure, sure))]
    watch = _watch(inputs, outputs)
    found = {}
    for count in BATCH_ROWS:
        batches = [_batch(inputs, outputs, at, count) for at in range(0, REFERENCE_ROWS - count + 1, count)]
        taken = [_taken_us(watch, batches[number % len(batches)]) for number in range(QUICK_CALLS if quick else CALLS)]
        found[str(count)] = {"median": round(float(np.median(taken)), 1), "longest": round(max(taken), 1)}
    return found


def _watch(inputs: np.ndarray, outputs: list[np.ndarray]) -> Watch:
    columns = [
        Column("input", "input", inputs),
        *[Column("output", name, found) for (name, _), found in zip(OUTPUTS, outputs, strict=True)],
    ]
    profile = profile_of(columns).profile
    layout = layout_of(profile)
    views = layout.views(np.zeros(layout.block_words, np.int64))
    views.begin(layout.checksum)
    specs = [TensorSpec(name, kind, (-1, *found.shape[1:])) for (name, kind), found in zip(OUTPUTS, outputs, strict=True)]
    signature = Signature("wide", (TensorSpec("input", "FP32", (-1, FEATURES)),), tuple(specs), MAX_ROWS)
    recorder = Recorder(tables_of(profile, layout, signature), layout, views)
    return Watch(views.head, Aside(), recorder=recorder, tick=Tick(lambda _s, _job: None), room=room_for(signature))


def _batch(inputs: np.ndarray, outputs: list[np.ndarray], at: int, count: int) -> Any:
    part = slice(at, at + count)
    return SimpleNamespace(
        groups=[([], [output[part] for output in outputs])], inputs=[[inputs[part]]], size=inputs[part].nbytes, rows=count
    )


def _taken_us(watch: Watch, batch: Any) -> float:
    """Time that passed, at most what all threads of the process had of the core."""
    wall, own = time.perf_counter_ns(), time.process_time_ns()
    watch.served(batch)
    return min(time.perf_counter_ns() - wall, time.process_time_ns() - own) / 1e3


def gaps(folder: Path, cores: Cores, *, quick: bool, seed: int) -> dict[str, Any]:
    """Latencies of single requests beside the large model, with and without, by turns."""
    folder.mkdir()
    store = Store.create(folder / "registry")
    inputs, large = rows(SMALL, 512, seed), rows(WIDE, REFERENCE_ROWS, seed)
    outputs = publish_watched(store, SMALL, inputs)
    publish_watched(store, WIDE, large)
    small = workload(SMALL, inputs, outputs).wires
    wide = [rows_message(WIDE, request_id(at), large[at : at + ROWS_A_REQUEST]).wire for at in range(0, REFERENCE_ROWS, ROWS_A_REQUEST)]
    runs: dict[str, list[dict[str, Any]]] = {"unwatched": [], "watched": []}
    with ExitStack() as stack:
        servers = {
            name: start(stack, store, folder / f"{name}.log", cores.server, UNWATCHED if name == "unwatched" else ()) for name in runs
        }
        for number in range(QUICK_ROUNDS if quick else ROUNDS):
            for name in [*runs][:: 1 if number % 2 else -1]:
                runs[name].append(_beside(servers[name].target, small, wide, seed))
    return {name: {"runs": found} for name, found in runs.items()}


def _beside(target: Target, small: Any, wide: Any, seed: int) -> dict[str, Any]:
    """One run: the small requests' latencies, and rows a second of the large model."""
    address, found = (target.host, target.port), {}

    def load_wide() -> None:
        try:
            found["report"] = replay_grpc(
                address, wide, load=Load(connections=1, streams=4, seconds=SECONDS + 0.5, warmup_s=0.0, seed=seed)
            )
        except LoadError as error:
            found["error"] = error

    beside = threading.Thread(target=load_wide)
    beside.start()
    report = replay_grpc(address, small, load=Load(connections=1, seconds=SECONDS, warmup_s=0.3, seed=seed))
    beside.join()
    if "report" not in found:
        raise found["error"]
    return {
        "p50_us": round(report.p50_us, 1), "p99_us": round(report.p99_us, 1), "max_us": round(report.max_us, 1),
        "wide_rows_a_second": round(found["report"].rate * ROWS_A_REQUEST),
    }  # fmt: skip


def judge(calls: dict[str, Any]) -> list[dict[str, Any]]:
    """One bar: the longest call of all."""
    value = round(max(found["longest"] for found in calls.values()) / 1e3, 4)
    return [{"name": "event_loop_blocked_ms_1000_features", "value": value, "op": "<=", "bound": AT_MOST_MS, "holds": value <= AT_MOST_MS}]
