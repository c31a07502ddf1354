"""One run of one load against one server, and whether it counts: every answer OK, the server's own counts equal to the client's, and
every sampled answer equal to ONNX Runtime's. What speaks against a run is kept with it as text.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.load.headers import CONSTANT, HeaderStyle
from benchmarks.replayer import Load, LoadError, Report, replay_grpc, replay_http
from benchmarks.scrape import Counts, at_rest, settled
from benchmarks.workloads import Workload

MAX_FAULTS = 5
_LAST_LINES = 8


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server listens. `metrics_port` is the gateway's; baselines have none, and only their answers are checked.

    `cpu_s` tells the processor time that the server has used, `log` is where it says what happens to it.
    """

    host: str
    port: int
    cpu_s: Callable[[], float]
    metrics_port: int | None = None
    log: Path | None = None

    def last_words(self) -> list[str]:
        """The end of its log, for a run that failed."""
        return self.log.read_text("utf-8", "replace").splitlines()[-_LAST_LINES:] if self.log else []


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one run. It counts only without faults."""

    rate: float  # answers, or rows of one-row requests, per second
    mean_us: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    mean_batch: float | None = None  # rows of a batch, from the server's metrics
    server_cpu: float | None = None  # share of its core that the server got: less than 1 under full load means a busy machine
    load_cpu: float | None = None  # share of the load's core
    per_cpu_s: float | None = None  # answers per second of the server's processor time
    answers: int = 0
    compared: int = 0
    faults: list[str] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """As JSON, floats rounded to what they are worth."""
        return {key: round(value, 4) if isinstance(value, float) else value for key, value in dataclasses.asdict(self).items()}


def run(target: Target, workload: Workload, load: Load, style: HeaderStyle = CONSTANT) -> Run:
    """Load a server once. A server that fails under it makes a run with faults, not an exception."""
    try:
        before = at_rest(target.metrics_port) if target.metrics_port else None
        cpu = target.cpu_s()
        report = _replay(target, workload, load, style)
        cpu = target.cpu_s() - cpu
        added = settled(target.metrics_port or 0, before, report.ok) if before else None
    except (LoadError, OSError) as error:
        return Run(rate=0.0, faults=[text[:500] for text in (str(error), *target.last_words())])
    batch = added.rows / added.batches if added and added.batches else None
    return Run(
        rate=report.rate, mean_us=report.mean_us, p50_us=report.p50_us, p99_us=report.p99_us, mean_batch=batch,
        server_cpu=cpu / report.elapsed_s, load_cpu=report.load_cpu, per_cpu_s=report.ok / cpu if cpu else None,
        answers=report.ok, compared=len(report.samples), faults=faults(report, added, workload.check(report.samples)),
    )  # fmt: skip


def _replay(target: Target, workload: Workload, load: Load, style: HeaderStyle) -> Report:
    address = (target.host, target.port)
    if workload.http:
        return replay_http(address, workload.wires, load=load)
    return replay_grpc(address, workload.wires, load=load, style=style)


def faults(report: Report, added: Counts | None, wrong: list[str]) -> list[str]:
    """Why a run does not count; empty for one that does."""
    found = list(wrong)
    if bad := sum(report.statuses.values()) - report.ok:
        found.append(f"{bad} answers were not OK: statuses {report.statuses} {report.failures}")
    if report.counted == 0:
        found.append("no answer within the measured time")
    elif not report.samples:
        found.append("no answer was sampled")
    if added is not None and not added.ok == added.rows == report.ok:
        found.append(f"the server counted {added.ok} OK answers and {added.rows} rows, the client {report.ok}")
    return [text[:500] for text in found[:MAX_FAULTS]]


def medians(runs: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Of every figure that all runs have."""
    figures = [key for key, value in runs[0].items() if isinstance(value, int | float) and not isinstance(value, bool)]
    return {key: round(statistics.median(run[key] for run in runs), 4) for key in figures if all(run.get(key) is not None for run in runs)}
