"""What the next entries of a rollout's journal are, from where it stands and what is seen. Pure: no I/O, no clock, no randomness.

`decide` goes on until nothing more follows, so that after its drafts are appended the same observation gives none. What is inconclusive,
lacks data, is invalid or could not be asked for never leads on; only PASS does where the plan asks for a verdict, or somebody's own word.
"""

from __future__ import annotations

from typing import Any

import msgspec

from gateway.rollout.machine import FINAL, Cause, Event, Phase, after
from gateway.rollout.observation import Attempt, Observation, Overall, Reading
from gateway.rollout.plan import ApproveStep, PauseStep, Step, Until, seconds
from gateway.rollout.standing import NOT_A_SPLIT, Admitted, Standing, Stopped, Trip, Tripped, advance
from registry.rollout_entries import RolloutEntry, moment, sentence


class Draft(msgspec.Struct, frozen=True, kw_only=True):
    """An entry that has no place yet."""

    event: Event
    step: int
    reason: str
    details: dict[str, Any] = {}
    pins: tuple[int, ...] = ()


def decide(standing: Standing, seen: Observation, now_s: float) -> tuple[Draft, ...]:
    """What is to be appended, in this order. Nothing where nothing follows from what is seen."""
    drafts: list[Draft] = []
    while not standing.final and (draft := _next(standing, seen, now_s)) is not None:
        drafts.append(draft)
        assert len(drafts) <= 4 * len(standing.plan.steps()) + 16, "every draft leads on"
        standing = followed(standing, draft, now_s)
    return tuple(drafts)


def entry_of(standing: Standing, draft: Draft, *, actor: str, now_s: float, token: int = 0) -> RolloutEntry:
    """The entry that `draft` becomes after `standing`; its number and chain are set when it is appended."""
    phase = after(standing.phase, draft.event)
    return RolloutEntry(
        rollout=standing.rollout,
        model=standing.model,
        seq=standing.seq + 1,
        time=moment(now_s),
        actor=actor,
        event=draft.event.value,
        from_phase=standing.phase.value,
        to_phase=phase.value,
        step=draft.step,
        reason=sentence(draft.reason),
        pins=draft.pins,
        token=token,
        final=phase in FINAL,
        details=draft.details,
    )


def followed(standing: Standing, draft: Draft, now_s: float, *, actor: str = "anybody") -> Standing:
    """Where `draft` leads."""
    return advance(standing.plan, standing, entry_of(standing, draft, actor=actor, now_s=now_s))


def said(standing: Standing, event: Event, reason: str, details: msgspec.Struct | None = None, *, step: int | None = None) -> Draft:
    """A draft at the same step unless another is given."""
    fields = {} if details is None else msgspec.to_builtins(details)
    return Draft(event=event, step=standing.step if step is None else step, reason=reason, details=fields)


def pause(standing: Standing, cause: Cause, reason: str, now_s: float, *, operation_id: str = "") -> Draft:
    """A draft that stops the timers."""
    details = Stopped(cause=cause, consumed_s=standing.elapsed_s(now_s), operation_id=operation_id)
    return said(standing, Event.PAUSE, reason, details)


