"""Where batches go after their answers are out: into the block of their version, on the event loop or in a thread beside it.

Small batches are gathered for up to a tick and counted as one. Wide ones go to a thread, one after the other, and so do those of the same
version that come meanwhile: a block has one writer at a time. Nothing is dropped: past a bound of waiting bytes, the event loop waits until
there is room for one more. A process that dies takes what it has gathered with it.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TYPE_CHECKING

import numpy as np

from gateway.drift.gathered import Gathered, joined
from gateway.drift.layout import BATCHES, ROWS
from gateway.drift.learned import Learner
from gateway.drift.segments import SegmentsOf
from gateway.errors import Code
from gateway.serving.batch import Batch, Item
from gateway.serving.batching import Observer
from gateway.serving.versions import Version
from registry.niceness import give_way
from registry.schema import Schema

if TYPE_CHECKING:
    from gateway.drift.entrance import Entrance
    from gateway.drift.recorder import Recorder

_log = logging.getLogger(__name__)
INLINE_VALUES = 32_768  # of a batch that are counted on the event loop: 0.2 ms at 6 ns each
MAX_WAITING_BYTES = 64 << 20
TICK_S = 0.1  # for which batches are gathered at most
SMALL_BYTES = 128 << 10  # of requests in a batch that is gathered: texts may be long
_END_S = 30.0

Arrays = Sequence[np.ndarray]
Job = Callable[[], None]
Later = Callable[[float, Job], object]  # asyncio's `call_later`


class Aside:
    """A thread for what would hold up the event loop. Started by the first job."""

    def __init__(self) -> None:
        self.waiting_bytes = 0
        self._queue: SimpleQueue[tuple[Job, int] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._less = threading.Condition()
        self._wanted = 0  # bytes that somebody waits to put

    def put(self, job: Job, size: int) -> None:
        """Do it after all that was put before. `size`: bytes that it holds meanwhile."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="drift", daemon=True)
            self._thread.start()
        with self._less:
            self.waiting_bytes += size
        self._queue.put((job, size))

    def make_room(self, size: int) -> None:
        """Wait until so many bytes may wait, too, or nothing does."""
        with self._less:
            self._wanted = size
            while not self._fits():
                self._less.wait()
            self._wanted = 0
            self._less.notify()

    def _fits(self) -> bool:
        return not self.waiting_bytes or self.waiting_bytes + self._wanted <= MAX_WAITING_BYTES

    def settle(self, timeout_s: float) -> bool:
        """Return when everything is done that was put so far, or time is up: whether it is done."""
        done = threading.Event()
        self.put(done.set, 0)
        return done.wait(timeout_s)

    def _work(self) -> None:
        give_way()  # the event loop may share its core
        while (entry := self._queue.get()) is not None:
            job, size = entry
            try:
                job()
            except Exception:  # a fault of ours costs this batch's counts
                _log.exception("counting failed")
            with self._less:
                self.waiting_bytes -= size
                while self._wanted and self._fits():  # sleep: on a common core, who waits for room would not run for another 4 ms
                    self._less.notify()
                    self._less.wait()


class Tick:
    """Counts what was gathered, a tick after the first of it. Of one event loop."""

    def __init__(self, later: Later) -> None:
        self._later = later
        self._watches: list[Watch] = []

    def add(self, watch: Watch) -> None:
        """Count what it has gathered by then."""
        self._watches.append(watch)
        if len(self._watches) == 1:
            self._later(TICK_S, self.end)

    def end(self) -> None:
        """Count everything now."""
        watches, self._watches = self._watches, []
        for watch in watches:
            try:
                watch.let_go()
            except Exception:  # a fault of ours costs counts, never answers
                _log.exception("counting failed")


