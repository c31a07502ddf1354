"""The queue of a shadow and its thread: what is remembered, what is dropped and why, and that nothing stays behind."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.observe.slabs import SHADOW
from gateway.rollout.copies import size_of
from gateway.rollout.crowd import Crowd, Price
from gateway.rollout.shadow import PAUSE_S, SLOW_S, TICK_S, Bounds, Shadow
from gateway.rollout.shadowing import Shadowing
from gateway.rollout.usage import Usage
from gateway.serving.batch import Batch
from tests.gateway.rollout.mirrored import POISON, POISON_KILLS, RUN_S, Stage, outcomes, rows


class Play:
    """A shadow whose thread is this one."""

    def __init__(self, bounds: Bounds | None = None, **more: Any) -> None:
        self.stage = stage = Stage(**more)
        self.counts = np.zeros(len(SHADOW), np.int64)
        self.emitted: list[np.ndarray] = []
        self.ran_s = self.waited_s = self.wait_s = 0.0
        self.crowd = Crowd(stage.loop, stage.loop.now, lambda: 0.0)
        self.shadow = Shadow(
            stage.stable.signature, stage.mirror, self.crowd, bounds or Bounds(), loop=stage.loop, now=stage.loop.now,
            usage=lambda: Usage(self.ran_s, self.waited_s), wait_s=lambda: self.wait_s, counts=self.counts, emit=self.emitted.append,
        )  # fmt: skip

    def serve(self, *requests: np.ndarray) -> Batch:
        batch = self.stage.batch(*requests)
        self.shadow.served(batch)
        return batch

    def turn(self) -> float:
        """The thread's, and what it tells the event loop."""
        rest_s = self.shadow.turn()
        self.stage.loop.settle()
        return rest_s

    @property
    def outcomes(self) -> dict[str, int]:
        return outcomes(self.counts)

    @property
    def held(self) -> int:
        return self.shadow._put - self.shadow._taken


def test_what_was_served_is_run_in_the_next_turn_and_told_on_the_event_loop() -> None:
    """Nothing is counted before."""
    play = Play()
    play.serve(rows(1), rows(2))
    play.serve(rows(3))
    assert (0, {}) == (len(play.emitted), play.outcomes)
    rest_s = play.turn()
    assert ({"mirrored": 3}, 3, 0, TICK_S) == (play.outcomes, sum(map(len, play.emitted)), play.held, rest_s)


def test_a_queue_is_bounded_in_bytes_and_in_batches() -> None:
    """What has no place is dropped whole; what is larger than the bound never has one."""
    small = size_of(Play().serve(rows(1)))
    play = Play(Bounds(bytes=3 * small, batches=2))
    play.serve(*[rows(1)] * 9)
    for _ in range(3):
        play.serve(rows(1))
    assert {"over_bytes": 9, "queue": 1} == play.outcomes
    play.turn()
    tight = Play(Bounds(bytes=3 * small))
    for _ in range(5):
        tight.serve(rows(1))
    assert {"queue": 2} == tight.outcomes
    assert 3 * small == tight.held


def test_a_crowded_worker_has_no_time_for_shadows() -> None:
    """Nothing is even remembered."""
    play = Play()
    play.crowd.crowded = True
    play.serve(rows(1), rows(2))
    assert ({"crowded": 2}, 0) == (play.outcomes, play.held)


def test_it_rests_in_proportion_to_the_time_that_it_used() -> None:
    """A share of a core; what finds no place meanwhile is dropped for that."""
    play = Play(Bounds(share=0.25, batches=1))
    play.serve(rows(1))
    run = play.stage.mirror.run

    def costly(copies):
        play.ran_s += 0.1
        return run(copies)

    play.stage.mirror.run = costly  # type: ignore[method-assign]
    assert pytest.approx(0.4 - RUN_S) == play.turn()
    play.serve(rows(1))
    play.serve(rows(1))
    assert {"mirrored": 1, "capacity": 1} == play.outcomes


