"""What serves, as the supervisor says it to workers. Pure: what is wished and what is routed to one table."""

from __future__ import annotations

from gateway.control.messages import Table
from gateway.serving.lifecycle import RouteTable
from gateway.serving.sources import Wish


def table_of(wish: Wish, routes: RouteTable, *, generation: int, partial: bool, ready: bool) -> Table:
    """The table that workers get. What is wanted and not routed has a reason there, so that callers are told."""
    failed: dict[str, dict[int, str]] = {}
    for wanted in sorted(wish.desired.versions):
        if wanted.version not in routes.models.get(wanted.model, {}):
            failed.setdefault(wanted.model, {})[wanted.version] = "it is being loaded"
    for one in routes.failed:
        if one.version is not None:
            failed.setdefault(one.model, {})[one.version] = one.reason
    names = {*routes.models, *failed}
    pointed: dict[str, int | None] = {**wish.desired.defaults, **routes.defaults} | dict.fromkeys(wish.undecided)
    return Table(
        generation=generation,
        partial=partial,
        ready=ready,
        models={model: dict(numbers) for model, numbers in routes.models.items()},
        aliases={model: {**known, **routes.labels.get(model, {})} for model, known in wish.aliases.items()},
        defaults={model: number for model, number in pointed.items() if model in names},
        failed=failed,
        idle=dict(wish.idle),
    )
