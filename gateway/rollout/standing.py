"""Where a rollout stands: its journal, replayed. Pure: entries in, one value out.

`fold` refuses what no writer of ours would have written. Times are wall times of the entries; what a step has consumed stands still
while the rollout is paused, and a clock that goes back takes nothing away.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from gateway.rollout.machine import FINAL, Cause, Event, IllegalTransitionError, Phase, after
from gateway.rollout.plan import Plan, weight_units
from registry.errors import Kind, RegistryError, damaged
from registry.fencing import counted
from registry.names import Digest
from registry.rollout_entries import RolloutEntry

NOT_A_SPLIT = "sample ratio"  # stands among the metrics for what makes all of them invalid
_Details = TypeVar("_Details")


class Pin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A version, and what it is made of."""

    version: int
    manifest: Digest


class PinnedArm(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One version of an A/B. `units` are of `plan.WEIGHT_UNITS`."""

    name: str
    pin: Pin
    units: int


class Trip(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Evidence that a metric is worse, beyond its threshold."""

    metric: str
    critical: bool  # ends the rollout; else it pauses
    sentence: str


class Begun(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of `apply`: what never changes afterwards."""

    plan: Digest
    salt: str  # 32 hexadecimal digits, the key of the routing hash
    alias: str  # that is moved in the end
    candidate: Pin
    arms: tuple[PinnedArm, ...] = ()
    publisher: str  # of the candidate
    commit: str = ""  # of the plan file
    forced: bool = False  # although the version was rejected
    operation_id: str = ""


class Admitted(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of `admit`."""

    stable: Pin | None  # None: no version serves yet
    skip: str = ""  # why the steps are skipped: "initial", "window"
    operation_id: str = ""


class Tripped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of `trip`."""

    tripped: tuple[Trip, ...]


class Stopped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of `pause`."""

    cause: Cause
    consumed_s: float  # of the step, until then
    operation_id: str = ""


class Resumed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of `resume`, `advance` and `promote`."""

    accepted: tuple[str, ...] = ()  # metrics whose evidence is no longer held against the candidate
    operation_id: str = ""


class Deed(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Details of everything else."""

    operation_id: str = ""
    note: str = ""  # what came of an attempt: whether the alias was moved, whether the version is marked


class Approval(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One person's word in one step."""

    actor: str
    time_s: float


class Standing(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a decision, a directive and a status depend on."""

    rollout: str
    model: str
    plan: Plan
    begun: Begun
    starter: str
    phase: Phase
    begun_s: float = 0.0  # when it was applied
    stable: Pin | None = None
    skip: str = ""
    step: int = 0  # of `plan.steps()`; their number once none is left
    weight: int = 0  # units of the last step that sets or ends one; what goes to the candidate is `share`
    entered_s: float = 0.0  # when the phase was entered
    running_s: float | None = None  # since when the step's time runs; None while it stands still
    consumed_s: float = 0.0  # of the step, before `running_s`
    cause: Cause | None = None  # while paused
    ending: Event | None = None  # while and after rolling back: what led to it
    reason: str = ""  # of the last entry that gave one
    approvals: tuple[Approval, ...] = ()  # in this step
    tripped: tuple[Trip, ...] = ()
    accepted: frozenset[str] = frozenset()
    passed: frozenset[int] = frozenset()  # steps that ended by verdict
    waived: frozenset[int] = frozenset()  # steps that somebody ended
    shadowed: bool = False  # a shadow step is over
    held: bool = False  # no verdict in time in this step, and it goes on
    tried: bool = False  # the alias was, or may have been, moved
    token: int = 0
    seq: int = 0
    checkpoint: str | None = None  # the newest
    operations: Mapping[str, int] = {}  # operation id → entry

    @property
    def final(self) -> bool:
        """Whether nothing follows."""
        return self.phase in FINAL

    @property
    def is_ab(self) -> bool:
        """Whether it compares and never promotes."""
        return self.plan.spec.strategy.ab is not None

    @property
    def share(self) -> int:
        """Units of the traffic that go to the candidate now."""
        if self.phase in {Phase.STEP, Phase.PROMOTING}:
            return self.weight
        return self.weight if self.cause is not None and self.cause.keeps_traffic else 0

    @property
    def failing(self) -> tuple[Trip, ...]:
        """What is held against the candidate."""
        return tuple(trip for trip in self.tripped if trip.metric not in self.accepted)

    def elapsed_s(self, now_s: float) -> float:
        """How long the step, or the bake, has gone on. Never less than before, also where the clock goes back."""
        return self.consumed_s + (0.0 if self.running_s is None else max(now_s - self.running_s, 0.0))


def fold(plan: Plan, entries: Iterable[RolloutEntry]) -> Standing:
    """Where `entries`, the whole journal, lead. Raises `Kind.DAMAGED` naming the entry that cannot have happened.

    Entries of a controller whose claim had been taken over count for nothing.
    """
    standing: Standing | None = None
    for entry in counted(entries):
        standing = advance(plan, standing, entry)
    if standing is None:
        raise damaged("a rollout without any entry has no standing")
    return standing


def advance(plan: Plan, before: Standing | None, entry: RolloutEntry) -> Standing:
    """`before` after one more entry. Raises `Kind.DAMAGED` where that cannot follow, `Kind.UNSUPPORTED` for a word of another release."""
    place = f"entry {entry.seq} of rollout {entry.rollout}"
    try:
        event = Event(entry.event)
        phase = after(None if before is None else before.phase, event)
    except ValueError as error:
        raise RegistryError(Kind.UNSUPPORTED, f"{place} says '{entry.event}', which this release does not know") from error
    except IllegalTransitionError as error:
        raise damaged(f"{place}: {error}") from error
    if (entry.to_phase, entry.from_phase, entry.final) != (phase.value, before.phase.value if before else None, phase in FINAL):
        raise damaged(f"{place} leads from {entry.from_phase} to {entry.to_phase}, where '{entry.event}' leads to {phase.value}")
    if not 0 <= entry.step <= len(plan.steps()):
        raise damaged(f"{place} speaks of step {entry.step}, and the plan has {len(plan.steps())}")
    time_s = entry.time.timestamp()
    if before is None:
        return _begin(plan, entry, time_s, place)
    changed: dict[str, Any] = {"phase": phase, "seq": entry.seq, "token": max(before.token, entry.token)}
    if phase is not before.phase:
        changed["entered_s"] = time_s
    if entry.reason:
        changed["reason"] = entry.reason
    if entry.checkpoint:
        changed["checkpoint"] = entry.checkpoint
    if operation := entry.details.get("operation_id"):
        changed["operations"] = {**before.operations, operation: entry.seq}
    return msgspec.structs.replace(before, **changed, **_meaning(event, before, entry, time_s, place))


def weight_at(plan: Plan, step: int, before: int) -> int:
    """Units that a step gives the candidate; `before` where it leaves them as they were."""
    steps = plan.steps()
    if step >= len(steps):
        return before
    if steps[step].shadow is not None:
        return 0
    weight = steps[step].set_weight
    return before if weight is None else weight_units(weight)


def details_of(entry: RolloutEntry, type_: type[_Details], place: str) -> _Details:
    """The details of an entry, typed. Raises `Kind.DAMAGED`."""
    try:
        return msgspec.convert(entry.details, type_)
    except msgspec.ValidationError as error:
        raise damaged(f"{place} has details that are none: {error}") from error


# --- what each event means --------------------------------------------------------------------------------------------------------------


def _meaning(event: Event, before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    """What `event` changes beside the phase."""
    match event:
        case Event.ADMIT:
            return _admit(entry, place)
        case Event.READY:
            return _enter(before, entry, time_s, place)
        case Event.PASS | Event.TIMER | Event.APPROVED | Event.ADVANCE:
            return _next(before, entry, time_s, place)
        case Event.TRIP:
            return _trip(before, entry, place)
        case Event.APPROVAL:
            return _approve(before, entry, time_s, place)
        case Event.HOLD:
            return {"held": True}
        case Event.PAUSE:
            return _pause(entry, place)
        case Event.RESUME:
            return _resume(before, entry, time_s, place)
        case Event.COMPLETE | Event.PROMOTE:
            return _promote(before, entry, time_s, place)
        case Event.MOVED:
            return {"running_s": time_s, "consumed_s": 0.0}
        case Event.FAIL | Event.FAST | Event.ABORT | Event.SUPERSEDE | Event.DISPLACE | Event.CONCLUDE | Event.LOAD_FAILED:
            return {"cause": None, "running_s": None, "ending": event}
        case _:
            return {}


def _begin(plan: Plan, entry: RolloutEntry, time_s: float, place: str) -> Standing:
    begun = details_of(entry, Begun, place)
    return Standing(
        rollout=entry.rollout,
        model=entry.model,
        plan=plan,
        begun=begun,
        starter=entry.actor,
        phase=Phase.QUEUED,
        begun_s=time_s,
        entered_s=time_s,
        reason=entry.reason,
        seq=entry.seq,
        token=entry.token,
        operations={begun.operation_id: entry.seq} if begun.operation_id else {},
    )


def _admit(entry: RolloutEntry, place: str) -> dict[str, Any]:
    said = details_of(entry, Admitted, place)
    return {"stable": said.stable, "skip": said.skip}


def _enter(before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    """A step begins, or none is left."""
    if before.phase is Phase.PREPARING and entry.step != (len(before.plan.steps()) if before.skip else 0):
        raise damaged(f"{place} begins with step {entry.step}")
    last = before.plan.steps()[before.step] if before.step < len(before.plan.steps()) else None
    return {
        "step": entry.step,
        "weight": weight_at(before.plan, entry.step, before.weight),
        "running_s": time_s,
        "consumed_s": 0.0,
        "approvals": (),
        "held": False,
        "cause": None,
        "shadowed": before.shadowed or (before.phase is not Phase.PREPARING and last is not None and last.shadow is not None),
    }


def _next(before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    """A step ends: one by one, each for what it is."""
    if entry.step != before.step + 1:
        raise damaged(f"{place} leads from step {before.step} to step {entry.step}")
    changed = _enter(before, entry, time_s, place)
    ended = frozenset({before.step})
    if entry.event == Event.PASS.value:
        changed["passed"] = before.passed | ended
    if entry.event == Event.ADVANCE.value:
        changed |= {"waived": before.waived | ended, "accepted": before.accepted | set(details_of(entry, Resumed, place).accepted)}
    return changed


def _trip(before: Standing, entry: RolloutEntry, place: str) -> dict[str, Any]:
    known = {trip.metric for trip in before.tripped}
    return {"tripped": before.tripped + tuple(trip for trip in details_of(entry, Tripped, place).tripped if trip.metric not in known)}


def _approve(before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    if entry.actor in {approval.actor for approval in before.approvals}:
        raise damaged(f"{place}: '{entry.actor}' approves a second time")
    return {"approvals": (*before.approvals, Approval(entry.actor, time_s))}


def _pause(entry: RolloutEntry, place: str) -> dict[str, Any]:
    said = details_of(entry, Stopped, place)
    return {"cause": said.cause, "consumed_s": said.consumed_s, "running_s": None}


def _resume(before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    """Who was without a verdict in time gets that time again."""
    if entry.step != before.step:
        raise damaged(f"{place} leads from step {before.step} to step {entry.step}")
    again = before.cause in {Cause.INCONCLUSIVE, Cause.NO_DATA, Cause.TIMEOUT}
    accepted = before.accepted | set(details_of(entry, Resumed, place).accepted)
    return {"cause": None, "running_s": time_s, "consumed_s": 0.0 if again else before.consumed_s, "accepted": accepted}


def _promote(before: Standing, entry: RolloutEntry, time_s: float, place: str) -> dict[str, Any]:
    steps = len(before.plan.steps())
    if entry.event == Event.COMPLETE.value and before.step != steps:
        raise damaged(f"{place} ends the steps at step {before.step} of {steps}")
    ended = frozenset(range(before.step, steps))
    accepted = details_of(entry, Resumed, place).accepted if entry.event == Event.PROMOTE.value else ()
    return {
        "step": steps,
        "tried": True,
        "cause": None,
        "running_s": time_s,
        "consumed_s": 0.0,
        "waived": before.waived | ended,
        "accepted": before.accepted | set(accepted),
    }
