"""Requests that wait for a model: tried again with the next table, bounded in number, bytes and time."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.control import parking as module
from gateway.control.parking import Parking
from gateway.errors import AsleepError, Code, TidegateError
from gateway.serving.routing import Routes
from tests.gateway.control.desk import INFER, STREAM, Desk, body, infer, tensors
from tests.gateway.serving.mixed_models import ROWS
from tests.gateway.serving.serving_fakes import FakeLoop
from tests.gateway.wire import http1_wire

ROW = np.array([[1.0]], np.float32)


class Request:
    """One that counts what became of it."""

    def __init__(self, *, size: int = 1, deadline: float = 1e9) -> None:
        self.size, self.deadline, self.cancelled = size, deadline, False
        self.tries = 0
        self.error: TidegateError | None = None
        self.forgotten = 0

    def gone(self) -> None:
        self.forgotten += 1

    def again(self) -> None:
        self.tries += 1

    def fail(self, error: TidegateError) -> None:
        self.error = error


class Lot:
    def __init__(self, max_bytes: int = 100) -> None:
        self.loop = FakeLoop()
        self.woken: list[str] = []
        self.parking = Parking(self.loop, self.loop.now, self.woken.append, max_bytes=max_bytes)


def test_a_model_is_awakened_once_between_two_tables() -> None:
    """Each request is tried again when there is another table."""
    lot = Lot()
    requests = [Request() for _ in range(3)]
    for request, model in zip(requests, "aab", strict=True):
        lot.parking.park(model, request)
    assert ["a", "b"] == lot.woken
    lot.parking.table_changed()
    assert ([1, 1, 1], 0) == ([request.tries for request in requests], len(lot.parking))
    lot.parking.park("a", Request())
    assert ["a", "b", "a"] == lot.woken


def test_one_whose_time_is_up_is_told_and_one_whose_caller_is_gone_is_dropped() -> None:
    """Neither is tried again; the others are."""
    lot = Lot()
    late, gone, patient = Request(deadline=lot.loop.now() + 1.0), Request(), Request()
    for request in (late, gone, patient):
        lot.parking.park("a", request)
    gone.cancelled = True
    lot.loop.advance(2.0)
    assert late.error is not None
    assert (Code.DEADLINE_EXCEEDED, 1) == (late.error.code, len(lot.parking))
    lot.parking.table_changed()
    assert (0, 0, 1) == (late.tries, gone.tries, patient.tries)


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in number; the one past it is told to come back."""
    lot = Lot(max_bytes=10)
    fits, over = Request(size=10), Request(size=1)
    lot.parking.park("a", fits)
    lot.parking.park("a", over)
    monkeypatch.setattr(module, "MAX_REQUESTS", 0)
    other = Lot()
    many = Request()
    other.parking.park("a", many)
    assert [None, Code.OVERLOADED, Code.OVERLOADED] == [request.error and request.error.code for request in (fits, over, many)]
    assert [] == other.woken


def test_whoever_waits_when_the_server_ends_is_told_at_once_and_so_is_who_comes_later() -> None:
    """Nothing is loaded any more; another replica may answer. One whose caller is gone is told nothing."""
    lot = Lot()
    waits, gone, later = Request(), Request(), Request()
    lot.parking.park("a", waits)
    lot.parking.park("a", gone)
    gone.cancelled = True
    lot.parking.close()
    lot.parking.park("a", later)
    assert [Code.UNAVAILABLE, None, Code.UNAVAILABLE] == [request.error and request.error.code for request in (waits, gone, later)]
    assert (["a"], 0) == (lot.woken, len(lot.parking))


def sleeping() -> tuple[Desk, Routes, list[str]]:
    """A desk whose model of rows sleeps, the table in which it is awake, and what is awakened."""
    desk = Desk()
    awake = desk.service.routes
    woken: list[str] = []
    desk.service.parking = Parking(desk.loop, desk.loop.now, woken.append, max_bytes=1 << 20)
    others = {name: versions for name, versions in awake.versions.items() if name != ROWS}
    desk.service.set_routes(Routes(others, asleep=frozenset({ROWS})))
    return desk, awake, woken


def test_requests_of_all_kinds_wait_until_the_model_is_there() -> None:
    """Unary and streamed gRPC calls, and REST; each is answered as if it had come when the model was ready."""
    desk, awake, woken = sleeping()
    unary, stream = desk.open(INFER, infer(ROWS, ROW)), desk.open(STREAM, infer(ROWS, ROW))
    before = len(desk.http.writes)
    desk.http.send(http1_wire.post(f"/v2/models/{ROWS}/infer", body([[1.0]])))
    desk.loop.tick()
    assert ([ROWS], {}) == (woken, desk.replies())
    desk.service.set_routes(awake)
    desk.loop.settle()
    replies = desk.replies()
    assert [0, 0] == [replies[number].status for number in (unary, stream)]
    assert tensors(replies[unary].messages[0])
    assert b"200 OK" in b"".join(desk.http.writes[before:])


def test_a_request_that_waits_too_long_is_told_so_on_every_transport() -> None:
    """The deadline is the request's own, or the default."""
    desk, _, _ = sleeping()
    call = desk.open(INFER, infer(ROWS, ROW), fields=[("grpc-timeout", "1S")])
    before = len(desk.http.writes)
    desk.http.send(http1_wire.post(f"/v2/models/{ROWS}/infer", body([[1.0]])))
    desk.loop.advance(1.5)
    assert 4 == desk.replies()[call].status
    desk.loop.advance(20.0)
    assert b" 504 " in b"".join(desk.http.writes[before:])


def test_who_cannot_wait_awakens_the_model_and_is_told_to_come_back() -> None:
    """Metadata; readiness says that a request would be answered."""
    desk, _, woken = sleeping()
    answer = desk.http.ask("GET", f"/v2/models/{ROWS}")
    assert (503, [ROWS]) == (answer.status, woken)
    assert 200 == desk.http.ask("GET", f"/v2/models/{ROWS}/ready").status


def test_a_sleeping_model_is_unavailable_for_those_who_do_not_know_of_sleep() -> None:
    """As any other that is not loaded."""
    assert Code.UNAVAILABLE is AsleepError("m").code
