"""What logging requests costs a server: the same registry served with and without, by turns, on one core.

A registry holds the tabular model of the serving bench with 16 features. `plain` serves it without a log; `all` logs every request, `tenth`
one of ten by chance. Both keep all features and outputs, seal them to Parquet within the run's minutes, and drift is not watched anywhere.

Throughput is in answers per second of the processor time of the server's whole tree, the sealing process among it. A run counts only if
the server says that it accepted as many rows for the log as were answered (of a tenth: about as many as chance gives, six deviations at
most), and dropped none; afterwards the log itself must hold what was said, by its commits, and every file must be what they say. Ratios are
taken within a pair of runs; a bar is the median over pairs, with an interval that holds it in 95 of 100 cases.

A stalled target: `stalled` logs everything to a store that accepts connections and never answers; its p99 is held against that of `all`.
"""

from __future__ import annotations

import re
import socket
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.command import conclude, parser
from benchmarks.drift_tax import interval, publish_watched, served, workload
from benchmarks.machine import describe_machine, describe_versions
from benchmarks.models import rows
from benchmarks.processes import HOST, Cores, Server, free_ports, gateway_command, pick_cores, says_ready
from benchmarks.replayer import Load
from benchmarks.runs import Target, medians, run
from benchmarks.workloads import Workload
from registry.log import Log
from registry.store import Store

FEATURES = 16
PAIRS, QUICK_PAIRS = 24, 6
PAIRS_A_START = 3  # then all servers are started anew
WARMUP_S, SECONDS = 0.2, 2.0
SEAL_S = 1.0
SENT_ROWS = 4096
AT_LEAST = {"all": 0.85, "tenth": 0.97}
P99_MORE_AT_MOST_US = 200.0
PATIENCE_S = 30.0
RESULT = Path(__file__).parent / "results" / "capture.json"
SHARES = {"plain": 0.0, "all": 1.0, "tenth": 0.1, "stalled": 1.0}
_COUNTED = re.compile(r"^tidegate_capture_rows_total\{[^}]*\} (\S+)$", re.MULTILINE)
_DROPPED = re.compile(r"^tidegate_capture_dropped_total\{[^}]*\} (\S+)$", re.MULTILINE)
_UNSEALED = re.compile(r"^tidegate_capture_unsealed_segments (\S+)$", re.MULTILINE)


@dataclass(slots=True)
class Logged:
    """A server, and what its log says."""

    target: Target
    share: float  # of requests that are logged
    log: Path | None
    counted: int = 0

    def load(self, workload: Workload, load: Load) -> dict[str, Any]:
        """One run, and the sealing of its rows: `per_cpu_s` has both."""
        cpu = self.target.cpu_s()
        found = run(self.target, workload, load).document()
        found["per_cpu_s_until_answered"] = found["per_cpu_s"]
        found["faults"] += self._settle(int(found["answers"]))
        found["per_cpu_s"] = round(found["answers"] / (self.target.cpu_s() - cpu), 4)
        return found

    def _settle(self, answers: int) -> list[str]:
        """Until everything is sealed. Who logs nothing rests as long, so that idling costs all the same."""
        time.sleep(SEAL_S + 1.5)
        if self.log is None:
            return []
        end = time.monotonic() + PATIENCE_S
        while not (sealed := _figures(self.target.metrics_port, _UNSEALED) == [0.0]) and time.monotonic() < end:
            time.sleep(0.1)
        rows = int(sum(_figures(self.target.metrics_port, _COUNTED)))
        got, self.counted = rows - self.counted, rows
        spread = 6 * (answers * self.share * (1 - self.share)) ** 0.5
        found = [] if sealed else ["segments were not sealed in time"]
        if abs(got - answers * self.share) > spread:
            found.append(f"{got} rows were logged of {answers} answers, where the share is {self.share}")
        if dropped := sum(_figures(self.target.metrics_port, _DROPPED)):
            found.append(f"{dropped:.0f} rows were dropped")
        return found

    def checked(self) -> list[str]:
        """What is wrong with the log, once nobody writes it."""
        if self.log is None:
            return []
        log = Log(self.log)
        rows, problems = sum(file.rows for file in log.files()), [f"{one.key}: {one.message}" for one in log.verify()]
        return problems + ([f"the log has {rows} rows, the server said {self.counted}"] if rows != self.counted else [])


def _figures(port: int | None, pattern: re.Pattern[str]) -> list[float]:
    with urllib.request.urlopen(f"http://{HOST}:{port}/metrics", timeout=5) as answer:
        return [float(value) for value in pattern.findall(answer.read().decode())]


def main(arguments: list[str] | None = None) -> int:
    """Run, judge, write."""
    options = parser(__doc__, seed="the rows").parse_args(arguments)
    machine, cores = describe_machine(), pick_cores()
    with tempfile.TemporaryDirectory() as folder:
        measurements = measure(Path(folder), cores, quick=options.quick, seed=options.seed)
    result = {"machine": machine, "versions": describe_versions(), "seed": options.seed, "measurements": measurements}
    return conclude({**result, "bars": judge(measurements)}, options.json or ("-" if options.quick else None), RESULT)


