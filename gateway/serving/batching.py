"""Dynamic batching: what arrives in one tick of the event loop runs together. Knows no transport: answers leave through `Sink`.

Work-conserving: short runs execute inline at the end of the tick that brought their rows; while a long run is executing in its thread,
arrivals queue and form the next batch; a version of several instances has so many runs in threads at once. There is no timer unless
`max_delay_s` asks for one. Requests of different row shapes wait in lanes of their own, so that interleaved shapes do not cut each
other's batches short.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Protocol

from gateway.clock import Clock
from gateway.errors import Code
from gateway.serving.admission import CLOSED, EXPIRED, FULL, LATE, NO_MEMORY, TOO_LATE, Budget, Rejection
from gateway.serving.answering import answer
from gateway.serving.batch import Batch, Item, execute, in_steps
from gateway.serving.deadlines import Deadlines, Loop
from gateway.serving.lane import Lane
from gateway.serving.model import Runnable
from gateway.serving.runner import Runner
from gateway.serving.versions import Version

_SETTLE_FROM_S = 250e-6  # a shorter run costs about what another look at the sockets does
_TOGETHER_S = 100e-6  # for which answers of one lane may wait for others of their tick: about what the writes cost that this saves
_STEP_S = 25e-6  # of a request of many runs between two looks at the sockets
_SETTLE_SHARE = 0.1  # of a run's predicted time may pass in waiting for a tick that brings nothing new
_NEVER = float("inf")


class Observer(Protocol):
    """Told what became of requests, after their answers are written."""

    def batch_done(self, batch: Batch) -> None:
        """A batch was answered."""
        ...

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """A queued request was answered without a run, or its caller went away (CANCELLED)."""
        ...


class Batcher:
    """All lanes of one event loop."""

    answered: Callable[[], None]  # set by the owner: lets the answers leave that were given since the last call
    let_go: Callable[[Sequence[Item]], None] | None = None  # told of requests that are done with, before their answers leave
    hold: Callable[[Batch, Callable[[], None]], bool] | None = None  # whether a batch's answers wait for its call, which comes soon

    def __init__(
        self,
        budget: Budget,
        *,
        loop: Loop,
        clock: Clock,
        observer: Observer,
        inline_max_s: float,
        start_runner: Callable[[Runnable, Loop, Callable[[], float], Callable[[Batch], None]], Runner] = Runner,
    ) -> None:
        self.budget = budget
        self.inline_max_s = inline_max_s
        self._now = clock.now
        self._observer = observer
        self._loop = loop
        self._start_runner = start_runner
        self._ready: list[Lane] = []  # lanes to look at when this tick ends
        self._due = False
        self._together = False  # several lanes are looked at: their answers leave together
        self._given: list[Batch] = []  # whose answers have not left
        self._running: set[Batch] = set()  # for longer than a tick
        self._deadlines = Deadlines(self._loop, clock, self._expire)

    # --- in --------------------------------------------------------------------------------------------------------------------

    def submit(self, lane: Lane, item: Item) -> Rejection | None:
        """Queue a request, or say at once why not. A rejection is a value: overload must be cheap."""
        version, budget, rows = lane.version, self.budget, item.rows
        waiting = version.waiting_rows + rows
        queued = version.waiting_bytes + item.size
        held = budget.bytes + item.size
        if (
            waiting > version.max_rows
            or queued > budget.max_queue_bytes
            or held > budget.max_inflight_bytes
            or item.deadline < item.arrival + version.horizon_s
        ):
            refusal = self._refusal(version, item)
            if refusal is not None:
                return refusal
            waiting = version.waiting_rows + rows  # others may have left for it
            queued = version.waiting_bytes + item.size
            held = budget.bytes + item.size
        budget.bytes = held
        budget.requests += 1
        version.waiting_rows = waiting
        version.waiting_bytes = queued
        lane.arrived.append(item)
        lane.grown = True
        lane.rows = total = lane.rows + rows
        if not lane.ready:
            self._look_at(lane)
        elif total >= lane.limit and not version.full and self._inline(version, total):
            self._run_inline(lane)
        return None

    def _refusal(self, version: Version, item: Item) -> Rejection | None:
        """Something is near a bound: the reason to refuse, if there is one."""
        if version.closed:
            return CLOSED
        if self.budget.bytes + item.size > self.budget.max_inflight_bytes:
            return NO_MEMORY
        if version.turns_away(item) or (version.over(item, self.budget.max_queue_bytes) and not self._make_room(version, item)):
            return FULL
        hopeless = self._hopeless(version, item) if item.deadline < item.arrival + version.horizon_s else None
        if hopeless is None and item.rows > version.max_rows:
            version.large_rows = item.rows
        return hopeless

    def _make_room(self, version: Version, item: Item) -> bool:
        """The queue is full: whether others leave it for this request. They are told so."""
        for each in version.make_room(item, self.budget.max_queue_bytes):
            if each.done or each.caller.cancelled:
                version.drop(each)
            else:
                each.sink.fail(each, FULL.code, FULL.message)
                version.release(version, each, FULL.code)
        return version.has_room(item, self.budget.max_queue_bytes)

    def _hopeless(self, version: Version, item: Item) -> Rejection | None:
        """Why this deadline cannot be met, by the learned cost of all that stands before it."""
        now = self._now()
        if item.deadline <= now:
            return LATE
        return TOO_LATE if now + version.time_before(item, now) > (item.answer_by or item.deadline) else None

    # --- ticks -----------------------------------------------------------------------------------------------------------------

    def _look_at(self, lane: Lane) -> None:
        lane.ready = True
        self._ready.append(lane)
        if not self._due:
            self._due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """The tick has ended."""
        self._due = False
        ready, self._ready = self._ready, []
        self._together = len(ready) > 1
        try:
            for lane in ready:
                lane.ready = False
                self._advance(lane)
        finally:
            self._together = False
            if self._given:
                self._let_leave()

    def _advance(self, lane: Lane) -> None:
        """Run what can run now; what stays is watched for its deadline, and goes on when the run that it waits for has ended."""
        version = lane.version
        while lane.waits and not version.full and not self._held_back(lane):
            inline = self._inline(version, lane.next_rows(self._now()) if lane.alone else lane.rows)
            if self._settling(lane):
                if inline:
                    return  # the run would stand in the way of a deadline longer than this does
                break
            if inline:
                self._run_inline(lane)
                break
            self._start(lane)
        if version.full and lane.waits:
            version.behind.add(lane)
        if version.bulk.count and version.splitting is None:
            self._split(version)
        if lane.arrived or lane.unseen:
            self._watch(lane.unwatched())

    def _inline(self, version: Version, rows: int) -> bool:
        limit = version.signature.max_batch_size or 1
        return version.cost.predict(min(rows, limit)) <= self.inline_max_s and not version.threaded

    def _held_back(self, lane: Lane) -> bool:
        """`max_delay_s` asks for patience while a batch is not full."""
        delay = lane.version.max_delay_s
        if not delay or lane.rows >= lane.limit or not lane.arrived or lane.backlog.count:
            return False
        left = lane.arrived[0].arrival + delay - self._now()
        if left <= 0:
            return False
        self._loop.call_later(left, self._advance, lane)
        return True

    def _settling(self, lane: Lane) -> bool:
        """A long run waits for a tick that brings nothing new: requests that were sent together arrive over a few ticks."""
        predicted = lane.version.cost.predict(min(lane.rows, lane.limit))
        if lane.alone or predicted < _SETTLE_FROM_S:
            return False
        now = self._now()
        if not lane.settling_since:
            lane.settling_since = now
        if lane.grown and lane.rows < lane.limit and now - lane.settling_since < _SETTLE_SHARE * predicted:
            lane.grown = False
            if not lane.ready:
                self._look_at(lane)
            return True
        lane.settling_since = 0.0
        return False

    # --- runs ------------------------------------------------------------------------------------------------------------------

    def _run_inline(self, lane: Lane) -> None:
        """All that waits; of requests that share no run, what fits into a moment, and the rest in the next tick."""
        version = lane.version
        if self._given and version.cost.predict(min(lane.rows, lane.limit)) > _TOGETHER_S:
            self._let_leave()  # rather than wait for this run
        until = self._now() + self.inline_max_s if lane.alone else _NEVER
        while lane.arrived or lane.backlog.count:  # as `lane.waits`
            batch = lane.take(self._now())
            if batch is not None:
                batch.started = self._now()
                execute(batch, version.model, self._now)
                batch.ended = self._now()
                self._deliver(batch)
                if batch.ended >= until:
                    break
        if lane.waits and not lane.ready:
            self._look_at(lane)
        version.look_ahead()

    def _start(self, lane: Lane) -> None:
        """The next batch, in the thread."""
        version, batch = lane.version, None
        while batch is None and lane.waits:
            batch = lane.take(self._now())
        if batch is not None:  # else all of it was dead, or takes many runs
            version.begin(batch)
            self._hand_over(version, batch, version.runner(self._new_runner))

    def _new_runner(self, version: Version) -> Runner:
        return self._start_runner(version.model, self._loop, self._now, self._finished)

    def _split(self, version: Version) -> None:
        """Begin with the next request of many runs. There is one at a time, and what takes one run goes in between."""
        batch = version.take_bulk(self._now())
        if batch is None:
            return
        version.splitting = batch
        if self._inline(version, batch.limit):
            self._begin(version, batch)
            self._loop.call_soon(self._step, batch, in_steps(batch, version.model, self._now))
        else:
            self._hand_over(version, batch, version.shared_runner(self._new_runner))

    def _step(self, batch: Batch, steps: Iterator[None]) -> None:
        """Some short runs of one request, for about as long as a look at the sockets takes; they come first again then."""
        (item,) = batch.items
        if item.done or item.caller.cancelled:  # nobody waits for it any more
            self._clear(batch)
            batch.version.drop(item)
            self._go_on(batch.version)
            return
        until = self._now() + _STEP_S
        for _ in steps:
            if self._now() >= until:
                self._loop.call_soon(self._step, batch, steps)
                return
        batch.ended = self._now()
        self._finished(batch)

    def _hand_over(self, version: Version, batch: Batch, runner: Runner) -> None:
        """To a thread of the version."""
        self._begin(version, batch)
        batch.runner = runner
        runner.start(batch)
        version.look_ahead()

    def _begin(self, version: Version, batch: Batch) -> None:
        """It runs from now on, and may be ended."""
        for item in batch.items:
            if item.answer_by:
                item.deadline = item.answer_by  # its queue has been patient enough
        self._watch([item for item in batch.items if not item.watched])
        batch.options = version.model.options()
        batch.started = self._now()
        self._running.add(batch)

    def _finished(self, batch: Batch) -> None:
        """A batch has ended that took longer than a tick."""
        self._clear(batch)
        self._deliver(batch)
        self._go_on(batch.version)

    def _clear(self, batch: Batch) -> None:
        """It runs no more."""
        version: Version = batch.version
        self._running.discard(batch)
        if batch is version.splitting:
            version.splitting = None
        else:
            version.finish(batch)
            version.resting.append(batch.runner)

    def _go_on(self, version: Version) -> None:
        version.look_ahead()
        self._resume(version)
        if version.splitting is None:
            self._split(version)

    def _resume(self, version: Version) -> None:
        """An instance is free: the lanes behind runs go on, the one whose first request is due first, until none is free."""
        while version.behind and not version.full:
            lane = version.next_behind(self._now())
            lane.grown = True
            self._advance(lane)

    def _deliver(self, batch: Batch) -> None:
        version: Version = batch.version
        if not batch.failed and batch.rows <= batch.limit:  # several runs say nothing of one
            version.cost.learn(batch.rows, batch.ended - batch.started)
        if self.hold is None or not self.hold(batch, partial(self._answer, batch)):
            self._answer(batch)

    def _answer(self, batch: Batch) -> None:
        """Give the answers of a batch, and let go of it."""
        if self.let_go is not None:
            self.let_go(batch.items)
        for items, outputs in batch.groups:
            answer(batch, items, outputs)
        for item, fault in batch.failed:
            if not item.done:
                item.sink.fail(item, fault.code, fault.message)
        batch.answering = self._now() - batch.ended
        if not self._together:
            self.answered()
            self._observer.batch_done(batch)
        else:
            self._given.append(batch)
            if batch.ended - self._given[0].ended > _TOGETHER_S:
                self._let_leave()
        items, budget = batch.items, self.budget
        budget.requests -= len(items)
        budget.bytes -= batch.size
        if items[0].watched:  # the first waits longest: where it is not watched, none is
            self._deadlines.forget([item for item in items if item.watched and not item.done])

    def _watch(self, items: list[Item]) -> None:
        if items:
            self._deadlines.watch(items)

    def _let_leave(self) -> None:
        """Write the answers of several batches, with one write for each connection."""
        self.answered()
        given, self._given = self._given, []
        for batch in given:
            self._observer.batch_done(batch)

    # --- ends ------------------------------------------------------------------------------------------------------------------

    def release(self, version: Version, item: Item, code: Code) -> None:
        """A queued item left its lane without a run."""
        self.budget.bytes -= item.size
        self.budget.requests -= 1
        if item.watched and not item.done:
            self._deadlines.forget([item])
        if self.let_go is not None:
            self.let_go((item,))
        self._observer.dropped(version, item, code)

    def _expire(self, item: Item) -> None:
        """A deadline passed while the item waited or ran: it is answered now, and skipped when its turn comes."""
        item.done = True
        item.sink.fail(item, Code.DEADLINE_EXCEEDED, EXPIRED)
        self.answered()
        for batch in self._running:
            if all(member.done or member.caller.cancelled for member in batch.items):
                assert batch.options is not None
                batch.options.terminate = True  # nobody waits for it any more
