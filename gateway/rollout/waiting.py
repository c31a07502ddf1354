"""What a rollout waits for, in one sentence. Pure."""

from __future__ import annotations

from gateway.rollout.machine import Cause, Phase
from gateway.rollout.plan import Until, seconds
from gateway.rollout.standing import Standing

_SENTENCES = {
    Phase.QUEUED: "the rollouts before it",
    Phase.ADMITTED: "a server that decides",
    Phase.PREPARING: "both versions to be ready",
    Phase.PROMOTING: "the alias to be moved",
    Phase.ROLLING_BACK: "the alias to be where it was",
}


def waiting(standing: Standing, now_s: float) -> str:
    """Nothing where it is over."""
    match standing.phase:
        case Phase.STEP:
            return _step(standing, now_s)
        case Phase.PAUSED:
            failed = standing.cause in {Cause.FAILED, Cause.INVALID}
            return f"somebody to {'accept the evidence' if failed else 'resume'}, or to abort"
        case Phase.BAKING:
            left_s = seconds(standing.plan.spec.keep_stable_warm) - standing.elapsed_s(now_s)
            return f"{span(left_s)} in which stable is kept warm"
        case _:
            return _SENTENCES.get(standing.phase, "")


def span(seconds_: float) -> str:
    """A duration as people read it: two units at most."""
    whole = max(round(seconds_), 0)
    parts = [(whole // 86400, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min"), (whole % 60, "s")]
    first = next((index for index, (count, _) in enumerate(parts) if count), 3)
    shown = [f"{count} {unit}" for count, unit in parts[first : first + 2] if count]
    return " ".join(shown) or "0 s"


def _step(standing: Standing, now_s: float) -> str:
    steps = standing.plan.steps()
    if standing.step == len(steps):
        return "the candidate to be ready to be promoted"
    step, elapsed_s = steps[standing.step], standing.elapsed_s(now_s)
    if step.approve is not None:
        missing = step.approve.count - len(standing.approvals)
        return f"{missing} more approval{'s' if missing > 1 else ''}" if missing > 0 else "both versions to be ready"
    if step.pause is not None:
        return f"{span(seconds(step.pause.duration or '0s') - elapsed_s)} to go by"
    until = step.until or Until()
    if standing.is_ab:
        return "somebody to end it" if until.max_duration is None else f"{span(seconds(until.max_duration) - elapsed_s)} to go by"
    if elapsed_s < seconds(until.min_duration):
        return f"at least {span(seconds(until.min_duration) - elapsed_s)} more"
    return "a verdict" if until.verdict else "its time to be over"
