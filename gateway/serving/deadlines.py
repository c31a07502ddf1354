"""Deadlines of requests that outlive their tick: one heap and one timer, not a timer per request."""

from __future__ import annotations

import heapq
from collections.abc import Callable
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
    """Calls `expire(item)` when an item's deadline passes before `forget` was called for it."""

    def __init__(self, loop: Loop, clock: Clock, expire: Callable[[Item], None]) -> None:
        self._loop = loop
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, int, Item]] = []
        self._order = count()
        self._live = 0
        self._timer: Handle | None = None
        self._timer_at = float("inf")

    def watch(self, item: Item) -> None:
        """From now on the item's deadline fires on time."""
        item.watched = True
        heapq.heappush(self._heap, (item.deadline, next(self._order), item))
        self._live += 1
        if item.deadline < self._timer_at:
            self._arm()

    def forget(self, item: Item) -> None:
        """The item is answered. Its entry goes when the heap holds more dead than living."""
        item.done = True
        item.data = ()  # the entry may stay for a while, its request's bytes must not
        self._live -= 1
        if len(self._heap) > 2 * self._live + _SLACK:
            self._heap = [entry for entry in self._heap if not entry[2].done]
            heapq.heapify(self._heap)

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
            item = heapq.heappop(self._heap)[2]
            if not item.done:
                self._live -= 1
                self._expire(item)
        self._arm()
