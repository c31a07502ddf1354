"""One heap and one timer for all deadlines: each fires once, on time and in order, unless it was forgotten."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.serving.batch import Item
from gateway.serving.deadlines import Deadlines
from tests.gateway.serving.serving_fakes import FakeLoop


class Desk:
    """Deadlines on a loop that is moved by hand, and what fired when."""

    def __init__(self) -> None:
        self.loop = FakeLoop()
        self.fired: list[tuple[Item, float]] = []
        self.deadlines = Deadlines(self.loop, self.loop, self.expire)

    def expire(self, item: Item) -> None:
        item.done = True
        self.fired.append((item, self.loop.now()))

    def watch(self, *after: float) -> list[Item]:
        items = []
        for seconds in after:
            item = Item()
            item.data, item.deadline = (b"data",), self.loop.now() + seconds
            items.append(item)
        self.deadlines.watch(items)
        return items

    def timers(self) -> int:
        return sum(not handle.cancelled for _, _, handle, _, _ in self.loop._later)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("watch"), st.lists(st.sampled_from([0.0, 0.1, 0.1, 0.25, 1.0, 5.0]), min_size=1, max_size=4)),
        st.tuples(st.just("forget"), st.lists(st.integers(0, 40), max_size=4, unique=True)),
        st.tuples(st.just("advance"), st.sampled_from([0.05, 0.1, 0.3, 2.0])),
    ),
    max_size=60,
)


@settings(max_examples=500)
@given(STEPS)
def test_each_deadline_fires_once_on_time_unless_it_was_forgotten(steps: list[tuple[str, Any]]) -> None:
    """In the order of the deadlines, however they were watched together, with one timer at most, and none where nothing is watched."""
    desk = Desk()
    items: list[Item] = []
    forgotten: list[Item] = []
    for step, value in steps:
        if step == "watch":
            items += desk.watch(*value)
        elif step == "advance":
            desk.loop.advance(value)
        else:
            gone = [items[k] for k in value if k < len(items) and not items[k].done]
            desk.deadlines.forget(gone)
            forgotten += gone
            assert all(() == item.data for item in gone)
        assert desk.timers() <= 1
    desk.loop.advance(10.0)
    assert 0 == desk.timers()
    fired = [item for item, _ in desk.fired]
    assert {id(item) for item in items if item not in forgotten} == {id(item) for item in fired}
    assert len(fired) == len(items) - len(forgotten)
    assert all(item.deadline == at for item, at in desk.fired)
    assert sorted(item.deadline for item in fired) == [item.deadline for item in fired]


def test_forgotten_requests_do_not_pile_up() -> None:
    """Answered requests with far deadlines leave the heap when they outnumber the living, those of an entry that lives on too."""
    desk = Desk()
    first = desk.watch(9.0)
    entries = []
    for _ in range(1000):
        entries.append(desk.watch(*[60.0] * 10))
        desk.deadlines.forget(entries[-1][1:])
    assert sum(len(items) for _, _, items in desk.deadlines._heap) < 2 * 1001 + 300
    for entry in entries:
        desk.deadlines.forget(entry[:1])
    assert sum(len(items) for _, _, items in desk.deadlines._heap) < 300
    desk.loop.advance(10.0)
    assert [(first[0], first[0].deadline)] == desk.fired


def test_an_entry_costs_no_more_than_its_requests_had_each_one() -> None:
    """Deadlines of one entry that come one by one are looked at once each, not all of them each time."""
    desk = Desk()
    items = desk.watch(*[k / 1024 for k in range(1024)])
    desk.loop.advance(0.0)
    assert [1] * 1023 == [len(entry[2]) for entry in desk.deadlines._heap]
    desk.loop.advance(1.0)
    assert items == [item for item, _ in desk.fired]


def test_a_deadline_in_the_past_fires_at_once() -> None:
    """Not before the tick ends, but without waiting."""
    desk = Desk()
    items = desk.watch(-1.0)
    assert [] == desk.fired
    desk.loop.advance(0.0)
    assert items == [fired for fired, _ in desk.fired]
