"""What a plan may do and probably should not: warnings, none of which stops it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.rollout import events
from gateway.rollout.metric_rules import Finding
from gateway.rollout.plan import Metric, Plan, Until, seconds
from gateway.rollout.records import Flag
from gateway.rollout.thresholds import has_say, is_latency

RARE = Flag.SERVER_ERROR | Flag.BAD_OUTPUT  # of which a working version has next to none
_LOOSE_ALPHA = 0.1


def warnings(plan: Plan) -> Iterator[Finding]:
    """By dotted path, for a plan without mistakes."""
    yield from _strategy(plan)
    for number, until in _untils(plan):
        yield from ((f"spec.strategy.{number}.{path}", message) for path, message in _until(until))
    yield from _metrics(plan)
    alpha = plan.spec.analysis.alpha
    for name, share in (("fail", alpha.fail), ("pass", alpha.passes)):
        if share > _LOOSE_ALPHA:
            yield f"spec.analysis.alpha.{name}", f"one verdict in {1 / share:.0f} may be wrong"
    if not plan.spec.unit.sources:
        yield (
            "spec.unit",
            "every request is a unit of its own, so one caller meets both versions: name whose requests stay together in from",
        )


def _strategy(plan: Plan) -> Iterator[Finding]:
    spec = plan.spec
    if spec.strategy.ab is not None:
        return
    if not any(step.shadow is not None for step in plan.steps()):
        home = "in this process" if spec.inline else "in a process of its own"
        yield "spec.strategy", f"no shadow step: the first requests that the candidate sees are callers', answered {home}"
    if not seconds(spec.keep_stable_warm):
        yield "spec.keep_stable_warm", "nothing is kept to go back to: it has to be loaded first"


def _untils(plan: Plan) -> Iterator[tuple[str, Until]]:
    """Of shadows and weights that ask for a verdict, each with its place."""
    strategy = plan.spec.strategy
    if strategy.bluegreen is not None and strategy.bluegreen.shadow is not None:
        yield "bluegreen.until", strategy.bluegreen.until
    if strategy.steps:
        for number, step in enumerate(plan.steps()):
            if step.until is not None and step.until.verdict is not None:
                yield f"steps.{number}.until", step.until


def _until(until: Until) -> Iterator[Finding]:
    if until.max_duration is not None:
        return
    if until.on_inconclusive == "pause":
        yield "max_duration", "without it the step waits without end where traffic is too little for a verdict"
    else:
        yield "on_inconclusive", f"without a max_duration nothing is ever inconclusive, so it never comes to {until.on_inconclusive!r}"


def _metrics(plan: Plan) -> Iterator[Finding]:
    metrics = plan.spec.analysis.metrics
    for number, metric in enumerate(metrics):
        yield from ((f"spec.analysis.metrics.{number}.{path}", message) for path, message in _metric(metric))
    if plan.spec.strategy.ab is None and not any(metric.critical for metric in metrics):
        yield "spec.analysis.metrics", "none is critical, so nothing that is measured rolls back; crashes and failures in a row still do"
    if plan.spec.strategy.ab is None and not plan.spec.inline and not any(step.shadow is not None for step in plan.steps()):
        yield from (
            (f"spec.analysis.metrics.{number}", "the candidate runs in a process of its own, which takes longer: let it be inline")
            for number, metric in enumerate(metrics) if is_latency(metric)
        )  # fmt: skip
    passing = [metric for metric in metrics if has_say(metric, shadow=True) or has_say(metric, shadow=False)]
    if passing and all(metric.type == "query" for metric in passing):
        yield "spec.analysis.metrics", "only queries have a say in passing: a constant passes a version that got no traffic"


def _metric(metric: Metric) -> Iterator[Finding]:
    if metric.pass_if is not None and metric.pass_if.ratio is not None:
        if metric.tolerate.ratio > metric.pass_if.ratio:
            low, high = metric.pass_if.ratio, metric.tolerate.ratio
            yield "tolerate.ratio", f"a candidate between {low:g} and {high:g} times stable's rate neither passes nor fails"
        if metric.type == "rate" and metric.pass_if.or_abs is None and events.parse(metric.event).flags & RARE:
            yield "pass_if", "where stable has next to no such events, a ratio takes very many requests: add or_abs, such as 0.005"
    if metric.critical and metric.type == "distribution":
        yield "critical", "another mix of answers is not worse by itself"
    if metric.type == "label" and not metric.dry_run:
        servers = "servers with labels.enabled and capture.enabled"
        yield "type", f"only {servers} count labels; elsewhere it is NO_DATA, which never passes: set dryRun: true there"
    if metric.type == "query" and "{{version}}" not in metric.query.replace(" ", ""):
        yield "query", "it does not name {{version}}, so it measures the same whatever the candidate does"
