"""A version whose requests are not joined: each runs by itself, in its turn, and nobody else waits for all of them."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.errors import Code
from tests.gateway.serving.serving_fakes import Bench


def rows(count: int, first: float = 1.0) -> np.ndarray:
    return np.arange(first, first + 2 * count, dtype=np.float32).reshape(count, 2)


def unjoined(**options) -> Bench:
    bench = Bench(**options)
    bench.version.joins = False
    return bench


@pytest.mark.parametrize("threaded", [False, True])
def test_requests_of_one_tick_run_one_by_one(threaded: bool) -> None:
    """In their order, each whole; one of more rows than a run takes is split."""
    bench = unjoined(threaded=threaded, max_batch_size=4)
    callers = [bench.submit(rows(count, 10.0 * count))[0] for count in (1, 3, 6, 2)]
    bench.drain()
    assert ([1, 3, 2, 4, 2] if threaded else [1, 3, 4, 2, 2]) == bench.model.batches  # in a thread, others pass what takes several runs
    for caller in callers:
        ((sums, same),) = caller.answers
        assert (caller.rows.sum(axis=1).tolist(), caller.rows.tolist()) == (sums.tolist(), same.tolist())


def test_joined_requests_share_a_run() -> None:
    """The same requests to a version that joins, so that the test above shows something."""
    bench = Bench(max_batch_size=4)
    for _ in range(4):
        bench.submit(rows(1))
    bench.drain()
    assert [4] == bench.model.batches


def test_many_requests_take_the_event_loop_a_moment_each() -> None:
    """A tick ends after about as long as a run may take there; what is left goes on in the next."""
    bench = unjoined(max_batch_size=8, per_run_s=100e-6, per_row_s=0.0)
    bench.submit(rows(1))
    bench.drain()
    for _ in range(7):
        bench.submit(rows(1))
    ran = []
    while bench.version.waiting_rows:
        before = len(bench.model.batches)
        bench.loop.tick()
        ran.append(len(bench.model.batches) - before)
    assert (7, 3) == (sum(ran), max(ran))


def test_a_long_run_goes_to_the_thread_without_waiting_for_company() -> None:
    """Nothing that comes could join it."""
    bench = unjoined(max_batch_size=8, per_run_s=0.1, per_row_s=0.0)
    for _ in range(2):
        bench.submit(rows(1))
        bench.drain()
    bench.submit(rows(1))
    bench.submit(rows(1))
    bench.loop.tick()
    assert bench.runners[0].batch is not None
    assert 1 == bench.runners[0].batch.rows
    bench.drain()
    assert [1, 1, 1, 1] == bench.model.batches


def test_deadlines_and_callers_that_go_away_are_seen() -> None:
    """As in any queue."""
    bench = unjoined(threaded=True, max_batch_size=8, per_run_s=0.1)
    first, _ = bench.submit(rows(1))
    late, _ = bench.submit(rows(1), timeout_s=0.05)
    gone, _ = bench.submit(rows(1))
    last, _ = bench.submit(rows(1))
    gone.cancelled = True
    bench.loop.settle()
    bench.loop.advance(0.06)
    assert [Code.DEADLINE_EXCEEDED] == late.answers
    bench.drain()
    assert ([1, 1], 1, 1, []) == (bench.model.batches, len(first.answers), len(last.answers), gone.answers)
    assert 4 == bench.counts.ended
