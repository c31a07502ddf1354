"""Totals by name: every count once, whatever happens to workers, slots and the process; never less than before; never too many names."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.saved import _row, _slab
from gateway.observe.slabs import Slab
from gateway.observe.totals import OVERFLOW, OVERFLOW_SLOT, SERIES_PER_VERSION, UNKNOWN, UNKNOWN_SLOT, Key, Slots, Totals

WORKERS = 3
KEYS: list[Key] = [(model, str(version)) for model in "abc" for version in (1, 2, 3)]


def totals_of(*, slots: int = 6, rows: int = 8, versions: int = 2, workers: int = WORKERS) -> tuple[Arena, Totals]:
    arena = Arena.create(workers=workers, slots=slots)
    limits = ObserveLimits(max_series=rows * SERIES_PER_VERSION, max_series_per_model=versions * SERIES_PER_VERSION)
    arena.close()
    return arena, Totals(arena, limits)


def count(arena: Arena, worker: int, slot: int, number: int) -> None:
    """A worker's batch of `number` requests of a third of a second."""
    slab = arena.region(worker).slab(slot)
    slab.requests[0, 0] += number
    slab.counts[0, 3] += number
    slab.sums[0] += number / 3


def seen(totals: Totals) -> dict[Key, Slab]:
    return dict(totals.snapshot().items())


class Life(RuleBasedStateMachine):
    """Everything that can happen to counters, in any order, beside a plain count."""

    def __init__(self) -> None:
        super().__init__()
        self.arena, self.totals = totals_of()
        self.open: dict[Key, int] = {}
        self.expected = 0
        self.refused = 0
        self.by_key: Counter[Key] = Counter()
        self.before: dict[Key, Slab] = {}

    @rule(key=st.sampled_from(KEYS))
    def load(self, key: Key) -> None:
        slot = self.totals.open(key)
        assert self.open.get(key, slot) == slot
        assert slot == OVERFLOW_SLOT or slot not in {taken for other, taken in self.open.items() if other != key}
        self.open[key] = slot

    @rule(key=st.sampled_from([*KEYS, UNKNOWN, OVERFLOW]))
    def unload(self, key: Key) -> None:
        self.totals.close(key)
        self.open.pop(key, None)

    @precondition(lambda self: self.open)
    @rule(data=st.data(), worker=st.integers(0, WORKERS - 1), number=st.integers(1, 1000))
    def work(self, data: Any, worker: int, number: int) -> None:
        key = data.draw(st.sampled_from(sorted(self.open)))
        count(self.arena, worker, self.open[key], number)
        self.expected += number
        self.by_key[key if self.open[key] != OVERFLOW_SLOT else OVERFLOW] += number

    @rule(worker=st.integers(0, WORKERS - 1))
    def refuse(self, worker: int) -> None:
        count(self.arena, worker, UNKNOWN_SLOT, 1)
        self.arena.region(worker)["refused_connections"] += 1
        self.expected += 1
        self.refused += 1
        self.by_key[UNKNOWN] += 1

    @rule(worker=st.integers(0, WORKERS - 1), times=st.integers(1, 3))
    def die(self, worker: int, times: int) -> None:
        for _ in range(times):
            self.totals.fold(worker)

    @rule()
    def restart(self) -> None:
        saved = [(key, _slab(_row(key, slab))) for key, slab in self.totals.snapshot().items()]
        overflow, counters = self.totals.overflow, self.totals.counters()
        self.arena, self.totals = totals_of()
        self.totals.restore(saved, overflow=overflow, counters=counters)
        self.open = {}

    @invariant()
    def every_count_is_there_once(self) -> None:
        rows = seen(self.totals)
        assert self.expected == sum(int(slab.requests.sum()) for slab in rows.values())
        assert self.expected / 3 == pytest.approx(sum(slab.sums[0] for slab in rows.values()))
        assert self.refused == self.totals.counters()["refused_connections"]
        assert self.by_key[UNKNOWN] == rows[UNKNOWN].requests.sum()
        for key, slab in rows.items():
            assert key == OVERFLOW or slab.requests.sum() <= self.by_key[key]

    @invariant()
    def nothing_falls(self) -> None:
        rows = seen(self.totals)
        for key in rows.keys() & self.before.keys():
            for name in Slab.__slots__:
                assert (getattr(rows[key], name) >= getattr(self.before[key], name)).all()
        self.before = rows

    @invariant()
    def names_are_bounded(self) -> None:
        rows = seen(self.totals)
        assert len(rows) <= 8
        assert max(Counter(model for model, version in rows if version).values(), default=0) <= 2


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=150, stateful_step_count=40)


def test_slots_are_given_lowest_first_and_again_when_they_are_free() -> None:
    """So that what was touched stays small."""
    slots = Slots(5)
    given = [slots.give((name, "1")) for name in "abcd"]
    assert [2, 3, 4, None] == given
    assert [3, 2] == [slots.take_back((name, "1")) for name in "ba"]
    assert [2, 3, None] == [slots.give((name, "1")) for name in "xyz"]
    assert (None, 2, 4, 5) == (slots.find(("a", "1")), slots.find(("x", "1")), slots.find(("c", "1")), slots.used)


