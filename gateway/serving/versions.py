"""A loaded version and its lanes: what waits for it, how, and what its runs cost."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.protocol.tensors import DATATYPES, Signature
from gateway.serving.admission import EXPIRED
from gateway.serving.backlog import Backlog
from gateway.serving.batch import Batch, Door, Item
from gateway.serving.cost import Cost
from gateway.serving.crowding import who_yields
from gateway.serving.fair import Ledger, Weight, alike
from gateway.serving.holdings import Holdings
from gateway.serving.lane import Lane, Shapes
from gateway.serving.model import RunFault, Runnable
from gateway.serving.runner import Runner
from gateway.serving.sessions import Placement
from gateway.serving.terms import Segmenting
from registry.queueing import Queueing

_CROWDED_MAX = 1_024
_LANES_MAX = 256  # row shapes of one version that are remembered; idle ones go first
_WARM_RUNS = 3
_BULK_FROM_S = 250e-6  # that the runs of one request take together
_ANYWHERE = Placement()

Release = Callable[["Version", Item, Code], None]


@dataclass(frozen=True, slots=True)
class Description:
    """What is told of a version beside its signature."""

    configuration: bytes | None = None  # its config.pbtxt, as a `ModelConfig`
    parameters: Mapping[str, str] = field(default_factory=dict)  # the model's own
    placement: Placement = _ANYWHERE  # where it runs


class Version:
    """One loaded version of a model, as the batcher sees it."""

    def __init__(
        self,
        number: int,
        model: Runnable,
        limits: ServingLimits,
        *,
        release: Release,
        joins: bool = True,
        instances: int = 1,
        queueing: Queueing | None = None,
        weight: Weight = alike,
    ) -> None:
        """`release(version, item, code)` is called for items that leave a lane without a run. `joins`: requests may share a run.
        `instances`: threads that may call the model's `run` at once.

        `weight(tenant)`: its share of the queue, against others.
        """
        self.name = model.signature.model
        self.number = number
        self.model = model
        self.signature: Signature = model.signature
        self.cost = Cost()
        self._max_batch_bytes = limits.max_batch_bytes
        self.max_output_bytes = limits.max_output_bytes
        self.max_rows = max(limits.max_queue_rows, self.signature.max_batch_size)
        self.max_delay_s = 0.0
        self.joins = joins
        self.queueing = queueing or Queueing()
        self._bounded = self.queueing.bounded
        self.description = Description()
        self.segmenting: Segmenting | None = None  # where requests are counted apart by a parameter
        self.door: Door | None = None  # for models whose contract refuses requests
        self.watch: Any = None  # what is told of its batches beside the counters: `gateway.drift.watching.Watch`
        self.shadow: Any = None  # what is told of its batches while another version runs them too: `gateway.rollout.shadow.Shadow`
        self.capture: Any = None  # what logs its requests: `gateway.capture.recorder.Capture`
        self.rollout: Any = None  # what is told of its batches while it is an arm: `gateway.rollout.recorder.Recorder`
        self.waiting_rows = 0
        self.waiting_bytes = 0
        self.holdings = Holdings()  # of what waits in lanes, where it is sorted
        self.bulk_holdings = Holdings()
        self.weight = weight
        self._ledgers: dict[int, Ledger] = {}
        self.crowded: set[tuple[str, int, int, int]] = set()  # tenant, level, rows and bytes of what is refused until something leaves
        self.large_rows = 0  # of these rows, those of one request above the bound, which must not crowd out its neighbours
        self.horizon_s = math.inf if self._bounded else 0.0  # a deadline nearer than this is looked at closely
        self.closed = False
        self.threaded = model.never_inline
        self.instances = instances
        self.running: list[Batch] = []  # in threads, the oldest first
        self.full = False  # as many as there are instances
        self.behind: set[Lane] = set()  # lanes that wait for a run to end; nobody else looks at them
        self.runners: list[Runner] = []  # at most one an instance, made when they are first needed
        self.resting: list[Runner] = []  # of these, those that have nothing to run
        self.bulk = Backlog(self.ledger)  # requests of many runs each
        self.splitting: Batch | None = None  # one of them; what takes one run goes between two of its own
        self.release = release
        self._lanes: dict[tuple[Shapes, bool], Lane] = {}

    def batch_limit(self, shapes: Shapes) -> int:
        """Rows of one run, for rows of these shapes."""
        sizes = (DATATYPES[spec.datatype].itemsize or 1 for spec in self.signature.inputs)
        row_bytes = sum(size * math.prod(shape) for size, shape in zip(sizes, shapes, strict=True))
        return max(1, min(self.signature.max_batch_size, self._max_batch_bytes // max(row_bytes, 1)))

    def close(self) -> None:
        """Take nothing more; what waits is still answered."""
        self.closed = True
        self.max_rows = -1

    @property
    def idle(self) -> bool:
        """Nothing of it waits, runs, or is yet to be counted or answered."""
        busy = self.running or self.splitting or self.bulk.count or (self.watch is not None and self.watch.counting)
        held = self.capture is not None and self.capture.holding
        return not busy and not held and not any(lane.waits for lane in self._lanes.values())

    def end(self) -> None:
        """It is closed and idle: give its threads, processes and memory back. Blocks. Lanes refer to their version, so they go first."""
        self._lanes.clear()
        for runner in self.runners:
            runner.stop()
        self.model.close()

    def runner(self, start: Callable[[Version], Runner]) -> Runner:
        """One that has nothing to run, but maybe a request of many runs."""
        if not self.resting:
            self.resting.append(start(self))
            self.runners += self.resting
        return self.resting.pop()

    def shared_runner(self, start: Callable[[Version], Runner]) -> Runner:
        """One for a request of many runs: the last that others will take, who then go between two of them."""
        if not self.runners:
            self.resting.append(self.runner(start))
        return (self.resting or self.runners)[0]

    def begin(self, batch: Batch) -> None:
        """A run of it goes to a thread."""
        self.running.append(batch)
        self.full = len(self.running) >= self.instances

    def finish(self, batch: Batch) -> None:
        """That run has ended."""
        self.running.remove(batch)
        self.full = False

    def free_in(self, now: float) -> float:
        """Seconds until one more run can begin, by the learned cost of those that are under way."""
        return max(min([self.cost.predict(batch.rows) - (now - batch.started) for batch in self.running]), 0.0) if self.full else 0.0

    def lane(self, shapes: Shapes, *, alone: bool = False) -> Lane:
        """The lane of a row shape; `alone` for requests without rows, which share no batch."""
        alone = alone or not self.joins
        lane = self._lanes.get((shapes, alone))
        if lane is None:
            if len(self._lanes) >= _LANES_MAX:
                self._lanes = {key: lane for key, lane in self._lanes.items() if lane.waits or lane.ready}
            lane = self._lanes[shapes, alone] = Lane(self, shapes, alone=alone)
        return lane

    def ledger(self, level: int) -> Ledger:
        """What tenants were given at a level."""
        found = self._ledgers.get(level)
        if found is None:
            found = self._ledgers[level] = Ledger(self.weight)
        return found

    def is_bulk(self, rows: int, limit: int) -> bool:
        """Whether a request takes so many runs that others go in between."""
        if rows <= limit or not self.signature.max_batch_size:
            return False
        return self.threaded or rows > self.max_rows or self.cost.drain_time(rows, limit) > _BULK_FROM_S

    def take_bulk(self, now: float) -> Batch | None:
        """The next request of many runs, as a batch of its own."""
        for line in self.bulk.lines(now):
            while (item := line.first()) is not None:
                self._leave_bulk(item)
                if item.done or item.caller.cancelled or item.deadline <= now:
                    self.drop(item)
                    continue
                lane: Lane = item.lane
                self.ledger(item.level).charge(item.tenant, self.cost.drain_time(item.rows, lane.limit))
                return Batch(self, lane.shapes, [item], item.rows, lane.limit)
        return None

    def left(self, item: Item) -> None:
        """One that was sorted waits no more."""
        self.crowded.clear()
        self.waiting_rows -= item.rows
        self.waiting_bytes -= item.size
        if item.rows > self.max_rows:
            self.large_rows = 0

    def drop(self, item: Item) -> None:
        """It is dead: answered already, or nobody waits for it, or its deadline has passed."""
        if item.done:
            self.release(self, item, Code.DEADLINE_EXCEEDED)
        elif item.caller.cancelled:
            self.release(self, item, Code.CANCELLED)
        else:
            item.sink.fail(item, Code.DEADLINE_EXCEEDED, EXPIRED)
            self.release(self, item, Code.DEADLINE_EXCEEDED)

    def sort(self) -> None:
        """It matters now whose requests wait, in all lanes."""
        for lane in self._lanes.values():
            if lane.arrived:
                lane.sort()

    def over(self, item: Item, max_bytes: int) -> dict[str, int]:
        """By how much a request that comes now would pass the bounds of the queue; empty where it passes none.

        One that is above the bounds by itself and meets an empty queue is split and run: size alone is no reason to refuse it.
        """
        most = self.queueing.policy(item.level).max_queue_size if self._bounded else 0
        found = {"requests": 0, "rows": 0, "bytes": 0}
        if most:
            self.sort()
            found["requests"] = self.holdings.requests(item.level) + self.bulk_holdings.requests(item.level) + 1 - most
        if self.waiting_rows:
            found["rows"] = self.waiting_rows + item.rows - self.large_rows - self.max_rows
            found["bytes"] = self.waiting_bytes + item.size - max_bytes
        return {measure: much for measure, much in found.items() if much > 0}

    def turns_away(self, item: Item) -> bool:
        """Whether the queue is full for such a request, as it was for the last one like it. Overload must be cheap."""
        return bool(self.crowded) and (item.tenant, item.level, item.rows, item.size) in self.crowded

    def has_room(self, item: Item, max_bytes: int) -> bool:
        """Whether a request fits the queue; if not, the next one like it need not ask until something has left."""
        if not self.over(item, max_bytes):
            return True
        if len(self.crowded) < _CROWDED_MAX:
            self.crowded.add((item.tenant, item.level, item.rows, item.size))
        return False

    def make_room(self, item: Item, max_bytes: int) -> list[Item]:
        """The requests that have left for one that comes now. It has to go itself where that is not enough."""
        evicted: list[Item] = []
        while over := self.over(item, max_bytes):
            self.sort()
            level = item.level if "requests" in over else max([*self.holdings.levels, *self.bulk_holdings.levels], default=item.level)
            parts = [holdings.levels.get(level, {}) for holdings in (self.holdings, self.bulk_holdings)]
            tenant = who_yields(item, level, parts, over, self.weight)
            if tenant is None:
                break
            evicted.append(self._evict(level, tenant))
        return evicted

    def _evict(self, level: int, tenant: str) -> Item:
        """The request of a tenant that would run last leaves."""
        places: list[Lane | None] = [None, *[lane for lane in self._lanes.values() if lane.backlog.count]]
        last = [(place, (place.backlog if place else self.bulk).last(level, tenant)) for place in places]
        place, item = max([(place, item) for place, item in last if item is not None], key=lambda pair: pair[1].arrival)
        if place is not None:
            place.leave(item)
        else:
            self._leave_bulk(item)
        return item

    def _leave_bulk(self, item: Item) -> None:
        self.bulk.remove(item)
        self.bulk_holdings.remove(item)
        self.left(item)

    def time_before(self, item: Item, now: float) -> float:
        """Seconds until a request that comes now has run, by the learned cost of all that runs no later."""
        self.sort()
        limit = self.signature.max_batch_size
        rows = self.holdings.rows_before(item, self.weight) + item.rows
        if self.is_bulk(item.rows, limit):
            rows += self.bulk_holdings.rows_before(item, self.weight)
        seconds = self.cost.drain_time(rows, limit)
        if self.splitting is not None or self.bulk.count:
            seconds *= 2  # runs of the two take turns
        return seconds / self.instances + self.free_in(now)

    def next_behind(self, now: float) -> Lane:
        """Take the lane out of `behind` whose first request is due first."""
        lane = min(self.behind, key=lambda lane: lane.turn(now)) if len(self.behind) > 1 else next(iter(self.behind))
        self.behind.remove(lane)
        return lane

    def warm(self, now: Callable[[], float]) -> None:
        """Run zeros of one row and of a full batch: allocates, and gives the cost model its first points.

        Zeros in dimensions of 1 are a guess. Where they are no input of this model, nothing is learned of it, so it never runs inline.
        """
        try:
            for rows in (1, self.batch_limit(tuple(array.shape[1:] for array in self.model.zeros(1)))):
                self._warm(rows, now)
        except RunFault:
            self.threaded = True
        self.look_ahead()

    def _warm(self, rows: int, now: Callable[[], float]) -> None:
        arrays = self.model.zeros(rows)
        for _ in range(_WARM_RUNS):
            started = now()
            self.model.run(arrays)
            took = now() - started
            if took > 1.0:
                break
        self.cost.learn(rows, took)

    def look_ahead(self) -> None:
        """Recompute how near a deadline must be to be looked at closely."""
        if not self._bounded:
            self.horizon_s = self.cost.drain_time(
                self.waiting_rows + 2 * (self.signature.max_batch_size or 1), self.signature.max_batch_size
            )
