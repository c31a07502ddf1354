"""A thousand small models on one server: what one of them costs while the others sleep, what all of them at once cost, and what stays in
memory when models come and go.

The bar on traffic that is spread evenly over all: each request is alone in its batch, so that nothing is shared but the wire. What such a
request has to cost is a run of its own. So the server's rate is held against bare ONNX Runtime that runs the same thousand sessions in
turn on the same core, one row at a time: `SPREAD_SHARE` of that, because the gateway reads, checks, counts and answers besides, which by
the serving bench costs about as much as two such runs.
"""

from __future__ import annotations

import statistics
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.gateway import Gateway, await_, serving
from benchmarks.lifecycle.truth import Truth, read_grpc
from benchmarks.lifecycle.verdicts import bar
from benchmarks.load.messages import Prepared
from benchmarks.models import Served
from benchmarks.processes import Cores, peer_command
from benchmarks.replayer import Load, LoadError, replay_grpc
from benchmarks.scrape import scrape
from registry.store import Store

SPREAD_SHARE = 0.25
FOUR_BY_SIXTEEN = {"connections": 4, "streams": 16}
SETTINGS = "processes: {workers: 1, spare: false, trials: false}\n"
LOADED_S = 300.0
COMERS = 20  # models of one load/unload cycle
SETTLED_CYCLES = 10  # after which resident sizes are compared


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How much."""

    models: int
    rounds: int
    seconds: float
    cycles: int


def measure(folder: Path, *, pace: Pace, cores: Cores, seed: int, python: str) -> dict[str, Any]:
    """One server with one model and one with all, by turns; then all at once, the page, and models that come and go."""
    for name in ("one", "many", "coming"):
        (folder / name).mkdir()
    registries.many_models(folder / "one" / "registry", 1)
    registries.many_models(folder / "many" / "registry", pace.models)
    coming = registries.many_models(folder / "coming" / "registry", COMERS)
    with ExitStack() as stack:
        one, many = (
            stack.enter_context(serving(folder, folder / name / "registry", SETTINGS, cores=cores.server, python=python))
            for name in ("one", "many")
        )
        if many.loaded() != pace.models:
            raise LoadError(f"{many.loaded()} of {pace.models} models serve")
        hot = _hot(one, many, pace, seed)
        spread = _spread(many, pace, seed)
        spread["bare_rate"] = _bare(folder / "many", pace, cores, seed)
        page = [_page_ms(many) for _ in range(5)]
    with serving(folder, folder / "coming" / "registry", SETTINGS, cores=cores.server, python=python) as gateway:
        cycles = _cycles(gateway, coming, pace)
    return {"many_models": {"models": pace.models, "ready_s": round(many.server.ready_s, 1)}, "hot": {"runs": hot}, "spread": spread,
            "page": {"runs": page}, "cycles": cycles}  # fmt: skip


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """The cost of a request as a ratio of rates within a round; the slowest page; growth between settled and last cycles."""
    spread, cycles = measurements["spread"], measurements["cycles"]
    return [
        bar("many_models", measurements["many_models"]["models"], ">=", 1000),
        bar("many_models_hot_cost_vs_one", statistics.median(run["ratio"] for run in measurements["hot"]["runs"]), "<=", 1.15),
        bar("many_models_spread_vs_bare_onnxruntime", spread["rate"] / spread["bare_rate"], ">=", SPREAD_SHARE),
        bar("many_models_wrong", spread["wrong"], "==", 0),
        bar("many_models_page_ms", max(run["ms"] for run in measurements["page"]["runs"]), "<=", 150),
        bar("many_models_rss_growth", cycles["growth"], "<=", 0.05),
    ]


def _requests(models: int, seed: int) -> list[Prepared]:
    served = tuple(Served(registries.name_of(index), (registries.WIDTH,), registries.SCALED.outputs) for index in range(models))
    return registries.requests(seed, registries.over_grpc, served)


def _hot(one: Gateway, many: Gateway, pace: Pace, seed: int) -> list[dict[str, Any]]:
    requests, runs = _requests(1, seed), []
    for number in range(-1, pace.rounds):
        order = (one, many) if number % 2 else (many, one)
        rates = {id(gateway): _replay(gateway, requests, pace.seconds)["rate"] for gateway in order}
        if number >= 0:  # the first round warms up
            runs.append({"one": rates[id(one)], "many": rates[id(many)], "ratio": round(rates[id(one)] / rates[id(many)], 4)})
    return runs


def _spread(many: Gateway, pace: Pace, seed: int) -> dict[str, Any]:
    requests = _requests(pace.models, seed)
    _replay(many, requests, pace.seconds)
    before = scrape(many.metrics)
    found = _replay(many, requests, pace.seconds)
    added = scrape(many.metrics).since(before)
    return {**found, "mean_batch": round(added.rows / added.batches, 3)}


def _replay(gateway: Gateway, requests: list[Prepared], seconds: float) -> dict[str, Any]:
    load = Load(warmup_s=0.3, seconds=seconds, samples=4096, sample_every=31, **FOUR_BY_SIXTEEN)
    report = replay_grpc(gateway.address("grpc"), [request.wire for request in requests], load=load)
    if report.ok != sum(report.statuses.values()):
        raise LoadError(f"answers that are not OK: {report.statuses} {report.failures}")
    truth = Truth(requests, read_grpc, registries.by_model)
    wrong = [fault for index, payload in report.samples if (fault := truth.judge(index, payload)[1])]
    return {"rate": round(report.rate), "p99_us": round(report.p99_us, 1), "wrong": len(wrong), "faults": wrong[:5]}


def _bare(folder: Path, pace: Pace, cores: Cores, seed: int) -> int:
    """Rows a second of ONNX Runtime alone over the same models in turn."""
    models = folder / "bare"
    models.mkdir()
    for index in range(pace.models):
        (models / f"{registries.name_of(index)}.onnx").write_bytes(registries.scaled(index + 1).SerializeToString())
    command = ["taskset", "-c", str(cores.server), *peer_command("bare_many", str(models), "--seconds", str(pace.seconds))]
    return round(float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=300).stdout))


def _page_ms(gateway: Gateway) -> dict[str, float]:
    time.sleep(0.5)  # a page is kept for a few times what it took; this one is new
    start = time.perf_counter()
    status, page = gateway.get("/metrics")
    if status != 200:
        raise LoadError(f"the metrics page answers {status}")
    return {"ms": round((time.perf_counter() - start) * 1e3, 2), "bytes": len(page)}


def _cycles(gateway: Gateway, store: Store, pace: Pace) -> dict[str, Any]:
    """All but one of the models lose their alias, and get it back."""
    names = [registries.name_of(index) for index in range(1, COMERS)]
    sizes = []
    for _ in range(pace.cycles):
        for name in names:
            store.aliases(name).remove(registries.ALIAS, expected_from=1, **registries.ACT)
        await_(lambda: gateway.loaded() == 1, "all but one unloaded", 60)
        for name in names:
            store.aliases(name).move(registries.ALIAS, to=1, expected_from=None, **registries.ACT)
        await_(lambda: gateway.loaded() == COMERS, "all loaded again", 60)
        sizes.append(gateway.rss())
    settled = sizes[min(SETTLED_CYCLES, len(sizes) // 2) - 1]
    return {"settled_mib": round(settled / 2**20, 1), "last_mib": round(sizes[-1] / 2**20, 1), "growth": round(sizes[-1] / settled - 1, 4),
            "mib": [round(size / 2**20, 1) for size in sizes]}  # fmt: skip
