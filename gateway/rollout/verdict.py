"""What is concluded from evidence: for each metric and for a step PASS, FAIL, INCONCLUSIVE, NO_DATA, INVALID or ERROR. Pure.

A metric fails once its evidence against the candidate has ever reached its threshold, and passes a step once what speaks for it has in that
step. A step passes if every metric that has a say in it does (so a candidate beyond one margin passes with probability α at most, however
many metrics there are), fails if a critical metric does, and is invalid if units are lost on the way, since nothing can be concluded then.
"""

from __future__ import annotations

import enum
import math

import msgspec

from gateway.rollout.plan import Metric

CERTAIN = 1e9  # nats, instead of infinitely many, which JSON does not know


class Verdict(enum.StrEnum):
    """Of a metric, or of a step."""

    PASS = "PASS"  # noqa: S105 - no secret
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"
    INVALID = "INVALID"  # the split is not what it was meant to be
    ERROR = "ERROR"  # a source could not be asked


class Level(msgspec.Struct, frozen=True, array_like=True):
    """Units with an event in one step, or pairs of which one side had it."""

    step: int
    weight: float  # probability with which a unit of the two arms is the candidate's; ½ of pairs
    candidate: int
    stable: int
    both: int = 0  # of pairs


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What was counted of one metric in one arm beside stable, and what it comes to. Evidence in nats."""

    levels: tuple[Level, ...] = ()
    units: tuple[int, int] = (0, 0)  # that were looked at, since the rollout began: candidate, stable
    events: tuple[int, int] = (0, 0)  # units with an event
    step_units: tuple[int, int] = (0, 0)  # in this step
    step_events: tuple[int, int] = (0, 0)  # units whose first call in this step had it
    ratio: float | None = None  # the likeliest, of the candidate's rate to stable's
    ratio_low: float | None = None
    ratio_high: float | None = None  # None: no bound
    difference_low: float | None = None  # of the rates, in this step
    difference_high: float | None = None
    log_e_fail: float = 0.0
    log_e_pass: float | None = None
    error: str = ""  # why nothing can be said
    detail: str = ""  # what a sentence needs beside numbers


class Top(msgspec.Struct, frozen=True, kw_only=True):
    """The strongest that evidence ever was: against the candidate in the rollout, for it in this step."""

    fail: float = 0.0
    passes: float = 0.0
    within: bool = False  # the difference of the rates has been shown to be within the margin


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """What one metric's evidence is held against."""

    metric: Metric
    arm: str = "canary"
    fail_at: float  # ln
    pass_at: float  # ln, of one of the ways to pass
    has_say: bool = False  # the step passes only if this does
    pauses: bool = False  # a failure asks for a pause rather than for going back


class MetricVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one metric."""

    metric: str
    type: str
    arm: str
    verdict: Verdict
    critical: bool
    dry_run: bool
    has_say: bool
    tripped: bool  # evidence against it reached the threshold at some time; this stays
    found: Found
    greatest_log_e_fail: float
    greatest_log_e_pass: float
    fail_at: float
    pass_at: float
    sentence: str


class SampleRatio(msgspec.Struct, frozen=True, kw_only=True):
    """Whether units came in the proportions in which they were assigned."""

    tripped: bool
    log_e: float
    at: float  # the threshold
    sentence: str


class StepVerdict(msgspec.Struct, frozen=True, kw_only=True):
    """The record of one step at one moment."""

    step: int
    weight: float  # of all units, that go to the candidate or all arms
    time_s: float
    verdict: Verdict
    units: int  # of the smaller arm in this step, estimated from the sample
    min_units: int
    metrics: tuple[MetricVerdict, ...]
    sample_ratio: SampleRatio
    fast: str | None  # why to go back at once, whatever the rest says
    pause: str | None  # why somebody should look at it: a failure that is not critical
    excluded: dict[str, int]  # records that do not count, by reason
    sentence: str

    @property
    def tripped(self) -> tuple[MetricVerdict, ...]:
        """The metrics that failed and are not only reported."""
        return tuple(one for one in self.metrics if one.tripped and not one.dry_run)


def judge(rule: Rule, found: Found, top: Top, *, invalid: bool) -> Verdict:
    """The verdict on one metric. invalid: the sample ratio is not what it was meant to be."""
    if top.fail >= rule.fail_at:
        return Verdict.FAIL
    if invalid:
        return Verdict.INVALID
    if found.error:
        return Verdict.ERROR
    if not any(found.units) and not any(found.events):
        return Verdict.NO_DATA
    return Verdict.PASS if top.passes >= rule.pass_at or top.within else Verdict.INCONCLUSIVE


def judge_step(metrics: tuple[MetricVerdict, ...], *, fast: str | None, invalid: bool, units: int, min_units: int) -> Verdict:
    """The verdict on a step. PASS takes enough units, a metric that has a say, PASS of all that have one, and nothing against it."""
    decisive = [one for one in metrics if not one.dry_run]
    if fast or any(one.verdict is Verdict.FAIL and one.critical for one in decisive):
        return Verdict.FAIL
    if invalid:
        return Verdict.INVALID
    if units == 0:
        return Verdict.NO_DATA
    asked = [one.verdict for one in decisive if one.has_say]
    if Verdict.ERROR in asked:
        return Verdict.ERROR
    if Verdict.NO_DATA in asked:
        return Verdict.NO_DATA
    quiet = not any(one.verdict is Verdict.FAIL for one in decisive)
    enough = units >= min_units
    return Verdict.PASS if quiet and enough and set(asked) == {Verdict.PASS} else Verdict.INCONCLUSIVE


def finite(value: float) -> float | None:
    """JSON knows neither infinity nor NaN."""
    return value if math.isfinite(value) else None
