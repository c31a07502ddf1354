"""The inference log from end to end: callers who keep a ledger of their own, while workers and the process that seals are killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import uuid
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pyarrow import parquet

from gateway.clock import SystemClock
from registry.directory import DirectoryMedium
from registry.label import Label, uuid_bytes
from registry.labels import ACCEPTED, LabelLog, Labels
from registry.log import Log
from registry.log_sealing import Sealer
from retrain.join_spec import JoinSpec
from retrain.label_join import join
from tests.e2e import models
from tests.e2e.server import Server, serving
from tests.gateway.serving.registries import published

PATIENCE_S = 20.0
CALLERS, ROUNDS = 3, 2
PAUSE_S = 0.002  # after each answer: what seals gives way, and has to come to its turn


class Caller(threading.Thread):
    """Asks one request after the other, each with an id of its own, and keeps the ids of those that were answered, with what they say."""

    def __init__(self, number: int, port: int) -> None:
        super().__init__(daemon=True)
        self.answered: dict[str, str] = {}  # the id under which it is logged
        self.stopped = threading.Event()
        self._number, self._port = number, port

    def run(self) -> None:
        count = 0
        while not self.stopped.is_set():
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
            try:
                while not self.stopped.is_set():
                    count += 1
                    self._ask(connection, f"{self._number}-{count}", count)
            except (OSError, http.client.HTTPException):
                continue  # its worker died
            finally:
                connection.close()

    def _ask(self, connection: http.client.HTTPConnection, identity: str, count: int) -> None:
        x = {"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [self._number, count, 0, 0]}
        connection.request("POST", "/v2/models/rows/infer", json.dumps({"id": identity, "inputs": [x]}))
        answer = connection.getresponse()
        answer.read()
        if answer.status == 200:
            self.answered[identity] = str(answer.headers["tidegate-request-id"])
        self.stopped.wait(PAUSE_S)


def await_(holds: Callable[[], bool]) -> None:
    clock = SystemClock()
    until = clock.now() + PATIENCE_S
    while not holds():
        assert clock.now() < until, "it did not come to be so"
        signal.sigtimedwait([], 0.05)


def children(server: Server, name: str) -> list[int]:
    """Of any thread of the supervisor."""
    lists = [path.read_text() for path in Path(f"/proc/{server.child.pid}/task").glob("*/children")]
    return [int(pid) for pid in " ".join(lists).split() if name in Path(f"/proc/{pid}/cmdline").read_text()]


def answers(callers: list[Caller]) -> int:
    return sum(len(caller.answered) for caller in callers)


def kill(server: Server, name: str) -> None:
    await_(lambda: bool(children(server, name)))
    os.kill(children(server, name)[0], signal.SIGKILL)


@pytest.mark.parametrize("durability", ["async", "sync"])
def test_the_ledger_adds_up_whoever_is_killed(tmp_path: Path, durability: str) -> None:
    """Each answered request is a row, once, with its own values; or it is one of those that a dead worker is said to have lost, of which
    there are none where answers wait for the disk."""
    published(tmp_path / "registry", "rows", models.rows(1.0), aliases={"champion": 1})
    settings = f"""
processes: {{workers: 2, spare: true}}
capture: {{enabled: true, directory: {tmp_path / "log"}, durability: {durability}, seal_s: 0.5, flush_s: 0.2}}
"""
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        callers = [Caller(number, server.http_port) for number in range(CALLERS)]
        for caller in callers:
            caller.start()
        for round_ in range(ROUNDS):
            before = answers(callers)
            await_(lambda before=before: answers(callers) > before + 50)
            kill(server, "gateway.control.worker" if round_ % 2 == 0 else "gateway.control.recorder")
            server.wait_ready()
        for caller in callers:
            caller.stopped.set()
        for caller in callers:
            caller.join(PATIENCE_S)
    sealer = Sealer(DirectoryMedium(tmp_path / "log"), wall=SystemClock.wall)
    with sealer.working():  # what a server leaves that had no time for it, as `tidegate capture seal` does
        sealer.seal()
    told = {identity: name for caller in callers for identity, name in caller.answered.items()}
    answered = set(told)
    log = Log(tmp_path / "log")
    tables = [parquet.ParquetFile(path).read(["client_request_id", "request_id", "f", "y"]) for path in log.paths()]
    rows = [row for table in tables for row in table.to_pylist()]
    logged = [row["client_request_id"] for row in rows]
    account = log.account()
    accepted, dropped = account.of("rows", "stable")
    assert len(set(logged)) == len(logged) == accepted - sum(dropped.values())
    assert ({*dropped} - {"worker_lost"}, [], (0, 0)) == (set(), log.verify(), log.waiting())
    missing = answered - set(logged)
    assert len(missing) <= (dropped.get("worker_lost", 0) if durability == "async" else 0)
    assert len(answered) > 100
    names = {row["client_request_id"]: str(uuid.UUID(bytes=row["request_id"])) for row in rows}
    assert names == names | {identity: name for identity, name in told.items() if identity in names}
    _labelled(tmp_path / "log", [told[identity] for identity in sorted(answered & set(logged))[:20]])
    for row in rows:
        number, count = map(float, row["client_request_id"].split("-"))
        assert np.allclose(row["f"]["x"], [number, count, 0, 0])
        assert np.allclose(row["y"]["y"], [number, count, 0, 0])


def _labelled(log: Path, names: list[str]) -> None:
    """Labels by the ids that answers told find the rows of these answers."""
    now_us = int(SystemClock.wall() * 1e6)
    outcomes = Labels(log).ingest(
        [Label(label_id=name, model="rows", request_id=uuid_bytes(name), value=1.0) for name in names], now_us
    )  # fmt: skip
    assert [ACCEPTED] * len(names) == outcomes
    report = join(
        JoinSpec(model="rows", as_of_us=now_us), answers=[Path(path) for path in Log(log).paths("rows")],
        labels=[log / file.path for file in LabelLog(log).files()], to=log.parent / "joined.parquet", columns=(),
    )  # fmt: skip
    assert (len(names), 0) == (report.labelled, report.orphans)
