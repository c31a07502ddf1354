"""Priority levels and queue policies: who goes first, who is refused, who lets others pass. Callers are known by the number in a row."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.errors import Code, TidegateError
from gateway.serving.admission import FULL
from gateway.serving.terms import terms_of
from registry.queueing import Queueing, QueuePolicy
from tests.gateway.serving.serving_fakes import Bench

LEVELS = Queueing(priority_levels=3, default_priority_level=2)
PATIENT_US = 10_000


def row(number: float) -> np.ndarray:
    return np.full((1, 2), number, np.float32)


def busy(queueing: Queueing, **options) -> Bench:
    """A version whose first run is under way in its thread, so that what comes now waits."""
    bench = Bench(threaded=True, queueing=queueing, **{"max_batch_size": 2} | options)
    bench.submit(row(0))
    bench.loop.settle()
    assert bench.runners[0].batch is not None
    return bench


def order(bench: Bench) -> list[list[int]]:
    """The numbers of the rows of every batch from now on, oldest batch first."""
    batches = []
    while True:
        bench.finish_run()
        bench.loop.settle()
        batch = bench.runners[0].batch
        if batch is None:
            return batches
        batches.append([int(np.frombuffer(item.data[0], "<f4")[0]) for item in batch.items])


def policies(action: str, **fields) -> Queueing:
    return Queueing(default_queue_policy=QueuePolicy(timeout_action=action, default_timeout_us=PATIENT_US, **fields))


# --- levels ----------------------------------------------------------------------------------------------------------------------


def test_urgent_requests_go_first() -> None:
    """Whenever they came; those that say nothing have the default level, and at one level who came first goes first."""
    bench = busy(LEVELS)
    for number, priority in enumerate((3, 0, 1, 2, 3, 1), 1):
        bench.submit(row(number), priority=priority)
    assert [[3, 6], [2, 4], [1, 5]] == order(bench)


def test_the_urgent_pass_by_what_has_waited_for_long() -> None:
    """Also what comes later than the last decision."""
    bench = busy(LEVELS)
    for number in (1, 2, 3, 4):
        bench.submit(row(number), priority=3)
    bench.finish_run()
    bench.loop.settle()
    bench.submit(row(5), priority=1)
    assert [[5, 3], [4]] == order(bench)


def test_without_levels_priorities_mean_nothing() -> None:
    """Every request of such a model has one priority, as in Triton."""
    bench = busy(Queueing())
    for number, priority in enumerate((9, 1, 5), 1):
        bench.submit(row(number), priority=priority)
    assert [[1, 2], [3]] == order(bench)


def test_a_level_that_does_not_exist_is_refused() -> None:
    """Rather than served as something that nobody asked for."""
    with pytest.raises(TidegateError, match="parameter 'priority' of the request is 4, and the model has levels from 1 to 3") as caught:
        terms_of({"priority": 4}, LEVELS)
    assert Code.INVALID_ARGUMENT == caught.value.code


def test_lanes_behind_a_run_go_on_by_their_levels() -> None:
    """Another row shape is another lane, and no way past the urgent."""
    bench = busy(LEVELS)
    wide = np.full((1, 3), 7, np.float32)
    bench.submit(wide, priority=3)
    bench.submit(row(1), priority=2)
    bench.submit(np.full((1, 5), 8, np.float32), priority=1)
    assert [[8], [1], [7]] == order(bench)


def test_requests_that_share_no_run_go_by_their_levels_too() -> None:
    """One by one."""
    bench = Bench(threaded=True, queueing=LEVELS)
    bench.version.joins = False
    bench.submit(row(0))
    bench.loop.settle()
    for number, priority in enumerate((3, 2, 1), 1):
        bench.submit(row(number), priority=priority)
    assert [[3], [2], [1]] == order(bench)


def test_a_deadline_is_held_against_what_stands_before_it() -> None:
    """Work of less urgent levels is no reason to refuse an urgent request."""
    bench = busy(LEVELS, max_batch_size=1, per_run_s=0.01)
    bench.version.warm(bench.loop.now)
    for _ in range(10):
        bench.submit(row(1), priority=3)
    bench.finish_run()
    bench.loop.settle()
    (urgent, refusal), (_, hopeless) = [bench.submit(row(2), priority=priority, timeout_s=0.05) for priority in (1, 3)]
    assert (None, "the deadline cannot be met by the work that already waits") == (refusal, hopeless.message)
    bench.drain()
    assert Code.DEADLINE_EXCEEDED not in urgent.answers


# --- time ------------------------------------------------------------------------------------------------------------------------


def test_reject_answers_those_who_waited_too_long() -> None:
    """On time, with Triton's text, and they never run."""
    bench = busy(policies("reject"))
    caller, _ = bench.submit(row(1))
    bench.loop.settle()
    bench.loop.advance(PATIENT_US / 1e6 - 1e-4)
    assert [] == caller.answers
    bench.loop.advance(2e-4)
    assert [Code.DEADLINE_EXCEEDED] == caller.answers
    assert [] == order(bench)


