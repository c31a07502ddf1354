"""What lies under deploy/, read as its readers read it, and what the program itself says of the same things."""

from __future__ import annotations

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import yaml

from gateway.config import Config, load
from gateway.control.monitor import Monitor
from gateway.control.state import ServerState
from gateway.limits import WireLimits
from gateway.wire.exchange import HttpRefusal
from tests.gateway.control.desk import Desk
from tests.gateway.serving.serving_fakes import FakeLoop

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"
USER = 65532  # of the image, and of every manifest that runs it
_UNITS = {"ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}

Tree = dict[str, Any]


def documents(path: str) -> list[Tree]:
    """The YAML documents of a file under deploy/."""
    return [document for document in yaml.safe_load_all((DEPLOY / path).read_text()) if document is not None]


def settings(path: str) -> Config:
    """A settings file under deploy/, as the program loads it."""
    return load(DEPLOY / path)


def drain_s(config: Config) -> float:
    """The longest time from SIGTERM to the end, but for the last lines."""
    return config.processes.drain_delay_s + config.processes.drain_grace_s


def ports(config: Config) -> dict[str, int]:
    """Name → number, as manifests call them."""
    return {"http": config.server.http_port, "grpc": config.server.grpc_port, "metrics": config.server.metrics_port}


def duration_s(text: str) -> float:
    """Of "45s" or "10min", as compose and systemd write it. Raises `ValueError` for anything else."""
    found = re.fullmatch(r"([0-9]+)([a-z]+)", text)
    if found is None:
        raise ValueError(f"{text!r} is no duration")
    return int(found[1]) * _UNITS[found[2]]


def on_the_metrics_port(path: str) -> bool:
    """Whether the read-only port routes GET of a path."""

    async def asked() -> bool:
        monitor = Monitor(lambda accept: (b"", ""), ServerState("m", "9.9"), WireLimits(), clock=FakeLoop(), rng=random.Random(1))
        try:
            monitor.open_http("GET", path.encode(), [])
        except HttpRefusal:
            return False
        finally:
            await monitor.listener.close()
        return True

    return asyncio.run(asked())


def on_the_inference_ports(path: str) -> bool:
    """Whether the REST surface routes GET of a path."""
    try:
        Desk().rest.open_http("GET", path.encode(), [])
    except HttpRefusal:
        return False
    return True
