"""Requests that break a contract among others: who runs, who is told what, and what is counted, on every way that batches take."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.door import Door
from gateway.drift.entrance import Entrance
from gateway.drift.layout import BATCHES, ROWS, layout_of
from gateway.drift.rules import rules_of
from gateway.drift.watching import Aside, Watch, Watching
from gateway.drift_settings import Contract
from gateway.errors import Code
from gateway.serving.quarantine import Quarantine
from registry.schema import Field, Range, Schema
from tests.gateway.serving.serving_fakes import POISON, Bench, FakeCaller

FAR, MISSING, GOOD = 5_000.0, math.nan, 1.0
STRICT = Contract(mode="reject", nulls="warn")
NULLS, RANGE = range(2)  # lines of the counts


class Guarded(Bench):
    """A version with a contract: nothing beyond 1,000 runs, missing values are counted."""

    def __init__(self, contract: Contract = STRICT, **more) -> None:  # type: ignore[no-untyped-def]
        super().__init__(**more)
        schema = Schema(
            format=1,
            inputs=(Field(name="x", type="tensor(float)", shape=None, nulls="refused", range=Range(max=1_000)),),
            outputs=(),
        )
        rules = rules_of(schema, contract)
        layout = layout_of(None, rules=len(rules))
        self.views = layout.views(np.zeros(layout.words, np.int64))
        self.views.begin(layout.checksum)
        entrance = Entrance("m/1", Door(schema, self.model.signature, rules), self.views.rules, self.loop.now)
        self.aside = Aside()
        self.version.door = entrance if entrance.rejects else None
        self.version.watch = Watch(self.views.head, self.aside, entrance=entrance, schema=schema)
        self.batcher._observer = Watching(self.counts)

    @property
    def broken(self) -> list[list[int]]:
        assert self.aside.settle(10.0)
        return self.views.rules.tolist()


def rows(*values: float) -> np.ndarray:
    """Of two columns, the second always good."""
    return np.array([[value, GOOD] for value in values], np.float32)


def expected(requests: Sequence[np.ndarray]) -> list[list[int]]:
    """Values that are missing or far, and rows that have one."""
    every = np.concatenate(requests)
    with np.errstate(invalid="ignore"):
        return [[int(bad.sum()), int(bad.any(axis=1).sum())] for bad in (np.isnan(every), every > 1_000)]


def answered(caller: FakeCaller) -> bool:
    """It has the answer that it is due, once."""
    (answer,) = caller.answers
    if (caller.rows > 1_000).any():
        return answer is Code.INVALID_ARGUMENT
    sums, same = answer
    return np.array_equal(sums, caller.rows.sum(axis=1), equal_nan=True) and np.array_equal(same, caller.rows, equal_nan=True)


REQUESTS = st.lists(st.lists(st.sampled_from([GOOD, GOOD, 2.0, MISSING, FAR]), min_size=1, max_size=20), min_size=1, max_size=12)


@settings(max_examples=150)
@given(REQUESTS, st.booleans(), st.integers(1, 3), st.booleans())
def test_everybody_is_answered_and_every_value_counts_once(
    requests: list[list[float]], threaded: bool, instances: int, slow: bool
) -> None:  # fmt: skip
    """Batches on the loop and in threads, requests of one run and of many, several instances."""
    bench = Guarded(threaded=threaded, instances=instances, per_run_s=1e-3 if slow else 1e-5)
    arrays = [rows(*request) for request in requests]
    callers = []
    for at, array in enumerate(arrays):
        caller, rejection = bench.submit(array, sink=at % 2)
        assert rejection is None
        callers.append(caller)
        if at % 3 == 0:
            bench.loop.tick()
    bench.drain()
    assert all(map(answered, callers))
    assert expected(arrays) == bench.broken
    served = [array for array in arrays if not (array > 1_000).any()]
    assert sum(map(len, served)) == bench.views.head[ROWS]
    assert len(arrays) == bench.counts.ended
    assert (0, 0) == (bench.batcher.budget.bytes, bench.batcher.budget.requests)


@pytest.mark.parametrize("threaded", [True, False])
def test_a_refused_request_among_others_that_fail(threaded: bool) -> None:
    """The batch runs again member by member: who was refused before is not counted again, and nobody else is blamed."""
    bench = Guarded(threaded=threaded)
    arrays = [rows(GOOD), rows(FAR), rows(POISON), rows(MISSING)]
    callers = [bench.submit(array)[0] for array in arrays]
    bench.drain()
    assert [Code.INVALID_ARGUMENT] * 2 == [callers[at].answers[0] for at in (1, 2)]
    assert answered(callers[0])
    assert answered(callers[3])
    assert [[1, 1], [1, 1]] == bench.broken
    assert (2, 2) == (bench.views.head[ROWS], bench.views.head[BATCHES])


def test_requests_without_a_batch_dimension() -> None:
    """One each."""
    bench = Guarded(max_batch_size=0)
    callers = [bench.submit(array)[0] for array in (rows(GOOD), rows(FAR), rows(MISSING))]
    bench.drain()
    assert [False, True, False] == [caller.answers[0] is Code.INVALID_ARGUMENT for caller in callers]
    assert [[1, 1], [1, 1]] == bench.broken


def test_a_refusal_says_which_rule_and_which_row() -> None:
    """By the request's own rows."""
    bench = Guarded()
    said: list[str] = []
    bench.sinks[0].fail = lambda item, code, message: said.append(message)  # type: ignore[method-assign]
    bench.submit(rows(GOOD, GOOD))
    bench.submit(rows(GOOD, MISSING, FAR, FAR))
    bench.drain()
    assert ["input 'x' has a value outside of its range (-inf, 1000], in row 2 of the request"] == said


