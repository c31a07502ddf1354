"""What each metric of a plan is held against in a step: thresholds that share α among metrics and arms, and who has a say. Pure."""

from __future__ import annotations

import math

from gateway.rollout.events import parse
from gateway.rollout.plan import Analysis, Metric
from gateway.rollout.verdict import Rule

GRAIN_S = 50e-6  # by so much runs of one version differ with what ran before them: what was in caches, whose turn it was


def is_latency(metric: Metric) -> bool:
    """Whether calls are compared by how long they took, at equal batch sizes."""
    return metric.type == "dominance" or (metric.type == "rate" and math.isfinite(parse(metric.event).above_s))


def is_decisive(metric: Metric) -> bool:
    """Whether a failure leads back: another mix of answers may be a better one, so it never does alone."""
    return metric.critical and not metric.dry_run and metric.type != "distribution"


def rule_of(metric: Metric, analysis: Analysis, arm: str, *, arms: int, shadow: bool) -> Rule:
    """The rule of a metric for one of `arms` arms beside stable. shadow: whether the step compares pairs.

    The metrics whose failure leads back share α_fail, and so do those whose failure asks for a pause: any of them fails a candidate that is
    as good as stable with probability α_fail at most. One that may pass in two ways has half of α_pass for each.
    """
    alike = [one for one in analysis.metrics if not one.dry_run and is_decisive(one) == is_decisive(metric)]
    ways = 2 if metric.pass_if and metric.pass_if.ratio is not None and metric.pass_if.or_abs is not None else 1
    return Rule(
        metric=metric,
        arm=arm,
        fail_at=math.log(max(len(alike), 1) * arms / analysis.alpha.fail),
        pass_at=math.log(ways * arms / analysis.alpha.passes),
        has_say=has_say(metric, shadow=shadow),
        pauses=not is_decisive(metric),
    )


def has_say(metric: Metric, *, shadow: bool) -> bool:
    """Whether a PASS of a shadow, or of a weight, asks this metric too.

    A shadow's time is not what callers would wait, its answers are not in the log that labels are joined with, and without a shadow there
    is nothing to agree with.
    """
    if metric.dry_run:
        return False
    if metric.type == "agreement":
        return shadow
    if metric.type == "query":
        return True
    return metric.pass_if is not None and metric.type != "distribution" and not (shadow and (metric.type == "label" or is_latency(metric)))
