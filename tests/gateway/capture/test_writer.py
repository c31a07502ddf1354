"""The thread that writes: what has no room or is refused is dropped and counted, and nothing waits for a disk that stands still."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.log import Log
from registry.log_layout import SEGMENT, ids_of
from tests.gateway.capture.served import BOUNDS, Logging, batch_of, item_of
from tests.registry.logged import flat


class Calls:
    """`os`, whose `name` is refused or waits while `trouble` says so."""

    def __init__(self, name: str, trouble: Callable[[], None]) -> None:
        self._name, self._trouble = name, trouble

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            if name == self._name:
                self._trouble()
            return getattr(os, name)(*arguments, **options)

        return call


def serve(logging: Logging, rows: int = 1, count: int = 1) -> None:
    for _ in range(count):
        logging.capture.served(batch_of(logging.version, [item_of(rows)]))
        logging.capture.flush()


def test_a_disk_that_stands_still_costs_rows_and_nobody_waits(tmp_path: Path) -> None:
    """The queue fills up to its bound; what comes then is dropped, and all goes on when the disk does."""
    goes_on = threading.Event()
    logging = Logging(tmp_path, bounds=replace(BOUNDS, max_bytes=20_000), calls=Calls("write", lambda: goes_on.wait(30) or None))
    serve(logging, rows=10, count=200)
    assert logging.writer.waiting_bytes <= 20_000
    goes_on.set()
    assert logging.writer.settle(30)
    assert 0 == logging.writer.waiting_bytes
    serve(logging, rows=7)
    logging.end()
    rows, dropped = flat(Log(tmp_path).account())["m", "stable"]
    assert 2007 == rows + dropped["queue_full"]
    assert len(logging.table()) == rows > 7


def test_what_is_too_large_is_dropped(tmp_path: Path) -> None:
    """And what comes after it is not."""
    logging = Logging(tmp_path, bounds=replace(BOUNDS, max_bytes=4_000))
    serve(logging, rows=500)
    serve(logging, rows=1)
    logging.end()
    assert {("m", "stable"): (1, {"too_large": 500})} == flat(Log(tmp_path).account())


@pytest.mark.parametrize(("code", "reason"), [(errno.ENOSPC, "disk_full"), (errno.EDQUOT, "disk_full"), (errno.EIO, "io_error")])
@pytest.mark.parametrize("name", ["write", "open"])
def test_what_the_disk_refuses_is_dropped_until_it_does_not(tmp_path: Path, name: str, code: int, reason: str) -> None:
    """By its reason; without a restart rows are written again as soon as they can be."""
    refuses = threading.Event()

    def trouble() -> None:
        if refuses.is_set():
            raise OSError(code, os.strerror(code))

    logging = Logging(tmp_path, calls=Calls(name, trouble))
    refuses.set()
    serve(logging, count=3)
    assert logging.writer.settle(30)
    refuses.clear()
    serve(logging, count=2)
    logging.end()
    assert {("m", "stable"): (2, {reason: 3})} == flat(Log(tmp_path).account())
    assert 2 == len(logging.table())


def test_rows_of_a_failed_sync_are_those_that_are_found(tmp_path: Path) -> None:
    """The segment is given up; its rows are there all the same here, and count once. Nobody syncs it again."""
    syncs = []

    def trouble() -> None:
        syncs.append(1)
        if len(syncs) == 2:  # the first one is of the segment's head
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    logging = Logging(tmp_path, calls=Calls("fdatasync", trouble))
    serve(logging, count=3)
    assert logging.writer.settle(30)
    serve(logging)
    logging.end()
    assert {("m", "stable"): (4, {})} == flat(Log(tmp_path).account())
    assert 2 == len(Log(tmp_path).files())


def test_a_segment_is_left_when_it_is_large(tmp_path: Path) -> None:
    """Whoever seals may take it then."""
    logging = Logging(tmp_path, bounds=replace(BOUNDS, seal_bytes=1_500))
    for _ in range(10):
        serve(logging, rows=10)
        assert logging.writer.settle(30)
    assert len(ids_of(logging.medium, SEGMENT)) > 2
    logging.seal()
    assert len(Log(tmp_path).files()) > 2
    logging.end()
    assert {("m", "stable"): (100, {})} == flat(Log(tmp_path).account())


def test_answers_that_are_held_leave_when_their_rows_are_on_disk(tmp_path: Path) -> None:
    """Together with others that came meanwhile; and at once where nothing is to be waited for."""
    order: list[str] = []
    goes_on = threading.Event()

    def trouble() -> None:
        goes_on.wait(30)
        order.append("sync")

    logging = Logging(tmp_path, bounds=replace(BOUNDS, group=True, max_bytes=20_000), calls=Calls("fdatasync", trouble))
    for number in range(3):
        batch = batch_of(logging.version, [item_of()])
        assert logging.capture.hold(batch, lambda number=number: order.append(f"answer {number}"))  # type: ignore[misc]
        logging.capture.served(batch)
    assert (3, []) == (logging.capture.holding, order)
    goes_on.set()
    assert logging.writer.settle(30)
    assert 0 == logging.capture.holding
    assert ["answer 0", "answer 1", "answer 2"] == [step for step in order if step != "sync"]
    assert "sync" == order[0]
    too_large = batch_of(logging.version, [item_of(5_000)])
    assert not logging.capture.hold(too_large, lambda: order.append("never"))
    logging.end()
    assert {("m", "stable"): (3, {"too_large": 5_000})} == flat(Log(tmp_path).account())


def test_a_worker_that_is_killed_while_answers_leave_has_lost_their_rows(tmp_path: Path) -> None:
    """They were promised, and not accepted; of those that were accepted nothing is counted twice."""
    logging = Logging(tmp_path)
    served = batch_of(logging.version, [item_of(2)])
    logging.capture.promise(served)
    logging.capture.served(served)
    logging.capture.promise(batch_of(logging.version, [item_of(3)]))
    logging.end()
    assert {("m", "stable"): (2, {"worker_lost": 3})} == flat(Log(tmp_path).account())
