"""Work that blocks, done for an event loop: answers on the loop, failures as callers may see them, bounds."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import pytest

from gateway.control import errands
from gateway.control.errands import CROWDED, ENDING, INTERNAL, MAX_WAITING, Errands, told
from gateway.errors import Code, TidegateError
from registry.errors import Kind, RegistryError
from tests.gateway.serving.serving_fakes import FakeLoop


class Later(Executor):
    """Does work when it is told to."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Future[Any], Callable[[], Any]]] = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        self.waiting.append((Future(), fn))
        return self.waiting[-1][0]

    def do(self) -> None:
        waiting, self.waiting = self.waiting, []
        for future, work in waiting:
            try:
                future.set_result(work())
            except Exception as error:  # as a real one does
                future.set_exception(error)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        if cancel_futures:
            for future, _ in self.waiting:
                future.cancel()


def asked(of: Errands, work: Callable[[], Any]) -> list[Any]:
    """What comes back, when it does."""
    found: list[Any] = []
    of.run(work, found.append, found.append)
    return found


def test_answers_come_on_the_loop() -> None:
    """Not where the work was done."""
    loop, later = FakeLoop(), Later()
    found = asked(Errands(loop, later), lambda: 7)
    later.do()
    assert [] == found
    loop.settle()
    assert [7] == found


def test_work_is_done_in_threads_of_its_own() -> None:
    """A loop never blocks."""
    loop, came = FakeLoop(), threading.Event()
    loop.call_soon_threadsafe = lambda callback, *args: (loop.call_soon(callback, *args), came.set())  # type: ignore[method-assign]
    running = Errands(loop)
    found = asked(running, lambda: threading.current_thread().name)
    assert came.wait(10)
    loop.settle()
    running.close()
    assert found[0].startswith("errand")


def test_there_is_room_for_so_many() -> None:
    """The next one is told at once, and has room when another is done."""
    loop, later = FakeLoop(), Later()
    of = Errands(loop, later)
    for _ in range(MAX_WAITING):
        asked(of, lambda: 1)
    assert [CROWDED] == asked(of, lambda: 1)
    later.do()
    loop.settle()
    assert [] == asked(of, lambda: 1)


def test_what_has_not_begun_when_the_server_ends_is_refused() -> None:
    """And what comes later."""
    loop, later = FakeLoop(), Later()
    of = Errands(loop, later)
    found = asked(of, lambda: 1)
    of.close()
    loop.settle()
    assert [[ENDING], [ENDING]] == [found, asked(of, lambda: 1)]


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (Kind.INVALID_NAME, Code.INVALID_ARGUMENT), (Kind.INVALID_MODEL, Code.INVALID_ARGUMENT), (Kind.NOT_FOUND, Code.NOT_FOUND),
        (Kind.CONFLICT, Code.FAILED_PRECONDITION), (Kind.POLICY, Code.FAILED_PRECONDITION), (Kind.DAMAGED, Code.INTERNAL),
        (Kind.UNSUPPORTED, Code.UNIMPLEMENTED), (Kind.STORAGE, Code.UNAVAILABLE),
    ],
)  # fmt: skip
def test_what_the_registry_refuses_has_a_code(kind: Kind, code: Code) -> None:
    """Each kind its own."""
    found = told(RegistryError(kind, "why"))
    assert (code, "why") == (found.code, found.message)
    assert set(Kind) == set(errands._CODES)


def test_a_fault_of_ours_stands_in_the_log_alone(caplog: pytest.LogCaptureFixture) -> None:
    """Its caller learns nothing; what is meant for callers passes."""
    error = TidegateError(Code.NOT_FOUND, "x")
    assert error is told(error)
    with caplog.at_level(logging.ERROR):
        assert INTERNAL is told(KeyError("/srv/secret"))
    assert "/srv/secret" in caplog.text
