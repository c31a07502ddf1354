"""Deadlines of requests that outlive their tick: one heap and one timer, not a timer per request."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.serving.batch import Item

_SLACK = 256  # answered entries that may stay on the heap before it is rebuilt


class Loop(Protocol):
    """What serving asks of an event loop; asyncio's has it, and a test's can be moved by hand."""

    def call_soon(self, callback: Callable[..., object], /, *args: Any) -> object:
        """Call at the end of this tick."""
        ...

    def call_later(self, delay: float, callback: Callable[..., object], /, *args: Any) -> Handle:
        """Call after `delay` seconds."""
        ...

    def call_soon_threadsafe(self, callback: Callable[..., object], /, *args: Any) -> object:
        """As `call_soon`, from another thread."""
        ...


class Handle(Protocol):
    """A call that can be taken back."""

    def cancel(self) -> None:
        """Take it back."""
        ...


class Deadlines:
    """Calls `expire(item)` when an item's deadline passes before `forget` was called for it.

    What is watched together is one entry of the heap, until the first of its deadlines comes: requests that outlive one tick are mostly
    answered by one batch. From then on each that still waits has an entry of its own, so that no sequence of deadlines costs more than
    a heap does.
    """

    def __init__(self, loop: Loop, clock: Clock, expire: Callable[[Item], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, int, Sequence[Item]]] = []
        self._order = count()
        self._held = 0  # items of all entries
        self._live = 0  # of these, those that wait
        self._timer: Handle | None = None
        self._timer_at = float("inf")

    def watch(self, items: Sequence[Item]) -> None:
        """From now on the deadlines of these items, one or more, fire on time."""
        for item in items:
            item.watched = True
        first = min([item.deadline for item in items])
        heapq.heappush(self._heap, (first, next(self._order), items))
        self._held += len(items)
        self._live += len(items)
        if first < self._timer_at:
            self._arm()

    def forget(self, items: Sequence[Item]) -> None:
        """These items are answered. Entries go when they hold more dead than living."""
        for item in items:
            item.done = True
            item.data = ()  # the entry may stay for a while, its requests' bytes must not
        self._live -= len(items)
        if self._held > 2 * self._live + _SLACK:
            waiting = ((first, order, [item for item in items if not item.done]) for first, order, items in self._heap)
            self._heap = [entry for entry in waiting if entry[2]]
            heapq.heapify(self._heap)
            self._held = self._live

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._timer_at = None, float("inf")
        if self._heap:
            self._timer_at = self._heap[0][0]
            self._timer = self._loop.call_later(max(self._timer_at - self._clock.now(), 0.0), self._fire)

    def _fire(self) -> None:
        now = self._clock.now()
        while self._heap and self._heap[0][0] <= now:
            items = heapq.heappop(self._heap)[2]
            self._held -= len(items)
            if len(items) > 1 or items[0].deadline > now:  # that one was put off
                for item in items:
                    self._alone(item)
            elif not items[0].done:
                self._live -= 1
                self._expire(items[0])
        self._arm()

    def _alone(self, item: Item) -> None:
        if not item.done:
            heapq.heappush(self._heap, (item.deadline, next(self._order), (item,)))
            self._held += 1
