"""A gateway of the reload bench: its settings, its process, and what its metrics page and /proc say."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.processes import HOST, Server, cpu_ticks, free_ports, says_ready
from benchmarks.replayer import LoadError

CLI = ["-P", "-m", "gateway.cli", "serve", "--config"]
POLL_S = 0.01
QUIET_S = 0.2
KIB = 1024
READY_S = 300.0  # a thousand models take their time


class Gateway:
    """One that runs."""

    def __init__(self, server: Server, ports: list[int], log: Path) -> None:
        self.server = server
        self.http, self.grpc, self.metrics = ports
        self.log = log

    def address(self, protocol: str) -> tuple[str, int]:
        """Where a protocol is spoken."""
        return HOST, self.grpc if protocol == "grpc" else self.http

    def get(self, path: str, port: int | None = None, method: str = "GET") -> tuple[int, bytes]:
        """One request on a connection of its own. Raises `OSError`, `http.client.HTTPException`."""
        connection = http.client.HTTPConnection(HOST, port or self.metrics, timeout=10)
        try:
            connection.request(method, path)
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    def values(self) -> dict[str, float]:
        """Every sample of the metrics page by its name and labels as they stand."""
        lines = (line.rpartition(" ") for line in self.get("/metrics")[1].decode().splitlines() if not line.startswith("#"))
        return {series: float(value) for series, _, value in lines}

    def counted_ok(self) -> int:
        """Inference requests answered OK, as the server counts them."""
        return ok_of(self.values())

    def settled_ok(self, expected: int, wait_s: float = 1.0) -> int:
        """The same, waiting a moment for it to reach what is expected."""
        end = time.monotonic() + wait_s
        while (found := self.counted_ok()) < expected and time.monotonic() < end:
            time.sleep(POLL_S)
        return found

    def workers_ready(self) -> int:
        """Workers that take traffic."""
        return int(sum(value for series, value in self.values().items() if series.startswith("tidegate_worker_ready")))

    def loaded(self) -> int:
        """Versions that serve."""
        return int(sum(value for series, value in self.values().items() if series.startswith("tidegate_model_loaded")))

    def held(self) -> list[int]:
        """Connections of each worker."""
        return [int(value) for series, value in self.values().items() if series.startswith("tidegate_worker_connections")]

    def workers(self) -> list[int]:
        """Process ids of workers, and of the spare."""
        return [pid for pid in self.server.pids if _is_worker(pid)]

    def serving_workers(self) -> dict[int, int]:
        """Connections of each worker process that has any, from /proc."""
        open_ones = _established({self.http, self.grpc})
        held = {pid: len(_sockets(pid) & open_ones) for pid in self.workers()}
        return {pid: count for pid, count in held.items() if count}

    def has_spare(self, workers: int) -> bool:
        """Whether one more process is there, and has nothing left to import: it sleeps and uses no processor. Takes a moment."""
        pids = set(self.workers()) - set(self.serving_workers())
        before = {pid: cpu_ticks(pid) for pid in pids}
        time.sleep(QUIET_S)
        return len(self.workers()) > workers and all(
            _imported(pid) and _sleeps(pid) and cpu_ticks(pid) - ticks <= 1 for pid, ticks in before.items()
        )

    def rss(self) -> int:
        """Resident bytes of all workers and the spare."""
        return sum(_resident(pid) for pid in self.workers())

    def errors(self) -> list[str]:
        """Lines of the log that a server without faults does not write."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        return [line[:300] for line in lines if not line.startswith("{") or json.loads(line)["level"] == "error"]


def await_(reached: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait until something is the case; seconds that it took. Raises `LoadError` where it is not in time."""
    start = time.monotonic()
    while not reached():
        if time.monotonic() - start > seconds:
            raise LoadError(f"not within {seconds:g} s: {what}")
        time.sleep(POLL_S)
    return time.monotonic() - start


def ok_of(values: dict[str, float]) -> int:
    """The requests answered OK of one page."""
    return int(sum(value for series, value in values.items() if series.startswith("tidegate_requests_total{") and 'code="OK"' in series))


@contextmanager
def serving(folder: Path, repository: Path, settings: str = "", *, cores: int | str, python: str) -> Iterator[Gateway]:
    """A gateway with these settings (YAML), ready. Raises `ServerError`."""
    ports = free_ports(3)
    names = ("http_port", "grpc_port", "metrics_port")
    lines = "".join(f"  {name}: {port}\n" for name, port in zip(names, ports, strict=True))
    config, log = folder / f"gateway-{ports[0]}.yaml", folder / f"gateway-{ports[0]}.log"
    config.write_text(f"server:\n{lines}  admin_port: 0\nrepository:\n  path: {repository}\nlogging:\n  format: json\n{settings}")
    with Server([python, *CLI, str(config)], core=cores, ready=says_ready(ports[2]), log=log, ready_s=READY_S) as server:
        yield Gateway(server, ports, log)


def _is_worker(pid: int) -> bool:
    try:
        return b"gateway.control.worker" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _established(ports: set[int]) -> set[str]:
    """The socket inodes of connections to these ports, on the server's side."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[9] for line in lines if line[3] == "01" and int(line[1].rpartition(":")[2], 16) in ports}


def _sockets(pid: int) -> set[str]:
    found = set()
    with contextlib.suppress(OSError):  # it has ended
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                found.add(os.readlink(link).removeprefix("socket:[").removesuffix("]"))
    return found


def _imported(pid: int) -> bool:
    try:
        return "onnxruntime" in Path(f"/proc/{pid}/maps").read_text()
    except OSError:
        return False


def _sleeps(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "S"
    except OSError:
        return False


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith("VmRSS:"))
