"""Dynamic batching: what arrives in one tick of the event loop runs together. Knows no transport: answers leave through `Sink`.

Work-conserving: short runs execute inline at the end of the tick that brought their rows; while a long run is executing in its thread,
arrivals queue and form the next batch; a version of several instances has so many runs in threads at once. There is no timer unless
`max_delay_s` asks for one. Requests of different row shapes wait in lanes of their own, so that interleaved shapes do not cut each
other's batches short.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from gateway.clock import Clock
from gateway.errors import Code
from gateway.serving.admission import CLOSED, EXPIRED, FULL, LATE, NO_MEMORY, TOO_LATE, Budget, Rejection
from gateway.serving.batch import Batch, Item, Sink, execute, starts_of
from gateway.serving.deadlines import Deadlines, Loop
from gateway.serving.model import Arrays, Runnable
from gateway.serving.runner import Runner
from gateway.serving.versions import Lane, Version

_log = logging.getLogger(__name__)
_SETTLE_FROM_S = 250e-6  # a shorter run costs about what another look at the sockets does
_TOGETHER_S = 100e-6  # for which answers of one lane may wait for others of their tick: about what the writes cost that this saves
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
        self._running: set[Batch] = set()  # in threads
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
            refusal = self._refusal(version, item, waiting, queued, held)
            if refusal is not None:
                return refusal
        budget.bytes = held
        budget.requests += 1
        version.waiting_rows = waiting
        version.waiting_bytes = queued
        lane.items.append(item)
        lane.grown = True
        lane.rows = total = lane.rows + rows
        if not lane.ready:
            self._look_at(lane)
        elif total >= lane.limit and not version.full and self._inline(version, total):
            self._run_inline(lane)
        return None

    def _refusal(self, version: Version, item: Item, waiting: int, queued: int, held: int) -> Rejection | None:
        """Something is near a bound: the reason to refuse, if there is one."""
        if version.closed:
            return CLOSED
        if held > self.budget.max_inflight_bytes:
            return NO_MEMORY
        # A request above the bounds that meets an empty queue is split and run: size alone is no reason to refuse it.
        if version.waiting_rows and (waiting - version.large_rows > version.max_rows or queued > self.budget.max_queue_bytes):
            return FULL
        hopeless = self._hopeless(version, waiting, item) if item.deadline < item.arrival + version.horizon_s else None
        if hopeless is None and item.rows > version.max_rows:
            version.large_rows = item.rows
        return hopeless

    def _hopeless(self, version: Version, waiting: int, item: Item) -> Rejection | None:
        """Why this deadline cannot be met, by the learned cost of all that stands before it."""
        now = self._now()
        if item.deadline <= now:
            return LATE
        ahead = version.cost.drain_time(waiting, version.signature.max_batch_size) / version.instances + version.free_in(now)
        return TOO_LATE if now + ahead > item.deadline else None

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
        while lane.items and not version.full and not self._held_back(lane):
            inline = self._inline(version, lane.items[0].rows if lane.alone else lane.rows)
            if self._settling(lane):
                if inline:
                    return  # the run would stand in the way of a deadline longer than this does
                break
            if inline:
                self._run_inline(lane)
                break
            self._start(lane)
        if lane.items and version.full:
            version.behind.add(lane)
        if lane.items:
            self._watch(lane.unwatched())

    def _inline(self, version: Version, rows: int) -> bool:
        limit = version.signature.max_batch_size or 1
        inline = version.cost.predict(min(rows, limit)) <= self.inline_max_s and not version.threaded
        return inline and not version.large_rows  # its pieces together may take long

    def _held_back(self, lane: Lane) -> bool:
        """`max_delay_s` asks for patience while a batch is not full."""
        delay = lane.version.max_delay_s
        if not delay or lane.rows >= lane.limit:
            return False
        left = lane.items[0].arrival + delay - self._now()
        if left <= 0:
            return False
        self._loop.call_later(left, self._advance, lane)
        return True

    def _settling(self, lane: Lane) -> bool:
        """A long run waits for a tick that brings nothing new: requests that were sent together arrive over a few ticks."""
        if lane.alone:
            return False
        predicted = lane.version.cost.predict(min(lane.rows, lane.limit))
        if predicted < _SETTLE_FROM_S:
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
        while lane.items:
            batch = lane.take(self._now())
            if batch is not None:
                batch.started = self._now()
                execute(batch, version.model, self._now)
                batch.ended = self._now()
                self._deliver(batch)
                if batch.ended >= until:
                    break
        if lane.items and not lane.ready:
            self._look_at(lane)
        version.look_ahead()

    def _start(self, lane: Lane) -> None:
        version = lane.version
        batch = None
        while batch is None and lane.items:
            batch = lane.take(self._now())
        if batch is None:  # all of it was dead
            return
        self._watch([item for item in batch.items if not item.watched])
        if not version.resting:
            version.resting.append(self._start_runner(version.model, self._loop, self._now, self._finished))
            version.runners += version.resting
        batch.runner = version.resting.pop()
        batch.options = version.model.options()
        batch.started = self._now()
        version.begin(batch)
        self._running.add(batch)
        batch.runner.start(batch)
        version.look_ahead()

    def _finished(self, batch: Batch) -> None:
        """A run in a thread has ended."""
        version: Version = batch.version
        version.finish(batch)
        version.resting.append(batch.runner)
        self._running.discard(batch)
        self._deliver(batch)
        version.look_ahead()
        self._resume(version)

    def _resume(self, version: Version) -> None:
        """An instance is free: the lanes behind runs go on, the one whose first request waits longest first, until none is free."""
        while version.behind and not version.full:
            lane = version.next_behind()
            lane.grown = True
            self._advance(lane)

    def _deliver(self, batch: Batch) -> None:
        version: Version = batch.version
        if not batch.failed:
            version.cost.learn(batch.rows, batch.ended - batch.started)
        if self.let_go is not None:
            self.let_go(batch.items)
        for items, outputs in batch.groups:
            self._answer(batch, items, outputs)
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

    def _answer(self, batch: Batch, items: list[Item], outputs: Arrays) -> None:
        starts = starts_of(items, batch.rows if items is batch.items else sum([item.rows for item in items]))
        first = items[0].sink
        if all([item.sink is first and not item.done for item in items]):
            if items is batch.items:
                batch.alike = first
            self._hand_out(first, items, starts, outputs)
            return
        groups: dict[Sink, list[tuple[Item, int]]] = {}
        for item, start in zip(items, starts, strict=True):
            if not item.done:
                groups.setdefault(item.sink, []).append((item, start))
        for sink, pairs in groups.items():
            self._hand_out(sink, [item for item, _ in pairs], [start for _, start in pairs], outputs)

    @staticmethod
    def _hand_out(sink: Sink, items: list[Item], starts: Sequence[int], outputs: Arrays) -> None:
        """Answers that cannot be written are a fault of ours: it costs these callers an error, and nobody else anything."""
        try:
            sink.answer(items, starts, outputs)
        except Exception:
            _log.exception("answers failed")
            for item in items:
                sink.fail(item, Code.INTERNAL, "internal error")

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