def test_a_candidate_that_gets_no_core_leaves_off_for_ever_longer_and_tries_again() -> None:
    """Who wants it more has it. Once it gets some of what it wants, it goes on as before."""
    play = Play(Bounds(batches=1))
    run, share = play.stage.mirror.run, [0.95]

    def waiting(copies):
        play.ran_s += 0.02 * (1 - share[0])
        play.waited_s += 0.02 * share[0]
        for _ in range(2 if share[0] > 0.5 else 1):
            play.serve(rows(1))  # for the second of two there is no place
        return run(copies)

    play.stage.mirror.run = waiting  # type: ignore[method-assign]
    play.serve(rows(1))
    for pause_s in (PAUSE_S, 2 * PAUSE_S, 4 * PAUSE_S):
        play.turn()
        before = dict(play.outcomes)
        play.stage.loop.time += pause_s - 0.01 - RUN_S
        play.serve(rows(1))
        assert (before | {"crowded": before.get("crowded", 0) + 1}) == play.outcomes
        play.stage.loop.time += 0.02
    assert {"mirrored": 3, "queue": 1, "crowded": 5} == play.outcomes  # of the first one nobody knew yet that it would get no core
    share[0] = 0.5
    for _ in range(2):
        play.turn()
    assert {"mirrored": 5, "queue": 1, "crowded": 5} == play.outcomes


def test_a_candidate_that_waits_for_its_core_and_keeps_up_goes_on() -> None:
    """It runs in what others leave, as it should."""
    play = Play()
    run = play.stage.mirror.run

    def waiting(copies):
        play.waited_s += 0.05
        return run(copies)

    play.stage.mirror.run = waiting  # type: ignore[method-assign]
    for _ in range(5):
        play.serve(rows(1))
        play.turn()
    assert {"mirrored": 5} == play.outcomes


def test_behind_a_run_that_takes_long_what_finds_no_place_is_the_candidates_fault() -> None:
    """It hangs, or is slow."""
    play = Play(Bounds(batches=1))
    play.serve(rows(1))
    timed = play.stage.candidate.timed

    def slow(arrays, options=None):
        play.stage.loop.time += 2 * SLOW_S
        play.serve(rows(1))
        play.serve(rows(1))
        return timed(arrays, options)

    play.stage.candidate.timed = slow  # type: ignore[method-assign]
    play.turn()
    assert {"mirrored": 1, "candidate_slow": 1} == play.outcomes


def test_while_the_candidate_may_have_no_process_nothing_is_remembered() -> None:
    """Until its backoff is over."""
    play = Play()
    play.stage.candidate.alive, play.wait_s = False, 5.0
    play.serve(rows(1))
    play.turn()
    play.serve(rows(1))
    assert ({"candidate_failed": 2}, 0) == (play.outcomes, play.held)
    play.stage.loop.time += 5.0
    play.stage.candidate.alive, play.wait_s = True, 0.0
    play.serve(rows(1))
    play.turn()
    assert {"candidate_failed": 2, "mirrored": 1} == play.outcomes


def test_past_its_rate_nothing_is_remembered_until_one_more_may_go() -> None:
    """The event loop does not keep what would be thrown away."""
    play = Play(shadow_qps=2.0)
    play.serve(*[rows(1)] * 3)
    play.turn()
    play.serve(rows(1))
    assert ({"mirrored": 2, "qps": 2}, 0) == (play.outcomes, play.held)
    play.stage.loop.time += 0.6
    play.serve(rows(1))
    play.turn()
    assert {"mirrored": 3, "qps": 2} == play.outcomes


def test_a_fault_of_ours_costs_these_pairs_and_no_room(caplog: pytest.LogCaptureFixture) -> None:
    """The next ones are run."""
    play = Play()
    play.serve(rows(1), rows(2))
    run = play.stage.mirror.run
    play.stage.mirror.run = lambda copies: 1 / 0  # type: ignore[assignment, method-assign, return-value]
    play.turn()
    play.stage.mirror.run = run  # type: ignore[method-assign]
    play.serve(rows(3))
    play.turn()
    assert ({"candidate_failed": 2, "mirrored": 1}, 0) == (play.outcomes, play.held)
    assert "shadow failed" in caplog.text


