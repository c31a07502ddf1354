"""Logs the requests of one version in one worker: sampled, gathered and counted as accepted on the event loop, once a batch."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from gateway.capture.draws import Draws
from gateway.capture.gathered import Gathered, Layout, Run
from gateway.capture.parcels import Parcel, Words, count
from gateway.capture.shape import CANARY, FALLBACK, FORCED, PLAIN, Shape
from gateway.capture.writer import Writer
from gateway.errors import Code
from gateway.observe.metrics import outcomes
from gateway.rollout.recorder import Recorder
from gateway.serving.batch import Batch, Item, starts_of
from gateway.serving.model import Arrays
from gateway.serving.splits import STABLE, UNASSIGNED
from gateway.serving.versions import Version
from registry.log_ledger import ACCEPTED
from registry.log_rows import PAYLOAD

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
        self._numbers = 0

    def number(self) -> int:
        """Of a contract: never given twice."""
        self._numbers += 1
        return self._numbers


class _End(NamedTuple):
    """A batch that has ended: when its answers left, and how each request ended, where not all are OK."""

    batch: Batch
    answered: float
    codes: dict[int, Code] | None


class Capture:
    """`versions.Version.capture`."""

    def __init__(
        self, version: Version, shape: Shape, draws: Draws, words: Words, desk: Desk, *, violations: Violations | None = None
    ) -> None:
        """`violations(inputs)`: the rules that each row breaks, as bits, uint32 [rows]; None where no row does."""
        self.ticking = False  # somebody will flush it
        self.holding = 0  # batches whose answers wait
        self._version, self._shape, self._draws, self._words, self._desk = version, shape, draws, words, desk
        self._violations = violations
        self._gathered = Gathered()
        self._rollout: Recorder | None = None
        self._contract = shape.contract(desk.number())

    def served(self, batch: Batch) -> None:
        """A batch whose answers are out, unless it was held."""
        if not batch.logged:
            self._take(batch, batch.ended + batch.answering)
            self._see()

    def hold(self, batch: Batch, then: Callable[[], None]) -> bool:
        """Before its answers: whether they wait, until `then` is called on the event loop."""
        batch.logged = True
        self._take(batch, batch.ended)
        self.holding += 1
        held = self.flush(lambda: self._let_go(then))
        self.holding -= not held
        return held

    def ended(self, item: Item, protocol: int, code: Code) -> None:
        """A request that ended without a run."""
        self._follow()
        if self._chosen([item]):
            now = self._desk.now()
            self._without([item], [code], Run(1, now, now, now, 0.0, 0, item.rows, int(code), PLAIN, protocol, 0))
            self._see()

    def flush(self, then: Callable[[], None] | None = None) -> bool:
        """Have everything written that is gathered. False where there is nothing, or it was dropped: then nobody calls `then`."""
        gathered, desk = self._gathered, self._desk
        if not gathered.arrivals:
            return False
        wall = desk.wall()
        pieces, rows = gathered.pieces(self._contract, self._shape.columns, since=wall - desk.now(), recorded=wall, rng=desk.rng)
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
        self._follow()
        mixed = batch.failed or batch.options is not None or not batch.rows
        codes = {id(item): code for item, code in outcomes(batch)} if mixed else None
        for (items, outputs), inputs in zip(batch.groups, batch.inputs, strict=True):
            self._group(_End(batch, answered, codes), items, inputs, outputs)
        if batch.failed:
            failed = [item for item, _ in batch.failed]
            chosen = [failed[at] for at in self._chosen(failed)]
            assert codes is not None
            self._without(chosen, [codes[id(item)] for item in chosen], self._run(batch, chosen, answered))

    def _group(self, end: _End, items: list[Item], inputs: Arrays, outputs: Arrays) -> None:
        """Requests that ran together: those of the sample, with what was kept of them where they were answered."""
        batch, answered, codes = end
        chosen: Sequence[int] = range(len(items)) if self._draws.whole else self._chosen(items)
        if codes is not None:
            bad = [items[at] for at in chosen if codes[id(items[at])] or not items[at].rows]
            if bad:
                self._without(bad, [codes[id(item)] for item in bad], self._run(batch, bad, answered))
                chosen = [at for at in chosen if not codes[id(items[at])] and items[at].rows]
        if not chosen:
            return
        arrays = self._kept(inputs, outputs)
        violations = self._violations(inputs) if self._violations is not None else None
        if len(chosen) < len(items):
            rows = _rows_of(items, chosen)
            arrays = [array[rows] for array in arrays]
            violations = None if violations is None else violations[rows]
            items = [items[at] for at in chosen]
        self._gather(items, self._run(batch, items, answered, PAYLOAD), arrays, violations)

    def _kept(self, inputs: Arrays, outputs: Arrays) -> Arrays:
        """Arrays [rows, ...] of the columns."""
        shape = self._shape
        made = [outputs[column.place] for column in shape.outputs]
        return [*[inputs[column.place] for column in shape.inputs], *(made if shape.batched else [array[None] for array in made])]

    def _run(self, batch: Batch, items: list[Item], answered: float, flags: int = 0) -> Run:
        alike = batch.alike
        protocols = [item.sink.protocol for item in items] if alike is None else alike.protocol
        arms = self._arms(items)
        rows: list[int] | int = 1 if len(items) == batch.rows else [item.rows for item in items]
        return Run(
            len(items), batch.started, batch.ended, answered, batch.assembling, batch.rows, rows, 0, arms, protocols, flags
        )  # fmt: skip

    def _arms(self, items: Sequence[Item]) -> list[int] | int:
        """Of each: by assignment, by wish, or in place of another one."""
        if self._rollout is None:
            return PLAIN
        own = PLAIN if self._rollout.arm == STABLE else CANARY
        return [own if item.arm != UNASSIGNED else FALLBACK if item.fallback else FORCED for item in items]

    def _chosen(self, items: Sequence[Item]) -> Sequence[int]:
        if self._rollout is None:
            return self._draws.of(len(items))
        return self._draws.by_unit([item.unit for item in items])

    def _without(self, items: list[Item], codes: Sequence[Code], run: Run) -> None:
        """Requests that have nothing but how they ended."""
        if items:
            self._gather(items, run._replace(codes=[int(code) for code in codes], arms=self._arms(items)), [], None)

    def _gather(self, items: list[Item], run: Run, arrays: Arrays, violations: np.ndarray | None) -> None:
        gathered = self._gathered
        if run.flags & PAYLOAD:
            layout: Layout = tuple([array.shape[1:] for array in arrays])
            if layout != gathered.layout:
                if gathered.layout is not None:
                    self.flush()
                gathered.layout = layout
        self._accept(items, run)
        gathered.add(items, run, arrays, violations, units=self._rollout is not None, tenants=self._desk.tenants)
        if gathered.full:
            self.flush()

    def _accept(self, items: Sequence[Item], run: Run) -> None:
        """From here on it is either a row of the log, or counted as dropped."""
        if isinstance(run.arms, list):
            for item, arm in zip(items, run.arms, strict=True):
                count(self._words, arm, ACCEPTED, item.rows if run.flags & PAYLOAD else 1)
            return
        whole = run.flags & PAYLOAD and isinstance(run.rows, list)
        count(self._words, run.arms, ACCEPTED, sum(run.rows) if whole and isinstance(run.rows, list) else run.requests)


def _rows_of(items: Sequence[Item], chosen: Sequence[int]) -> np.ndarray:
    """The rows of some items."""
    rows = sum([item.rows for item in items])
    if rows == len(items):
        return np.array(chosen, np.intp)
    starts = starts_of(items, rows)
    return np.concatenate([np.arange(starts[at], starts[at] + items[at].rows) for at in chosen])