def _next(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    match standing.phase:
        case Phase.QUEUED:
            return _replaced(standing, seen) or (admit(standing, seen) if seen.first else None)
        case Phase.ADMITTED:
            return _replaced(standing, seen) or _displaced(standing, seen) or said(standing, Event.PREPARE, "")
        case Phase.PREPARING:
            return _preparing(standing, seen)
        case Phase.STEP:
            return _stepping(standing, seen, now_s)
        case Phase.PAUSED:
            return _paused(standing, seen, now_s)
        case Phase.PROMOTING:
            return _promoting(standing, seen, now_s)
        case Phase.BAKING:
            return _baking(standing, seen, now_s)
        case _:
            return _rolling_back(standing, seen)


# --- before there is traffic ------------------------------------------------------------------------------------------------------------


def admit(standing: Standing, seen: Observation) -> Draft:
    """Stable is pinned as what serves now; the queue may have lasted. A rollout that has lost its sense meanwhile is superseded."""
    champion, candidate, wanted = seen.champion, standing.begun.candidate, standing.plan.spec.stable.version
    alias = standing.begun.alias
    if champion is not None and champion.version == candidate.version and not standing.is_ab:
        return said(standing, Event.SUPERSEDE, f"alias '{alias}' stands for version {candidate.version} already")
    if wanted is not None and (champion is None or champion.version != wanted):
        stands = "nothing" if champion is None else f"version {champion.version}"
        return said(standing, Event.SUPERSEDE, f"alias '{alias}' stands for {stands}, and the plan compares with version {wanted}")
    if champion is None and standing.is_ab:
        return said(standing, Event.SUPERSEDE, f"alias '{alias}' stands for nothing, and an A/B needs a version that serves")
    skip = "" if standing.is_ab else "initial" if champion is None else "window" if seen.recent else ""
    reasons = {"initial": "no version serves yet: no steps", "window": f"version {candidate.version} was champion not long ago: no steps"}
    pins = () if champion is None else (champion.version,)
    draft = said(standing, Event.ADMIT, reasons.get(skip, ""), Admitted(stable=champion, skip=skip))
    return msgspec.structs.replace(draft, pins=pins)


def _preparing(standing: Standing, seen: Observation) -> Draft | None:
    if seen.load_failure is not None:
        return said(standing, Event.LOAD_FAILED, seen.load_failure)
    ready = said(standing, Event.READY, "", step=len(standing.plan.steps()) if standing.skip else 0) if seen.ready else None
    return _replaced(standing, seen) or _displaced(standing, seen) or ready


# --- while it meets traffic -------------------------------------------------------------------------------------------------------------


def _stepping(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    against = _fast(standing, seen) or _tripping(standing, seen) or _displaced(standing, seen) or _replaced(standing, seen)
    if against or (against := _failing(standing, now_s) or _invalid(standing, seen, now_s)):
        return against
    steps = standing.plan.steps()
    if standing.step == len(steps):
        return _complete(standing) if seen.ready else None
    step = steps[standing.step]
    if step.approve is not None:
        return _approving(standing, step.approve, seen, now_s)
    if step.pause is not None:
        return _pausing(standing, step.pause, seen, now_s)
    return _watching(standing, step, seen, now_s)


def _paused(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    """What speaks against the candidate is heard in a pause too."""
    against = _fast(standing, seen) or _tripping(standing, seen) or _displaced(standing, seen) or _replaced(standing, seen)
    if against or (against := _failing(standing, now_s)):
        return against if against.event is not Event.PAUSE or standing.cause is not Cause.FAILED else None
    return None if standing.cause is Cause.INVALID else _invalid(standing, seen, now_s)


def _watching(standing: Standing, step: Step, seen: Observation, now_s: float) -> Draft | None:
    """A shadow or a weight."""
    until, reading, elapsed_s = step.until or Until(), _reading(standing, seen), standing.elapsed_s(now_s)
    if elapsed_s < seconds(until.min_duration) or not seen.ready:
        return None
    if until.verdict is None and not standing.is_ab:
        alone = until.min_duration if seconds(until.min_duration) or until.max_duration is None else until.max_duration
        return _on(standing, Event.TIMER, f"{alone} are over") if elapsed_s >= seconds(alone) else None
    if until.verdict == "pass" and reading.overall is Overall.PASS and reading.units >= until.min_units:
        return _on(standing, Event.PASS, reading.sentence)
    if until.max_duration is None or elapsed_s < seconds(until.max_duration):
        return None
    if standing.is_ab:
        return said(standing, Event.CONCLUDE, f"{until.max_duration} are over: {reading.sentence}" if reading.sentence else "")
    return _inconclusive(standing, until, reading, now_s)


def _inconclusive(standing: Standing, until: Until, reading: Reading, now_s: float) -> Draft | None:
    cause = Cause.NO_DATA if reading.overall is Overall.NO_DATA else Cause.INCONCLUSIVE
    text = f"no verdict after {until.max_duration}" + (f": {reading.sentence}" if reading.sentence else "")
    if until.on_inconclusive == "rollback":
        return said(standing, Event.FAIL, text)
    if until.on_inconclusive == "hold":
        return None if standing.held else said(standing, Event.HOLD, text)
    return pause(standing, cause, text, now_s)


def _pausing(standing: Standing, step: PauseStep, seen: Observation, now_s: float) -> Draft | None:
    if step.duration is None:
        return pause(standing, Cause.PLAN, "the plan waits here until somebody resumes", now_s)
    over = standing.elapsed_s(now_s) >= seconds(step.duration)
    return _on(standing, Event.TIMER, f"{step.duration} are over") if over and seen.ready else None


def _approving(standing: Standing, step: ApproveStep, seen: Observation, now_s: float) -> Draft | None:
    if len(standing.approvals) >= step.count:
        names = ", ".join(approval.actor for approval in standing.approvals)
        return _on(standing, Event.APPROVED, f"approved by {names}") if seen.ready else None
    if step.timeout is None or standing.elapsed_s(now_s) < seconds(step.timeout):
        return None
    text = f"{len(standing.approvals)} of {step.count} approvals after {step.timeout}"
    return said(standing, Event.FAIL, text) if step.on_timeout == "rollback" else pause(standing, Cause.TIMEOUT, text, now_s)


def _complete(standing: Standing) -> Draft:
    return said(standing, Event.COMPLETE, "every step is over" if not standing.skip else "")


def _on(standing: Standing, event: Event, reason: str) -> Draft:
    return said(standing, event, reason, step=standing.step + 1)


# --- what speaks against the candidate --------------------------------------------------------------------------------------------------


def _fast(standing: Standing, seen: Observation) -> Draft | None:
    reason = seen.load_failure or (seen.reading.fast if seen.reading else None)
    return said(standing, Event.FAST, reason) if reason else None


def _tripping(standing: Standing, seen: Observation) -> Draft | None:
    """At once, because the test is on the supremum: what was beyond the threshold has failed, whatever comes later."""
    known = {trip.metric for trip in standing.tripped}
    new = tuple(trip for trip in (seen.reading.tripped if seen.reading else ()) if trip.metric not in known)
    return said(standing, Event.TRIP, _sentences(new), Tripped(tripped=new)) if new else None


def _failing(standing: Standing, now_s: float) -> Draft | None:
    if not standing.failing:
        return None
    rolls_back = any(trip.critical for trip in standing.failing) and _until(standing).on_fail == "rollback"
    if rolls_back:
        return said(standing, Event.FAIL, _sentences(standing.failing))
    return pause(standing, Cause.FAILED, _sentences(standing.failing), now_s)


def _invalid(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    reading = seen.reading
    if reading is None or NOT_A_SPLIT in standing.accepted or (reading.invalid is None and reading.overall is not Overall.INVALID):
        return None
    return pause(standing, Cause.INVALID, reading.invalid or reading.sentence or "the arms do not get what they were assigned", now_s)


def _displaced(standing: Standing, seen: Observation) -> Draft | None:
    """Somebody has moved the alias: stable is no longer what serves, and what was compared with it says nothing any more."""
    expected = standing.begun.candidate if standing.phase is Phase.BAKING else standing.stable
    found = seen.champion
    if (found.version if found else None) == (expected.version if expected else None):
        return None
    alias, wanted = standing.begun.alias, f"version {expected.version}" if expected else "nothing"
    stands = "nothing" if found is None else f"version {found.version}"
    return _ousted(standing, f"alias '{alias}' was moved meanwhile: it stands for {stands}, not for {wanted}")


def _replaced(standing: Standing, seen: Observation) -> Draft | None:
    return None if seen.replaced_by is None else _ousted(standing, f"rollout {seen.replaced_by} takes its place")


def _ousted(standing: Standing, reason: str) -> Draft:
    return said(standing, Event.DISPLACE if standing.tried else Event.SUPERSEDE, reason)


def _sentences(trips: tuple[Trip, ...]) -> str:
    return "; ".join(trip.sentence or f"metric '{trip.metric}' has failed" for trip in trips)


def _until(standing: Standing) -> Until:
    """Of the step, or of the last one before it that has one."""
    passed = standing.plan.steps()[: standing.step + 1]
    return next((step.until for step in reversed(passed) if step.until is not None), Until())


def _reading(standing: Standing, seen: Observation) -> Reading:
    """What is read of another step says nothing about this one."""
    found = seen.reading
    return found if found is not None and found.step == standing.step else Reading(step=standing.step)


# --- the end ----------------------------------------------------------------------------------------------------------------------------


def _promoting(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    against = _fast(standing, seen) or _tripping(standing, seen) or (_ruin(standing) if standing.failing else None)
    if against or seen.outcome is None:
        return against
    match seen.outcome.attempt:
        case Attempt.MOVED:
            return said(standing, Event.MOVED, seen.outcome.sentence)
        case Attempt.REFUSED:
            return pause(standing, Cause.POLICY, seen.outcome.sentence, now_s)
        case Attempt.ELSEWHERE:
            return said(standing, Event.DISPLACE, seen.outcome.sentence)
        case Attempt.UNDONE:
            return None


def _ruin(standing: Standing) -> Draft | None:
    critical = tuple(trip for trip in standing.failing if trip.critical)
    return said(standing, Event.FAIL, _sentences(critical)) if critical else None


def _baking(standing: Standing, seen: Observation, now_s: float) -> Draft | None:
    against = _fast(standing, seen) or _tripping(standing, seen) or _ruin(standing) or _displaced(standing, seen)
    if against is not None:
        return against
    over = standing.stable is None or standing.elapsed_s(now_s) >= seconds(standing.plan.spec.keep_stable_warm)
    return said(standing, Event.BAKED, "") if over else None


def _rolling_back(standing: Standing, seen: Observation) -> Draft | None:
    if seen.outcome is None or seen.outcome.attempt is not Attempt.UNDONE:
        return None
    last = {Event.ABORT: Event.STOPPED, Event.DISPLACE: Event.REPLACED}
    return said(standing, Event.ROLLED if standing.ending is None else last.get(standing.ending, Event.ROLLED), seen.outcome.sentence)