def test_after_the_end_nothing_is_counted_or_recorded() -> None:
    """The place of its counters may be another version's by then."""
    play = Play()
    play.crowd.begin()
    play.serve(rows(1))
    play.shadow.turn()
    play.shadow.end()
    play.stage.loop.settle()
    assert ({}, []) == (play.outcomes, play.emitted)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.sampled_from((1.0, 2.0, POISON, POISON_KILLS, np.nan)), min_size=1, max_size=4), max_size=12), st.data())
def test_every_request_has_one_outcome_and_mirrored_ones_one_record(batches: list[list[float]], data: st.DataObject) -> None:
    """Whatever the candidate does with them, and whenever the thread comes round."""
    play = Play(Bounds(bytes=400, batches=4), shadow_percent=60.0)
    play.stage.candidate.answers = lambda arrays: [np.where(arrays[0] == 2.0, np.float32(np.nan), arrays[0])]
    for values in batches:
        good = [rows(1.0) for _ in values]
        batch = play.stage.batch(*good, units=data.draw(st.lists(st.integers(1, 2**64 - 1), min_size=len(good), max_size=len(good))))
        batch.inputs[0][0] = np.array([[value, 1.0] for value in values], np.float32)
        play.shadow.served(batch)
        if data.draw(st.booleans()):
            play.turn()
    play.turn()
    assert sum(map(len, batches)) == sum(play.outcomes.values())
    assert play.outcomes.get("mirrored", 0) == sum(map(len, play.emitted))
    assert 0 == play.held


def test_the_thread_runs_what_comes_and_ends() -> None:
    """On its own: it is told when there is something, and that it is over."""
    play, told = Play(), threading.Event()
    loop = play.stage.loop
    loop.call_soon_threadsafe = lambda callback, *arguments: (callback(*arguments), told.set())  # type: ignore[method-assign]
    play.shadow.begin()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "shadow"]
    play.serve(rows(1))
    assert told.wait(20)
    play.shadow.end()
    thread.join(20)
    assert (False, {"mirrored": 1}) == (thread.is_alive(), play.outcomes)


def test_the_thread_ends_with_the_loop() -> None:
    """A worker that ends may not have told it."""
    play = Play()

    def closed(*arguments: object) -> None:
        raise RuntimeError("the loop is closed")

    play.stage.loop.call_soon_threadsafe = closed  # type: ignore[method-assign]
    play.shadow.begin()
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "shadow"]
    play.serve(rows(1))
    thread.join(20)
    assert not thread.is_alive()
    play.shadow.end()


# --- crowds --------------------------------------------------------------------------------------------------------------------------


FIXED_S, MARGINAL_S = 60e-6, 10e-6  # of a batch, and of a request in it


def arriving(crowd: Crowd, play: Play, rate: float, seconds: float) -> None:
    """Requests come evenly, and each batch takes those that came while the one before ran."""
    loop, waiting, until = play.stage.loop, 1.0, play.stage.loop.time + seconds
    while loop.time < until:
        requests = max(int(waiting), 1)
        took = FIXED_S + MARGINAL_S * requests
        crowd.saw(took, requests)
        loop.advance(max(took, (1.0 - (waiting - requests)) / rate))
        waiting += rate * took - requests if waiting >= requests else 0.0


@pytest.mark.parametrize(("rate", "crowded"), [(1_000, False), (10_000, False), (50_000, False), (60_000, False), (92_000, True)])
def test_a_worker_is_crowded_by_what_its_requests_cost_at_the_margin(rate: float, crowded: bool) -> None:
    """100,000 a second are all it can do. Far below it is as busy, with small batches, and has time to spare all the same."""
    play = Play()
    crowd = Crowd(play.stage.loop, play.stage.loop.now, lambda: 0.0)
    crowd.begin()
    for _ in range(8):
        arriving(crowd, play, rate / 2, 0.025)
        arriving(crowd, play, rate, 0.25)
    assert crowded == crowd.crowded
    crowd.end()


