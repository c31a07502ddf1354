"""What a plan will take: units and time to a verdict of every step, for candidates as good as stable and for worse ones. Pure.

Each step is looked at alone. Evidence for a failure goes on from step to step, so a bad candidate fails sooner than is said here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import msgspec

from gateway.rollout.certifying import units_to_bound, units_to_certify
from gateway.rollout.passage import events_needed
from gateway.rollout.plan import Plan, Step, Until, seconds, weight_units
from gateway.rollout.thresholds import is_latency, rule_of
from gateway.rollout.verdict import Rule
from kernels.odds import above, below

PASSING, FAILING = (1.0, 1.25), (2.0, 4.0, 10.0)  # a candidate's rate of events over stable's
AGREEING, DISAGREEING = (0.25, 0.5), (2.0, 4.0, 10.0)  # a candidate's disagreement over what an agreement allows
FORECAST_TYPES = ("rate", "agreement")


class Traffic(msgspec.Struct, frozen=True, kw_only=True):
    """What is known, or supposed, of the traffic."""

    requests_per_s: float
    base_rates: Mapping[str, float]  # of units that have the event in stable, by metric
    requests_per_unit: float = 1.0


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    """What half of all rollouts take at most until a metric says so; None where it never does."""

    truth: float  # one of PASSING and so on
    units: float | None  # of both arms
    seconds: float | None


class MetricForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One metric in one step."""

    metric: str
    type: str
    arm: str  # of an A/B, else ""
    base_rate: float  # of stable's events; of an agreement, the disagreement that is allowed
    passing: tuple[Needed, ...]  # empty where it has no say in passing
    failing: tuple[Needed, ...]


class StepForecast(msgspec.Struct, frozen=True, kw_only=True):
    """One step; of a pause or an approval only how long it is."""

    number: int  # from 1
    what: str  # "shadow 100 %", "weight 5 %", …
    tests: bool  # whether it meets traffic
    candidate_per_s: float  # requests
    units_per_s: float  # that take part: of both arms, or pairs
    metrics: tuple[MetricForecast, ...]
    seconds: float | None  # until a candidate as good as stable is through; None: somebody decides, or never
    reason: str  # what takes that long
    late: bool  # whether max_duration is over first


class Forecast(msgspec.Struct, frozen=True, kw_only=True):
    """The whole plan."""

    traffic: Traffic
    steps: tuple[StepForecast, ...]
    seconds: float  # of all steps that end by themselves, for a candidate as good as stable
    waits: tuple[str, ...]  # what the others end by
    unknown: tuple[str, ...]  # metrics of which nothing can be said beforehand


def forecast(plan: Plan, traffic: Traffic) -> Forecast:
    """What the plan takes at this traffic. Raises `KeyError` with the name of a rate without a base rate."""
    warm_s, steps = _warmup(plan, traffic), []
    for number, step in enumerate(plan.steps(), 1):
        found = _pace(plan, step, number, traffic)
        if not step.waits and found.seconds is not None and warm_s:
            rate = found.candidate_per_s
            found = msgspec.structs.replace(found, seconds=found.seconds + (max(warm_s[0], warm_s[1] / rate) if rate else 0.0))
            warm_s = None
        steps.append(found)
    metrics = plan.spec.analysis.metrics
    return Forecast(
        traffic=traffic,
        steps=tuple(steps),
        seconds=sum(step.seconds for step in steps if step.seconds is not None),
        waits=tuple(step.reason for step in steps if step.seconds is None),
        unknown=tuple(metric.name for metric in metrics if metric.type not in FORECAST_TYPES),
    )


def _warmup(plan: Plan, traffic: Traffic) -> tuple[float, float] | None:
    """(seconds, requests of the candidate) before anything counts."""
    warmup = plan.spec.analysis.warmup
    return (seconds(warmup.duration), float(warmup.requests)) if traffic.requests_per_s else None


def _pace(plan: Plan, step: Step, number: int, traffic: Traffic) -> StepForecast:
    if step.pause is not None:
        length = None if step.pause.duration is None else seconds(step.pause.duration)
        return _waiting(number, "pause", length, "its duration" if length is not None else "a resume")
    if step.approve is not None:
        return _waiting(number, f"approval by {step.approve.count}", None, "its approval")
    return _testing(plan, step, number, traffic)


def _waiting(number: int, what: str, length: float | None, reason: str) -> StepForecast:
    return StepForecast(
        number=number, what=what, tests=False, candidate_per_s=0.0, units_per_s=0.0, metrics=(), seconds=length, reason=reason, late=False
    )  # fmt: skip


