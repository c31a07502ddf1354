"""A full queue: who has most of it makes room for others, who asks for little is not refused, and nobody is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.admission import FULL
from registry.queueing import Queueing, QueuePolicy
from tests import naive
from tests.gateway.serving.serving_fakes import Bench

LEVELS = Queueing(priority_levels=2, default_priority_level=2)
WEIGHTS = {"heavy": 3.0, "light": 0.5}
BOUND = 12


def rows(count: int, columns: int = 2) -> np.ndarray:
    return np.ones((count, columns), np.float32)


def busy(limits: ServingLimits | None = None, **options) -> Bench:
    """A version with a run under way, whose queue takes `BOUND` rows."""
    bench = Bench(threaded=True, max_batch_size=4, limits=limits or ServingLimits(max_queue_rows=BOUND), **options)
    bench.version.weight = lambda tenant: WEIGHTS.get(tenant, 1.0)
    bench.submit(rows(1))
    bench.loop.settle()
    return bench


def test_a_backlog_keeps_nobody_out() -> None:
    """The hog fills the queue; who comes then is let in for the hog's last requests, up to the share of each."""
    bench = busy()
    hog = [bench.submit(rows(1), tenant="hog") for _ in range(BOUND + 3)]
    assert [None] * BOUND + [FULL] * 3 == [refusal for _, refusal in hog]
    small = [bench.submit(rows(1), tenant="small") for _ in range(BOUND)]
    half = BOUND // 2
    assert [None] * half + [FULL] * half == [refusal for _, refusal in small]
    told = [caller.answers for caller, refusal in hog if refusal is None]
    assert [[]] * half + [[Code.OVERLOADED]] * half == told
    assert BOUND == bench.version.waiting_rows
    bench.drain()
    assert 1 + BOUND + half == bench.counts.ended  # each of those that were accepted, once
    assert (0, 0) == (bench.batcher.budget.requests, bench.batcher.budget.bytes)


def test_shares_go_by_weight() -> None:
    """Three times the weight, three times the place."""
    bench = busy()
    for _ in range(BOUND):
        bench.submit(rows(1), tenant="hog")
    taken = [bench.submit(rows(1), tenant="heavy")[1] for _ in range(BOUND)]
    assert 9 == taken.count(None)


def test_one_tenant_alone_is_refused_as_ever() -> None:
    """It has nobody to yield to, and nobody yields to it."""
    bench = busy()
    answers = [bench.submit(rows(1)) for _ in range(BOUND + 1)]
    assert [None] * BOUND + [FULL] == [refusal for _, refusal in answers]
    assert all(caller.answers == [] for caller, _ in answers)


def test_what_is_refused_is_looked_at_again_once_something_has_left() -> None:
    """Until then the next one like it is refused without a look, and one that is not alike is looked at."""
    bench = busy()
    for _ in range(BOUND):
        bench.submit(rows(1), tenant="hog")
    looks: list[str] = []
    room, bench.version.make_room = bench.version.make_room, lambda item, most: (looks.append(item.tenant), room(item, most))[1]
    assert [FULL] * 3 == [bench.submit(rows(1), tenant="hog")[1] for _ in range(3)]
    assert ["hog"] == looks
    assert bench.submit(rows(1), tenant="small")[1] is None
    assert bench.submit(rows(1), tenant="hog")[1] is FULL
    assert ["hog", "small", "hog"] == looks
    bench.drain()
    assert bench.submit(rows(1), tenant="hog")[1] is None


def test_the_less_urgent_make_room_for_the_urgent() -> None:
    """Also of one's own; the other way round nobody does."""
    bench = busy(queueing=LEVELS)
    low = [bench.submit(rows(3), priority=2)[0] for _ in range(4)]
    assert bench.submit(rows(2), priority=1)[1] is None
    assert [[], [], [], [Code.OVERLOADED]] == [caller.answers for caller in low]
    bench = busy(queueing=LEVELS)
    for _ in range(BOUND):
        bench.submit(rows(1), priority=1, tenant="hog")
    assert bench.submit(rows(1), priority=2, tenant="small")[1] is FULL