def test_a_slot_of_another_version_starts_at_nothing() -> None:
    """The totals of the one before stay under its name, from all workers; loaded again, it goes on."""
    arena, totals = totals_of(slots=3)
    slot = totals.open(("a", "1"))
    for worker in range(WORKERS):
        count(arena, worker, slot, 10)
    totals.close(("a", "1"))
    assert slot == totals.open(("b", "1"))
    count(arena, 0, slot, 1)
    assert (30, 1) == tuple(seen(totals)[name, "1"].requests.sum() for name in "ab")
    totals.close(("b", "1"))
    count(arena, 1, totals.open(("a", "1")), 5)
    assert (35, 1) == tuple(seen(totals)[name, "1"].requests.sum() for name in "ab")


@pytest.mark.parametrize("end", ["reuse", "death"])
def test_what_is_written_to_a_slot_after_its_version_is_gone_is_counted_as_overflow(end: str) -> None:
    """Neither lost nor another version's."""
    arena, totals = totals_of()
    slot = totals.open(("a", "1"))
    totals.close(("a", "1"))
    count(arena, 2, slot, 9)
    if end == "death":
        totals.fold(2)
    assert slot == totals.open(("b", "1"))
    assert (9, 0) == (seen(totals)[OVERFLOW].requests.sum(), seen(totals)["b", "1"].requests.sum())


def test_sums_do_not_fall_where_additions_change_their_order() -> None:
    """(a + b) + c and (a + c) + b may differ in the last bit, which a scraper would take for a restart."""
    arena, totals = totals_of(workers=2)
    slot = totals.open(("a", "1"))
    fell = 0
    for parts in np.random.default_rng(5).random((200, 3)) * 100:
        before = seen(totals)["a", "1"].sums.copy()
        plain = []
        for worker in (0, 1):
            arena.region(worker).slab(slot).sums[:] += parts[worker]
        regions = [arena.region(worker).slab(slot).sums[0] for worker in (0, 1)]
        kept = totals._rows["a", "1"].kept.sums[0]
        plain = [(kept + regions[0]) + regions[1], (kept + regions[1]) + regions[0]]
        middle = seen(totals)["a", "1"].sums.copy()
        totals.fold(1)
        fell += plain[1] < plain[0]
        after = seen(totals)["a", "1"].sums
        assert (before <= middle).all()
        assert (middle <= after).all()
        assert after == pytest.approx(middle)
    assert fell, "the numbers of this test must be such that plain additions fall"


def test_without_a_free_slot_a_version_counts_as_overflow_and_is_counted_once() -> None:
    """It has a slot of its own when it is loaded again and one is free."""
    arena, totals = totals_of(slots=3)
    own = totals.open(("a", "1"))
    assert [OVERFLOW_SLOT] * 2 == [totals.open(("b", "1")) for _ in range(2)]
    assert {"slots": 1, "series": 0} == totals.overflow
    count(arena, 0, OVERFLOW_SLOT, 4)
    assert (4, False) == (seen(totals)[OVERFLOW].requests.sum(), ("b", "1") in seen(totals))
    totals.close(("a", "1"))
    totals.close(("b", "1"))
    assert own == totals.open(("b", "1"))


def test_the_oldest_version_that_is_unloaded_gives_its_row_to_a_new_one() -> None:
    """A model that changes daily keeps the rows of what serves; what it counted goes on in the overflow's."""
    arena, totals = totals_of(versions=3)
    totals.open(("other", "1"))
    for version in range(1, 50):
        count(arena, 0, totals.open(("m", str(version))), version)
        if version > 1:
            totals.close(("m", str(version - 1)))
    rows = seen(totals)
    assert [UNKNOWN, OVERFLOW, ("other", "1"), ("m", "47"), ("m", "48"), ("m", "49")] == list(rows)
    assert sum(range(1, 47)) == rows[OVERFLOW].requests.sum()
    assert {"slots": 0, "series": 46} == totals.overflow


def test_a_version_past_the_bound_where_all_are_loaded_counts_as_overflow() -> None:
    """Of a model, and in all; others are not concerned."""
    arena, totals = totals_of(slots=20, rows=6, versions=2)
    slots = [totals.open(key) for key in [("m", "1"), ("m", "2"), ("m", "3"), ("n", "1"), ("o", "1"), ("p", "1")]]
    assert [2, 3, OVERFLOW_SLOT, 4, 5, OVERFLOW_SLOT] == slots
    assert 2 == totals.overflow["series"]
    count(arena, 0, OVERFLOW_SLOT, 4)
    totals.close(("m", "3"))
    assert 4 == seen(totals)[OVERFLOW].requests.sum()


def test_restoring_more_than_there_is_room_for_keeps_the_sum() -> None:
    """After the bound was lowered: the last rows have their names, all counts are there."""
    arena, many = totals_of(slots=20, rows=12, versions=10)
    for number, key in enumerate(KEYS):
        count(arena, 0, many.open(key), 1 << number)
    _, few = totals_of(rows=5, versions=2)
    few.restore(many.snapshot().items(), overflow={"slots": 3, "gone": 1}, counters={"refused_connections": 5, "gone": 1})
    rows = seen(few)
    assert (511, 5) == (sum(slab.requests.sum() for slab in rows.values()), len(rows))
    assert {"slots": 3, "series": 6} == few.overflow
    assert 5 == few.counters()["refused_connections"]


def test_gauges_end_with_their_worker_and_counters_do_not() -> None:
    """Both are summed over workers."""
    arena, totals = totals_of()
    for worker in range(WORKERS):
        arena.region(worker)["connections"] = 10 + worker
        arena.region(worker)["refused_connections"] = 1
    assert (33, 3) == (totals.gauge("connections"), totals.counters()["refused_connections"])
    totals.fold(1)
    assert (22, 3) == (totals.gauge("connections"), totals.counters()["refused_connections"])
