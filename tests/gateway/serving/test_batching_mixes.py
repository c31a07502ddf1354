"""Every caller gets its own rows or its own error, once: over several versions, datatypes, failures, bounds and ends."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from random import Random
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.serving.admission import CLOSED, FULL, LATE, NO_MEMORY, TOO_LATE, Budget, Rejection
from gateway.serving.batch import Batch, Item
from gateway.serving.batching import Batcher
from gateway.serving.versions import Version
from tests import naive
from tests.gateway.serving.mixed_models import KINDS, MOODS, ROWS, TAG, TEXTS, WHOLE, MixedModel, built
from tests.gateway.serving.serving_fakes import FakeLoop, FakeRunner, FakeSink, in_order, waiting

BOUNDS = {
    "wide": ServingLimits(),
    "rows": ServingLimits(max_queue_rows=12),
    "bytes": ServingLimits(max_queue_bytes=160),
    "memory": ServingLimits(max_inflight_bytes=400),
    "small runs": ServingLimits(max_batch_bytes=24),
}
PACES = {"inline": (1e-5, 1e-6), "mixed": (1e-4, 5e-5), "thread": (2e-3, 1e-4)}  # seconds of a run, of a row


Step = tuple[Any, ...]


def script(seed: int, length: int) -> Iterator[Step]:
    """Steps of one test. A generator of our own makes every step of every script likely; hypothesis chooses, and shortens, scripts."""
    rng = Random(seed)
    poison = rng.choice([0.0, 0.02, 0.2])
    kinds = rng.sample(KINDS, rng.randint(1, len(KINDS)))
    closes = rng.random() < 0.3
    for _ in range(length):
        kind, roll = rng.choice(kinds), rng.random()
        if roll < 0.6:
            rows, features = rng.choice([0, 1, 1, 1, 1, 2, 3, 7, 8, 9, 20]), rng.choice([1, 1, 2, 5])
            timeout_s = rng.choice([0.0, 1e-4, 5e-3, 0.5, 10.0, 10.0, 10.0, 10.0])
            yield "submit", kind, rows, features, timeout_s, rng.random() < poison, rng.randint(0, 1)
        elif roll < 0.68:
            yield "cancel", rng.random()
        elif roll < 0.8:
            yield ("tick",)
        elif roll < 0.85:
            yield "advance", rng.choice([1e-4, 1e-4, 5e-3, 1.0])
        elif roll < 0.94:
            yield "finish", kind
        elif roll < 0.99:
            yield "mood", kind, rng.choice(["good", "good", "good", *MOODS])
        elif closes:
            yield "close", kind


@dataclass
class Caller:
    """One request and all that came back, with the times."""

    kind: str
    tag: int
    texts: list[list[str]]
    numbers: list[list[int]]
    item: Item
    cancelled: bool = False
    answers: list[object] = field(default_factory=list)
    times: list[float] = field(default_factory=list)

    def expected(self) -> tuple[object, object]:
        """Both outputs, by the oracle."""
        if self.kind == TEXTS:
            return naive.texts_answer(self.texts, self.numbers)
        return naive.rows_answer(self.numbers) if self.kind == ROWS else naive.whole_answer(self.numbers)


class Sink(FakeSink):
    """Notes when an answer came, and reads it at once: it may be a view of an array that is used again."""

    def __init__(self, loop: FakeLoop) -> None:
        self.loop = loop

    def answer(self, items, starts, outputs) -> None:
        for item, start in zip(items, starts, strict=True):
            whole = item.caller.kind == WHOLE
            rows = [output if whole else output[start : start + item.rows] for output in outputs]
            self.note(item, tuple(output.tolist() for output in rows))

    def fail(self, item, code, message) -> None:
        assert "/srv" not in message
        self.note(item, code)

    def note(self, item, answer) -> None:
        item.caller.answers.append(answer)
        item.caller.times.append(self.loop.now())


class Hall:
    """A batcher with a version of every kind of model, the requests of a test, and what must hold between any two steps."""

    def __init__(self, limits: ServingLimits, pace: tuple[float, float], *, threaded: bool, delay_s: float) -> None:
        self.loop = FakeLoop()
        self.limits = limits
        self.runners: dict[str, FakeRunner] = {}
        self.batcher = Batcher(
            Budget(limits), loop=self.loop, clock=self.loop, observer=self, inline_max_s=250e-6, start_runner=self._start_runner
        )
        self.batcher.answered = lambda: None
        self.models: dict[str, MixedModel] = {kind: built(kind, self.loop, per_run_s=pace[0], per_row_s=pace[1]) for kind in KINDS}
        self.versions = {kind: Version(1, model, limits, release=self.batcher.release) for kind, model in self.models.items()}
        for version in self.versions.values():
            version.threaded = threaded
            version.max_delay_s = delay_s
        self.sinks = [Sink(self.loop), Sink(self.loop)]
        self.tags = count(1)
        self.accepted: list[Caller] = []
        self.ended: dict[int, Code | None] = {}

    def _start_runner(self, model, *rest) -> FakeRunner:
        runner = self.runners[model.signature.model] = FakeRunner(model, *rest)
        return runner

    # --- observer --------------------------------------------------------------------------------------------------------------

    def batch_done(self, batch: Batch) -> None:
        assert batch.rows == sum(item.rows for item in batch.items)
        for item in batch.items:
            self._end(item, None)

    def dropped(self, version: Version, item: Item, code: Code) -> None:
        self._end(item, code)

    def _end(self, item: Item, code: Code | None) -> None:
        assert id(item) not in self.ended, "a request ended twice"
        self.ended[id(item)] = code

    # --- steps -----------------------------------------------------------------------------------------------------------------

    def submit(self, kind: str, rows: int, features: int, timeout_s: float, poisoned: bool, sink: int) -> None:
        caller = self.request(kind, rows, features)
        if poisoned:
            self.models[kind].poisoned.add(caller.tag)
        item, version = caller.item, self.versions[kind]
        item.caller, item.sink, item.id = caller, self.sinks[sink], b""
        item.arrival = self.loop.now()
        item.deadline = item.arrival + timeout_s
        shapes = {ROWS: ((features,),), TEXTS: ((features,), (1,)), WHOLE: ((rows, features),)}[kind]
        lane = version.lane(shapes, alone=not item.rows)
        before = version.waiting_rows - version.large_rows, version.waiting_rows, version.waiting_bytes, self.batcher.budget.bytes
        rejection = self.batcher.submit(lane, item)
        self.check_admission(version, item, before, rejection)
        if rejection is None:
            self.accepted.append(caller)
        else:
            assert [] == caller.answers

    def request(self, kind: str, rows: int, features: int) -> Caller:
        """Rows that no other request has; `numbers` of TEXTS is the second input."""
        tag, item = next(self.tags), Item()
        columns = 1 if kind == TEXTS else features
        numbers = [[tag * TAG + (row * columns + column) % TAG for column in range(columns)] for row in range(rows)]
        texts = [[f"{tag}.{row}.{column}ü" for column in range(features)] for row in range(rows)]
        item.rows = 1 if kind == WHOLE else rows
        data = np.array(numbers, {ROWS: "<f4", TEXTS: "<i8", WHOLE: "<f8"}[kind]).tobytes()
        words = [word for row in texts for word in row]
        item.data = (words, data) if kind == TEXTS else (data,)
        item.size = len(data) + (sum(map(len, words)) if kind == TEXTS else 0)
        return Caller(kind, tag, texts, numbers, item)

    def cancel(self, place: float) -> None:
        """Someone goes away, most likely one of the last: waiting, in the batch that runs, or answered."""
        if self.accepted:
            self.accepted[int(len(self.accepted) * place**0.25)].cancelled = True

    def tick(self) -> None:
        self.loop.tick()

    def advance(self, seconds: float) -> None:
        """Time passes; who is still there after its deadline has been told."""
        self.loop.settle()
        self.loop.advance(seconds)
        now = self.loop.now()
        self.loop.settle()
        assert [] == [c.tag for c in self.accepted if c.item.deadline < now and not c.cancelled and not c.answers]

    def finish(self, kind: str) -> None:
        runner = self.runners.get(kind)
        if runner is not None and runner.batch is not None:
            runner.finish()

    def mood(self, kind: str, mood: str) -> None:
        self.models[kind].mood = mood

    def close(self, kind: str) -> None:
        self.versions[kind].close()

    def drain(self) -> None:
        for _ in range(10_000):
            self.loop.settle()
            if len(self.ended) == len(self.accepted):
                return
            for kind in KINDS:
                self.finish(kind)
        raise AssertionError("work does not end")

    # --- what must hold --------------------------------------------------------------------------------------------------------

    def check_admission(self, version: Version, item: Item, before: tuple[int, ...], rejection: Rejection | None) -> None:
        """A refusal names a bound that is passed; what is admitted passes none."""
        rows, waiting, size, held = before  # one request above the bound crowds out nobody
        full = waiting and (rows + item.rows > self.limits.max_queue_rows or size + item.size > self.limits.max_queue_bytes)
        no_memory = held + item.size > self.limits.max_inflight_bytes
        if rejection is None:
            assert (False, False, False) == (version.closed, bool(full), no_memory)
            return
        late = {LATE: item.deadline <= self.loop.now(), TOO_LATE: item.deadline > self.loop.now()}
        assert {CLOSED: version.closed, NO_MEMORY: no_memory, FULL: full, **late}[rejection]

    def check_accounts(self) -> None:
        """What is held is what was accepted and has not ended; what waits is what stands in the lanes."""
        held = [caller.item for caller in self.accepted if id(caller.item) not in self.ended]
        budget = self.batcher.budget
        assert (len(held), sum(item.size for item in held)) == (budget.requests, budget.bytes)
        assert budget.bytes <= self.limits.max_inflight_bytes
        for version in self.versions.values():
            queued = [item for lane in version._lanes.values() for item in waiting(lane)] + in_order(version.bulk)
            assert (sum(item.rows for item in queued), sum(item.size for item in queued)) == (version.waiting_rows, version.waiting_bytes)

    def check_answers(self) -> None:
        for caller in self.accepted:
            self.check_answer(caller)

    def check_answer(self, caller: Caller) -> None:
        """One answer for who stayed: its own rows, the error of its own run, or its deadline, no sooner than that passed."""
        ended, alone = self.ended[id(caller.item)], self.models[caller.kind].alone.get(caller.tag)
        if caller.cancelled:
            assert len(caller.answers) <= 1
        else:
            assert 1 == len(caller.answers)
        if not caller.answers:
            assert Code.CANCELLED == ended
            return
        (answer,) = caller.answers
        if answer == Code.DEADLINE_EXCEEDED:
            assert caller.times[0] >= caller.item.deadline
        elif isinstance(answer, tuple):
            assert caller.expected() == answer
            assert alone in (None, Code.OK)
        else:
            assert alone == answer or (caller.cancelled and answer in (Code.INTERNAL, Code.INVALID_ARGUMENT))


@settings(max_examples=600, derandomize=True)
@given(
    seed=st.integers(0, 2**32 - 1),
    length=st.integers(10, 100),
    bounds=st.sampled_from(sorted(BOUNDS)),
    pace=st.sampled_from(sorted(PACES)),
    threaded=st.booleans(),
    delay_s=st.sampled_from([0.0, 0.0, 2e-3]),
)
def test_every_caller_gets_its_own_rows_or_its_own_error_once(seed, length, bounds, pace, threaded, delay_s) -> None:
    """Whatever mix of versions, shapes, datatypes, cancels, deadlines, failures and ends arrives, within whatever bounds."""
    hall = Hall(BOUNDS[bounds], PACES[pace], threaded=threaded, delay_s=delay_s)
    for name, *arguments in script(seed, length):
        getattr(hall, name)(*arguments)
        hall.check_accounts()
    hall.advance(1.0)
    hall.drain()
    hall.check_accounts()
    hall.check_answers()
    assert (0, 0) == (hall.batcher.budget.requests, hall.batcher.budget.bytes)
