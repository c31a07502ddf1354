"""One heap and one timer for all deadlines: each fires once, on time and in order, unless it was forgotten."""

from __future__ import annotations

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

    def watch(self, after: float) -> Item:
        item = Item()
        item.data, item.deadline = (b"data",), self.loop.now() + after
        self.deadlines.watch(item)
        return item

    def timers(self) -> int:
        return sum(not handle.cancelled for _, _, handle, _, _ in self.loop._later)


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("watch"), st.sampled_from([0.0, 0.1, 0.1, 0.25, 1.0, 5.0])),
        st.tuples(st.just("forget"), st.integers(0, 40)),
        st.tuples(st.just("advance"), st.sampled_from([0.05, 0.1, 0.3, 2.0])),
    ),
    max_size=60,
)


@settings(max_examples=500)
@given(STEPS)
def test_each_deadline_fires_once_on_time_unless_it_was_forgotten(steps: list[tuple[str, float]]) -> None:
    """In the order of the deadlines, with at most one timer at any moment, and none where nothing is watched."""
    desk = Desk()
    items, forgotten = [], []
    for step, value in steps:
        if step == "watch":
            items.append(desk.watch(value))
        elif step == "advance":
            desk.loop.advance(value)
        elif value < len(items) and not items[value].done:
            desk.deadlines.forget(items[value])
            forgotten.append(items[value])
            assert () == items[value].data
        assert desk.timers() <= 1
    desk.loop.advance(10.0)
    assert 0 == desk.timers()
    assert [(item, item.deadline) for item in sorted(items, key=lambda item: item.deadline) if item not in forgotten] == desk.fired


def test_forgotten_requests_do_not_pile_up() -> None:
    """Answered entries with far deadlines leave the heap when they outnumber the living."""
    desk = Desk()
    first = desk.watch(9.0)
    for _ in range(10_000):
        desk.deadlines.forget(desk.watch(60.0))
    assert len(desk.deadlines._heap) < 300
    desk.loop.advance(10.0)
    assert [(first, first.deadline)] == desk.fired


def test_a_deadline_in_the_past_fires_at_once() -> None:
    """Not before the tick ends, but without waiting."""
    desk = Desk()
    item = desk.watch(-1.0)
    assert [] == desk.fired
    desk.loop.advance(0.0)
    assert [item] == [fired for fired, _ in desk.fired]
