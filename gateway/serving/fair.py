"""Whose request is next: start-time fair queueing between tenants (Goyal, Vin and Cheng, 1996), weighted by what runs cost.

Each tenant's first request has a start in virtual seconds: the moment at which a server that works on all of them at once would begin with
it. The earliest start is next. Who comes back after a pause starts now, so nobody saves up; who is heavy starts later the next time.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable

from gateway.serving.batch import Item

_KEPT_MAX = 1_024  # tenants whose last finish is remembered, before those that do not matter any more are forgotten

Weight = Callable[[str], float]


def alike(_tenant: str) -> float:
    """All tenants have one weight."""
    return 1.0


class Ledger:
    """What tenants were given of one version at one level, in virtual seconds. Shared by all lines in which their requests wait."""

    __slots__ = ("_finish", "_weight", "now")

    def __init__(self, weight: Weight = alike) -> None:
        self.now = 0.0
        self._weight = weight
        self._finish: dict[str, float] = {}

    def start(self, tenant: str) -> float:
        """Of its next request."""
        return max(self.now, self._finish.get(tenant, 0.0))

    def charge(self, tenant: str, seconds: float) -> None:
        """Its next request begins to run, which costs `seconds`."""
        self.now = start = self.start(tenant)
        if len(self._finish) >= _KEPT_MAX:
            self._finish = {name: finish for name, finish in self._finish.items() if finish > start}
        self._finish[tenant] = start + seconds / self._weight(tenant)


class Line:
    """Requests of one level that wait for the same runs, each tenant's in the order in which they came."""

    __slots__ = ("_flows", "_heads", "_ledger", "late")

    def __init__(self, ledger: Ledger, *, late: bool = False) -> None:
        """`late`: of requests that have waited for longer than their queue allows, and let others pass."""
        self.late = late
        self._ledger = ledger
        self._flows: dict[str, deque[Item]] = {}
        self._heads: list[tuple[float, float, str]] = []  # (start, arrival, tenant) of each flow, starts as they were when last looked at

    def add(self, item: Item) -> None:
        """At the end of its tenant's requests."""
        item.line = self
        flow = self._flows.get(item.tenant)
        if flow is not None:
            flow.append(item)
            return
        self._flows[item.tenant] = deque((item,))
        heapq.heappush(self._heads, (self._ledger.start(item.tenant), item.arrival, item.tenant))

    def first(self) -> Item | None:
        """Who is next. Requests that have left are passed over."""
        heads, flows = self._heads, self._flows
        while heads:
            start, arrival, tenant = heads[0]
            flow = flows[tenant]
            while flow and flow[0].line is not self:
                flow.popleft()
            if not flow:
                heapq.heappop(heads)
                del flows[tenant]
                continue
            head = self._ledger.start(tenant), flow[0].arrival, tenant
            if head <= (start, arrival, tenant):
                return flow[0]
            heapq.heapreplace(heads, head)  # it was given something since, here or in another line, or its first request has left
        return None

    @property
    def start(self) -> float:
        """Of the request that `first` has given."""
        return self._heads[0][0]

    def last(self, tenant: str) -> Item | None:
        """The request of a tenant that came last."""
        flow = self._flows.get(tenant)
        while flow and flow[-1].line is not self:
            flow.pop()
        return flow[-1] if flow else None
