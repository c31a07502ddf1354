"""A loaded version and its lanes: what waits for it, what its runs cost."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.protocol.tensors import DATATYPES, Signature
from gateway.serving.admission import EXPIRED
from gateway.serving.batch import Batch, Item
from gateway.serving.cost import Cost
from gateway.serving.model import RunFault, Runnable
from gateway.serving.runner import Runner
from gateway.serving.sessions import Placement

_LANES_MAX = 256  # row shapes of one version that are remembered; idle ones go first
_WARM_RUNS = 3
_ANYWHERE = Placement()

Shapes = tuple[tuple[int, ...], ...]
Release = Callable[["Version", Item, Code], None]


class Lane:
    """Requests of one row shape, in order of arrival."""

    __slots__ = ("alone", "grown", "items", "limit", "ready", "rows", "settling_since", "shapes", "version")

    def __init__(self, version: Version, shapes: Shapes, *, alone: bool) -> None:
        """`alone`: for requests each of which is a batch of its own, because they have no rows or their version joins none."""
        self.version = version
        self.alone = alone
        self.shapes = shapes
        self.items: deque[Item] = deque()
        self.rows = 0
        self.limit = version.batch_limit(shapes)
        self.ready = False  # will be looked at when this tick ends
        self.grown = False  # got items since it was last looked at
        self.settling_since = 0.0

    def take(self, now: float) -> Batch | None:
        """The next batch, up to `limit` rows or one larger request alone; dead requests are dropped here, before compute."""
        version, queue, limit = self.version, self.items, self.limit
        fits = self.rows <= limit and not self.alone
        if fits and all([not item.done and item.deadline > now and not item.caller.cancelled for item in queue]):
            return self._take_all()
        items: list[Item] = []
        rows = taken = 0
        while queue and (not items or (not self.alone and rows + queue[0].rows <= limit)):
            item = queue.popleft()
            taken += item.rows
            version.waiting_bytes -= item.size
            if item.rows > version.max_rows:
                version.large_rows = 0
            if item.done:
                version.release(version, item, Code.DEADLINE_EXCEEDED)
            elif item.caller.cancelled:
                version.release(version, item, Code.CANCELLED)
            elif item.deadline <= now:
                item.sink.fail(item, Code.DEADLINE_EXCEEDED, EXPIRED)
                version.release(version, item, Code.DEADLINE_EXCEEDED)
            else:
                items.append(item)
                rows += item.rows
        self.rows -= taken
        version.waiting_rows -= taken
        return Batch(version, self.shapes, items, rows, limit) if items else None

    def unwatched(self) -> list[Item]:
        """What came since deadlines were last looked at, newest first: behind all that is watched."""
        fresh = []
        for item in reversed(self.items):
            if item.watched:
                break
            fresh.append(item)
        return fresh

    def _take_all(self) -> Batch | None:
        """Everything that waits, which is alive and fits one batch."""
        items, rows, version = list(self.items), self.rows, self.version
        self.items.clear()
        self.rows = 0
        version.waiting_rows -= rows
        if not items:
            return None
        batch = Batch(version, self.shapes, items, rows, self.limit)
        version.waiting_bytes -= batch.size
        return batch


@dataclass(frozen=True, slots=True)
class Description:
    """What is told of a version beside its signature."""

    configuration: bytes | None = None  # its config.pbtxt, as a `ModelConfig`
    parameters: Mapping[str, str] = field(default_factory=dict)  # the model's own
    placement: Placement = _ANYWHERE  # where it runs


class Version:
    """One loaded version of a model, as the batcher sees it."""

    def __init__(
        self, number: int, model: Runnable, limits: ServingLimits, *, release: Release, joins: bool = True, instances: int = 1
    ) -> None:
        """`release(version, item, code)` is called for items that leave a lane without a run. `joins`: requests may share a run.
        `instances`: threads that may call the model's `run` at once."""
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
        self.description = Description()
        self.waiting_rows = 0
        self.waiting_bytes = 0
        self.large_rows = 0  # of these rows, those of one request above the bound, which must not crowd out its neighbours
        self.horizon_s = 0.0  # a deadline nearer than this is looked at closely
        self.closed = False
        self.threaded = model.never_inline
        self.instances = instances
        self.running: list[Batch] = []  # in threads, the oldest first
        self.full = False  # as many as there are instances
        self.behind: set[Lane] = set()  # lanes that wait for a run to end; nobody else looks at them
        self.runners: list[Runner] = []  # at most one an instance, made when they are first needed
        self.resting: list[Runner] = []  # of these, those that have nothing to run
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
        """Nothing of it waits or runs."""
        return not self.running and not any(lane.items for lane in self._lanes.values())

    def end(self) -> None:
        """It is closed and idle: give its threads, processes and memory back. Blocks. Lanes refer to their version, so they go first."""
        self._lanes.clear()
        for runner in self.runners:
            runner.stop()
        self.model.close()

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
                self._lanes = {key: lane for key, lane in self._lanes.items() if lane.items or lane.ready}
            lane = self._lanes[shapes, alone] = Lane(self, shapes, alone=alone)
        return lane

    def next_behind(self) -> Lane:
        """Take the lane out of `behind` whose first request waits longest."""
        lane = min(self.behind, key=lambda lane: lane.items[0].arrival)
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
        self.horizon_s = self.cost.drain_time(self.waiting_rows + 2 * (self.signature.max_batch_size or 1), self.signature.max_batch_size)
