"""Which of the plan's events the entries of a journal are: for whoever is told of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from gateway.rollout.machine import Event, Phase
from gateway.rollout.notices import Condition, Occurrence
from gateway.rollout.plan import WEIGHT_UNITS, Plan
from gateway.rollout.plan import Event as Told
from gateway.rollout.standing import Standing, advance
from registry.fencing import counted
from registry.rollout_entries import RolloutEntry

_EVENTS: dict[Event, Told] = {
    Event.PREPARE: "started",
    Event.PAUSE: "paused",
    Event.RESUME: "resumed",
    Event.FAIL: "failed",
    Event.FAST: "failed",
    Event.LOAD_FAILED: "failed",
    Event.ROLLED: "rolled_back",
    Event.MOVED: "promoted",
    Event.BAKED: "succeeded",
    Event.CONCLUDE: "concluded",
    Event.STOPPED: "aborted",
    Event.SUPERSEDE: "superseded",
    Event.REPLACED: "superseded",
}
_ENDED: dict[Phase, Told] = {Phase.ABORTED: "aborted", Phase.CONCLUDED: "concluded"}  # what somebody's word makes of it at once


def occurrences(plan: Plan, entries: Iterable[RolloutEntry]) -> list[Occurrence]:
    """The events of a whole journal in its order. Raises as `standing.advance`."""
    found: list[Occurrence] = []
    before: Standing | None = None
    for entry in counted(entries):
        after = advance(plan, before, entry)
        found += [_occurrence(entry, told, before or after, after) for told in events(before, after, Event(entry.event))]
        before = after
    return found


def events(before: Standing | None, after: Standing, event: Event) -> Iterator[Told]:
    """Those of one entry. A step that waits for people is a step, and a call for them."""
    if event in _EVENTS:
        yield _EVENTS[event]
    elif event is Event.ABORT and after.phase in _ENDED:
        yield _ENDED[after.phase]
    elif before is not None and after.phase is Phase.STEP and after.step < len(after.plan.steps()) and _begins(before, after):
        yield "step"
        if after.plan.steps()[after.step].approve is not None:
            yield "approval_needed"


def _begins(before: Standing, after: Standing) -> bool:
    return before.phase is Phase.PREPARING or before.step != after.step


def _occurrence(entry: RolloutEntry, event: Told, before: Standing, after: Standing) -> Occurrence:
    return Occurrence(
        model=entry.model,
        rollout=entry.rollout,
        seq=entry.seq,
        event=event,
        time_s=entry.time.timestamp(),
        actor=entry.actor,
        reason=entry.reason,
        before=_condition(before),
        after=_condition(after),
    )


def _condition(standing: Standing) -> Condition:
    """The champion follows from the phase: it moves once, and a rollback moves it back."""
    stable = None if standing.stable is None else standing.stable.version
    moved = standing.phase in (Phase.BAKING, Phase.SUCCEEDED)
    weight = 100.0 if moved else standing.share * 100.0 / WEIGHT_UNITS
    champion = standing.begun.candidate.version if moved else stable
    return Condition(phase=standing.phase.value, step=standing.step, weight=weight, champion=champion)
