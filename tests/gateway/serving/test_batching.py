"""Every caller gets its own rows or its own error, once; batches form as they should; bounds and deadlines hold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.limits import ServingLimits
from tests.gateway.serving.serving_fakes import POISON, Bench

ROWS = st.integers(1, 20)
FEATURES = st.sampled_from([1, 2, 5])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), ROWS, FEATURES, st.sampled_from([0.0, 1e-4, 1e-2, 10.0]), st.booleans(), st.integers(0, 1)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("tick")),
        st.tuples(st.just("advance"), st.sampled_from([1e-4, 5e-3, 1.0])),
        st.tuples(st.just("finish")),
    ),
    max_size=60,
)


def fresh(counter: list[int], rows: int, features: int, *, poison: bool) -> np.ndarray:
    """Rows that no other request has."""
    counter[0] += 1
    block = counter[0] * 1_000.0 + np.arange(rows * features, dtype=np.float32).reshape(rows, features)
    if poison:
        block[-1, -1] = POISON
    return block


@settings(max_examples=500)
@given(steps=STEPS, threaded=st.booleans(), batched=st.booleans(), joins=st.booleans(), delay=st.sampled_from([0.0, 2e-3]))
def test_every_caller_gets_its_own_rows_or_its_own_error_once(steps, threaded, batched, joins, delay) -> None:
    """Whatever mix of sizes, shapes, cancels, timeouts and failures arrives."""
    bench = Bench(threaded=threaded, max_batch_size=8 if batched else 0)
    bench.version.max_delay_s = delay
    bench.version.joins = joins
    counter, callers, refused = [0], [], 0
    for step in steps:
        if step[0] == "submit":
            _, rows, features, timeout_s, poison, sink = step
            data = fresh(counter, rows if batched else 1, features, poison=poison)
            caller, rejection = bench.submit(data, timeout_s=timeout_s, sink=sink)
            if rejection is None:
                callers.append((caller, poison))
            else:
                refused += 1
                assert [] == caller.answers
        elif step[0] == "cancel" and step[1] < len(callers):
            callers[step[1]][0].cancelled = True
        elif step[0] == "tick":
            bench.loop.tick()
        elif step[0] == "advance":
            bench.loop.advance(step[1])
        elif step[0] == "finish":
            bench.finish_run()
    bench.loop.advance(1.0)
    bench.drain()
    for caller, poison in callers:
        check(caller, poison=poison)
    assert (0, 0) == (bench.batcher.budget.bytes, bench.batcher.budget.requests)
    assert (0, 0) == (bench.version.waiting_rows, bench.version.waiting_bytes)
    assert len(callers) == bench.counts.ended


def check(caller, *, poison: bool) -> None:
    """One answer at most, exactly one for who stayed, and it is the caller's own."""
    assert len(caller.answers) <= 1
    if not caller.answers:
        assert caller.cancelled
        return
    (answer,) = caller.answers
    if isinstance(answer, list):
        assert not poison
        sums, rows = answer
        np.testing.assert_array_equal(caller.rows, rows.reshape(caller.rows.shape))
        np.testing.assert_allclose(caller.rows.sum(axis=1), sums, rtol=1e-6)
    else:
        assert answer == Code.DEADLINE_EXCEEDED or (poison and answer == Code.INVALID_ARGUMENT)


def one(value: float = 1.0, features: int = 2) -> np.ndarray:
    return np.full((1, features), value, np.float32)


def test_what_arrives_in_one_tick_runs_together() -> None:
    """Eight one-row requests are one batch of eight."""
    bench = Bench(max_batch_size=16)
    for value in range(8):
        bench.submit(one(value))
    bench.loop.tick()
    assert [8] == bench.model.batches


def test_a_full_lane_runs_before_the_tick_ends() -> None:
    """No row waits for the end of a tick once a batch is full, so a tick's queue is bounded by the batch size."""
    bench = Bench(max_batch_size=4)
    for value in range(9):
        bench.submit(one(value))
    assert [4, 4] == bench.model.batches
    bench.loop.tick()
    assert [4, 4, 1] == bench.model.batches


def test_interleaved_shapes_keep_their_batches() -> None:
    """Two shapes one by one give one batch each, not sixteen of one row."""
    bench = Bench(max_batch_size=16)
    for value in range(16):
        bench.submit(one(value, features=1 + value % 2))
    bench.loop.tick()
    assert [8, 8] == bench.model.batches


