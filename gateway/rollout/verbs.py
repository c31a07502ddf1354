"""What each verb comes to, from where a rollout stands: the entry that it appends, or nothing where it is done already. Pure.

Raises `Kind.CONFLICT` for what cannot be done in this phase and `Kind.POLICY` for what this person, or nobody, may do.
"""

from __future__ import annotations

from gateway.rollout.deciding import Draft, said
from gateway.rollout.deciding import pause as pausing
from gateway.rollout.machine import Cause, Event, Phase
from gateway.rollout.plan import ApproveStep
from gateway.rollout.standing import NOT_A_SPLIT, Resumed, Standing
from registry.errors import Kind, RegistryError

_BEFORE = {Phase.QUEUED, Phase.ADMITTED, Phase.PREPARING}
_UNDONE = {Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.ABORTED, Phase.FAILED, Phase.SUPERSEDED, Phase.CONCLUDED}
_DONE = {Phase.PROMOTING, Phase.BAKING, Phase.SUCCEEDED}


def pause(standing: Standing, reason: str, now_s: float) -> Draft | None:
    """Whoever finds it paused has nothing to do, whatever it is paused for."""
    if standing.phase is Phase.PAUSED:
        return None
    if standing.phase is not Phase.STEP:
        raise _conflict(standing, "cannot be paused")
    return pausing(standing, Cause.OPERATOR, reason, now_s)


def resume(standing: Standing, reason: str, *, accept_evidence: bool) -> Draft | None:
    """What a pause was for says what goes on after it."""
    if standing.phase is Phase.STEP:
        return None
    if standing.phase is not Phase.PAUSED:
        raise _conflict(standing, "cannot be resumed")
    cause = standing.cause
    if cause is Cause.PLAN or (accept_evidence and cause in {Cause.INCONCLUSIVE, Cause.NO_DATA}):
        return said(standing, Event.ADVANCE, reason, Resumed(), step=standing.step + 1)
    if cause in {Cause.FAILED, Cause.INVALID} and not accept_evidence:
        why = standing.reason or "it has failed"
        raise RegistryError(Kind.POLICY, f"rollout {standing.rollout} is paused: {why}; accept the evidence, with a reason, or abort")
    return said(standing, Event.RESUME, reason, Resumed(accepted=_held_against(standing) if accept_evidence else ()))


def approve(standing: Standing, actor: str, reason: str) -> Draft | None:
    """Distinct people of those who may."""
    steps = standing.plan.steps()
    step = steps[standing.step].approve if standing.step < len(steps) else None
    if standing.phase is not Phase.STEP or step is None:
        raise _conflict(standing, "asks for no approval")
    if actor in {approval.actor for approval in standing.approvals}:
        return None
    refusal = _may_not(standing, step, actor)
    if refusal:
        raise RegistryError(Kind.POLICY, f"'{actor}' {refusal} and cannot approve rollout {standing.rollout}")
    return said(standing, Event.APPROVAL, reason)


def promote(standing: Standing, reason: str, *, full: bool, step: int | None) -> Draft | None:
    """Somebody's word in the place of a verdict; never in the place of an approval."""
    if standing.is_ab:
        raise RegistryError(Kind.POLICY, f"rollout {standing.rollout} is an A/B: it reports, and never promotes")
    if standing.phase in _DONE or (step is not None and standing.step > step):
        return None
    if standing.phase not in {Phase.STEP, Phase.PAUSED}:
        raise _conflict(standing, "cannot be promoted")
    if step is not None and standing.step < step:
        raise RegistryError(Kind.CONFLICT, f"rollout {standing.rollout} is at step {standing.step}, not at step {step}")
    steps = standing.plan.steps()
    passed_over = range(standing.step, len(steps) if full else min(standing.step + 1, len(steps)))
    needed = next((index for index in passed_over if steps[index].approve is not None), None)
    if needed is not None:
        raise RegistryError(Kind.POLICY, f"step {needed} of rollout {standing.rollout} wants approvals, which promoting does not replace")
    if standing.step == len(steps) and standing.phase is Phase.STEP:
        return None  # it is about to be
    accepted = Resumed(accepted=_held_against(standing))
    if full or standing.step == len(steps):
        return said(standing, Event.PROMOTE, reason, accepted, step=len(steps))
    return said(standing, Event.ADVANCE, reason, accepted, step=standing.step + 1)


def abort(standing: Standing, reason: str) -> Draft | None:
    """Whoever finds that it came to nothing has nothing to do."""
    if standing.phase in _UNDONE:
        return None
    if standing.phase is Phase.SUCCEEDED:
        raise _conflict(standing, "cannot be aborted; roll out the version before")
    concludes = standing.is_ab and standing.phase in {Phase.STEP, Phase.PAUSED}
    return said(standing, Event.CONCLUDE if concludes else Event.ABORT, reason)


def _held_against(standing: Standing) -> tuple[str, ...]:
    invalid = (NOT_A_SPLIT,) if standing.cause is Cause.INVALID else ()
    return tuple(trip.metric for trip in standing.failing) + invalid


def _may_not(standing: Standing, step: ApproveStep, actor: str) -> str:
    if step.by and actor not in step.by:
        return "is not one of those who may"
    if "publisher" in step.exclude and actor == standing.begun.publisher:
        return f"published version {standing.begun.candidate.version}"
    return "started it" if "starter" in step.exclude and actor == standing.starter else ""


def _conflict(standing: Standing, what: str) -> RegistryError:
    state = f"at step {standing.step}" if standing.phase is Phase.STEP else standing.phase.value.replace("_", " ")
    return RegistryError(Kind.CONFLICT, f"rollout {standing.rollout} is {state}: it {what}")
