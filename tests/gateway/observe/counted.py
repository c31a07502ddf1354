"""What one process counts, without a supervisor or another worker."""

from __future__ import annotations

from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.metrics import Metrics
from gateway.observe.totals import Totals

WALL_S = 1_800_000_000.0  # every batch is answered at this moment


def alone(limits: ObserveLimits) -> tuple[Metrics, Totals]:
    """The counting of a process that is its own supervisor: a version has a slot from its first request on."""
    arena = Arena.create(workers=1, slots=limits.max_versions + 2)
    totals = Totals(arena, limits)
    arena.close()  # nobody else attaches
    return Metrics(arena.region(0), totals.open, lambda: WALL_S), totals
