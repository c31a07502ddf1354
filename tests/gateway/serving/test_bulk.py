"""Requests of many runs: one at a time, and what takes one run goes in between, in the thread or on the loop."""

from __future__ import annotations

import itertools
import threading
from queue import Queue

import numpy as np
import pytest

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.batch import Batch, Item
from gateway.serving.runner import Runner
from gateway.serving.versions import Version
from registry.queueing import Queueing
from tests.gateway.serving.serving_fakes import POISON, Bench, FakeLoop, FakeModel

PATIENCE_S = 30.0


def rows(count: int, value: float = 1.0) -> np.ndarray:
    return np.full((count, 2), value, np.float32)


def long(**options) -> Bench:
    """Each run of eight rows takes 10 ms."""
    bench = Bench(threaded=True, max_batch_size=8, per_run_s=0.01, **options)
    bench.version.warm(bench.loop.now)
    return bench


def test_small_requests_pass_one_that_takes_many_runs() -> None:
    """Before it began, and while it runs; it is answered whole."""
    bench = long()
    before, _ = bench.submit(rows(1))
    large, _ = bench.submit(rows(100))
    bench.loop.settle()
    during, _ = bench.submit(rows(2))
    bench.loop.settle()
    for caller in (before, during):
        bench.finish_run()
        bench.loop.settle()
        assert (1, []) == (len(caller.answers), large.answers)
    bench.drain()
    assert [(100, 2)] == [output.shape for output in large.answers[0][1:]]


def short(**options) -> Bench:
    """A run of eight rows takes 18 µs, and stays on the loop."""
    bench = Bench(max_batch_size=8, **options)
    bench.version.warm(bench.loop.now)
    bench.model.batches.clear()
    return bench


def test_short_runs_share_the_loop_tick_by_tick() -> None:
    """No thread: 100 µs of each tick belong to the large request, and what the tick brings comes first."""
    bench = short()
    large, _ = bench.submit(rows(1_000))
    ticks = 0
    while not large.answers:
        began = bench.loop.now()
        small, _ = bench.submit(rows(3))
        bench.loop.tick()
        assert 1 == len(small.answers)
        assert bench.loop.now() - began < 200e-6
        ticks += 1
    assert ticks > 20
    assert [(1_000, 2)] == [output.shape for output in large.answers[0][1:]]
    assert ([], None, {}) == (bench.runners, bench.version.splitting, bench.version.bulk_holdings.levels)
    assert bench.version.idle


@pytest.mark.parametrize("end", ["cancelled", "expired", "failed", "broken"])
def test_one_that_runs_on_the_loop_can_end_early(end: str) -> None:
    """It is not run on; the next one is."""
    bench = short()
    if end == "broken":
        run, bench.model.run = bench.model.run, lambda arrays, options=None: 1 / 0
    large, _ = bench.submit(rows(1_000, POISON if end == "failed" else 1.0), timeout_s=1.0)
    bench.loop.tick()
    bench.loop.tick()
    if end == "cancelled":
        large.cancelled = True
    elif end == "expired":
        bench.loop.advance(2.0)
    ran = len(bench.model.batches)
    bench.loop.settle()
    assert ran == len(bench.model.batches)
    codes = {"cancelled": [], "expired": [Code.DEADLINE_EXCEEDED], "failed": [Code.INVALID_ARGUMENT], "broken": [Code.INTERNAL]}
    assert codes[end] == large.answers
    if end == "broken":
        bench.model.run = run
    other, _ = bench.submit(rows(1_000))
    bench.loop.settle()
    assert (1, 0, 2) == (len(other.answers), bench.batcher.budget.requests, bench.counts.ended)
    assert bench.version.idle


def test_a_request_of_a_few_short_runs_is_no_trouble() -> None:
    """It runs at once, in its turn."""
    bench = short()
    caller, _ = bench.submit(rows(20))
    bench.loop.tick()
    assert (1, []) == (len(caller.answers), bench.runners)


def test_there_is_one_at_a_time_by_level_and_fair_between_tenants() -> None:
    """A tenant that sends many waits for itself."""
    bench = long(queueing=Queueing(priority_levels=2, default_priority_level=2), limits=ServingLimits(max_queue_rows=1_000))
    sent = [("a", 2), ("a", 2), ("a", 2), ("b", 2), ("c", 1)]
    callers = [bench.submit(rows(20), tenant=tenant, priority=level)[0] for tenant, level in sent]
    bench.loop.settle()
    order = []
    while len(order) < len(callers):
        bench.finish_run()
        bench.loop.settle()
        order += [number for number, caller in enumerate(callers) if caller.answers and number not in order]
    assert [4, 0, 3, 1, 2] == order


