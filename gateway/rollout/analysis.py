"""The shortest answer about a rollout, for systems and pipelines that go on by it: whether it is good, and how it ended. Pure."""

from __future__ import annotations

import enum

import msgspec

from gateway.rollout.machine import Cause, Phase
from gateway.rollout.observation import Overall
from gateway.rollout.status import Status

GOOD = frozenset({Phase.SUCCEEDED.value, Phase.CONCLUDED.value})
_PASSED = frozenset({Phase.PROMOTING.value, Phase.BAKING.value, Phase.SUCCEEDED.value})
_FAILED = frozenset({Phase.FAILED.value, Phase.ROLLING_BACK.value, Phase.ROLLED_BACK.value})
_CAUSES = {
    Cause.INCONCLUSIVE.value: Overall.INCONCLUSIVE,
    Cause.NO_DATA.value: Overall.NO_DATA,
    Cause.INVALID.value: Overall.INVALID,
    Cause.FAILED.value: Overall.FAIL,
}


class RolloutAnalysis(msgspec.Struct, frozen=True, kw_only=True):
    """What Argo's web metric provider and Flagger's webhooks ask for."""

    ok: bool  # another system may promote
    verdict: str  # PASS, FAIL, INCONCLUSIVE, NO_DATA, INVALID
    phase: str
    final: bool
    reason: str


class Outcome(enum.Enum):
    """What a pipeline that waits for a rollout learns."""

    GOOD = "good"  # it succeeded, or an A/B has its report
    BAD = "bad"  # it failed, was rolled back, aborted or superseded
    STOPPED = "stopped"  # it is paused: nothing goes on without people
    OPEN = "open"


def analysis(status: Status) -> RolloutAnalysis:
    """`ok` once it is PASS."""
    found = verdict(status)
    return RolloutAnalysis(ok=found is Overall.PASS, verdict=found.value, phase=status.phase, final=status.final, reason=status.reason)


def verdict(status: Status) -> Overall:
    """What has been concluded of the whole rollout: PASS only once no step is left, whoever ended them."""
    if status.phase in _PASSED:
        return Overall.PASS
    held_against = {trip.metric for trip in status.tripped if trip.critical} - set(status.accepted)
    if status.phase in _FAILED or held_against:
        return Overall.FAIL
    if status.cause in _CAUSES:
        return _CAUSES[status.cause]
    return Overall.INCONCLUSIVE if status.held else Overall.NO_DATA


def outcome(status: Status) -> Outcome:
    """How it ended, or that it has not."""
    if status.final:
        return Outcome.GOOD if status.phase in GOOD else Outcome.BAD
    return Outcome.STOPPED if status.phase == Phase.PAUSED.value else Outcome.OPEN
