"""A real server in a child process: started as a user starts it, asked over its ports, looked at through /proc and its log."""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gateway.clock import SystemClock
from gateway.control.child import Child

READY_S = 60.0
SETTLE_S = 5.0
_REQUESTS = re.compile(r'^tidegate_requests_total\{.*code="(?P<code>\w+)",.*protocol="(?P<protocol>\w+)"')
Series = str


class Server:
    """One child that serves a repository."""

    def __init__(self, child: Child, ports: tuple[int, int, int], log: Path, context: ssl.SSLContext | None = None) -> None:
        """With a context the server is asked over TLS."""
        self.child = child
        self.context = context
        self.http_port, self.grpc_port, self.metrics_port = ports
        self.log = log
        self._read_lines = 0

    # --- probes ----------------------------------------------------------------------------------------------------------------

    def get(self, path: str, port: int | None = None, method: str = "GET", token: str = "") -> tuple[int, bytes]:
        """One request without a body on a connection of its own."""
        scheme, headers = "https" if self.context else "http", {"authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(f"{scheme}://127.0.0.1:{port or self.http_port}{path}", method=method, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10, context=self.context) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    def wait_ready(self) -> None:
        """Until the models are loaded. AssertionError with the last words of a child that ends before."""
        clock = SystemClock()
        until = clock.now() + READY_S
        while clock.now() < until:
            assert self.child.status is None, "\n".join(self.child.last_lines(20))
            try:
                if self.get("/v2/health/ready", self.metrics_port)[0] == 200:
                    return
            except OSError:
                pass
            self.child.wait(0.02)
        raise AssertionError("not ready in time: " + "\n".join(self.child.last_lines(20)))

    @property
    def admin_port(self) -> int:
        """The one that the system has chosen, by the log."""
        found = re.search(r"listening: .*admin [^:]+:(\d+)", self.log.read_text("utf-8", "replace"))
        assert found
        return int(found[1])

    # --- metrics ---------------------------------------------------------------------------------------------------------------

    def page(self) -> str:
        """The metrics page."""
        status, page = self.get("/metrics", self.metrics_port)
        assert 200 == status
        return page.decode()

    def values(self) -> dict[Series, float]:
        """Every sample by its name and labels as they stand; prometheus_client's parser would take 50 ms for them."""
        samples = (line.rpartition(" ") for line in self.page().splitlines() if not line.startswith("#"))
        return {series: float(value) for series, _, value in samples}

    def gauge(self, name: Series) -> float:
        return self.values()[name]

    # --- process ---------------------------------------------------------------------------------------------------------------

    def workers(self) -> list[int]:
        """Process ids of the supervisor's children."""
        return [int(pid) for pid in Path(f"/proc/{self.child.pid}/task/{self.child.pid}/children").read_text().split()]

    def descriptors(self) -> int:
        return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in (self.child.pid, *self.workers()))

    def memory(self, field: str) -> int:
        """`VmRSS` or `VmHWM` of the one worker, in bytes."""
        (pid,) = self.workers()
        text = Path(f"/proc/{pid}/status").read_text()
        found = re.search(rf"{field}:\s+(\d+) kB", text)
        assert found
        return int(found[1]) << 10

    def forget_peak(self) -> int:
        """Begin a new VmHWM at what is resident now, and return that."""
        (pid,) = self.workers()
        Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.memory("VmRSS")

    def settles(self, *, connections: int = 0, descriptors: int = sys.maxsize) -> bool:
        """Whether there are only so many of each, soon."""
        clock = SystemClock()
        until = clock.now() + SETTLE_S
        while self.gauge("tidegate_connections") > connections or self.descriptors() > descriptors:
            if clock.now() > until:
                return False
            self.child.wait(0.02)
        return True

    def faults(self) -> list[str]:
        """New lines of the log that a good server does not write: errors and stacks, but for versions that were meant to fail."""
        lines = self.log.read_text("utf-8", "replace").splitlines()
        lines, self._read_lines = lines[self._read_lines :], len(lines)
        bad = [line for line in lines if not line.startswith("{") or json.loads(line)["level"] not in {"info", "warning"}]
        return [line for line in bad if "version failed: " not in line]


def requests_of(values: dict[Series, float]) -> Counter[tuple[str, str]]:
    """Inference requests by (protocol, code), over all models."""
    counts: Counter[tuple[str, str]] = Counter()
    for series, value in values.items():
        found = _REQUESTS.search(series)
        if found is not None:
            counts[found["protocol"], found["code"]] += int(value)
    return counts


@contextmanager
def serving(folder: Path, repository: Path, settings: str = "", context: ssl.SSLContext | None = None) -> Iterator[Server]:
    """A server with these settings (YAML, without server), ready. `repository` is not looked at where they have a section of that name."""
    with starting(folder, repository, settings, context) as server:
        server.wait_ready()
        yield server


@contextmanager
def starting(
    folder: Path, repository: Path, settings: str = "", context: ssl.SSLContext | None = None, ports: tuple[int, int, int] | None = None
) -> Iterator[Server]:  # fmt: skip
    """As `serving`, but not yet ready. One worker, whose memory and descriptors can be looked at, unless the settings say otherwise."""
    processes = "" if "processes:" in settings else "processes: {workers: 1, spare: false}\n"
    ports = ports or free_ports()
    names = ("http_port", "grpc_port", "metrics_port")
    server = "".join(f"  {name}: {port}\n" for name, port in zip(names, ports, strict=True))
    config = folder / "server.yaml"
    place = "" if "repository:" in settings else f"repository:\n  path: {repository}\n"
    config.write_text(f"server:\n{server}  admin_port: 0\n{place}logging:\n  format: json\n{processes}{settings}")
    log = folder / "server.log"
    with Child(["serve", "--config", str(config)], log=log) as child:
        yield Server(child, ports, log, context)


def free_ports() -> tuple[int, int, int]:
    """Three ports that nobody listens on now."""
    with (
        socket.create_server(("127.0.0.1", 0)) as a,
        socket.create_server(("127.0.0.1", 0)) as b,
        socket.create_server(("127.0.0.1", 0)) as c,
    ):
        first, second, third = (held.getsockname()[1] for held in (a, b, c))
        return first, second, third