def _testing(plan: Plan, step: Step, number: int, traffic: Traffic) -> StepForecast:
    until, shadow = step.until or Until(), step.shadow
    weight = weight_units(step.set_weight or 0.0) / weight_units(100.0)
    share = weight
    if shadow is not None:
        share = shadow.percent / 100.0
        if shadow.max_qps is not None and traffic.requests_per_s:
            share = min(share, shadow.max_qps / traffic.requests_per_s)
    units_per_s = traffic.requests_per_s / traffic.requests_per_unit * (share if shadow is not None else 1.0)
    metrics = () if weight == 1.0 else tuple(_metrics(plan, weight, units_per_s, traffic, paired=shadow is not None))
    taken, reason = _length(until, metrics, units_per_s * (1.0 if shadow is not None else min(weight, 1.0 - weight)))
    most = math.inf if until.max_duration is None else seconds(until.max_duration)
    return StepForecast(
        number=number,
        what=f"shadow {shadow.percent:g} %" if shadow is not None else f"weight {weight * 100:g} %",
        tests=True,
        candidate_per_s=traffic.requests_per_s * share,
        units_per_s=units_per_s,
        metrics=metrics,
        seconds=taken,
        reason=reason,
        late=until.verdict is not None and (math.inf if taken is None else taken) > most,
    )


def _length(until: Until, metrics: tuple[MetricForecast, ...], smaller_per_s: float) -> tuple[float | None, str]:
    """(seconds that a candidate as good as stable takes, why); None where it never ends by itself."""
    found = [(seconds(until.min_duration), "min_duration")]
    if until.verdict is not None:
        found.append((until.min_units / smaller_per_s if smaller_per_s else math.inf, "min_units"))
        best = [(metric.passing[0].seconds, metric.metric) for metric in metrics if metric.passing]
        found += [(math.inf if taken is None else taken, name) for taken, name in best]
    longest, reason = max(found, key=lambda pair: pair[0])
    return (None if math.isinf(longest) else longest), reason


def _metrics(plan: Plan, weight: float, units_per_s: float, traffic: Traffic, *, paired: bool) -> Iterator[MetricForecast]:
    for metric in plan.spec.analysis.metrics:
        if metric.type not in FORECAST_TYPES or (paired and is_latency(metric)) or (metric.type == "agreement" and not paired):
            continue
        arms = _arms(plan, weight)
        for name, share, part in arms:
            rule = rule_of(metric, plan.spec.analysis, name, arms=len(arms), shadow=paired)
            if metric.type == "rate":
                base = traffic.base_rates[metric.name]
                passing, failing = _of_rate(rule, 0.5 if paired else share, base, paired=paired)
            else:
                base = 1.0 - metric.min
                passing = {truth: units_to_bound(truth * base, base, rule.pass_at) for truth in AGREEING}
                failing = {truth: units_to_bound(min(1.0, truth * base), base, rule.fail_at) for truth in DISAGREEING}
            yield MetricForecast(
                metric=metric.name,
                type=metric.type,
                arm=name,
                base_rate=base,
                passing=_needed(passing, part, units_per_s) if rule.has_say else (),
                failing=_needed(failing, part, units_per_s),
            )


def _arms(plan: Plan, weight: float) -> list[tuple[str, float, float]]:
    """Of each arm beside stable its name, its share of the units that are its or stable's, and the part that those are of all."""
    split = plan.spec.strategy.ab
    if split is None:
        return [("", weight, 1.0)]
    arms = [(arm.name, weight_units(arm.weight) / weight_units(100.0)) for arm in split.arms]
    return [(name, own / (own + 1.0 - weight), own + 1.0 - weight) for name, own in arms]


def _needed(units: Mapping[float, float], part: float, units_per_s: float) -> tuple[Needed, ...]:
    """units: of stable and one arm, which are `part` of all."""
    found = []
    for truth, counted in units.items():
        count = counted / part
        taken = count / units_per_s if units_per_s else math.inf
        found.append(Needed(truth=truth, units=_known(count), seconds=_known(taken)))
    return tuple(found)


def _known(value: float) -> float | None:
    return None if math.isinf(value) else value


def _of_rate(rule: Rule, weight: float, base: float, *, paired: bool) -> tuple[dict[float, float], dict[float, float]]:
    """Units to PASS and to FAIL, by truth.

    Of pairs, those in which one arm alone has the event are like units that were assigned with even chances; events of the two arms are
    taken to have nothing to do with each other, which makes most of them.
    """
    tested, margin = rule.metric.tolerate.ratio, rule.metric.pass_if

    def to_pass(truth: float) -> float:
        ways = []
        if margin is not None and margin.ratio is not None:
            events = events_needed(weight, truth, tested=margin.ratio, alternatives=below(margin.ratio), log_level=rule.pass_at)
            ways.append(_units(events, weight, base, truth, paired=paired))
        if margin is not None and margin.or_abs is not None:
            share, worse = (1.0 if paired else weight), min(1.0, truth * base)
            ways.append(units_to_certify(stable=base, candidate=worse, weight=share, margin=margin.or_abs, log_level=rule.pass_at))
        return min(ways, default=math.inf)

    def to_fail(truth: float) -> float:
        events = events_needed(weight, truth, tested=tested, alternatives=above(tested), log_level=rule.fail_at)
        return _units(events, weight, base, truth, paired=paired)

    return {truth: to_pass(truth) for truth in PASSING}, {truth: to_fail(truth) for truth in FAILING}


def _units(events: float, weight: float, base: float, truth: float, *, paired: bool) -> float:
    """Units, or pairs, in which so many events are found."""
    ours = min(1.0, truth * base)
    per_unit = ours * (1.0 - base) + base * (1.0 - ours) if paired else weight * ours + (1.0 - weight) * base
    return events / per_unit if per_unit > 0.0 else math.inf
