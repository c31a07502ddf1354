"""The thread of a version: one run after another, each told to the loop, faults included, until it is stopped."""

from __future__ import annotations

import itertools
import threading
from queue import Queue
from types import SimpleNamespace

import numpy as np
import pytest

from gateway.errors import Code
from gateway.serving.batch import Batch, Item
from gateway.serving.runner import Runner
from tests.gateway.serving.serving_fakes import POISON, FakeLoop, FakeModel

PATIENCE_S = 30.0


class Bench:
    """A runner with a loop that is a queue."""

    def __init__(self) -> None:
        self.told: Queue = Queue()
        self.closed = False
        self.model = FakeModel(FakeLoop())
        ticks = itertools.count()
        before = set(threading.enumerate())
        self.runner = Runner(self.model, self, lambda: float(next(ticks)), lambda batch: None)
        (self.thread,) = set(threading.enumerate()) - before

    def call_soon_threadsafe(self, callback, batch) -> None:
        if self.closed:
            raise RuntimeError("Event loop is closed")
        self.told.put((callback, batch))

    def batch(self, value: float) -> Batch:
        item = Item()
        item.data, item.rows, item.size = (np.full((1, 2), value, np.float32).tobytes(),), 1, 8
        return Batch(SimpleNamespace(max_output_bytes=1 << 20, door=None), ((2,),), [item], 1, 8)

    def finished(self) -> Batch:
        return self.told.get(timeout=PATIENCE_S)[1]

    def ended(self) -> bool:
        self.thread.join(PATIENCE_S)
        return not self.thread.is_alive()


@pytest.fixture
def bench():
    """A bench whose thread is gone afterwards."""
    made = Bench()
    yield made
    made.runner.stop()
    assert made.ended()


def test_runs_are_worked_off_in_order_with_their_times(bench: Bench) -> None:
    """Started and ended by the clock, each run after the one before it."""
    batches = [bench.batch(value) for value in (1, 2, 3)]
    for batch in batches:
        bench.runner.start(batch)
        assert batch is bench.finished()
    assert [(0.0, 3.0), (4.0, 7.0), (8.0, 11.0)] == [(batch.started, batch.ended) for batch in batches]
    assert [[2.0], [4.0], [6.0]] == [batch.groups[0][1][0].tolist() for batch in batches]


def test_a_run_that_fails_is_told_too_and_the_next_one_runs(bench: Bench) -> None:
    """The model's fault, and one that nobody expected."""
    bench.runner.start(bench.batch(POISON))
    assert [Code.INVALID_ARGUMENT] == [fault.code for _, fault in bench.finished().failed]
    run, bench.model.run = bench.model.run, lambda arrays, options=None: 1 / 0
    bench.runner.start(bench.batch(1))
    assert [Code.INTERNAL] == [fault.code for _, fault in bench.finished().failed]
    bench.model.run = run
    bench.runner.start(bench.batch(2))
    assert [] == bench.finished().failed


def test_the_thread_has_the_models_name_and_does_not_hold_up_the_exit(bench: Bench) -> None:
    """For whoever looks at a stack dump."""
    assert ("run-m", True) == (bench.thread.name, bench.thread.daemon)


def test_what_was_started_before_the_stop_is_still_told() -> None:
    """Unloading loses no request."""
    bench = Bench()
    held = threading.Event()
    run = bench.model.run
    bench.model.run = lambda arrays, options=None: (held.wait(PATIENCE_S), run(arrays))[1]
    bench.runner.start(bench.batch(1))
    bench.runner.stop()
    held.set()
    assert [] == bench.finished().failed
    assert bench.ended()


def test_a_closed_loop_ends_the_thread() -> None:
    """Nobody is there to be told."""
    bench = Bench()
    bench.closed = True
    bench.runner.start(bench.batch(1))
    assert bench.ended()
    assert bench.told.empty()