@pytest.mark.parametrize(("run_s", "given"), [(10e-6, [5]), (60e-6, [3, 2]), (200e-6, [1, 1, 1, 1, 1])])
def test_answers_of_one_tick_leave_together_and_none_waits_long(run_s: float, given: list[int]) -> None:
    """With one write for all lanes where runs are short; nothing waits for a run that is known to be long. Counted is what has left."""
    bench, left = Bench(max_batch_size=16, per_run_s=run_s, per_row_s=0.0), []
    bench.batcher.answered = lambda: left.append((sum(len(caller.answers) for caller in callers), bench.counts.ended))
    bench.version.cost.learn(1, 10e-6)
    callers = [bench.submit(one(features=1 + lane))[0] for lane in range(5)]
    bench.loop.tick()
    answered = [sum(given[: place + 1]) for place in range(len(given))]
    assert list(zip(answered, [0, *answered], strict=False)) == left
    assert 5 == bench.counts.ended


def test_a_request_above_max_batch_size_is_split_and_answered_whole() -> None:
    """Size alone is no reason to refuse."""
    bench = Bench(max_batch_size=8)
    rows = np.arange(40, dtype=np.float32).reshape(20, 2)
    caller, rejection = bench.submit(rows)
    bench.loop.tick()
    assert rejection is None
    assert [8, 8, 4] == bench.model.batches
    np.testing.assert_array_equal(rows, caller.answers[0][1])


@pytest.mark.parametrize("threaded", [False, True])
def test_pieces_of_a_split_request_must_have_outputs_of_one_shape(threaded: bool) -> None:
    """Also where one would fit the other by repetition. The others are answered."""
    bench = Bench(max_batch_size=8, threaded=threaded)
    run = bench.model.run

    def narrowing(arrays: list[np.ndarray], options: object = None) -> list[np.ndarray]:
        first, second = run(arrays, options)
        return [first, second if arrays[0][0, 0] == 0 else second[:, :1]]

    bench.model.run = narrowing  # type: ignore[method-assign]
    caller, _ = bench.submit(np.arange(40, dtype=np.float32).reshape(20, 2))
    other, _ = bench.submit(np.zeros((2, 2), np.float32))
    bench.loop.settle()
    while threaded and bench.runners[0].batches:
        bench.finish_run()
        bench.loop.settle()
    assert [Code.INTERNAL] == caller.answers
    assert 1 == len(other.answers)


def test_while_a_run_executes_arrivals_form_the_next_batch() -> None:
    """Work-conserving: nothing waits for a timer, everything that came meanwhile goes together."""
    bench = Bench(threaded=True, max_batch_size=64)
    bench.submit(one(0))
    bench.loop.settle()
    for value in range(1, 11):
        bench.submit(one(value))
        bench.loop.settle()
    bench.finish_run()
    bench.loop.settle()
    bench.finish_run()
    assert [1, 10] == bench.model.batches


def test_a_failing_batch_costs_only_the_one_to_blame_case_116() -> None:
    """One poisonous row of eight requests: that one gets its error, the other seven their rows, each after one more run."""
    bench = Bench(max_batch_size=16)
    callers = [bench.submit(one(POISON if value == 3 else value))[0] for value in range(8)]
    bench.loop.tick()
    codes = [caller.answers[0] if caller.answers[0] == Code.INVALID_ARGUMENT else Code.OK for caller in callers]
    assert [Code.INVALID_ARGUMENT if value == 3 else Code.OK for value in range(8)] == codes
    assert [8, *[1] * 8] == bench.model.batches


def test_an_expired_request_is_never_run() -> None:
    """Its deadline passed while it waited for the tick to end."""
    bench = Bench()
    caller, _ = bench.submit(one(), timeout_s=0.5)
    bench.loop.time += 1.0
    bench.loop.tick()
    assert ([Code.DEADLINE_EXCEEDED], []) == (caller.answers, bench.model.batches)


def test_a_deadline_fires_on_time_while_its_request_waits_behind_a_run() -> None:
    """The answer comes at the deadline, not when the run in front ends."""
    bench = Bench(threaded=True)
    bench.submit(one(1))
    bench.loop.settle()
    caller, _ = bench.submit(one(2), timeout_s=0.5)
    bench.loop.settle()
    bench.loop.advance(0.49)
    assert [] == caller.answers
    bench.loop.advance(0.02)
    assert [Code.DEADLINE_EXCEEDED] == caller.answers


