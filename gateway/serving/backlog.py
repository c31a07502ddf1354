"""What waits for more than one run, in the order in which it will run.

By level; at a level those that are late go last; among those that are alike it is fair between tenants.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count

from gateway.serving.batch import Item
from gateway.serving.fair import Ledger, Line

_NEVER = float("inf")


class Level:
    """Requests of one priority level."""

    __slots__ = ("_expiries", "_order", "fresh", "late")

    def __init__(self, ledger: Ledger) -> None:
        self.fresh = Line(ledger)
        self.late = Line(ledger, late=True)
        self._expiries: list[tuple[float, int, Item]] = []
        self._order = count()

    def add(self, item: Item) -> None:
        """In the order of arrival."""
        self.fresh.add(item)
        if item.late_from < _NEVER:
            heapq.heappush(self._expiries, (item.late_from, next(self._order), item))

    def expire(self, now: float) -> None:
        """Requests whose patience has ended let others pass."""
        expiries = self._expiries
        while expiries and expiries[0][0] <= now:
            item = heapq.heappop(expiries)[2]
            if item.line is self.fresh:
                self.late.add(item)


class Backlog:
    """Requests that wait for the same runs."""

    __slots__ = ("_ledger_of", "_levels", "count")

    def __init__(self, ledger_of: Callable[[int], Ledger]) -> None:
        """`ledger_of(level)`: what tenants were given there."""
        self.count = 0
        self._ledger_of = ledger_of
        self._levels: dict[int, Level] = {}

    def add(self, item: Item) -> None:
        """Take a request in."""
        level = self._levels.get(item.level)
        if level is None:
            level = self._levels[item.level] = Level(self._ledger_of(item.level))
        level.add(item)
        self.count += 1

    def remove(self, item: Item) -> None:
        """It waits here no more."""
        item.line = None
        self.count -= 1

    def lines(self, now: float) -> Iterator[Line]:
        """All lines, in the order in which they are worked off."""
        for _, level in sorted(self._levels.items()):
            level.expire(now)
            yield level.fresh
            yield level.late

    def first(self, now: float) -> tuple[Item, Line] | None:
        """Who is next, and where it stands."""
        for line in self.lines(now):
            item = line.first()
            if item is not None:
                return item, line
        return None

    def last(self, level: int, tenant: str) -> Item | None:
        """The request of a tenant at a level that would run last."""
        found = self._levels.get(level)
        return None if found is None else found.late.last(tenant) or found.fresh.last(tenant)