def test_the_time_of_a_policy_is_for_waiting() -> None:
    """Who has begun to run is answered however long that takes, within the deadline."""
    bench = busy(policies("reject"))
    caller, _ = bench.submit(row(1))
    bench.finish_run()
    bench.loop.settle()
    bench.loop.advance(1.0)
    assert [] == caller.answers
    bench.drain()
    assert [1.0 + 1.0] == caller.answers[0][0].tolist()


def test_the_deadline_of_a_run_is_still_kept() -> None:
    """Patience is over when it runs, its deadline is not."""
    bench = busy(policies("reject"))
    caller, _ = bench.submit(row(1), timeout_s=0.5)
    bench.finish_run()
    bench.loop.settle()
    bench.loop.advance(0.6)
    assert [Code.DEADLINE_EXCEEDED] == caller.answers


def test_a_long_run_is_no_reason_to_refuse_the_impatient() -> None:
    """A queue that takes 10 ms and runs of 50 ms go together: waiting is what is bounded."""
    bench = Bench(threaded=True, queueing=policies("reject"), max_batch_size=2, per_run_s=0.05)
    bench.version.warm(bench.loop.now)
    caller, refusal = bench.submit(row(1))
    assert refusal is None
    bench.drain()
    assert 1 == len(caller.answers)
    assert Code.DEADLINE_EXCEEDED not in caller.answers


def test_delay_lets_others_pass() -> None:
    """Those of its level that are not late; it is served in the end, before less urgent levels."""
    delay = QueuePolicy(timeout_action="delay", default_timeout_us=PATIENT_US)
    bench = busy(Queueing(priority_levels=2, default_priority_level=1, priority_queue_policy={"1": delay}), max_batch_size=1)
    bench.submit(row(9), priority=2)
    first, _ = bench.submit(row(1))
    bench.submit(row(2))
    bench.loop.advance(2 * PATIENT_US / 1e6)
    bench.submit(row(3))
    bench.submit(row(4))
    assert [[3], [4], [1], [2], [9]] == order(bench)
    assert [[2.0]] == [answer[0].tolist() for answer in first.answers]


def test_a_delayed_request_still_has_a_deadline() -> None:
    """Being late twice is an error."""
    bench = busy(policies("delay"))
    caller, _ = bench.submit(row(1), timeout_s=0.5)
    bench.loop.settle()
    bench.loop.advance(0.6)
    assert [Code.DEADLINE_EXCEEDED] == caller.answers


@pytest.mark.parametrize(
    ("allowed", "timeout_us", "expected_us"),
    [(True, 2_000, 2_000), (True, 20_000, PATIENT_US), (True, 0, PATIENT_US), (False, 2_000, PATIENT_US)],
)
def test_a_requests_own_timeout_can_only_shorten(allowed: bool, timeout_us: int, expected_us: int) -> None:
    """And only where the policy allows it."""
    terms = terms_of({"timeout": timeout_us}, policies("reject", allow_timeout_override=allowed))
    assert (expected_us / 1e6, 0.0) == (terms.patience_s, terms.timeout_s)


@pytest.mark.parametrize("queueing", [Queueing(), Queueing(default_queue_policy=QueuePolicy(allow_timeout_override=True))])
def test_without_a_time_of_the_policy_a_timeout_is_a_deadline(queueing: Queueing) -> None:
    """Of the whole request; nothing is there that it could shorten."""
    assert terms_of({}, queueing) is None
    terms = terms_of({"timeout": 2_000}, queueing)
    assert (0.002, 0.0) == (terms.timeout_s, terms.patience_s)


# --- size ------------------------------------------------------------------------------------------------------------------------


def test_a_full_level_refuses_and_others_do_not() -> None:
    """With Triton's text, by requests and not rows; what has gone makes room."""
    size = Queueing(priority_levels=2, default_priority_level=2, priority_queue_policy={"2": QueuePolicy(max_queue_size=2)})
    bench = busy(size, max_batch_size=4)
    refusals = [bench.submit(np.repeat(row(number), 3, axis=0))[1] for number in (1, 2, 3)]
    assert [None, None, FULL] == refusals
    assert "Exceeds maximum queue size" == FULL.message
    assert [None] * 3 == [bench.submit(row(4), priority=1)[1] for _ in range(3)]
    bench.finish_run()
    bench.loop.settle()
    assert bench.submit(row(5))[1] is FULL  # the urgent went
    bench.finish_run()
    bench.loop.settle()
    assert bench.submit(row(5))[1] is None


def test_a_size_counts_what_waits_in_all_lanes() -> None:
    """A row shape of one's own is no place of one's own."""
    bench = busy(Queueing(default_queue_policy=QueuePolicy(max_queue_size=2)))
    refusals = [bench.submit(np.full((1, columns), 1, np.float32))[1] for columns in (1, 2, 3)]
    assert [None, None, FULL] == refusals
    bench.drain()
    assert 3 == bench.counts.ended