def test_a_deadline_fires_on_time_while_its_own_run_executes() -> None:
    """The caller does not wait for a run that is too slow, and the late result is thrown away."""
    bench = Bench(threaded=True)
    caller, _ = bench.submit(one(1), timeout_s=0.5)
    bench.loop.settle()
    bench.loop.advance(0.6)
    bench.drain()
    assert [Code.DEADLINE_EXCEEDED] == caller.answers


def test_a_run_that_nobody_waits_for_is_terminated_case_119() -> None:
    """When every caller of a run is gone, the runtime is told to stop."""
    bench = Bench(threaded=True)
    bench.submit(one(1), timeout_s=0.5)
    bench.loop.settle()
    batch = bench.runners[0].batch
    assert not batch.options.terminate
    bench.loop.advance(0.6)
    assert batch.options.terminate


def test_a_deadline_that_cannot_be_met_is_refused_at_once() -> None:
    """The learned cost of what stands in front says so before the request is queued."""
    bench = Bench(threaded=True, max_batch_size=1, per_run_s=1.0)
    bench.version.warm(bench.loop.now)
    bench.submit(one(1))
    bench.loop.settle()
    for value in range(3):
        assert bench.submit(one(value), timeout_s=30.0)[1] is None
    caller, rejection = bench.submit(one(9), timeout_s=2.0)
    assert Code.OVERLOADED == rejection.code
    assert [] == caller.answers


def test_a_deadline_in_the_past_is_refused_as_such() -> None:
    """grpc-timeout 0 never executes."""
    bench = Bench()
    bench.version.warm(bench.loop.now)
    ran = len(bench.model.batches)
    _, rejection = bench.submit(one(), timeout_s=0.0)
    bench.loop.tick()
    assert (Code.DEADLINE_EXCEEDED, ran) == (rejection.code, len(bench.model.batches))


def test_a_queue_over_its_rows_is_refused_and_recovers() -> None:
    """Bounded by rows; when the run ends there is room again."""
    bench = Bench(threaded=True, limits=ServingLimits(max_queue_rows=8), max_batch_size=8)
    bench.submit(one(0))
    bench.loop.settle()
    codes = [bench.submit(one(value))[1] for value in range(12)]
    assert [None] * 8 == codes[:8]
    assert [Code.OVERLOADED] * 4 == [rejection.code for rejection in codes[8:]]
    bench.drain()
    assert bench.submit(one(1))[1] is None


def test_bytes_in_flight_are_bounded_over_all_versions() -> None:
    """The budget counts what is queued and what is running, and gives it back."""
    bench = Bench(threaded=True, limits=ServingLimits(max_inflight_bytes=64))
    assert bench.submit(one(features=8))[1] is None
    bench.loop.settle()
    assert bench.submit(one(features=8))[1] is None
    assert Code.OVERLOADED == bench.submit(one(features=1))[1].code
    bench.drain()
    assert bench.submit(one(features=1))[1] is None


def test_a_closed_version_takes_nothing_more_and_answers_what_waits() -> None:
    """Unloading never loses a request that was accepted."""
    bench = Bench()
    caller, _ = bench.submit(one(1))
    bench.version.close()
    assert Code.UNAVAILABLE == bench.submit(one(2))[1].code
    bench.loop.tick()
    assert 1 == len(caller.answers)


def test_max_queue_delay_waits_for_more_rows_but_not_longer() -> None:
    """The one timer there is, and only where it was asked for."""
    bench = Bench(max_batch_size=8)
    bench.version.max_delay_s = 0.01
    bench.submit(one(1))
    bench.loop.settle()
    bench.loop.advance(0.005)
    bench.submit(one(2))
    bench.loop.settle()
    assert [] == bench.model.batches
    bench.loop.advance(0.006)
    assert [2] == bench.model.batches


def test_a_cancelled_request_is_dropped_before_compute() -> None:
    """Its rows are not in the batch, its bytes are given back."""
    bench = Bench(max_batch_size=8)
    callers = [bench.submit(one(value))[0] for value in range(4)]
    callers[1].cancelled = True
    bench.loop.tick()
    assert ([3], 0) == (bench.model.batches, bench.batcher.budget.bytes)


def test_requests_of_many_shapes_leave_no_lane_behind() -> None:
    """A caller that varies its shape for ever does not grow the version."""
    bench = Bench()
    for features in range(1, 600):
        bench.submit(np.ones((1, features), np.float32))
        bench.loop.settle()
    assert len(bench.version._lanes) <= 257


