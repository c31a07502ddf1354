"""The servers of a bench as processes: started on one core, awaited, measured, ended. Knows no protocol beyond "is it ready?"."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent
KIB = 1024
HOST = "127.0.0.1"
READY_S, STOP_S = 60.0, 10.0
POLL_S = 0.002


class ServerError(Exception):
    """A server that did not come up."""


@dataclass(frozen=True, slots=True)
class Cores:
    """Which core serves and which one loads."""

    server: int
    load: int


def pick_cores() -> Cores:
    """The first and the last core this process may use. Raises `ServerError` where there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise ServerError("a serving bench needs two cores: one for the server, one for the load")
    return Cores(cores[0], cores[-1])


def free_port() -> int:
    """A TCP port on loopback that nothing listens on now."""
    return free_ports(1)[0]


def free_ports(count: int) -> list[int]:
    """So many of them, all different."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server((HOST, 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


class Server:
    """One server process and its children, pinned to `core` (or to cores: "0,1"). A context manager: up on entry, gone on exit."""

    def __init__(self, command: Sequence[str], *, core: int | str, ready: Callable[[], bool], log: Path, ready_s: float = READY_S) -> None:
        self._command = ["taskset", "-c", str(core), *command]
        self._ready = ready
        self._log = log
        self._patience_s = ready_s
        self.ready_s = 0.0  # from the start of the process to its readiness

    def __enter__(self) -> Server:
        start = time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True)
        while not self._ready():
            if self._process.poll() is not None or time.perf_counter() - start > self._patience_s:
                self.__exit__(None, None, None)
                raise ServerError(f"{' '.join(self._command)} did not get ready:\n{self._log.read_text(errors='replace')[-2000:]}")
            time.sleep(POLL_S)
        self.ready_s = time.perf_counter() - start
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()

    @property
    def pid(self) -> int:
        """Of the process itself."""
        return self._process.pid

    def wait(self, timeout_s: float) -> int | None:
        """Its exit status, or None where it still runs after so long."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    @property
    def pids(self) -> list[int]:
        """The process and all its descendants."""
        return process_tree(self._process.pid)

    def pss_bytes(self) -> int:
        """Proportional set size of the whole tree."""
        return sum(_field(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") for pid in self.pids)

    def cpu_s(self) -> float:
        """Processor time that the whole tree has used, in user and kernel mode."""
        return sum(cpu_ticks(pid) for pid in self.pids) / os.sysconf("SC_CLK_TCK")

    def rss_bytes(self) -> int:
        """Resident set sizes of the whole tree, added up."""
        return sum(_field(Path(f"/proc/{pid}/status"), "VmRSS:") for pid in self.pids)


class RssWatch:
    """Samples a server's resident size from a thread of its own while a load runs."""

    PERIOD_S = 0.25

    def __init__(self, server: Server) -> None:
        self._server = server
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.samples: list[int] = []

    def __enter__(self) -> RssWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(self.PERIOD_S):
            self.samples.append(self._server.rss_bytes())


def gateway_command(repository: Path, *, http: int, grpc: int, metrics: int) -> list[str]:
    """`tidegate serve` of the environment that runs the bench."""
    ports = ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics), "--admin-port", "0"]
    return [str(Path(sys.executable).parent / "tidegate"), "serve", "--repository", str(repository), *ports]


def peer_command(name: str, *arguments: str) -> list[str]:
    """A baseline of `benchmarks.peers`."""
    return [sys.executable, "-m", f"benchmarks.peers.{name}", *arguments]


def accepts(port: int) -> Callable[[], bool]:
    """Ready once the port takes connections."""

    def ready() -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex((HOST, port)) == 0

    return ready


def says_ready(port: int) -> Callable[[], bool]:
    """Ready once GET /v2/health/ready answers 200."""

    def ready() -> bool:
        connection = http.client.HTTPConnection(HOST, port, timeout=1)
        try:
            connection.request("GET", "/v2/health/ready")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    return ready


def process_tree(root: int) -> list[int]:
    """A process and its descendants, from /proc."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    tree = [root]
    for pid in tree:
        tree.extend(children.get(pid, ()))
    return tree


def cpu_ticks(pid: int) -> int:
    """Processor time of one process in clock ticks; 0 for one that is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0
    return int(fields[11]) + int(fields[12])


def _field(file: Path, name: str) -> int:
    """A field in kB of a /proc file, in bytes; 0 for a process that is gone."""
    try:
        lines = file.read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * KIB for line in lines if line.startswith(name))
