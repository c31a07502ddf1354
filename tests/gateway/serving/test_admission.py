"""What may wait, at the bound and one past it, and the reasons of a refusal."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.limits import ServingLimits
from gateway.serving.admission import CLOSED, FULL, LATE, NO_MEMORY, TOO_LATE, Rejection
from gateway.wire.status import retry_headers
from tests.gateway.serving.serving_fakes import Bench

ROW = 8  # bytes of one row of two float32


def busy(**limits: int) -> Bench:
    """A bench whose thread is at work on one row, nothing waiting."""
    bench = Bench(threaded=True, limits=ServingLimits(**limits), max_batch_size=4)
    bench.submit(np.ones((1, 2), np.float32))
    bench.loop.settle()
    return bench


def refused(bench: Bench, rows: int, timeout_s: float = 10.0) -> Rejection | None:
    return bench.submit(np.ones((rows, 2), np.float32), timeout_s=timeout_s)[1]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_queue_rows": 5}, FULL),
        ({"max_queue_bytes": 5 * ROW}, FULL),
        ({"max_inflight_bytes": 6 * ROW}, NO_MEMORY),
    ],
    ids=["rows", "bytes", "memory"],
)
def test_a_bound_holds_exactly(limits: dict[str, int], reason: Rejection) -> None:
    """Five rows may wait behind the one that runs, a sixth may not, and nothing of it is kept."""
    bench = busy(**limits)
    assert [None, None] == [refused(bench, 2), refused(bench, 3)]
    before = (bench.batcher.budget.bytes, bench.batcher.budget.requests, bench.version.waiting_rows, bench.version.waiting_bytes)
    assert reason is refused(bench, 1)
    assert (6 * ROW, 3, 5, 5 * ROW) == before
    assert before == (bench.batcher.budget.bytes, bench.batcher.budget.requests, bench.version.waiting_rows, bench.version.waiting_bytes)


def test_size_alone_is_no_reason_to_refuse_what_meets_an_empty_queue() -> None:
    """It is split; only the bytes of all versions together are never passed."""
    assert [None, None] == [refused(busy(max_queue_rows=5), 50), refused(busy(max_queue_bytes=5 * ROW), 50)]
    assert NO_MEMORY is refused(busy(max_inflight_bytes=20 * ROW), 50)


def test_the_queue_of_a_version_takes_at_least_one_full_batch() -> None:
    """Whatever the setting says: less would never fill one."""
    bench = busy(max_queue_rows=1)
    assert [None, None, FULL] == [refused(bench, 2), refused(bench, 2), refused(bench, 1)]


def test_a_deadline_is_judged_by_what_stands_before_it() -> None:
    """A run of 1 s under way since 0.4 s, two rows waiting in one run: 0.6 + 1 s must pass before the next run's end is thought of."""
    bench = busy()
    bench.version.cost.learn(1, 1.0)
    bench.version.look_ahead()
    bench.loop.time += 0.4
    assert refused(bench, 2) is None
    assert TOO_LATE is refused(bench, 1, timeout_s=1.5)
    assert refused(bench, 1, timeout_s=1.7) is None
    assert LATE is refused(bench, 1, timeout_s=0.0)


def test_a_closed_version_says_so_before_anything_else() -> None:
    """Also where it is full and the deadline has passed."""
    bench = busy(max_queue_rows=4)
    assert refused(bench, 4) is None
    bench.version.close()
    assert CLOSED is refused(bench, 1, timeout_s=0.0)


def test_overload_tells_callers_to_come_back_and_a_passed_deadline_does_not() -> None:
    """Retry-After goes with the codes of overload and unloading."""
    assert [True, True, True, True, False] == [bool(retry_headers(r.code)) for r in (FULL, NO_MEMORY, TOO_LATE, CLOSED, LATE)]
