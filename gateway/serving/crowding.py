"""Who makes room in a queue that is full: nobody's backlog keeps others out. Pure.

Without this, a tenant that sends more than is served fills the queue, and from then on others are refused with it, however little they ask
for. A request that comes to a full queue takes the place of a less urgent one, or of the last ones of the tenant that has most of the queue
by its weight, as long as that one still has the more of the two afterwards (McKenney, 1990).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.serving.batch import Item
from gateway.serving.fair import Weight
from gateway.serving.holdings import Holding

Over = Mapping[str, int]  # measure of a `Holding` → by how much its bound would be passed


def who_yields(item: Item, level: int, parts: Sequence[Mapping[str, Holding]], over: Over, weight: Weight) -> str | None:
    """The tenant at a level whose last requests give way to one that comes now; None where it has to go itself.

    `parts`: what waits there by tenant, in several places.
    """

    def amount(tenant: str, measure: str) -> int:
        return sum([getattr(part[tenant], measure) for part in parts if tenant in part])

    tenants: set[str] = set().union(*parts)
    if not tenants or level < item.level or (level == item.level and tenants <= {item.tenant}):
        return None
    own = {"requests": 1, "rows": item.rows, "bytes": item.size}
    first = next(iter(over))
    heaviest = max(sorted(tenants), key=lambda tenant: amount(tenant, first) / weight(tenant))
    for measure, much in over.items():
        left = amount(heaviest, measure) - much
        mine = amount(item.tenant, measure) + own[measure]
        if left < 0 or (level == item.level and left / weight(heaviest) < mine / weight(item.tenant)):
            return None
    return heaviest if level > item.level or heaviest != item.tenant else None
