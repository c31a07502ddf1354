"""Requests of one version and row shape: arrivals, what waits for more than one run, and the next batch of both."""

from __future__ import annotations

from collections import deque
from itertools import takewhile
from typing import TYPE_CHECKING

from gateway.serving.backlog import Backlog
from gateway.serving.batch import Batch, Item

if TYPE_CHECKING:
    from gateway.serving.versions import Version

_LEAST_S = 1e-9  # that a row counts for while nothing is known of what runs cost

Shapes = tuple[tuple[int, ...], ...]
Turn = tuple[int, bool, float, float]  # whose first request is next: level, late, start, arrival


class Lane:
    """Requests of one row shape. While all that waits fits one run it stands in the order of arrival, and nothing else is known of it."""

    __slots__ = ("alone", "arrived", "backlog", "grown", "limit", "ready", "rows", "settling_since", "shapes", "unseen", "version")

    def __init__(self, version: Version, shapes: Shapes, *, alone: bool) -> None:
        """`alone`: for requests each of which is a batch of its own, because they have no rows or their version joins none."""
        self.version = version
        self.alone = alone
        self.shapes = shapes
        self.arrived: deque[Item] = deque()  # not sorted yet
        self.backlog = Backlog(version.ledger)
        self.rows = 0  # of both
        self.limit = version.batch_limit(shapes)
        self.ready = False  # will be looked at when this tick ends
        self.grown = False  # got items since it was last looked at
        self.settling_since = 0.0
        self.unseen: list[Item] = []  # sorted before anybody has watched their deadlines

    @property
    def waits(self) -> bool:
        """Something waits in it."""
        return bool(self.arrived or self.backlog.count)

    def unwatched(self) -> list[Item]:
        """What waits and has a deadline that nobody watches."""
        found = list(takewhile(lambda item: not item.watched, reversed(self.arrived)))
        if self.unseen:
            found += [item for item in self.unseen if item.line is not None and not item.watched]
            self.unseen.clear()
        return found

    def next_rows(self, now: float) -> int:
        """Of the request that is next."""
        if len(self.arrived) == 1 and not self.backlog.count:
            return self.arrived[0].rows
        self.sort()
        found = self.backlog.first(now)
        return 0 if found is None else found[0].rows

    def turn(self, now: float) -> Turn:
        """How soon its first request is due, among the lanes of its version."""
        self.sort()
        found = self.backlog.first(now)
        if found is None:
            return 1 << 30, True, 0.0, 0.0
        item, line = found
        return item.level, line.late, line.start, item.arrival

    def sort(self) -> None:
        """More waits than one run takes: from now on it matters whose it is. What takes many runs waits elsewhere, and for other runs."""
        version = self.version
        while self.arrived:
            item = self.arrived.popleft()
            if version.is_bulk(item.rows, self.limit):
                item.lane = self
                self.rows -= item.rows
                version.bulk.add(item)
                version.bulk_holdings.add(item)
            else:
                self.backlog.add(item)
                version.holdings.add(item)
            if not item.watched:
                self.unseen.append(item)

    def leave(self, item: Item) -> None:
        """One of the sorted leaves."""
        self.backlog.remove(item)
        self.rows -= item.rows
        self.version.holdings.remove(item)
        self.version.left(item)

    def take(self, now: float) -> Batch | None:
        """The next batch, up to `limit` rows or one that is a little larger; dead requests are dropped here, before compute."""
        fits = self.rows <= self.limit and not self.backlog.count and (not self.alone or len(self.arrived) == 1)
        if fits and all([not item.done and item.deadline > now and not item.caller.cancelled for item in self.arrived]):
            return self._take_all()
        self.sort()
        items = self._pick(now)
        items.sort(key=lambda item: not item.watched)  # where the first is not watched, none is
        return Batch(self.version, self.shapes, items, sum([item.rows for item in items]), self.limit) if items else None

    def _take_all(self) -> Batch | None:
        """Everything that waits, which is alive and fits one batch."""
        items, rows, version = list(self.arrived), self.rows, self.version
        self.arrived.clear()
        self.rows = 0
        version.waiting_rows -= rows
        if version.crowded:
            version.crowded.clear()
        if not items:
            return None
        batch = Batch(version, self.shapes, items, rows, self.limit)
        version.waiting_bytes -= batch.size
        return batch

    def _pick(self, now: float) -> list[Item]:
        """The requests that are next, until one does not fit any more."""
        items: list[Item] = []
        left = self.limit
        for line in self.backlog.lines(now):
            while (item := line.first()) is not None:
                if item.done or item.caller.cancelled or item.deadline <= now:
                    self.leave(item)
                    self.version.drop(item)
                    continue
                if items and (self.alone or item.rows > left):
                    return items
                self.leave(item)
                self.version.ledger(item.level).charge(item.tenant, self._cost(item))
                items.append(item)
                left -= item.rows
        return items

    def _cost(self, item: Item) -> float:
        """Its share of the runs that it is part of [s]."""
        cost = self.version.cost
        seconds = cost.predict(item.rows) if self.alone else cost.predict(self.limit) * item.rows / self.limit
        return seconds or _LEAST_S * item.rows
