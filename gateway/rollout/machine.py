"""What a rollout goes through, as a transition table. Pure: no I/O, no clock, no randomness.

A rollout is what its journal says: each entry is one event, and the table says which may follow which. `standing.fold` replays a journal,
`deciding.decide` says what the next entries are, `directive.directive` what every server does meanwhile. The diagram of
docs/rollout-machine.md is `diagram()`.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping


class Phase(enum.Enum):
    """Of a rollout. The value is the word in the journal."""

    QUEUED = "queued"  # the candidate is pinned; another rollout of the model is before it
    ADMITTED = "admitted"  # stable is pinned; no controller has begun
    PREPARING = "preparing"  # both versions are loaded, warmed and asked their golden requests; no traffic yet
    STEP = "step"  # one of the plan's steps, or past the last one
    PAUSED = "paused"  # for a cause; timers stand still
    PROMOTING = "promoting"  # the alias is being moved
    BAKING = "baking"  # it was moved; stable is kept warm
    ROLLING_BACK = "rolling_back"  # nothing goes to the candidate; the alias is being moved back, if it was moved
    SUCCEEDED = "succeeded"
    CONCLUDED = "concluded"  # an A/B has its report
    FAILED = "failed"  # it never met traffic
    ROLLED_BACK = "rolled_back"
    ABORTED = "aborted"
    SUPERSEDED = "superseded"


class Event(enum.Enum):
    """What moves a rollout on. The value is the word in the journal."""

    APPLY = "apply"  # somebody asks for it
    ADMIT = "admit"  # it is the first in the queue
    PREPARE = "prepare"  # a controller begins
    READY = "ready"  # both versions can serve
    LOAD_FAILED = "load_failed"
    LEAD = "lead"  # another controller has it from now on
    TRIP = "trip"  # the evidence against a metric has passed its threshold, for good
    PASS = "pass"  # noqa: S105 - the verdict on a step
    TIMER = "timer"  # a step's time is over
    APPROVAL = "approval"  # one person agrees
    APPROVED = "approved"  # enough have
    HOLD = "hold"  # no verdict in time, and the plan says to look on
    ADVANCE = "advance"  # somebody ends the step
    COMPLETE = "complete"  # no step is left
    PROMOTE = "promote"  # somebody ends all steps
    MOVED = "moved"  # the alias stands for the candidate
    BAKED = "baked"
    CONCLUDE = "conclude"
    PAUSE = "pause"
    RESUME = "resume"
    FAIL = "fail"  # a verdict, or the lack of one, ends it
    FAST = "fast"  # a crash, failures in a row, golden requests: without statistics
    ABORT = "abort"
    SUPERSEDE = "supersede"  # by another rollout, or because stable is no longer what serves
    DISPLACE = "displace"  # the same, where the alias may have been moved
    ROLLED = "rolled"  # back, whatever that took
    STOPPED = "stopped"  # the same after an abort
    REPLACED = "replaced"  # the same after a displacement


class Cause(enum.Enum):
    """Why a rollout is paused."""

    OPERATOR = "operator"
    PLAN = "plan"  # a step that waits until somebody resumes
    INCONCLUSIVE = "inconclusive"  # no verdict within `max_duration`
    NO_DATA = "no_data"  # not even enough to have one
    INVALID = "invalid"  # the arms do not get what they were assigned
    FAILED = "failed"  # a verdict, where the plan says to pause
    POLICY = "policy"  # the registry refuses that the alias moves
    TIMEOUT = "timeout"  # of an approval

    @property
    def keeps_traffic(self) -> bool:
        """Whether the candidate keeps its share meanwhile: nothing speaks against it."""
        return self not in {Cause.FAILED, Cause.INVALID}


FINAL = frozenset({Phase.SUCCEEDED, Phase.CONCLUDED, Phase.FAILED, Phase.ROLLED_BACK, Phase.ABORTED, Phase.SUPERSEDED})
WAITING = (Phase.QUEUED, Phase.ADMITTED, Phase.PREPARING)
MEETING = (Phase.STEP, Phase.PAUSED)
GOING = (*WAITING, *MEETING, Phase.PROMOTING, Phase.BAKING, Phase.ROLLING_BACK)
TABLE: Mapping[tuple[Phase | None, Event], Phase] = {
    (None, Event.APPLY): Phase.QUEUED,
    (Phase.QUEUED, Event.ADMIT): Phase.ADMITTED,
    (Phase.ADMITTED, Event.PREPARE): Phase.PREPARING,
    (Phase.PREPARING, Event.READY): Phase.STEP,
    (Phase.PREPARING, Event.LOAD_FAILED): Phase.FAILED,
    **{(Phase.STEP, event): Phase.STEP for event in (Event.PASS, Event.TIMER, Event.APPROVED, Event.ADVANCE, Event.HOLD, Event.APPROVAL)},
    (Phase.STEP, Event.COMPLETE): Phase.PROMOTING,
    **{(phase, Event.PROMOTE): Phase.PROMOTING for phase in MEETING},
    **{(phase, Event.CONCLUDE): Phase.CONCLUDED for phase in MEETING},
    **{(phase, Event.PAUSE): Phase.PAUSED for phase in (*MEETING, Phase.PROMOTING)},
    (Phase.PAUSED, Event.RESUME): Phase.STEP,
    (Phase.PAUSED, Event.ADVANCE): Phase.STEP,
    (Phase.PROMOTING, Event.MOVED): Phase.BAKING,
    (Phase.BAKING, Event.BAKED): Phase.SUCCEEDED,
    **{(phase, event): Phase.ROLLING_BACK for phase in (*MEETING, Phase.PROMOTING, Phase.BAKING) for event in (Event.FAIL, Event.FAST)},
    **{(phase, Event.ABORT): Phase.ABORTED for phase in WAITING},
    **{(phase, Event.ABORT): Phase.ROLLING_BACK for phase in (*MEETING, Phase.PROMOTING, Phase.BAKING)},
    **{(phase, Event.SUPERSEDE): Phase.SUPERSEDED for phase in (*WAITING, *MEETING)},
    **{(phase, Event.DISPLACE): Phase.ROLLING_BACK for phase in (*MEETING, Phase.PROMOTING, Phase.BAKING)},
    (Phase.ROLLING_BACK, Event.ROLLED): Phase.ROLLED_BACK,
    (Phase.ROLLING_BACK, Event.STOPPED): Phase.ABORTED,
    (Phase.ROLLING_BACK, Event.REPLACED): Phase.SUPERSEDED,
    **{(phase, Event.TRIP): phase for phase in (*MEETING, Phase.PROMOTING, Phase.BAKING)},
    **{(phase, Event.LEAD): phase for phase in GOING},
}


class IllegalTransitionError(Exception):
    """An event that cannot happen in this phase."""


def after(phase: Phase | None, event: Event) -> Phase:
    """The next phase. Raises `IllegalTransitionError`."""
    found = TABLE.get((phase, event))
    if found is None:
        raise IllegalTransitionError(
            f"'{event.value}' cannot happen {'before a rollout has begun' if phase is None else f'in phase {phase.value}'}"
        )
    return found


def diagram() -> str:
    """The table as a state diagram in Mermaid; events between the same two phases share an arrow. What changes no phase is left out."""
    arrows: dict[tuple[str, str], list[str]] = {}
    for (before, event), phase in TABLE.items():
        if before is not phase or before is Phase.STEP:
            arrows.setdefault(("[*]" if before is None else before.value, phase.value), []).append(event.value)
    lines = [
        f"    {before} --> {phase}: {', '.join(event for event in events if event != 'lead')}" for (before, phase), events in arrows.items()
    ]
    ends = [f"    {phase.value} --> [*]" for phase in Phase if phase in FINAL]
    return "\n".join(["stateDiagram-v2", *lines, *ends]) + "\n"
