"""From a plan to what is kept of a version in one worker. Imports the kernels that count: nobody imports it who watches nothing."""

from __future__ import annotations

from collections.abc import Callable

from gateway.drift.door import Door
from gateway.drift.entrance import Entrance
from gateway.drift.gathered import room_for
from gateway.drift.layout import Views
from gateway.drift.learned import Learner
from gateway.drift.plans import WatchPlan
from gateway.drift.recorder import Recorder
from gateway.drift.segments import dividing
from gateway.drift.tables import tables_of
from gateway.drift.watching import Aside, Tick, Watch
from gateway.serving.versions import Version


def made(
    version: Version, plan: WatchPlan, views: Views, *, aside: Aside, tick: Tick, now: Callable[[], float]
) -> tuple[Watch, Entrance | None]:  # fmt: skip
    """What is told of the version's batches, and who is asked before they run, where its contract rejects. `views` of its block, begun."""
    signature = version.signature
    entrance = _entrance(version, plan, views, now)
    watch = Watch(
        views.head,
        aside,
        recorder=Recorder(tables_of(plan.profile, plan.layout, signature), plan.layout, views) if plan.profile is not None else None,
        learner=Learner(views, signature, rows=plan.learn_rows) if plan.learn_rows else None,
        entrance=entrance,
        schema=plan.schema,
        segments_of=dividing(plan, signature),
        tick=tick,
        room=room_for(signature),
    )
    return watch, entrance if entrance is not None and entrance.rejects else None


def _entrance(version: Version, plan: WatchPlan, views: Views, now: Callable[[], float]) -> Entrance | None:
    if plan.schema is None or not plan.rules:
        return None
    door = Door(plan.schema, version.signature, plan.rules)
    return Entrance(f"{version.name}/{version.number}", door, views.rules, now)
