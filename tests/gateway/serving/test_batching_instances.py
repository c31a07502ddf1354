"""A version of several instances: as many runs in threads at once, and everything else as with one."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.limits import ServingLimits
from gateway.serving.admission import TOO_LATE
from tests.gateway.serving.serving_fakes import POISON, Bench

ROWS = 8  # of a batch, as the fake model has them


def rows(*values: float) -> np.ndarray:
    return np.array([[value, value] for value in values], np.float32)


def full(value: float) -> np.ndarray:
    return rows(*[value] * ROWS)


def running(bench: Bench) -> list[int]:
    """Rows of the runs that are under way, the oldest first."""
    return [batch.rows for batch in bench.version.running]


def test_full_batches_run_side_by_side() -> None:
    """As many as there are instances; what is over waits."""
    bench = Bench(threaded=True, instances=2)
    callers = [bench.submit(full(value))[0] for value in (1, 2, 3)]
    bench.loop.settle()
    assert ([ROWS, ROWS], 2) == (running(bench), len(bench.runners))
    assert ROWS == bench.version.waiting_rows
    bench.runners[1].finish()  # the second of them is the first to end
    bench.loop.settle()
    assert [1, 0] == [len(callers[1].answers), len(callers[0].answers)]
    assert [ROWS, ROWS] == running(bench)
    bench.drain()
    assert [1, 1, 1] == [len(caller.answers) for caller in callers]
    assert 2 == len(bench.runners), "threads are used again"


def test_one_instance_is_as_before() -> None:
    """One run, then the next."""
    bench = Bench(threaded=True)
    for value in (1, 2, 3):
        bench.submit(full(value))
    bench.loop.settle()
    assert ([ROWS], 1) == (running(bench), len(bench.runners))


def test_other_shapes_take_a_free_instance() -> None:
    """A lane waits for an instance, not for another lane's run."""
    bench = Bench(threaded=True, instances=2)
    bench.submit(full(1))
    bench.submit(rows(5, 5)[:, :1])
    bench.submit(np.ones((3, 3), np.float32))
    bench.loop.settle()
    assert 2 == len(running(bench))
    assert 1 == len(bench.version.behind)
    bench.drain()
    assert not bench.version.behind


def test_a_short_run_is_inline_while_a_long_one_is_in_its_thread() -> None:
    """There is an instance for it; with one, it would wait."""
    for instances, answered in ((2, 1), (1, 0)):
        bench = Bench(instances=instances)
        bench.version.threaded = True
        bench.submit(full(1))
        bench.loop.settle()
        bench.version.threaded = False
        caller, _ = bench.submit(rows(7))
        bench.loop.settle()
        assert answered == len(caller.answers)
        bench.drain()
        assert 1 == len(caller.answers)


def test_deadlines_are_held_against_all_instances() -> None:
    """Nothing is refused that one of them could answer in time."""
    for instances, refused in ((1, True), (4, False)):
        bench = Bench(threaded=True, instances=instances, limits=ServingLimits(max_queue_rows=10_000))
        for _ in range(8):
            bench.version.cost.learn(ROWS, 1.0)
        bench.version.look_ahead()
        for value in range(4):
            bench.submit(full(value), timeout_s=100)
        bench.loop.settle()
        _, rejection = bench.submit(full(9), timeout_s=2.5)
        assert refused is (rejection is TOO_LATE)


def test_a_bad_input_costs_only_itself() -> None:
    """Its batch, and the batch beside it."""
    bench = Bench(threaded=True, instances=2)
    good = [bench.submit(rows(*range(1, ROWS)))[0], bench.submit(full(3))[0]]
    bad, _ = bench.submit(rows(POISON))
    bench.drain()
    assert [1, 1, 1] == [len(caller.answers) for caller in (*good, bad)]
    assert all(isinstance(caller.answers[0], list) for caller in good)
    assert not isinstance(bad.answers[0], list)


def test_a_version_ends_with_all_its_threads() -> None:
    """And is not idle before the last of them is."""
    bench = Bench(threaded=True, instances=2)
    stopped: list = []
    bench.model.close = lambda: None  # type: ignore[attr-defined]
    for value in (1, 2):
        bench.submit(full(value))
    bench.loop.settle()
    for runner in bench.runners:
        runner.stop = lambda runner=runner: stopped.append(runner)  # type: ignore[method-assign]
    bench.runners[0].finish()
    bench.loop.settle()
    assert not bench.version.idle
    bench.drain()
    assert bench.version.idle
    bench.version.end()
    assert bench.runners == stopped


@given(
    instances=st.integers(1, 4), threaded=st.booleans(),
    sizes=st.lists(st.integers(1, 3 * ROWS), min_size=1, max_size=30), order=st.randoms(use_true_random=False),
)  # fmt: skip
def test_everybody_is_answered_once_with_their_own(instances: int, threaded: bool, sizes: list[int], order) -> None:
    """However runs end, in whatever order, and never more of them than instances."""
    bench = Bench(threaded=threaded, instances=instances)
    callers = []
    for number, size in enumerate(sizes, 1):
        callers.append(bench.submit(rows(*[number] * size))[0])
        if order.random() < 0.5:
            bench.loop.settle()
        busy = [runner for runner in bench.runners if runner.batch]
        assert len(busy) <= len(bench.version.running) + (bench.version.splitting is not None)  # which shares a thread or has one
        assert len(bench.version.running) <= instances
        if busy and order.random() < 0.5:
            order.choice(busy).finish()
    bench.drain()
    for number, (caller, size) in enumerate(zip(callers, sizes, strict=True), 1):
        ((sums, copy),) = caller.answers
        assert [2.0 * number] * size == sums.tolist()
        assert (size, 2) == copy.shape
    assert (0, 0, 0) == (bench.version.waiting_rows, bench.batcher.budget.bytes, bench.batcher.budget.requests)


@pytest.mark.parametrize("instances", [1, 3])
def test_no_more_threads_than_are_needed(instances: int) -> None:
    """They come one by one."""
    bench = Bench(threaded=True, instances=instances)
    for value in range(4):
        bench.submit(rows(value))
        bench.drain()
    assert 1 == len(bench.runners)
