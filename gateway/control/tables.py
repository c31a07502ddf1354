"""What serves, as the supervisor says it to workers. Pure: what is wished and what is routed to one table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.control.messages import Table
from gateway.serving.lifecycle import Desired, RouteTable, Wanted
from gateway.serving.sources import Wish
from gateway.serving.splits import Split


def table_of(
    wish: Wish, routes: RouteTable, awake: Desired, *, generation: int, partial: bool, ready: bool, draining: Iterable[Wanted] = ()
) -> Table:
    """The table that workers get. What is wanted and not routed has a reason there, so that callers are told.

    `awake` is what of the wish is to be loaded now; `draining` what workers still hold and no route leads to.
    """
    failed: dict[str, dict[int, str]] = {}
    for one in routes.failed:
        if one.version is not None:
            failed.setdefault(one.model, {})[one.version] = one.reason
    loading: dict[str, tuple[int, ...]] = {}
    for wanted in sorted(awake.versions):
        if wanted.version not in {**routes.models.get(wanted.model, {}), **failed.get(wanted.model, {})}:
            loading[wanted.model] = (*loading.get(wanted.model, ()), wanted.version)
    unloading: dict[str, tuple[int, ...]] = {}
    for model, number in sorted({(wanted.model, wanted.version) for wanted in draining}):
        if number not in {*routes.models.get(model, ()), *failed.get(model, ()), *loading.get(model, ())}:
            unloading[model] = (*unloading.get(model, ()), number)
    names = {*routes.models, *failed, *loading}
    pointed: dict[str, int | None] = {**wish.desired.defaults, **routes.defaults} | dict.fromkeys(wish.undecided)
    return Table(
        generation=generation,
        partial=partial,
        ready=ready,
        models={model: dict(numbers) for model, numbers in routes.models.items()},
        aliases={model: {**known, **routes.labels.get(model, {})} for model, known in wish.aliases.items()},
        defaults={model: number for model, number in pointed.items() if model in names},
        failed=failed,
        loading=loading,
        unloading=unloading,
        asleep=tuple(sorted(wish.lazy - routes.models.keys() - failed.keys())),
        idle=dict(wish.idle),
        splits=tuple([split for split in wish.splits if _stands(split, routes, awake, pointed)]),
    )


def _stands(split: Split, routes: RouteTable, awake: Desired, pointed: Mapping[str, int | None]) -> bool:
    """Whether every version of a rollout serves as it is wanted, and stable is what a request without a version means."""
    wanted = {one.version: one.identity for one in awake.versions if one.model == split.model}
    routed = routes.models.get(split.model, {})
    numbers = (split.stable, *[arm.version for arm in split.arms])
    return pointed.get(split.model) == split.stable and all(number in routed and routed[number] == wanted.get(number) for number in numbers)