def test_bytes_count_as_rows_do() -> None:
    """A few wide rows fill a queue too, in a lane of their own."""
    bench = busy(ServingLimits(max_queue_bytes=4_000))
    hog = [bench.submit(rows(1, 100), tenant="hog") for _ in range(11)]
    assert [None] * 10 + [FULL] == [refusal for _, refusal in hog]
    assert bench.submit(rows(1), tenant="small")[1] is None
    assert [[]] * 9 + [[Code.OVERLOADED], []] == [caller.answers for caller, _ in hog]


def test_a_bound_of_requests_is_shared_too() -> None:
    """A level's `max_queue_size` belongs to all tenants."""
    bench = busy(queueing=Queueing(default_queue_policy=QueuePolicy(max_queue_size=4)))
    hog = [bench.submit(rows(1), tenant="hog")[1] for _ in range(5)]
    small = [bench.submit(rows(1), tenant="small")[1] for _ in range(3)]
    assert ([None] * 4 + [FULL], [None, None, FULL]) == (hog, small)
    bench.drain()


def test_requests_of_many_runs_make_room_as_others_do() -> None:
    """Bulk is no place to hide."""
    bench = busy()
    first, *hog = [bench.submit(rows(6), tenant="hog")[0] for _ in range(2)]
    bench.loop.settle()
    bench.finish_run()
    bench.loop.settle()  # the first runs now
    bench.loop.time += 1e-6
    hog.append(bench.submit(rows(6), tenant="hog")[0])
    assert bench.submit(rows(1), tenant="small")[1] is None
    assert [[], [Code.OVERLOADED]] == [caller.answers for caller in hog]
    assert [] == first.answers
    bench.drain()
    assert (0, {}, {}) == (bench.version.waiting_rows, bench.version.holdings.levels, bench.version.bulk_holdings.levels)


def test_who_expired_already_is_not_told_again() -> None:
    """It leaves without a word, as does who went away."""
    bench = busy()
    gone = bench.submit(rows(1), tenant="hog")[0]
    late = [bench.submit(rows(1), tenant="hog", timeout=100_000)[0] for _ in range(BOUND - 1)]
    bench.loop.settle()
    gone.cancelled = True
    bench.loop.advance(0.2)
    assert bench.submit(rows(1), tenant="small")[1] is None
    for _ in range(BOUND // 2):
        assert bench.submit(rows(1), tenant="small")[1] in (None, FULL)
    assert ([[Code.DEADLINE_EXCEEDED]] * (BOUND - 1), []) == ([caller.answers for caller in late], gone.answers)
    bench.drain()


@pytest.mark.parametrize("levels", [Queueing(), LEVELS])
@settings(max_examples=150, derandomize=True)
@given(
    st.lists(
        st.tuples(st.integers(1, 2), st.sampled_from(["hog", "hog", "hog", "small", "heavy", "light"]), st.integers(1, 3), st.booleans()),
        max_size=60,
    )
)
def test_a_full_queue_decides_as_a_naive_one(levels, script) -> None:
    """Whoever comes, whatever waits; who was accepted is answered once, and the bound holds."""
    bench = busy(queueing=levels)
    waiting: list[tuple[int, str, int]] = []
    callers: list = []
    accepted = []
    for asked, tenant, count, wide in script:
        level = asked if levels.priority_levels else 0
        bench.loop.time += 1e-6  # of two that come at one moment, either is the last
        caller, refusal = bench.submit(rows(count, 3 if wide else 2), tenant=tenant, priority=level)
        item, gone = (level, tenant, count), []
        while sum(rows for _, _, rows in waiting) + count > BOUND:
            index = naive.who_yields(item, waiting, BOUND, WEIGHTS)
            if index is None:
                break
            waiting.pop(index)
            gone.append(callers.pop(index))
        fits = sum(rows for _, _, rows in waiting) + count <= BOUND
        assert fits == (refusal is None)
        assert [[Code.OVERLOADED]] * len(gone) == [each.answers for each in gone]
        if fits:
            waiting.append(item)
            callers.append(caller)
            accepted.append(caller)
        assert [[]] * len(callers) == [each.answers for each in callers]
        assert sum(rows for _, _, rows in waiting) == bench.version.waiting_rows
    bench.drain()
    assert [1] * len(accepted) == [len(each.answers) for each in accepted]
    assert 1 + len(accepted) == bench.counts.ended
