"""What the serving bench measures: groups of things compared, each group in rounds that alternate between them.

Owns which servers run and how long each run takes. One gateway and all baselines are up together on the server's core; the ones that are
not loaded sleep.
"""

from __future__ import annotations

import json
import statistics
import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks.load import tools
from benchmarks.load.headers import HeaderStyle
from benchmarks.models import FEATURES, MLP_WIDTHS, write_repository
from benchmarks.processes import HOST, Cores, RssWatch, Server, accepts, free_port, gateway_command, peer_command, says_ready
from benchmarks.replayer import Load
from benchmarks.runs import Run, Target, run
from benchmarks.scrape import scrape
from benchmarks.workloads import Workload, Workloads

MIB = 1 << 20
FOUR_BY_SIXTEEN, SIXTY_FOUR, ONE = (4, 16), (64, 1), (1, 1)
TENSOR_FLIGHT = (4, 4)  # 1 MiB tensors: connections and streams of each
BARE_BATCHES = (8, 16, 32, 64, 128, 256)
HEADER_STYLES = {
    "plain": HeaderStyle(varying=True),
    "plain_indexed": HeaderStyle(varying=True, indexed=True),
    "huffman": HeaderStyle(varying=True, huffman=True),
    "huffman_indexed": HeaderStyle(varying=True, huffman=True, indexed=True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long and how often."""

    rounds: int
    warmup_s: float
    seconds: float
    bare_s: float  # per batch size
    rss_s: float
    starts: int
    cross_check: bool  # run h2load and wrk as well


WHOLE = Pace(rounds=5, warmup_s=1.0, seconds=4.0, bare_s=0.7, rss_s=300.0, starts=5, cross_check=True)
QUICK = Pace(rounds=3, warmup_s=0.4, seconds=1.6, bare_s=0.3, rss_s=15.0, starts=3, cross_check=False)

Measure = Callable[[], Run]
Document = dict[str, Any]


class Bench:
    """The servers of one bench and the groups of measurements on them."""

    def __init__(self, folder: Path, *, cores: Cores, pace: Pace, seed: int) -> None:
        self._folder = folder
        self._cores = cores
        self._pace = pace
        self._seed = seed
        self._repository = write_repository(folder / "models", seed=seed)
        self._small = write_repository(folder / "small", names=["tabular"], seed=seed)
        self._workloads = Workloads(self._repository, seed)
        self._stack = ExitStack()
        self._targets: dict[str, Target] = {}

    def __enter__(self) -> Bench:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def groups(self) -> dict[str, Callable[[], dict[str, Document]]]:
        """Every group by name; calling one runs it."""
        return {
            "start": self._start, "grpc": self._grpc, "spread": self._spread, "latency": self._latency, "rest": self._rest,
            "shapes": self._shapes, "mlp": self._mlp, "tensor": self._tensor, "rss": self._rss,
        }  # fmt: skip

    def _start(self) -> dict[str, Document]:
        """Readiness and proportional set size of a gateway that serves one small model, loaded before it is weighed."""
        runs = []
        for _ in range(self._pace.starts):
            with self._gateway(self._small) as (server, target, _):
                loaded = run(target, self._workloads.raw, self._load(FOUR_BY_SIXTEEN, limit=2000))
                runs.append({"ready_s": round(server.ready_s, 3), "pss_mib": round(server.pss_bytes() / MIB, 1), "faults": loaded.faults})
        return {"gateway_start": {"runs": runs}}

    def _grpc(self) -> dict[str, Document]:
        """One-row requests on 4 connections of 16 streams: constant headers, headers that differ, typed contents; the peers."""
        raw, typed = self._workloads.raw, self._workloads.typed
        measures = {
            "gateway_grpc_4x16": self._on("gateway", raw, FOUR_BY_SIXTEEN),
            "grpc_aio_4x16": self._on("grpc_async", raw, FOUR_BY_SIXTEEN),
            "grpcio_sync_4x16": self._on("grpc_threads", raw, FOUR_BY_SIXTEEN),
            "gateway_grpc_typed": self._on("gateway", typed, FOUR_BY_SIXTEEN),
        }
        for name, style in HEADER_STYLES.items():
            measures[f"gateway_headers_{name}"] = self._on("gateway", raw, FOUR_BY_SIXTEEN, style)
        if self._pace.cross_check:
            measures["gateway_grpc_4x16_h2load"] = self._h2load
        return self._rounds(measures)

    def _spread(self) -> dict[str, Document]:
        """One-row requests on 64 connections."""
        raw = self._workloads.raw
        return self._rounds({
            "gateway_grpc_64x1": self._on("gateway", raw, SIXTY_FOUR),
            "grpc_aio_64x1": self._on("grpc_async", raw, SIXTY_FOUR),
        })  # fmt: skip

    def _latency(self) -> dict[str, Document]:
        """One request in flight."""
        raw = self._workloads.raw
        return self._rounds({
            "gateway_grpc_1x1": self._on("gateway", raw, ONE), "grpc_aio_1x1": self._on("grpc_async", raw, ONE),
            "onnxruntime_tabular": self._bare("tabular", FEATURES, 1),
        })  # fmt: skip

    def _rest(self) -> dict[str, Document]:
        """REST on 64 connections."""
        measures = {
            "gateway_rest_json": self._on("gateway_http", self._workloads.json, SIXTY_FOUR),
            "starlette_json": self._on("starlette_rest", self._workloads.json, SIXTY_FOUR),
            "gateway_rest_binary": self._on("gateway_http", self._workloads.binary, SIXTY_FOUR),
        }
        if self._pace.cross_check:
            measures["gateway_rest_json_wrk"] = lambda: self._wrk("gateway_http")
            measures["starlette_json_wrk"] = lambda: self._wrk("starlette_rest")
        return self._rounds(measures)

    def _shapes(self) -> dict[str, Document]:
        """A model that takes rows of any width: one width, then two by turns."""
        return self._rounds({
            "gateway_one_shape": self._on("gateway", self._workloads.one_shape, FOUR_BY_SIXTEEN),
            "gateway_two_shapes": self._on("gateway", self._workloads.two_shapes, FOUR_BY_SIXTEEN),
        })  # fmt: skip

    def _mlp(self) -> dict[str, Document]:
        """A model whose compute outweighs the wire, beside the runtime alone."""
        measured = self._rounds({
            "gateway_mlp": self._on("gateway", self._workloads.mlp, FOUR_BY_SIXTEEN),
            **{f"onnxruntime_mlp_{batch}": self._bare("mlp", MLP_WIDTHS[0], batch) for batch in BARE_BATCHES},
        })  # fmt: skip
        return {"gateway_mlp": measured.pop("gateway_mlp"), "onnxruntime_mlp": fastest(measured.values())}

    def _tensor(self) -> dict[str, Document]:
        """1 MiB there and back, beside an echo of bytes."""
        return self._rounds({
            "gateway_tensor": self._on("gateway", self._workloads.tensor, TENSOR_FLIGHT),
            "grpcio_echo": self._on("grpcio_echo", self._workloads.bytes_echo, TENSOR_FLIGHT),
        })  # fmt: skip

    def _rss(self) -> dict[str, Document]:
        """Growth of a fresh gateway's resident size under 1 MiB tensors, in units of the bytes in flight."""
        load = replace(self._load(TENSOR_FLIGHT), seconds=self._pace.rss_s)
        with self._gateway(self._repository) as (server, target, _):
            base = server.rss_bytes()
            with RssWatch(server) as watch:
                loaded = run(target, self._workloads.tensor, load)
        flight = TENSOR_FLIGHT[0] * TENSOR_FLIGHT[1] * MIB
        peak = max(watch.samples)
        sizes = {"base_mib": base / MIB, "peak_mib": peak / MIB, "last_mib": watch.samples[-1] / MIB}
        figures = {name: round(size, 3) for name, size in {"growth_in_flights": (peak - base) / flight, **sizes}.items()}
        return {"gateway_rss": {"runs": [{**figures, "seconds": self._pace.rss_s, **loaded.document()}]}}

    def _rounds(self, measures: dict[str, Measure]) -> dict[str, Document]:
        runs: dict[str, list[Document]] = {name: [] for name in measures}
        for _ in range(self._pace.rounds):
            for name, measure in measures.items():
                runs[name].append(measure().document())
        return {name: {"runs": entries} for name, entries in runs.items()}

    def _load(self, size: tuple[int, int], *, limit: int | None = None) -> Load:
        connections, streams = size
        times = {"warmup_s": self._pace.warmup_s, "seconds": self._pace.seconds}
        load = Load(connections=connections, streams=streams, seed=self._seed, limit=limit, **times)
        if size == TENSOR_FLIGHT:
            return replace(load, samples=6, sample_every=41, answer_bytes=MIB + 4096)
        return replace(load, sample_every=31) if size == ONE else load

    def _on(self, server: str, workload: Workload, size: tuple[int, int], style: HeaderStyle | None = None) -> Measure:
        load = self._load(size)
        return lambda: run(self._target(server), workload, load, style or HeaderStyle())

    def _bare(self, model: str, width: int, batch: int) -> Measure:
        """ONNX Runtime alone on the server's core."""

        def measure() -> Run:
            options = ["--width", str(width), "--batch", str(batch), "--seconds", str(self._pace.bare_s), "--seed", str(self._seed)]
            command = peer_command("bare", str(self._repository / model / "1" / "model.onnx"), *options)
            pinned = ["taskset", "-c", str(self._cores.server), *command]
            output = subprocess.run(pinned, capture_output=True, text=True, check=True, timeout=120).stdout
            return Run(**json.loads(output), mean_batch=float(batch))

        return measure

    def _h2load(self) -> Run:
        target, body = self._target("gateway"), self._workloads.raw.wires[0]
        size = dict(zip(("connections", "streams"), FOUR_BY_SIXTEEN, strict=True))
        options = {**size, "warmup_s": 1, "seconds": round(self._pace.seconds), "cpu": self._cores.load}
        return _tool(target, lambda: tools.h2load((target.host, target.port), body, **options))

    def _wrk(self, server: str) -> Run:
        target = self._target(server)
        bodies = [wire.partition(b"\r\n\r\n")[2] for wire in self._workloads.json.wires]
        options = {"connections": SIXTY_FOUR[0], "seconds": round(self._pace.seconds), "cpu": self._cores.load}
        return _tool(target, lambda: tools.wrk((target.host, target.port), "/v2/models/tabular/infer", bodies, **options))

    def _target(self, name: str) -> Target:
        """The address of a server, started when first asked for and ended with the bench."""
        if name not in self._targets:
            if name.startswith("gateway"):
                _, self._targets["gateway"], self._targets["gateway_http"] = self._stack.enter_context(self._gateway(self._repository))
            else:
                self._targets[name] = self._stack.enter_context(self._peer(name))
        return self._targets[name]

    @contextmanager
    def _gateway(self, repository: Path) -> Iterator[tuple[Server, Target, Target]]:
        http, grpc, metrics = free_port(), free_port(), free_port()
        command = gateway_command(repository, http=http, grpc=grpc, metrics=metrics)
        log = self._folder / f"gateway-{http}.log"
        with Server(command, core=self._cores.server, ready=says_ready(http), log=log) as server:
            yield server, Target(HOST, grpc, server.cpu_s, metrics, log), Target(HOST, http, server.cpu_s, metrics, log)

    @contextmanager
    def _peer(self, name: str) -> Iterator[Target]:
        module, options = ("grpc_threads", ["--echo"]) if name == "grpcio_echo" else (name, [])
        port = free_port()
        command = peer_command(module, str(self._repository), str(port), *options)
        with Server(command, core=self._cores.server, ready=accepts(port), log=self._folder / f"{name}.log") as server:
            yield Target(HOST, port, server.cpu_s)


def fastest(documents: Iterable[Document]) -> Document:
    """The measurement whose median rate is the highest. To take the best of every round instead would pick each one's luck."""
    return max(documents, key=lambda document: statistics.median(run["rate"] for run in document["runs"]))


def _tool(target: Target, measure: Callable[[], float]) -> Run:
    """A tool's figure. It does not see gRPC statuses: what the gateway itself counts as refused speaks against the run."""
    try:
        before = scrape(target.metrics_port) if target.metrics_port else None
        rate = measure()
        refused = scrape(target.metrics_port or 0).since(before).refused if before else 0
    except (tools.ToolError, subprocess.TimeoutExpired, OSError) as error:
        return Run(rate=0.0, faults=[str(error)[-500:]])
    return Run(rate=rate, faults=[f"the server refused {refused} requests"] if refused else [])
