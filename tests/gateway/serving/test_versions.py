"""A version and its lanes: what is taken together, in which order, and how much one run may hold."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.versions import Version
from tests.gateway.serving.serving_fakes import Bench, FakeLoop, FakeModel


def rows(count: int, features: int = 2) -> np.ndarray:
    return np.ones((count, features), np.float32)


def version(**limits: int) -> Version:
    return Version(1, FakeModel(FakeLoop(), max_batch_size=64), ServingLimits(**limits), release=lambda *_: None)


@pytest.mark.parametrize(("shape", "limit"), [((2,), 64), ((16,), 16), ((256,), 1), ((100_000,), 1), ((0,), 64), ((4, 8), 8), ((), 64)])
def test_a_run_holds_as_many_rows_as_its_bytes_allow(shape: tuple[int, ...], limit: int) -> None:
    """1,024 bytes of float32 rows, 64 rows at most, and always one."""
    assert limit == version(max_batch_bytes=1_024).batch_limit((shape,))


def test_a_batch_takes_whole_requests_in_order_up_to_the_limit() -> None:
    """A request that does not fit any more is the first of the next batch; one a little above the limit goes alone."""
    bench = Bench(max_batch_size=8)
    lane = bench.version.lane(((2,),))
    bench.batcher.inline_max_s = -1.0
    for count in (3, 5, 2, 20, 1):
        bench.submit(rows(count))
    taken = []
    while lane.waits:
        batch = lane.take(bench.loop.now())
        taken.append([item.rows for item in batch.items])
    assert ([[3, 5], [2], [20], [1]], 0, 0) == (taken, lane.rows, bench.version.waiting_rows)


def test_what_is_dead_is_released_with_its_reason_and_not_taken() -> None:
    """Cancelled, expired, or answered already; who expired unanswered is told."""
    bench = Bench(threaded=True)
    reasons = []
    bench.submit(rows(1))
    bench.loop.settle()
    gone, late, alive = (bench.submit(rows(1), timeout_s=timeout)[0] for timeout in (10.0, 0.5, 10.0))
    done, _ = bench.submit(rows(1))
    lane = bench.version.lane(((2,),))
    lane.arrived[-1].done = gone.cancelled = True
    bench.version.release = lambda version, item, code: reasons.append((item.caller, code))
    bench.loop.time += 1.0
    batch = lane.take(bench.loop.now())
    assert [alive] == [item.caller for item in batch.items]
    assert [(gone, Code.CANCELLED), (late, Code.DEADLINE_EXCEEDED), (done, Code.DEADLINE_EXCEEDED)] == reasons
    assert ([], [Code.DEADLINE_EXCEEDED], []) == (gone.answers, late.answers, done.answers)


def test_nothing_alive_is_no_batch() -> None:
    """None, and the lane is empty."""
    bench = Bench(threaded=True)
    bench.submit(rows(1))
    bench.loop.settle()
    bench.submit(rows(1))[0].cancelled = True
    assert bench.version.lane(((2,),)).take(bench.loop.now()) is None


def test_idle_lanes_are_forgotten_and_busy_ones_are_not() -> None:
    """A caller of many shapes costs no memory, and nobody who waits is lost."""
    bench = Bench(threaded=True)
    bench.submit(rows(1, 1))
    bench.loop.settle()
    bench.submit(rows(1, 2))
    bench.loop.settle()
    busy = bench.version.lane(((2,),))
    for features in range(3, 700):
        bench.version.lane(((features,),))
    assert busy is bench.version.lane(((2,),))
    assert len(bench.version._lanes) <= 257


def test_the_horizon_grows_with_what_waits() -> None:
    """A deadline nearer than all that waits, and two batches more, is looked at closely."""
    made = version()
    made.cost.learn(1, 0.010)
    made.look_ahead()
    assert 0.02 == pytest.approx(made.horizon_s)
    made.waiting_rows = 640
    made.look_ahead()
    assert 0.12 == pytest.approx(made.horizon_s)


def test_the_first_points_of_the_cost_come_from_one_row_and_a_full_batch() -> None:
    """Three runs each, as runs get faster; one where a run takes over a second."""
    loop = FakeLoop()
    quick, slow = FakeModel(loop, max_batch_size=8, per_run_s=0.1, per_row_s=0.01), FakeModel(loop, max_batch_size=8, per_run_s=2.0)
    for model, batches in ((quick, [1, 1, 1, 8, 8, 8]), (slow, [1, 8])):
        made = Version(1, model, ServingLimits(), release=lambda *_: None)
        made.warm(loop.now)
        assert batches == model.batches
        assert model.per_run_s + 4 * model.per_row_s == pytest.approx(made.cost.predict(4))
