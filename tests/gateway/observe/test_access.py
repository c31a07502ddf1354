"""The access log: a share of the requests, names and numbers only."""

from __future__ import annotations

import io
import json
import logging
import random
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from gateway.config import Logging
from gateway.errors import Code
from gateway.limits import ObserveLimits
from gateway.observe import logs
from gateway.observe.access import AccessLog
from gateway.observe.metrics import Metrics
from gateway.observe.slabs import GRPC, HTTP
from gateway.serving.batch import Batch, Item
from gateway.serving.model import RunFault
from tests.gateway.observe.counted import alone


class FakeVersion:
    """A loaded version's name and number."""

    name, number = "m", 3


VERSION: Any = FakeVersion()


class Noon:
    """A clock that stands still."""

    def now(self) -> float:
        return 12.0

    def wall(self) -> float:
        return 0.0


def item(*, protocol: int = GRPC, cancelled: bool = False, done: bool = False) -> Item:
    made = Item()
    made.sink = SimpleNamespace(protocol=protocol)  # type: ignore[assignment]
    made.caller = SimpleNamespace(cancelled=cancelled)
    made.rows, made.size, made.arrival, made.done, made.data = 2, 6, 10.0, done, (b"secret",)
    return made


def batch(*items: Item, failed: Item | None = None) -> Batch:
    made = Batch(VERSION, ((),), list(items), 2 * len(items), 64)
    made.started, made.ended = 10.5, 11.0
    if failed:
        made.failed = [(failed, RunFault(Code.INTERNAL, "no"))]
    return made


@pytest.fixture
def lines() -> Iterator[Any]:
    """A function that gives the lines written so far."""
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    stream = io.StringIO()
    logs.configure(Logging(), stream=stream, clock=Noon())
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
    logging.captureWarnings(False)
    structlog.reset_defaults()


def log(share: float) -> tuple[AccessLog, Metrics]:
    metrics, _ = alone(ObserveLimits())
    return AccessLog(metrics, share=share, clock=Noon(), rng=random.Random(1)), metrics


def test_every_request_of_a_batch_has_a_line(lines: Any) -> None:
    """With its own outcome, and without its data."""
    access, _ = log(1.0)
    bad = item(protocol=HTTP)
    access.batch_done(batch(item(), bad, item(cancelled=True), item(done=True), failed=bad))
    found = lines()
    assert ["OK", "INTERNAL", "CANCELLED", "DEADLINE_EXCEEDED"] == [line["code"] for line in found]
    assert {
        "event": "request", "logger": "access", "protocol": "http", "model": "m", "version": 3, "rows": 2, "batch_rows": 8,
        "duration_ms": 1000.0, "compute_ms": 500.0,
    }.items() <= found[1].items()  # fmt: skip
    assert "secret" not in json.dumps(found)


def test_a_request_that_never_ran_has_a_line_too(lines: Any) -> None:
    """It waited in vain, and for how long."""
    access, _ = log(1.0)
    access.dropped(VERSION, item(), Code.DEADLINE_EXCEEDED)
    ((line),) = lines()
    assert ("DEADLINE_EXCEEDED", 2000.0, 0, 0.0) == (line["code"], line["duration_ms"], line["batch_rows"], line["compute_ms"])


def test_only_a_share_is_written_and_everything_is_counted(lines: Any) -> None:
    """The metrics behind it miss nothing."""
    access, metrics = log(0.25)
    for _ in range(400):
        access.batch_done(batch(item()))
        access.dropped(VERSION, item(), Code.CANCELLED)
    assert 140 < len(lines()) < 260
    assert (400, 400) == tuple(metrics.slab(VERSION).requests[GRPC, code] for code in (Code.OK, Code.CANCELLED))
