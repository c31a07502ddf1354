"""Logs the requests of one version in one worker: sampled, gathered and counted as accepted on the event loop, once a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gateway.capture.draws import Draws
from gateway.capture.gathered import Gathered, Layout
from gateway.capture.parcels import Parcel, Words, accept, promise
from gateway.capture.shape import CANARY, FALLBACK, FORCED, PLAIN, Shape
from gateway.capture.writer import Writer
from gateway.errors import Code
from gateway.observe.metrics import outcomes
from gateway.rollout.recorder import Recorder
from gateway.serving.batch import Batch, Item, starts_of
from gateway.serving.model import Arrays
from gateway.serving.splits import STABLE, UNASSIGNED
from gateway.serving.versions import Version
from kernels.request_ids import TEXT_BYTES, identify
from registry.log_ledger import ACCEPTED
from registry.log_rows import PAYLOAD

HELD = -1  # as `Batch.logged`
Violations = Callable[[Sequence[np.ndarray]], np.ndarray | None]


class Desk:
    """What all recorders of a worker share. `now` and `wall` in seconds; `later(recorder)` has it flushed soon."""

    def __init__(
        self, writer: Writer, later: Callable[[Capture], None], *,
        now: Callable[[], float], wall: Callable[[], float], rng: random.Random, tenants: bool, call: Callable[..., object],
    ) -> None:  # fmt: skip
        """`tenants`: callers have names; `call(function)`, from any thread: on the event loop."""
        self.writer, self.later, self.now, self.wall, self.rng = writer, later, now, wall, rng
        self.tenants, self.call = tenants, call
        self._counters = np.array([rng.getrandbits(64), rng.getrandbits(64)], np.uint64)  # of ids
        self._numbers = 0

    def identify(self, batch: Batch) -> None:
        """Give its requests the ids that answers tell and rows have."""
        count = len(batch.items)
        batch.ids, batch.names = np.empty((count, 16), np.uint8), np.empty((count, TEXT_BYTES), np.uint8)
        identify(batch.ids, batch.names, int(self.wall() * 1e3), self._counters)

    def number(self) -> int:
        """Of a contract: never given twice."""
        self._numbers += 1
        return self._numbers


class _End(NamedTuple):
    """A batch that has ended: when its answers left, and how each request ended, where not all are OK."""

    batch: Batch
    answered: float
    codes: dict[int, Code] | None
    places: dict[int, int] | None = None  # of each request in the batch, where its requests have ids


class Capture:
    """`versions.Version.capture`."""

    def __init__(
        self,
        version: Version,
        shape: Shape,
        draws: Draws,
        words: Words,
        desk: Desk,
        *,
        violations: Violations | None = None,
        tells: bool = False,
    ) -> None:
        """`violations(inputs)`: the rules that each row breaks, as bits, uint32 [rows]; None where no row does. `tells`: answers
        say under which ids they are logged."""
        self.ticking = False  # somebody will flush it
        self.holding = 0  # batches whose answers wait
        self._version, self._shape, self._draws, self._words, self._desk = version, shape, draws, words, desk
        self._violations, self._tells = violations, tells
        self._gathered = Gathered()
        self._inputs, self._outputs = [[column.place for column in columns] for columns in (shape.inputs, shape.outputs)]
        self._free = any(-1 in column.field.dims for column in shape.columns)
        self._rollout: Recorder | None = None
        self._arm = PLAIN if version.rollout is None or version.rollout.arm == STABLE else CANARY  # that promises are counted under
        self._contract = shape.contract(desk.number())

    def promise(self, batch: Batch) -> None:
        """Before its answers: a worker that is killed while they leave has lost its rows. Of a sample nobody knows yet which they are."""
        if self._tells:
            self._desk.identify(batch)
        if self._draws.whole:
            batch.logged = batch.rows
            promise(self._words, self._arm, batch.rows)

    def served(self, batch: Batch) -> None:
        """A batch whose answers are out, unless it was held."""
        if batch.logged < 0:
            return
        try:
            self._take(batch, batch.ended + batch.answering)
        finally:
            if batch.logged:
                promise(self._words, self._arm, -batch.logged)
        self._see()

    def hold(self, batch: Batch, then: Callable[[], None]) -> bool:
        """Before its answers: whether they wait, until `then` is called on the event loop."""
        batch.logged = HELD
        if self._tells:
            self._desk.identify(batch)
        self._take(batch, batch.ended)
        self.holding += 1
        held = self.flush(lambda: self._let_go(then))
        self.holding -= not held
        return held

    def ended(self, item: Item, code: Code) -> None:
        """A request that ended without a run."""
        self._follow()
        if self._chosen([item]):
            nothing = Batch(self._version, (), [], 0, 0)
            nothing.started = nothing.ended = now = self._desk.now()
            self._detail(_End(nothing, now, {id(item): code}), [item], 0)
            self._see()

    def flush(self, then: Callable[[], None] | None = None) -> bool:
        """Have everything written that is gathered. False where there is nothing, or it was dropped: then nobody calls `then`."""
        gathered, desk = self._gathered, self._desk
        if not gathered.arrivals:
            return False
        wall = desk.wall()
        try:
            pieces, rows = gathered.pieces(self._contract, self._shape.columns, since=wall - desk.now(), recorded=wall, rng=desk.rng)
        finally:
            gathered.clear()
        return desk.writer.put(Parcel(self._contract, pieces, rows, self._words, then))

    def _let_go(self, then: Callable[[], None]) -> None:
        """In the writer's thread."""
        self._desk.call(self._given, then)

    def _given(self, then: Callable[[], None]) -> None:
        self.holding -= 1
        then()

    def _see(self) -> None:
        if self._gathered.full:
            self.flush()
        elif not self.ticking and self._gathered.arrivals:
            self.ticking = True
            self._desk.later(self)

    def _follow(self) -> None:
        """The version may have become an arm of something, or none any more."""
        rollout: Recorder | None = self._version.rollout
        if rollout is not self._rollout:
            self.flush()
            self._rollout = rollout
            split, arm = (None, STABLE) if rollout is None else (rollout.split, rollout.arm)
            self._contract = self._shape.contract(self._desk.number(), split, arm)

    # --- batches -----------------------------------------------------------------------------------------------------------------

    def _take(self, batch: Batch, answered: float) -> None:
        if self._version.rollout is not self._rollout:
            self._follow()
        if self._rollout is None and batch.alike is not None and not batch.failed and batch.options is None:
            items = batch.items
            if len(items) == batch.rows and len(batch.groups) == 1:
                self._alike(batch, items, answered, batch.alike.protocol)
                return
        mixed = batch.failed or batch.options is not None or not batch.rows
        codes = {id(item): code for item, code in outcomes(batch)} if mixed else None
        places = None if batch.ids is None else {id(item): at for at, item in enumerate(batch.items)}
        end = _End(batch, answered, codes, places)
        for (items, outputs), inputs in zip(batch.groups, batch.inputs, strict=True):
            self._group(end, items, inputs, outputs)
        if batch.failed:
            failed = [item for item, _ in batch.failed]
            self._without(end, [failed[at] for at in self._chosen(failed)])

    def _alike(self, batch: Batch, items: list[Item], answered: float, protocol: int) -> None:
        """What most batches are: requests of one row each, all answered alike, of no rollout."""
        gathered, chosen = self._gathered, None
        if not self._draws.whole:
            chosen = self._draws.of(len(items))
            if not chosen:
                return
            items = [items[at] for at in chosen]
        inputs, outputs = batch.inputs[0], batch.groups[0][1]
        arrays = self._kept(inputs, outputs)
        if self._free:
            self._lay_out(arrays)
        self._words[ACCEPTED] += len(items)
        gathered.add(batch, items, answered, protocol, batch.ids if batch.ids is None or chosen is None else batch.ids[chosen])
        if self._desk.tenants:
            gathered.tenants += [item.tenant for item in items]
        size = batch.size + sum([output.nbytes for output in outputs])
        gathered.add_arrays(arrays, batch.rows, size, chosen, self._violations(inputs) if self._violations is not None else None)

    def _group(self, end: _End, items: list[Item], inputs: Arrays, outputs: Arrays) -> None:
        """Requests that ran together: those of the sample, with what was kept of them where they were answered."""
        chosen, codes = self._chosen(items), end.codes
        if codes is not None:
            self._without(end, [items[at] for at in chosen if codes[id(items[at])] or not items[at].rows])
            chosen = [at for at in chosen if not codes[id(items[at])] and items[at].rows]
        if not chosen:
            return
        arrays = self._kept(inputs, outputs)
        self._lay_out(arrays)
        rows = sum([item.rows for item in items])
        starts = starts_of(items, rows)
        picked = None if len(chosen) == len(items) else [row for at in chosen for row in range(starts[at], starts[at] + items[at].rows)]
        self._detail(end, [items[at] for at in chosen], PAYLOAD)
        size = sum([array.nbytes for array in arrays])
        self._gathered.add_arrays(arrays, rows, size, picked, self._violations(inputs) if self._violations is not None else None)

    def _kept(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        """Arrays [rows, ...] of the columns."""
        kept = [inputs[place] for place in self._inputs]
        if self._shape.batched:
            return kept + [outputs[place] for place in self._outputs]
        return kept + [outputs[place][None] for place in self._outputs]

    def _lay_out(self, arrays: Arrays) -> None:
        """A frame has arrays of one shape."""
        layout: Layout = tuple([array.shape[1:] for array in arrays])
        if layout != self._gathered.layout:
            if self._gathered.arrays:
                self.flush()
            self._gathered.layout = layout

    def _without(self, end: _End, items: list[Item]) -> None:
        """Requests that have nothing but how they ended."""
        if items:
            self._detail(end, items, 0)

    def _detail(self, end: _End, items: list[Item], flags: int) -> None:
        """Requests of which each is told by itself. From here on a row is in the log, or is counted as dropped."""
        details, count = self._gathered.detailed(), len(items)
        arms = self._arms(items)
        ids, places = end.batch.ids, end.places
        named = None if ids is None or places is None else ids[[places[id(item)] for item in items]]
        self._gathered.add_each(end.batch, items, end.answered, named=named)
        details.rows += [item.rows for item in items]
        details.codes += [0] * count if end.codes is None else [int(end.codes[id(item)]) for item in items]
        details.arms += arms
        details.protocols += [item.sink.protocol for item in items]
        details.flags += [flags] * count
        details.units += [item.unit for item in items]
        if self._desk.tenants:
            self._gathered.tenants += [item.tenant for item in items]
        for item, arm in zip(items, arms, strict=True):
            accept(self._words, arm, item.rows if flags else 1)

    def _arms(self, items: Sequence[Item]) -> list[int]:
        """Of each: by assignment, by wish, or in place of another one."""
        if self._rollout is None:
            return [PLAIN] * len(items)
        own = PLAIN if self._rollout.arm == STABLE else CANARY
        return [own if item.arm != UNASSIGNED else FALLBACK if item.fallback else FORCED for item in items]

    def _chosen(self, items: Sequence[Item]) -> Sequence[int]:
        if self._rollout is None:
            return self._draws.of(len(items))
        return self._draws.by_unit([item.unit for item in items])