def measure(folder: Path, cores: Cores, *, quick: bool, seed: int) -> dict[str, Any]:
    """All measurements: name → runs and medians."""
    model = served(FEATURES)
    inputs = rows(model, SENT_ROWS, seed)
    (folder / "plain").mkdir()
    store = Store.create(folder / "plain" / "registry")
    asked = workload(model, inputs, publish_watched(store, model, inputs))
    found: dict[str, list[dict[str, Any]]] = {}
    pairs = QUICK_PAIRS if quick else PAIRS
    for start in range(0, pairs, PAIRS_A_START):
        with ExitStack() as stack:
            target = stack.enter_context(_silent())
            servers = {
                name: stack.enter_context(
                    _started(store, folder / f"{name}-{start}", cores.server, share, target if name == "stalled" else 0)
                )
                for name, share in SHARES.items()
            }
            for number in range(PAIRS_A_START):
                for name in [*SHARES][:: 1 if number % 2 else -1]:
                    for kind, connections, streams in (("4x16", 4, 16), ("1x1", 1, 1)):
                        if kind == "4x16" or name in {"all", "stalled"}:
                            load = Load(connections=connections, streams=streams, warmup_s=WARMUP_S, seconds=SECONDS, seed=seed)
                            found.setdefault(f"{kind}_{name}", []).append(servers[name].load(asked, load))
        for name, server in servers.items():
            found[f"4x16_{name}"][-1]["faults"] += server.checked()
    return {name: {"runs": runs, "median": medians(runs)} for name, runs in found.items()}


@contextmanager
def _started(store: Store, folder: Path, core: int, share: float, port: int) -> Iterator[Logged]:
    """A server that logs such a share, to a store at `port` that never answers, if there is one."""
    folder.mkdir()
    http, grpc, metrics = free_ports(3)
    command = [*gateway_command(store.medium.root, http=http, grpc=grpc, metrics=metrics), "--set", "drift.watched=false"]
    log = folder / "log" if share else None
    if log is not None:
        settings = {"enabled": "true", "directory": log, "sample": share, "seal_s": SEAL_S}
        config = folder / "tidegate.yaml"
        config.write_text(_upload(port) if port else "")
        command += [part for name, value in settings.items() for part in ("--set", f"capture.{name}={value}")]
        command += ["--config", str(config)] if port else []
    with Server(command, core=core, ready=says_ready(metrics), log=folder / "server.log") as server:
        yield Logged(Target(HOST, grpc, server.cpu_s, metrics, folder / "server.log"), share, log)


def _upload(port: int) -> str:
    options = {"aws_endpoint": f"http://{HOST}:{port}", "aws_region": "us-east-1", "aws_access_key_id": "bench"}
    lines = [f'    {name}: "{value}"' for name, value in (options | {"aws_secret_access_key": "nobody reads this"}).items()]
    return "\n".join(["capture:", '  upload: "s3://bucket/log"', "  upload_options:", *lines, ""])


@contextmanager
def _silent() -> Iterator[int]:
    """The port of a store that takes connections and says nothing."""
    with socket.create_server((HOST, 0)) as listener:
        held: list[socket.socket] = []

        def accept() -> None:
            with suppress(OSError):
                while True:
                    held.append(listener.accept()[0])

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        for connection in held:
            connection.close()


def judge(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """Ratios of throughput against `plain`, and what a stalled target adds to the p99 of one request at a time."""
    bars = []
    for name, bound in AT_LEAST.items():
        ratios = [logged["per_cpu_s"] / plain["per_cpu_s"] for logged, plain in _paired(measurements, f"4x16_{name}", "4x16_plain")]
        bars.append(_bar(f"throughput_logged_{name}", ratios, ">=", bound))
    more = [stalled["p99_us"] - all_["p99_us"] for stalled, all_ in _paired(measurements, "1x1_stalled", "1x1_all")]
    bars.append(_bar("p99_us_more_with_a_stalled_target", more, "<=", P99_MORE_AT_MOST_US))
    return bars


def _paired(measurements: dict[str, Any], one: str, other: str) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Runs of both; none where one has a fault."""
    sides = [measurements.get(name, {}).get("runs", []) for name in (one, other)]
    return list(zip(*sides, strict=True)) if not any(run["faults"] for side in sides for run in side) else []


def _bar(name: str, values: Sequence[float], op: str, bound: float) -> dict[str, Any]:
    value = round(statistics.median(values), 4) if values else None
    holds = value is not None and (value >= bound if op == ">=" else value <= bound)
    return {"name": name, "value": value, "interval": interval(list(values)), "op": op, "bound": bound, "holds": holds}


if __name__ == "__main__":
    sys.exit(main())