def test_a_large_request_can_expire_go_away_and_fail() -> None:
    """While it waits and while it runs; nothing is kept of it."""
    bench = long(limits=ServingLimits(max_queue_rows=1_000))
    running, _ = bench.submit(rows(100), timeout_s=0.5)
    late, _ = bench.submit(rows(100), timeout_s=0.6)
    gone, _ = bench.submit(rows(100))
    bad, _ = bench.submit(rows(100, POISON))
    good, _ = bench.submit(rows(100))
    bench.loop.settle()
    gone.cancelled = True
    bench.loop.advance(0.7)
    assert [[Code.DEADLINE_EXCEEDED]] * 2 == [running.answers, late.answers]
    assert bench.runners[0].batch.options.terminate
    bench.drain()
    assert ([], [Code.INVALID_ARGUMENT], 1) == (gone.answers, bad.answers, len(good.answers))
    assert (0, 0, 0, {}) == (
        bench.version.waiting_rows, bench.batcher.budget.requests, bench.version.bulk.count, bench.version.bulk_holdings.levels,
    )  # fmt: skip
    assert bench.version.idle
    assert 5 == bench.counts.ended


def test_a_version_is_not_idle_while_one_waits_or_runs() -> None:
    """It must not be unloaded under it."""
    bench = long(limits=ServingLimits(max_queue_rows=1_000))
    callers = [bench.submit(rows(100))[0] for _ in range(2)]
    bench.loop.settle()
    bench.version.close()
    for _ in range(2):
        assert not bench.version.idle
        bench.finish_run()
        bench.loop.settle()
    assert bench.version.idle
    assert [1, 1] == [len(caller.answers) for caller in callers]


def test_the_deadline_of_a_small_one_does_not_fear_the_large() -> None:
    """What runs beside it is no reason to refuse it."""
    bench = long(limits=ServingLimits(max_queue_rows=1_000))
    for _ in range(3):
        assert bench.submit(rows(300))[1] is None
    bench.loop.settle()
    caller, refusal = bench.submit(rows(1), timeout_s=0.05)
    assert refusal is None
    bench.loop.settle()
    bench.finish_run()
    bench.loop.settle()
    assert 1 == len(caller.answers)


def test_the_thread_lets_others_pass_between_two_runs() -> None:
    """One batch in each gap, so that the long one goes on too."""
    told: Queue = Queue()
    ticks = itertools.count()
    model = FakeModel(FakeLoop(), max_batch_size=1)
    entered, held, ran = threading.Event(), threading.Event(), []
    run = model.run

    def noted(arrays, options=None):
        ran.append(int(arrays[0][0, 0]))
        entered.set()
        assert held.wait(PATIENCE_S)
        return run(arrays, options)

    model.run = noted
    runner = Runner(model, Told(told), lambda: float(next(ticks)), lambda batch: None)
    runner.start(of(model, [1.0, 2.0, 3.0]))
    assert entered.wait(PATIENCE_S)
    runner.start(of(model, [7.0]))
    runner.start(of(model, [8.0]))
    runner.stop()
    held.set()
    ended = [told.get(timeout=PATIENCE_S) for _ in range(3)]
    assert ([1, 7, 2, 8, 3], [1, 1, 3]) == (ran, [batch.rows for batch in ended])
    assert [[2.0, 4.0, 6.0]] == [ended[2].groups[0][1][0].tolist()]


class Told:
    """A loop that is told of what ended."""

    def __init__(self, told: Queue) -> None:
        self.told = told

    def call_soon_threadsafe(self, callback, batch) -> None:
        self.told.put(batch)


def of(model: FakeModel, values: list[float]) -> Batch:
    item = Item()
    item.data = (np.repeat(np.array(values, "<f4")[:, None], 2, axis=1).tobytes(),)
    item.rows, item.size = len(values), 8 * len(values)
    version = Version(1, model, ServingLimits(), release=lambda version, item, code: None)
    return Batch(version, ((2,),), [item], len(values), 1)


@pytest.mark.parametrize("rows_of_run", [0, 8])
def test_what_may_not_be_split_is_never_bulk(rows_of_run: int) -> None:
    """A version that neither joins nor splits has requests of one run."""
    bench = Bench(threaded=True, max_batch_size=rows_of_run)
    assert bool(rows_of_run) == bench.version.is_bulk(9, max(rows_of_run, 1))
