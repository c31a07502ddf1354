"""A thousand small models on one server: what one of them costs while the others sleep, what all of them at once cost, and what stays in
memory when models come and go.

The bar on traffic that is spread evenly over all: each request is then alone in its batch, as is a request that is alone on the whole
server, so it must not cost more processor time than that one, measured on the server with one model, one request in flight. Whatever a
crowd of models adds (searching, cold sessions, counters of each) has to be paid from what 64 requests in flight save in system calls.
The server's own processor time is compared, because with one request in flight the core sleeps in between.
"""

from __future__ import annotations

import json
import statistics
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
from benchmarks.processes import Cores
from benchmarks.replayer import Load, LoadError, replay_grpc
from benchmarks.scrape import scrape
from registry.store import Store

FOUR_BY_SIXTEEN, ALONE = {"connections": 4, "streams": 16}, {"connections": 1, "streams": 1}
SETTINGS = "processes: {workers: 1, spare: false, trials: false}\n"
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
        spread = _spread(one, many, pace, seed)
        after = _hot(one, many, pace, seed)
        page = [_page_ms(many) for _ in range(5)]
        index = [_index_ms(many, pace.models) for _ in range(5)]
    with serving(folder, folder / "coming" / "registry", SETTINGS, cores=cores.server, python=python) as gateway:
        cycles = _cycles(gateway, coming, pace)
    return {"many_models": {"models": pace.models, "ready_s": round(many.server.ready_s, 1)}, "hot": {"runs": hot},
            "hot_after_spread": {"runs": after}, "spread": {"runs": spread},
            "page": {"runs": page}, "index": {"runs": index}, "cycles": cycles}  # fmt: skip


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """The cost of a request as a ratio of rates within a round; the slowest page; growth between settled and last cycles."""
    spread, cycles = measurements["spread"]["runs"], measurements["cycles"]
    hot = {name: statistics.median(run["ratio"] for run in measurements[name]["runs"]) for name in ("hot", "hot_after_spread")}
    return [
        bar("many_models", measurements["many_models"]["models"], ">=", 1000),
        bar("many_models_hot_cost_vs_one", hot["hot"], "<=", 1.15),
        bar("many_models_hot_after_spread_cost_vs_one", hot["hot_after_spread"], "<=", 1.15),
        bar("many_models_spread_cost_vs_alone", statistics.median(run["ratio"] for run in spread), "<=", 1.0),
        bar("many_models_wrong", sum(run["wrong"] for run in spread), "==", 0),
        bar("many_models_page_ms", max(run["ms"] for run in measurements["page"]["runs"]), "<=", 150),
        bar("many_models_index_ms", max(run["ms"] for run in measurements["index"]["runs"]), "<=", 50),
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


def _spread(one: Gateway, many: Gateway, pace: Pace, seed: int) -> list[dict[str, Any]]:
    """All models in turn, and the only model of the other server alone, by turns."""
    everyone, alone, runs = _requests(pace.models, seed), _requests(1, seed), []
    for number in range(-1, pace.rounds):
        before = scrape(many.metrics)
        spread = _replay(many, everyone, pace.seconds)
        added = scrape(many.metrics).since(before)
        lone = _replay(one, alone, pace.seconds, ALONE)
        if number >= 0:
            costs = {"cpu_us": spread["cpu_us"], "alone_cpu_us": lone["cpu_us"], "ratio": round(spread["cpu_us"] / lone["cpu_us"], 4)}
            runs.append({**spread, **costs, "alone_rate": lone["rate"], "mean_batch": round(added.rows / added.batches, 3)})
    return runs


def _replay(gateway: Gateway, requests: list[Prepared], seconds: float, size: dict[str, int] | None = None) -> dict[str, Any]:
    load = Load(warmup_s=0.3, seconds=seconds, samples=4096, sample_every=31, **(size or FOUR_BY_SIXTEEN))
    cpu = gateway.server.cpu_s()
    report = replay_grpc(gateway.address("grpc"), [request.wire for request in requests], load=load)
    cpu = gateway.server.cpu_s() - cpu
    if report.ok != sum(report.statuses.values()):
        raise LoadError(f"answers that are not OK: {report.statuses} {report.failures}")
    truth = Truth(requests, read_grpc, registries.by_model)
    wrong = [fault for index, payload in report.samples if (fault := truth.judge(index, payload)[1])]
    found = {"rate": round(report.rate), "p99_us": round(report.p99_us, 1), "cpu_us": round(cpu / report.ok * 1e6, 2)}
    return {**found, "wrong": len(wrong), "faults": wrong[:5]}


def _page_ms(gateway: Gateway) -> dict[str, float]:
    time.sleep(0.5)  # a page is kept for a few times what it took; this one is new
    start = time.perf_counter()
    status, page = gateway.get("/metrics")
    if status != 200:
        raise LoadError(f"the metrics page answers {status}")
    return {"ms": round((time.perf_counter() - start) * 1e3, 2), "bytes": len(page)}


def _index_ms(gateway: Gateway, models: int) -> dict[str, float]:
    """Over HTTP; the first of them writes the index, the others find it written."""
    start = time.perf_counter()
    status, content = gateway.get("/v2/repository/index", gateway.http, "POST")
    taken = time.perf_counter() - start
    if status != 200 or [one["state"] for one in json.loads(content)] != ["READY"] * models:
        raise LoadError(f"the index answers {status}: {content[:200]!r}")
    return {"ms": round(taken * 1e3, 2), "bytes": len(content)}


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
