"""The demo's servers: started as a user would, waited for, and asked what drifts."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from gateway.client import CallError, Client
from gateway.client_rest import RestClient
from gateway.clock import Clock
from gateway.control.child import Child
from gateway.control.ports import choose
from gateway.demo_story import MODEL, DemoError, Server

HOST = "127.0.0.1"
PORTS = (8000, 8001, 8002, 8003)  # the server's defaults; others are chosen where they are taken
READY_TIMEOUT_S = 180.0  # a busy machine takes its time
EVALUATE_S = 0.2  # the server says what has moved so often; by default once a second
DRIFT_TIMEOUT_S = 20.0


def started(stack: ExitStack, registry: Path, more: Sequence[str], *, log: Path, clock: Clock) -> tuple[Server, float]:
    """A server of a registry that ends with `stack`, once it is ready, and the seconds until then. `more`: flags. Raises `DemoError`."""
    ports = choose(HOST, PORTS)
    http, grpc, metrics, admin = (f"{HOST}:{port}" for port in ports)
    flags = [f"--{name}-port={port}" for name, port in zip(("http", "grpc", "metrics", "admin"), ports, strict=True)]
    start = clock.now()
    child = stack.enter_context(Child(["serve", "--repository", str(registry), *flags, *more], log=log))
    client = stack.enter_context(Client(grpc))
    wait_ready(child, client, clock)
    return Server(child, http, grpc, metrics, admin, client), clock.now() - start


def wait_ready(child: Child, client: Client, clock: Clock) -> None:
    """Until its model answers. Raises `DemoError` with the child's last words."""
    end = clock.now() + READY_TIMEOUT_S
    while not client.wait_ready(0.5, clock=clock):
        if child.status is not None or clock.now() > end:
            state = "is not ready" if child.status is None else f"ended with status {child.status}"
            raise DemoError("\n".join([f"the server {state}; its last words:", *child.last_lines()]))
    if not client.ready(MODEL):
        raise DemoError("\n".join([f"the server did not load {MODEL}; its last words:", *child.last_lines()]))


def drift_of(server: Server, version: str, rows: int, clock: Clock) -> dict[str, Any]:
    """What the server says of the version, once it has evaluated all rows that were sent to it."""
    rest, until = RestClient(server.http), clock.now() + DRIFT_TIMEOUT_S
    while True:
        found = _evaluated(rest, version)
        if found["rows"] == rows:
            return found
        if found["rows"] > rows or clock.now() > until or server.child.wait(EVALUATE_S / 4) is not None:
            problem = found.get("problem", f"it has evaluated {found['rows']} rows, and {rows} were sent")
            raise DemoError(f"the server does not say what drifts: {problem}")


def _evaluated(rest: RestClient, version: str) -> dict[str, Any]:
    """What is known now; no rows where there is no answer, which is so while the process that evaluates begins."""
    try:
        (found,) = rest.call("GET", f"/v2/models/{MODEL}/versions/{version}/drift")["versions"]
    except CallError as error:
        return {"rows": 0, "problem": str(error)}
    return dict(found)
