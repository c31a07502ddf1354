"""How evenly long-lived connections lie on two workers, however few there are; counted from outside, by who has which socket."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.lifecycle import registries
from benchmarks.lifecycle.gateway import Gateway, await_, serving
from benchmarks.lifecycle.verdicts import bar
from benchmarks.replayer import LoadError

COUNTS = (2, 8, 64)
ASK = b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n"


def measure(folder: Path, *, spread: int, cores: str, seed: int, python: str) -> dict[str, Any]:
    """Each count so many times, one connection after the other and all at once by turns."""
    registries.two_versions(folder / "registry")
    runs = []
    with serving(folder, folder / "registry", "processes: {workers: 2, spare: false}\n", cores=cores, python=python) as gateway:
        for number in range(spread):
            runs += [_round(gateway, count, at_once=bool(number % 2)) for count in COUNTS]
    return {"connections": {"runs": runs}}


def bars(measurements: dict[str, Any]) -> list[dict[str, Any]]:
    """The largest difference."""
    return [bar("connections_max_minus_min", max(run["difference"] for run in measurements["connections"]["runs"]), "<=", 1)]


def _round(gateway: Gateway, count: int, *, at_once: bool) -> dict[str, Any]:
    with ExitStack() as stack:
        sockets = []
        for number in range(count):
            sock = stack.enter_context(socket.create_connection(gateway.address("grpc" if number % 2 else "http"), timeout=10))
            if not at_once:
                _ask(sock)
            sockets.append(sock)
        for sock in sockets:
            _ask(sock)
        held = gateway.serving_workers()
        await_(lambda: sum(gateway.held()) == count, f"{count} connections on the metrics page: {gateway.held()}", 5)
        page = gateway.held()
    await_(lambda: sum(gateway.held()) == 0, f"no connections on the metrics page: {gateway.held()}", 5)
    found = sorted(held.values()) if len(held) == 2 else [0, *held.values()]
    return {"count": count, "at_once": at_once, "held": found, "page": sorted(page), "difference": max(found) - min(found)}


def _ask(sock: socket.socket) -> None:
    """Liveness, so that the connection is one that a worker has."""
    sock.sendall(ASK)
    if not sock.recv(4096).startswith(b"HTTP/1.1 200"):
        raise LoadError("a live server does not say so")
