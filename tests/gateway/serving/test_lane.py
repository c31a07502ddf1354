"""The order of a lane against a naive queue: who goes into the next batch, whatever waits, at any time."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.serving.backlog import Backlog
from gateway.serving.batch import Item
from gateway.serving.fair import Ledger
from gateway.serving.lane import Lane
from tests import naive
from tests.gateway.serving.serving_fakes import Bench, FakeCaller, FakeSink, waiting

LIMIT = 4
WEIGHTS = {"heavy": 3.0, "light": 0.5}
TENANTS = ("", "heavy", "light", "other")
SECONDS = 1e-3
PATIENCE_S = (float("inf"), float("inf"), 0.0, 0.5, 2.0)

adds = st.tuples(st.sampled_from([1, 1, 1, 2, 3, LIMIT]), st.integers(1, 3), st.sampled_from(TENANTS), st.sampled_from(PATIENCE_S))
scripts = st.lists(st.one_of(adds, adds, adds, st.just("take"), st.just("wait")), max_size=60)


class Place:
    """One lane of a version of its own, fed and emptied by hand."""

    def __init__(self) -> None:
        self.bench = Bench(threaded=True, max_batch_size=LIMIT)
        version = self.bench.version
        version.cost.per_row_s = SECONDS
        version.weight = lambda tenant: WEIGHTS.get(tenant, 1.0)
        self.lane: Lane = version.lane(((2,),))
        self.clock = 1.0
        self.items: dict[int, Item] = {}

    def add(self, rows: int, level: int, tenant: str, patience_s: float) -> Item:
        item = Item()
        item.id = b"%d" % len(self.items)
        item.caller, item.sink = FakeCaller(np.zeros((rows, 2))), FakeSink()
        item.rows, item.size, item.data = rows, 8 * rows, (b"\0" * 8 * rows,)
        item.level, item.tenant, item.late_from = level, tenant, self.clock + patience_s
        item.arrival, item.deadline = self.clock, float("inf")
        self.items[len(self.items)] = item
        assert self.bench.batcher.submit(self.lane, item) is None
        return item

    def take(self) -> list[int]:
        batch = self.lane.take(self.clock)
        return [] if batch is None else [int(item.id) for item in batch.items]


def play(script) -> tuple[list[list[int]], list[list[int]], Place]:
    """The batches of a lane and those of the naive queue."""
    place, queue = Place(), naive.Queue(LIMIT, WEIGHTS, SECONDS)
    batches, expected = [], []
    for step in [*script, *["take"] * len(script)]:
        if step == "wait":
            place.clock += 0.7
        elif step == "take":
            batches.append(place.take())
            expected.append(queue.take(place.clock))
        else:
            item = place.add(*step)
            queue.waiting.append(naive.Request(int(item.id), item.level, item.tenant, item.rows, item.late_from))
            place.clock += 1e-6  # no two come at one moment
    return batches, expected, place


@settings(max_examples=300, derandomize=True)
@given(scripts)
def test_batches_are_those_of_the_naive_queue(script) -> None:
    """One by one; nobody is lost, nobody runs twice, and the accounts come out even."""
    batches, expected, place = play(script)
    assert expected == batches
    assert sorted(place.items) == sorted(number for batch in batches for number in batch)
    version = place.bench.version
    assert (0, 0, 0, False, {}) == (version.waiting_rows, version.waiting_bytes, place.lane.rows, place.lane.waits, version.holdings.levels)


@settings(max_examples=300, derandomize=True)
@given(scripts)
def test_nothing_is_turned_round(script) -> None:
    """Against what waits: nobody less urgent is taken, nobody late before who is not, and at one level a tenant's go in their order."""
    place = Place()
    for step in [*script, *["take"] * len(script)]:
        if step == "wait":
            place.clock += 0.7
        elif step != "take":
            place.add(*step)
        else:
            check(place, [place.items[number] for number in place.take()])


def check(place: Place, taken: list[Item]) -> None:
    """A batch, against all that was left behind."""
    clock = place.clock
    for left in waiting(place.lane):
        for item in taken:
            assert (item.level, item.late_from <= clock) <= (left.level, left.late_from <= clock)
            if (item.level, item.tenant) == (left.level, left.tenant) and min(item.late_from, left.late_from) > clock:
                assert int(item.id) < int(left.id)


@settings(max_examples=100, derandomize=True)
@given(st.lists(st.sampled_from([1, 2, 3, LIMIT]), min_size=40, max_size=80), st.sampled_from(["light", "other", "heavy"]))
def test_shares_keep_their_bounds(sizes, small) -> None:
    """While two tenants have something waiting, what each is given differs by no more than one request of each, by their weights."""
    place = Place()
    for rows in sizes:
        place.add(rows, 1, "big", float("inf"))
        place.add(LIMIT, 1, small, float("inf"))
        place.add(1, 1, small, float("inf"))
    given = {"big": 0.0, small: 0.0}
    while all(any(item.tenant == tenant for item in waiting(place.lane)) for tenant in given):
        for number in place.take():
            item = place.items[number]
            given[item.tenant] += item.rows / WEIGHTS.get(item.tenant, 1.0)
        bound = LIMIT / WEIGHTS.get(small, 1.0) + LIMIT  # Goyal 1996, theorem 1
        slack = LIMIT  # of the run that is being filled
        assert abs(given["big"] - given[small]) <= bound + slack / min(WEIGHTS.get(small, 1.0), 1.0)


def test_who_comes_back_starts_now() -> None:
    """A tenant that asked for nothing has saved nothing up."""
    ledger = Ledger()
    backlog = Backlog(lambda level: ledger)
    for _ in range(10):
        ledger.charge("busy", 1.0)
    assert (9.0, 10.0, 9.0) == (ledger.now, ledger.start("busy"), ledger.start("idle"))
    assert backlog.first(0.0) is None


def test_a_ledger_forgets_who_does_not_matter() -> None:
    """Thousands of tenants leave no trace once others have had more."""
    ledger = Ledger()
    for number in range(5_000):
        ledger.charge(f"tenant {number}", 1e-6)
        ledger.charge("steady", 1e-3)
    assert len(ledger._finish) <= 1_025
