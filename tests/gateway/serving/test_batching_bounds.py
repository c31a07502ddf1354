"""Requests and outputs above a bound: refused or run apart, and nobody else pays."""

from __future__ import annotations

import numpy as np

from gateway.errors import Code
from gateway.limits import ServingLimits
from tests.gateway.serving.serving_fakes import Bench
from tests.gateway.serving.test_batching import fresh


def test_a_request_above_the_bound_crowds_out_nobody_case_121() -> None:
    """It runs apart, and small ones pass it: they are answered in their own tick. A second large one waits for it."""
    bench = Bench(limits=ServingLimits(max_queue_rows=16))
    large, refusal = bench.submit(fresh([0], 100, 2, poison=False))
    assert refusal is None
    counter = [1]
    small = [bench.submit(fresh(counter, 1, 2, poison=False)) for _ in range(16)]
    assert [None] * 16 == [refusal for _, refusal in small]
    assert Code.OVERLOADED == bench.submit(fresh(counter, 100, 2, poison=False))[1].code
    bench.loop.tick()
    second, refusal = bench.submit(fresh(counter, 100, 2, poison=False))
    assert refusal is None
    small.append(bench.submit(fresh(counter, 1, 2, poison=False)))
    bench.loop.tick()
    assert ([], []) == (large.answers, second.answers)
    assert [1] * 17 == [len(caller.answers) for caller, _ in small]
    bench.drain()
    for caller, _ in [(large, None), (second, None), *small]:
        assert np.array_equal(caller.rows, caller.answers[0][1])
    assert (0, 0, {}) == (bench.version.large_rows, bench.version.waiting_rows, bench.version.holdings.levels)


def test_outputs_over_the_bound_cost_their_own_request_only_case_118() -> None:
    """Alone, in a batch with small ones, and split."""
    bench = Bench(limits=ServingLimits(max_output_bytes=100))
    counter = [0]
    callers = [bench.submit(fresh(counter, rows, 5, poison=False))[0] for rows in (1, 5, 2, 4, 20)]
    bench.drain()
    assert [False, True, False, False, True] == [caller.answers == [Code.INTERNAL] for caller in callers]
    assert [1] * 5 == [len(caller.answers) for caller in callers]
