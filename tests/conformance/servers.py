"""The processes under test: gateways and the proxy before one. Each is ended by its own handle, whatever happens."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

START_TIMEOUT_S, STOP_TIMEOUT_S = 60.0, 30.0


class StartError(Exception):
    """A server that did not become ready, with the end of what it wrote."""


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


class Process:
    """A server that is ready when `ready_url` answers 200. Its output goes to `log`."""

    def __init__(self, command: Sequence[str | Path], *, ready_url: str, log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
        until = time.monotonic() + START_TIMEOUT_S
        while not _answers(ready_url):
            if self.process.poll() is not None or time.monotonic() > until:
                self.stop()
                raise StartError(f"{command[0]} did not become ready:\n{log.read_text(errors='replace')[-4000:]}")
            time.sleep(0.1)

    def stop(self) -> int:
        """SIGTERM, then SIGKILL. Returns the exit status."""
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
        return self.process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()


class Gateway(Process):
    """`tidegate serve` on free ports. `http`, `grpc` and `metrics` are host:port."""

    def __init__(self, repository: Path, *, log: Path, settings: Sequence[str] = ()) -> None:
        http, grpc, metrics = free_ports(3)
        self.http, self.grpc, self.metrics = (f"127.0.0.1:{port}" for port in (http, grpc, metrics))
        ports = ["--http-port", str(http), "--grpc-port", str(grpc), "--metrics-port", str(metrics), "--admin-port", "0"]
        assignments = [part for setting in settings for part in ("--set", setting)]
        command = [Path(sys.executable).with_name("tidegate"), "serve", "--repository", repository, *ports, *assignments]
        super().__init__(command, ready_url=f"http://{self.metrics}/v2/health/ready", log=log)


class Envoy(Process):
    """Envoy before a gateway. `address` speaks HTTP/1.1, HTTP/2 and gRPC; `admin` is Envoy's own."""

    def __init__(self, binary: Path, bootstrap: Path, gateway: Gateway, *, folder: Path) -> None:
        port, admin = free_ports(2)
        self.address, self.admin = f"127.0.0.1:{port}", f"127.0.0.1:{admin}"
        values = {"PORT": str(port), "ADMIN": str(admin), "GRPC": gateway.grpc.split(":")[1], "HTTP": gateway.http.split(":")[1]}
        text = bootstrap.read_text()
        for key, value in values.items():
            text = text.replace(f"${{{key}}}", value)
        settings = folder / "envoy.yaml"
        settings.write_text(text)
        command = [binary, "-c", settings, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "warning"]
        super().__init__(command, ready_url=f"http://{self.address}/v2/health/live", log=folder / "envoy.log")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (OSError, urllib.error.URLError):
        return False