@pytest.mark.parametrize("late", ["expired", "cancelled"])
def test_one_that_nobody_waits_for_any_more(late: str) -> None:
    """Its answer is not given twice; its neighbours are answered."""
    bench = Guarded(threaded=True)
    bad, good = bench.submit(rows(FAR), timeout_s=0.5)[0], bench.submit(rows(GOOD))[0]
    bench.loop.settle()
    if late == "expired":
        bench.loop.advance(1.0)
    else:
        bad.cancelled = True
    bench.drain()
    assert answered(good)
    assert [Code.DEADLINE_EXCEEDED if late == "expired" else Code.INVALID_ARGUMENT] == bad.answers
    assert [[0, 0], [1, 1]] == bench.broken


def test_who_is_refused_is_in_no_quarantine() -> None:
    """It never ran."""
    bench = Guarded()
    bench.model.quarantine = Quarantine("m/1", bench.loop.now)  # type: ignore[assignment]
    for _ in range(5):
        bench.submit(rows(FAR))
        bench.drain()
    assert not bench.model.quarantine
    assert [[0, 0], [5, 5]] == bench.broken
    assert [] == bench.model.batches


@pytest.mark.parametrize("mode", ["observe", "warn"])
def test_without_a_rule_that_rejects_nobody_asks_the_door(mode: str, caplog: pytest.LogCaptureFixture) -> None:
    """Values are counted after the answers; a warning is said once a minute."""
    bench = Guarded(Contract(mode=mode))  # type: ignore[arg-type]
    assert bench.version.door is None
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            bench.submit(rows(FAR, MISSING))
            bench.drain()
        bench.loop.advance(61.0)
        bench.submit(rows(FAR))
        bench.drain()
    assert [[3, 3], [4, 4]] == bench.broken
    said = [record.getMessage() for record in caplog.records]
    ranges = "contract of m/1: input 'x' has a value outside of its range (-inf, 1000]"
    assert (["contract of m/1: input 'x' has a missing value", ranges, ranges] if mode == "warn" else []) == sorted(said)


def test_a_batch_that_the_watch_cannot_count_is_answered(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of ours costs counts, never answers."""
    bench = Guarded()
    bench.version.watch.served = None
    caller = bench.submit(rows(GOOD))[0]
    bench.drain()
    assert answered(caller)
    assert "counting failed" in caplog.text
