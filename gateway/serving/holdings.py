"""How much of what waits for a version is whose: the measure by which a full queue decides. Counts what is sorted, and nothing else."""

from __future__ import annotations

import math

from gateway.serving.batch import Item
from gateway.serving.fair import Weight


class Holding:
    """What waits of one tenant at one level."""

    __slots__ = ("bytes", "requests", "rows")

    def __init__(self) -> None:
        self.requests = self.rows = self.bytes = 0


class Holdings:
    """What waits, by level and tenant; nothing is kept of those of whom nothing waits."""

    __slots__ = ("levels",)

    def __init__(self) -> None:
        self.levels: dict[int, dict[str, Holding]] = {}

    def add(self, item: Item) -> None:
        """It waits."""
        tenants = self.levels.get(item.level)
        if tenants is None:
            tenants = self.levels[item.level] = {}
        holding = tenants.get(item.tenant)
        if holding is None:
            holding = tenants[item.tenant] = Holding()
        holding.requests += 1
        holding.rows += item.rows
        holding.bytes += item.size

    def remove(self, item: Item) -> None:
        """It waits no more."""
        tenants = self.levels[item.level]
        holding = tenants[item.tenant]
        holding.requests -= 1
        holding.rows -= item.rows
        holding.bytes -= item.size
        if not holding.requests:
            del tenants[item.tenant]
            if not tenants:
                del self.levels[item.level]

    def requests(self, level: int) -> int:
        """That wait at a level."""
        return sum([holding.requests for holding in self.levels.get(level, {}).values()])

    def rows_before(self, item: Item, weight: Weight) -> int:
        """Those that run before a request that comes now: all of more urgent levels, and at its own what others get while its tenant is
        given what waits of it, by their weights."""
        rows = sum([holding.rows for at, tenants in self.levels.items() if at < item.level for holding in tenants.values()])
        tenants = self.levels.get(item.level, {})
        mine = tenants[item.tenant].rows if item.tenant in tenants else 0
        turns = (mine + item.rows) / weight(item.tenant)
        others = [min(holding.rows, turns * weight(tenant)) for tenant, holding in tenants.items() if tenant != item.tenant]
        return rows + mine + math.ceil(sum(others))
