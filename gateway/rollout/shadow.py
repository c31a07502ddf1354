"""A candidate that runs what stable was asked, after stable's answers are out. Nothing that it does can change anything for a caller.

The event loop leaves references to what it served in a queue that is bounded in bytes and batches, and drops what has no place there, with
the reason counted. A thread takes all that has gathered, runs it in the candidate's process, and rests in proportion to the processor time
that both have used. Records and counts come back to the event loop, so that they have one writer.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from gateway.observe.slabs import CANDIDATE_FAILED, CANDIDATE_SLOW, CAPACITY, CROWDED, OVER_BYTES, QPS, QUEUE_FULL
from gateway.protocol.tensors import Signature
from gateway.rollout.copies import Copy, copies_of, size_of
from gateway.rollout.crowd import Crowd
from gateway.rollout.mirror import Found, Mirror
from gateway.rollout.usage import Usage
from gateway.serving.batch import Batch
from gateway.serving.deadlines import Loop

_log = logging.getLogger(__name__)
TICK_S = 0.02  # for which copies gather before they run: what a run costs beside computing is then shared by many
STARVED = 0.9  # of the time that the candidate's process wanted, waiting for a core: others need it
LEAST_WAIT_S = 0.01  # that says anything
PAUSE_S, LONGEST_PAUSE_S = 0.25, 4.0  # for which a starved one leaves off; doubles
SLOW_S = 1.0  # that a set of copies may run before what finds no place is said to be the candidate's fault


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of what one shadow holds and uses in one worker."""

    bytes: int = 32 << 20  # of copies that wait or run
    batches: int = 8_192  # of stable's
    share: float = 0.3  # of a core, by the candidate's process and the thread that feeds it


class Shadow:
    """One candidate beside one stable version, in one worker. Everything but `turn` is called on the event loop."""

    def __init__(
        self, signature: Signature, mirror: Mirror, crowd: Crowd, bounds: Bounds, *,
        loop: Loop, now: Callable[[], float], usage: Callable[[], Usage], wait_s: Callable[[], float],
        counts: np.ndarray, emit: Callable[[np.ndarray], None],
    ) -> None:  # fmt: skip
        """`signature` of stable. `wait_s()`: seconds until the candidate may have a process again. `counts`: `Slab.shadow` of the
        candidate. `emit(records)` gets pairs."""
        self._signature, self._mirror, self._crowd, self._bounds = signature, mirror, crowd, bounds
        self._loop, self._now, self._usage, self._wait_s = loop, now, usage, wait_s
        self._counts, self._emit = counts.data, emit
        self._queue: deque[Copy] = deque()
        self._put = 0  # bytes that ever were put; written here
        self._taken = 0  # and that are held no more; written by the thread
        self._began_s = np.inf  # of the set of copies that runs
        self._resting_s = -np.inf  # until then
        self._shut_s, self._why = -np.inf, QPS  # until then everything is dropped, and for which reason
        self._pause_s = PAUSE_S
        self._full = self._starved = False  # since the last set of copies something found no place; it got no core
        self._some, self._over = threading.Event(), threading.Event()

    # --- the event loop --------------------------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Start the thread."""
        self._crowd.begin()
        threading.Thread(target=self._work, name="shadow", daemon=True).start()

    def served(self, batch: Batch) -> None:
        """Remember a batch whose answers are out, or drop it."""
        if self._crowd.crowded:
            self._counts[CROWDED] += len(batch.items)
        elif batch.ended < self._shut_s:
            self._counts[self._why] += len(batch.items)
        else:
            self._remember(batch, size_of(batch))

    def end(self) -> None:
        """Nothing is run, counted or recorded any more. A run that is under way is stopped, and not waited for."""
        self._over.set()
        self._some.set()
        self._crowd.end()
        self._mirror.stop()

    def _remember(self, batch: Batch, size: int) -> None:
        queue, bounds = self._queue, self._bounds
        if size > bounds.bytes:
            self._counts[OVER_BYTES] += len(batch.items)
        elif self._put - self._taken + size > bounds.bytes or len(queue) >= bounds.batches:
            self._counts[self._reason(batch.ended)] += len(batch.items)
            self._full = True
        else:
            first = not queue
            for copy in copies_of(batch, self._signature):
                self._put += copy.size
                queue.append(copy)
            if first:
                self._some.set()

    def _reason(self, now_s: float) -> int:
        """Why there is no place."""
        if self._starved:
            return CROWDED
        if now_s - self._began_s > SLOW_S:
            return CANDIDATE_SLOW
        return CAPACITY if now_s < self._resting_s else QUEUE_FULL

    def _told(self, found: Found) -> None:
        if self._over.is_set():
            return
        for outcome, count in enumerate(found.counts):
            self._counts[outcome] += count
        for records in found.records:
            self._emit(records)

    # --- the thread ------------------------------------------------------------------------------------------------------------

    def turn(self) -> float:
        """Run what has gathered; returns for how many seconds to rest afterwards. Blocks."""
        copies = [self._queue.popleft() for _ in range(len(self._queue))]
        self._began_s = began_s = self._now()
        before = self._usage()
        found = self._run(copies)
        self._taken += sum([copy.size for copy in copies])
        ended_s, self._began_s = self._now(), np.inf
        used = self._usage().since(before)
        self._shut(ended_s, used)
        rest_s = used.ran_s / self._bounds.share - (ended_s - began_s)
        self._resting_s = ended_s + max(rest_s, 0.0)
        self._loop.call_soon_threadsafe(self._told, found)
        return max(rest_s, TICK_S)

    def _run(self, copies: list[Copy]) -> Found:
        try:
            return self._mirror.run(copies)
        except Exception:  # a fault of ours costs pairs, never answers
            _log.exception("shadow failed")
            found = Found()
            found.counts[CANDIDATE_FAILED] = sum([len(copy.units) for copy in copies])
            return found

    def _shut(self, now_s: float, used: Usage) -> None:
        """What could not be run anyway need not be remembered. Who waits for a core most of the time, and keeps up all the same, runs
        in what others leave."""
        self._starved = used.waited_s > LEAST_WAIT_S and used.waited_s > STARVED * (used.waited_s + used.ran_s)
        starved, self._full = self._starved and self._full, False
        reasons = (
            (self._wait_s(), CANDIDATE_FAILED), (self._pause_s if starved else 0.0, CROWDED), (self._mirror.limiter.wait_s, QPS)
        )  # fmt: skip
        self._pause_s = min(2 * self._pause_s, LONGEST_PAUSE_S) if starved else PAUSE_S
        for pause_s, why in reasons:
            if pause_s > 0:
                self._shut_s, self._why = now_s + pause_s, why
                return

    def _work(self) -> None:
        rest_s = TICK_S
        while not self._over.wait(rest_s):
            self._some.wait()
            self._some.clear()
            if self._over.is_set():
                return
            try:
                rest_s = self.turn()
            except RuntimeError:  # the loop is closed: the worker ends
                return