def test_a_fault_of_ours_in_a_run_costs_its_own_requests_only() -> None:
    """An exception that nobody expected ends in an error for these callers; the version goes on."""
    bench = Bench(threaded=True)
    run, bench.model.run = bench.model.run, lambda arrays, options=None: 1 / 0
    caller, _ = bench.submit(one(1))
    bench.drain()
    bench.model.run = run
    later, _ = bench.submit(one(2))
    bench.drain()
    assert [Code.INTERNAL] == caller.answers
    np.testing.assert_array_equal(one(2), later.answers[0][1])


def test_answers_that_cannot_be_written_cost_their_own_callers_only() -> None:
    """Two sinks in one batch: the one that fails does not take the other along."""
    bench = Bench()
    bench.sinks[0].answer = lambda items, starts, outputs: 1 / 0
    broken, _ = bench.submit(one(1), sink=0)
    good, _ = bench.submit(one(2), sink=1)
    bench.drain()
    assert [Code.INTERNAL] == broken.answers
    np.testing.assert_array_equal(one(2), good.answers[0][1])


def test_requests_without_rows_share_no_batch_case_16() -> None:
    """Where empty requests are allowed they run alone, and their neighbours get their own rows."""
    bench = Bench(max_batch_size=16)
    empty = np.empty((0, 2), np.float32)
    blocks = [empty, np.arange(4, dtype=np.float32).reshape(2, 2), one(9), empty]
    callers = [bench.submit(block)[0] for block in blocks]
    bench.drain()
    for block, caller in zip(blocks, callers, strict=True):
        np.testing.assert_array_equal(block, caller.answers[0][1])
    assert [0, 0, 3] == sorted(bench.model.batches)


def test_no_lane_is_forgotten_behind_a_run_when_another_goes_on_by_itself() -> None:
    """Three shapes: one in the thread, two behind it, of which one gets a request in the very tick in which the run ends."""
    bench = Bench(max_batch_size=64, per_run_s=1e-6, per_row_s=1e-5)
    bench.version.warm(bench.loop.now)
    bench.submit(np.ones((60, 1), np.float32))
    bench.loop.settle()
    callers = [bench.submit(one(features=features))[0] for features in (2, 3)]
    bench.loop.settle()
    assert ([], []) == (callers[0].answers, callers[1].answers)
    bench.finish_run()
    bench.submit(one(features=2))
    bench.loop.settle()
    assert (1, 1) == (len(callers[0].answers), len(callers[1].answers))


def test_the_lane_that_waits_longest_goes_on_first_however_busy_the_others_are() -> None:
    """Two shapes that are both asked for all the time take turns in the thread."""
    bench = Bench(threaded=True)
    bench.submit(one(1, features=1))
    bench.loop.settle()
    first, _ = bench.submit(one(2, features=2))
    for value in range(3):
        bench.finish_run()
        bench.submit(one(value, features=1))
        bench.submit(one(value, features=2))
        bench.loop.settle()
    assert 1 == len(first.answers)


def test_a_lane_that_was_forgotten_goes_on_behind_a_run() -> None:
    """Whoever kept a lane of a shape that is not remembered any more still gets answers from it."""
    bench = Bench(threaded=True)
    kept = bench.version.lane(((1,),))
    for features in range(2, 300):
        bench.version.lane(((features,),))
    bench.submit(one(features=2))
    bench.loop.settle()
    assert kept is not bench.version.lane(((1,),))
    bench.version._lanes[((1,),), False] = kept
    caller, _ = bench.submit(one(features=1))
    del bench.version._lanes[((1,),), False]
    bench.loop.settle()
    bench.drain()
    assert 1 == len(caller.answers)


@pytest.mark.parametrize("rows", [1, 20])
@pytest.mark.parametrize(("output", "has"), [(np.float32(1.0), "no rows"), (np.ones((3, 2), np.float32), "3 rows")])
def test_a_model_that_loses_its_rows_fails_by_its_name(output: np.ndarray, has: str, rows: int) -> None:
    """Whose rows they are cannot be known, also of a request that runs in pieces; a fault of the model, not of ours."""
    bench = Bench(max_batch_size=8)
    bench.model.run = lambda arrays, options=None: [arrays[0].sum(axis=1), np.asarray(output)]
    bench.sinks[0].fail = lambda item, code, message: item.caller.answers.append((code, message))
    caller, _ = bench.submit(np.ones((rows, 2), np.float32))
    bench.drain()
    assert [(Code.INTERNAL, f"model 'm' returned output 'x' with {has} for {min(rows, 8)}")] == caller.answers
