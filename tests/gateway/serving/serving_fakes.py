"""An event loop, a clock, a runner and a model that are moved by hand."""

from __future__ import annotations

import heapq
from collections import deque
from itertools import count

import numpy as np

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.admission import Budget
from gateway.serving.backlog import Backlog
from gateway.serving.batch import Batch, Item, execute
from gateway.serving.batching import Batcher
from gateway.serving.lane import Lane
from gateway.serving.model import RunFault, RunOptions
from gateway.serving.terms import terms_of
from gateway.serving.versions import Version
from registry.queueing import Queueing


def in_order(backlog: Backlog) -> list[Item]:
    """What is sorted there, level by level."""
    lines = [line for level in backlog._levels.values() for line in (level.fresh, level.late)]
    return [item for line in lines for flow in line._flows.values() for item in flow if item.line is line]


def waiting(lane: Lane) -> list[Item]:
    """All that waits in a lane."""
    return [*lane.arrived, *in_order(lane.backlog)]


POISON = 666.0  # a row with this value fails the run that holds it


class FakeHandle:
    def __init__(self) -> None:
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class FakeLoop:
    """Clock and loop: `tick` runs what was asked for soon, `advance` moves the time and fires what is due."""

    def __init__(self) -> None:
        self.time = 1_000.0
        self._soon: deque = deque()
        self._later: list = []
        self._order = count()

    def now(self) -> float:
        return self.time

    wall = now

    def call_soon(self, callback, *args) -> None:
        self._soon.append((callback, args))

    call_soon_threadsafe = call_soon

    def call_later(self, delay, callback, *args) -> FakeHandle:
        handle = FakeHandle()
        heapq.heappush(self._later, (self.time + delay, next(self._order), handle, callback, args))
        return handle

    def tick(self) -> None:
        """One iteration: only what waited when it began."""
        for _ in range(len(self._soon)):
            callback, args = self._soon.popleft()
            callback(*args)

    def settle(self) -> None:
        while self._soon:
            self.tick()

    def advance(self, seconds: float) -> None:
        until = self.time + seconds
        while self._later and self._later[0][0] <= until:
            at, _, handle, callback, args = heapq.heappop(self._later)
            self.time = max(self.time, at)
            if not handle.cancelled:
                callback(*args)
        self.time = max(self.time, until)  # a callback may have run a model for longer


class FakeModel:
    """Two outputs per row: the row's sum, and the row itself. `seconds` says what a run takes by the loop's clock."""

    def __init__(self, loop: FakeLoop, *, max_batch_size: int = 8, per_run_s: float = 1e-5, per_row_s: float = 1e-6) -> None:
        spec = TensorSpec("x", "FP32", (-1, -1))
        outputs = (TensorSpec("sum", "FP32", (-1,)), TensorSpec("x", "FP32", (-1, -1)))
        self.signature = Signature("m", (spec,), outputs, max_batch_size)
        self.loop = loop
        self.per_run_s, self.per_row_s = per_run_s, per_row_s
        self.batches: list[int] = []
        self.never_inline = False
        self.quarantine = None
        self.options = RunOptions

    def zeros(self, rows: int):
        return [np.zeros((rows, 1), np.float32)]

    def run(self, arrays, options=None):
        (x,) = arrays
        x = x.reshape(1, -1) if x.ndim == 1 else x
        self.batches.append(len(x))
        self.loop.time += self.per_run_s + self.per_row_s * len(x)
        if (x == POISON).any():
            raise RunFault(Code.INVALID_ARGUMENT, "poison")
        return [x.sum(axis=1), x.copy()]


class FakeRunner:
    """Runs in a thread: one ends when the test says so, and before it what passes it between two of its runs."""

    def __init__(self, model, loop, now, done) -> None:
        self.model, self.loop, self.now, self.done = model, loop, now, done
        self.batches: list[Batch] = []

    @property
    def batch(self) -> Batch | None:
        return next((batch for batch in self.batches if batch is not batch.version.splitting), self.batches[0] if self.batches else None)

    def start(self, batch: Batch) -> None:
        for other in self.batches:
            split = [each for each in (other, batch) if each is each.version.splitting]
            assert 1 == len(split), "one run at a time, and one request of many"
        self.batches.append(batch)

    def finish(self) -> None:
        batch = self.batch
        self.batches.remove(batch)
        batch.started = self.now()
        execute(batch, self.model, self.now)
        batch.ended = self.now()
        self.loop.call_soon_threadsafe(self.done, batch)

    def stop(self) -> None:
        pass


class FakeCaller:
    """Who asked: keeps every answer, to show that there is exactly one."""

    def __init__(self, rows: np.ndarray) -> None:
        self.rows = rows
        self.cancelled = False
        self.answers: list = []


class FakeSink:
    protocol = 0

    def answer(self, items, starts, outputs) -> None:
        for item, start in zip(items, starts, strict=True):
            item.caller.answers.append([output[start : start + item.rows] for output in outputs])

    def fail(self, item, code, message) -> None:
        item.caller.answers.append(code)


class Counts:
    """The observer: how many requests ended in which way."""

    def __init__(self) -> None:
        self.ended = 0

    def batch_done(self, batch) -> None:
        self.ended += len(batch.items)

    def dropped(self, version, item, code) -> None:
        self.ended += 1


class Bench:
    """A batcher with one version, and the verbs of a test."""

    def __init__(
        self,
        *,
        threaded: bool = False,
        limits: ServingLimits | None = None,
        instances: int = 1,
        queueing: Queueing | None = None,
        **model,
    ) -> None:
        self.loop = FakeLoop()
        self.limits = limits or ServingLimits()
        self.counts = Counts()
        self.runners: list[FakeRunner] = []
        self.batcher = Batcher(
            Budget(self.limits), loop=self.loop, clock=self.loop, observer=self.counts, inline_max_s=250e-6, start_runner=self._runner
        )
        self.batcher.answered = lambda: None
        self.model = FakeModel(self.loop, **model)
        self.version = Version(1, self.model, self.limits, release=self.batcher.release, instances=instances, queueing=queueing)
        self.version.threaded = threaded
        self.sinks = [FakeSink(), FakeSink()]

    def _runner(self, *args) -> FakeRunner:
        self.runners.append(FakeRunner(*args))
        return self.runners[-1]

    def submit(self, rows: np.ndarray, *, timeout_s: float = 10.0, sink: int = 0, tenant: str = "", **parameters: int):
        """(caller, rejection or None) of a request with these rows [rows, features]; `parameters`: priority, timeout [us]."""
        item = Item()
        item.caller = FakeCaller(rows)
        item.sink = self.sinks[sink]
        item.id = b""
        data = rows.astype("<f4").tobytes()
        item.data, item.rows, item.size = (data,), len(rows), len(data)
        item.arrival = self.loop.now()
        item.deadline = item.arrival + timeout_s
        terms = terms_of(parameters, self.version.queueing)
        if terms is not None:
            terms.hold(item, float("inf"), item.deadline)
        if tenant:
            item.tenant = tenant
        shapes = (rows.shape[1:],) if self.model.signature.max_batch_size else (rows.shape,)
        return item.caller, self.batcher.submit(self.version.lane(shapes, alone=not len(rows)), item)

    def finish_run(self) -> None:
        for runner in self.runners:
            if runner.batch is not None:
                runner.finish()

    def drain(self) -> None:
        """Work everything off."""
        for _ in range(10_000):
            self.loop.settle()
            if not any(runner.batch for runner in self.runners) and not self.version.waiting_rows:
                return
            self.finish_run()
        raise AssertionError("work does not end")