class Watch:
    """What is kept of one version by one worker."""

    def __init__(
        self,
        head: np.ndarray,
        aside: Aside,
        *,
        recorder: Recorder | None = None,
        learner: Learner | None = None,
        entrance: Entrance | None = None,
        schema: Schema | None = None,
        segments_of: SegmentsOf | None = None,
        tick: Tick | None = None,
        room: int = 0,
    ) -> None:
        """`head` of the block. `recorder` counts by a profile, `learner` keeps rows until there is one, `entrance` holds values against
        the contract in `schema`. `segments_of(items, inputs)`: the segment of each row, where traffic is divided. `tick` counts what is
        gathered: small batches, up to `room` rows.
        """
        self.ticking = False  # the end of the tick will flush
        self._tick = tick if recorder is not None and room else None
        self._gathered = Gathered(room)
        self.schema, self._segments_of = schema, segments_of
        self._head = head
        self._recorder, self._learner, self._entrance = recorder, learner, entrance
        self._aside = aside
        self._lock = threading.Lock()
        self._pending = 0  # batches that wait for the thread or are counted there
        self._writing = threading.Lock()  # held by the thread while it counts
        self._ended = False

    @property
    def entrance(self) -> Entrance | None:
        """The contract at work, if the version has one."""
        return self._entrance

    @property
    def counting(self) -> bool:
        """Whether anything that was served is not counted yet."""
        return bool(self._pending or self._gathered.rows)

    def served(self, batch: Batch) -> None:
        """Count a batch whose answers are out, or see to it that it is counted."""
        tick = self._tick if batch.size <= SMALL_BYTES else None
        for (items, outputs), inputs in zip(batch.groups, batch.inputs, strict=True):
            if tick is None or not self._gather(tick, items, inputs, outputs):
                self._see_to(items, inputs, outputs)

    def flush(self) -> None:
        """Count what is gathered."""
        batches = self._gathered.take()
        if not batches:
            return
        whole = joined(batches, with_items=self._segments_of is not None)
        if whole is not None:
            self._see_to(*whole, batches=len(batches))
            return
        for batch in batches:
            self._see_to(*batch)

    def let_go(self) -> None:
        """The tick has ended."""
        self.ticking = False
        self.flush()

    def _gather(self, tick: Tick, items: Sequence[Item], inputs: Arrays, outputs: Arrays) -> bool:
        gathered, rows = self._gathered, len(inputs[0])
        if 2 * rows > gathered.room:
            return False
        if gathered.rows + rows > gathered.room:
            self.flush()
        gathered.add(items if self._segments_of is not None else (), inputs, outputs)
        if not self.ticking:
            self.ticking = True
            tick.add(self)
        return True

    def _see_to(self, items: Sequence[Item], inputs: Arrays, outputs: Arrays, batches: int = 1) -> None:
        values = sum([array.size for array in inputs]) + sum([array.size for array in outputs])
        if not self._pending and values <= INLINE_VALUES:
            self._count(items, inputs, outputs, batches)
        else:
            self._later(items, inputs, outputs, batches)

    def _later(self, items: Sequence[Item], inputs: Arrays, outputs: Arrays, batches: int) -> None:
        size = sum([array.nbytes for array in (*inputs, *outputs)])
        self._aside.make_room(size)
        with self._lock:
            self._pending += 1

        def job() -> None:
            try:
                with self._writing:
                    if not self._ended:
                        self._count(items, inputs, outputs, batches)
            finally:
                with self._lock:
                    self._pending -= 1

        self._aside.put(job, size)

    def end(self) -> None:
        """Return when nothing is written any more: the block may be somebody else's afterwards. Blocks; batches have ended to come, and
        none is gathered."""
        if not self._aside.settle(_END_S):
            _log.error("batches are not counted: the thread that counts them is late")
        with self._writing:
            self._ended = True

    def _count(self, items: Sequence[Item], inputs: Arrays, outputs: Arrays, batches: int) -> None:
        if self._recorder is not None:
            self._recorder.record(inputs, outputs, self._segments_of(items, inputs) if self._segments_of is not None else None)
            self._head[BATCHES] += batches - 1
        else:
            if self._learner is not None and not self._learner.full:
                self._learner.keep(inputs, outputs)
            self._head[ROWS] += len(inputs[0])
            self._head[BATCHES] += 1
        if self._entrance is not None:
            self._entrance.count(inputs)


class Watching:
    """`batching.Observer` that tells versions' watches of their batches, after `inner`."""

    def __init__(self, inner: Observer) -> None:
        self._inner = inner

    def batch_done(self, batch: Batch) -> None:
        """A batch was answered."""
        self._inner.batch_done(batch)
        watch = batch.version.watch
        if watch is not None:
            try:
                watch.served(batch)
            except Exception:  # a fault of ours costs counts, never answers
                _log.exception("counting failed: %s/%d", batch.version.name, batch.version.number)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        """A queued request ended without a run."""
        self._inner.dropped(version, item, code)