@pytest.mark.parametrize(("requests", "crowded"), [(1, False), (8, False), (32, True)])
def test_where_all_batches_are_alike_their_size_tells(requests: int, crowded: bool) -> None:
    """A loop that is always busy with one at a time would take many for hardly more; one that takes many at a time would not."""
    play = Play()
    crowd = Crowd(play.stage.loop, play.stage.loop.now, lambda: 0.0)
    crowd.begin()
    for _ in range(20):
        crowd.saw(0.01, requests)
        play.stage.loop.advance(0.01)
    assert crowded == crowd.crowded
    crowd.end()


def test_runs_in_threads_crowd_a_worker_by_the_cores_that_they_take() -> None:
    """Crowded from the upper bound on, until it is below the lower one."""
    play = Play()
    loop, others = play.stage.loop, [0.0]
    crowd = Crowd(loop, loop.now, lambda: others[0], cores=2)
    crowd.begin()
    seen = []
    for share in (0.5, 0.9, 0.7, 0.6, 0.95, 0.0):
        others[0] += 2 * 0.05 * share
        loop.advance(0.05)
        seen.append(crowd.crowded)
    assert [False, True, True, False, True, False] == seen
    crowd.end()


def test_nobody_looks_where_nobody_is_interested() -> None:
    """Two are until both have left."""
    play = Play()
    loop, looks = play.stage.loop, []
    crowd = Crowd(loop, loop.now, lambda: looks.append(1) or 9.0 * len(looks))  # type: ignore[func-returns-value]
    crowd.begin()
    crowd.begin()
    crowd.end()
    loop.advance(0.06)
    assert crowd.crowded
    crowd.end()
    count = len(looks)
    loop.advance(1.0)
    crowd.saw(1.0, 1)
    assert (False, count) == (crowd.crowded, len(looks))


@given(st.lists(st.tuples(st.integers(1, 64), st.floats(0.9, 1.1)), min_size=2, max_size=200), st.floats(0, 1e-3), st.floats(1e-6, 1e-3))
def test_the_price_of_a_request_is_the_slope_of_what_batches_took(batches: list[tuple[int, float]], fixed: float, marginal: float) -> None:
    """Within its bounds, whatever the noise is; exactly, without any, where batches differ."""
    noisy, exact = Price(), Price()
    for requests, noise in batches:
        noisy.saw((fixed + marginal * requests) * noise, requests)
        exact.saw(fixed + marginal * requests, requests)
    mean = sum((fixed + marginal * n) * noise for n, noise in batches) / sum(n for n, _ in batches)
    assert 0.0 <= noisy.marginal_s <= mean * (1 + 1e-9)
    counts = [n for n, _ in batches]
    if np.std(counts) > 0.31 * np.mean(counts):
        assert marginal == pytest.approx(exact.marginal_s, rel=1e-3, abs=1e-8 + 1e-6 * fixed)


# --- the observer ----------------------------------------------------------------------------------------------------------------------


def test_shadows_are_told_after_everybody_else_and_can_do_no_harm(caplog: pytest.LogCaptureFixture) -> None:
    """A version without one costs a look; a fault is in the log."""
    told: list[object] = []

    class Inner:
        def batch_done(self, batch) -> None:
            told.append("counted")

        def dropped(self, version, item, code) -> None:
            told.append(code)

    class Broken:
        def served(self, batch) -> None:
            told.append("shadow")
            raise ValueError("no")

    play = Play()
    observer = Shadowing(Inner(), play.crowd)
    batch = play.stage.batch(rows(1))
    observer.batch_done(batch)
    play.stage.versions[0].shadow = Broken()
    observer.batch_done(batch)
    observer.dropped(batch.version, batch.items[0], Code.CANCELLED)
    assert ["counted", "counted", "shadow", Code.CANCELLED] == told
    assert "shadow failed: m/1" in caplog.text
