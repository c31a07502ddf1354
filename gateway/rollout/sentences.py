"""One sentence in plain English for each verdict: what was counted, how sure that is, and what follows. Pure."""

from __future__ import annotations

import math

from gateway.rollout.plan import Metric
from gateway.rollout.thresholds import GRAIN_S, is_latency
from gateway.rollout.verdict import Found, MetricVerdict, Rule, SampleRatio, Top, Verdict

_ODDS = "the odds at equal batch sizes"
_EVENTS = {"server_error": "server errors", "rejected_input": "rejected inputs", "bad_output": "bad outputs"}


def metric_sentence(rule: Rule, found: Found, top: Top, verdict: Verdict, *, arm: str) -> str:
    """Of one metric. arm: whom it is of, as people call it."""
    metric = rule.metric
    if verdict is Verdict.NO_DATA:
        return f"{metric.name}: nothing has been counted yet{f', since {found.detail}' if found.detail else ''}"
    if verdict is Verdict.ERROR:
        return f"{metric.name}: {found.error}"
    told = {"rate": _rates, "label": _rates, "dominance": _dominance}.get(metric.type, _detail)(metric, found, arm)
    return f"{told}; {_conclusion(rule, found, top, verdict)}"


def _rates(metric: Metric, found: Found, arm: str) -> str:
    (ours, theirs), (units, other_units) = found.events, found.units
    what, counted = (_ODDS, "runs") if is_latency(metric) else ("the rate", "units")
    return f"{arm} had {_event(metric)} in {ours:,} of {units:,} {counted}, stable in {theirs:,} of {other_units:,}{_times(found, what)}"


def _dominance(metric: Metric, found: Found, arm: str) -> str:
    if not found.detail:
        return f"{metric.name}: the first {sum(found.units):,} runs were looked at"
    (ours, theirs), (units, other_units) = found.events, found.units
    grace = f"less {metric.tolerate.slower - 1:.0%} and {1e3 * GRAIN_S:g} ms"
    told = f"{ours:,} of {units:,} runs of {arm}, {grace}, took {found.detail}"
    return f"{told}, of stable {theirs:,} of {other_units:,}{_times(found, _ODDS)}"


def _detail(metric: Metric, found: Found, _arm: str) -> str:
    return f"{metric.name}: {found.detail}" if found.detail else f"{metric.name}: the first {sum(found.units):,} answers were looked at"


def _event(metric: Metric) -> str:
    if metric.type == "label":
        return "wrong answers"
    return " or ".join(_EVENTS.get(term, term) for term in metric.event.split(" or "))


def _times(found: Found, what: str) -> str:
    """How many times as high, and its bounds."""
    if found.ratio is None and not any(found.events):
        return ""
    bounds = [f"at least {found.ratio_low:.2g} ×"] * bool(found.ratio_low) + [f"at most {found.ratio_high or 0:.2g} ×"] * (
        found.ratio_high is not None
    )
    sure = f" ({', '.join(bounds)})" if bounds else ""
    return f": {found.ratio:.2g} × {what}{sure}" if found.ratio else f":{sure.replace('(', '').replace(')', '')} {what}" if bounds else ""


def _conclusion(rule: Rule, found: Found, top: Top, verdict: Verdict) -> str:
    if verdict is Verdict.INVALID:
        return "nothing can be concluded, since units are missing"
    if verdict is Verdict.FAIL:
        ever = "" if found.log_e_fail >= rule.fail_at else " was, at its strongest,"
        return f"that it is worse than tolerated has evidence of{ever} {amount(top.fail)} to 1, and {amount(rule.fail_at)} to 1 is enough"
    if verdict is Verdict.PASS:
        return "good enough" + (f": {_margin(rule, top)}" if rule.metric.pass_if else "")
    return "not certain either way yet" if rule.has_say else "nothing speaks against it so far"


def _margin(rule: Rule, top: Top) -> str:
    margin = rule.metric.pass_if
    assert margin is not None
    if top.passes >= rule.pass_at and margin.ratio is not None:
        return f"less than {margin.ratio:g} × is certain, with evidence of {amount(top.passes)} to 1"
    return f"less than {100 * (margin.or_abs or 0):g} points more is certain"


def ratio_sentence(log_e: float, level: float, weights: str, missing: str) -> str:
    """Of the sample ratio."""
    if log_e < level:
        return f"units come as they were assigned ({weights})"
    return f"units do not come as they were assigned ({weights}, evidence of {amount(log_e)} to 1): {missing}"


def step_sentence(
    metrics: tuple[MetricVerdict, ...], verdict: Verdict, ratio: SampleRatio, *, fast: str | None, units: int, min_units: int
) -> str:
    """Of a step: what decides it."""
    if fast:
        return fast
    failed = [one for one in metrics if one.verdict is Verdict.FAIL and not one.dry_run]
    if failed and (verdict is Verdict.FAIL or not ratio.tripped):
        return max(failed, key=lambda one: (one.critical, one.greatest_log_e_fail)).sentence
    if verdict is Verdict.INVALID:
        return ratio.sentence
    if verdict is Verdict.NO_DATA and units == 0:
        return "no unit has been seen in this step yet"
    said = [one for one in metrics if one.has_say and not one.dry_run]
    waiting = [one.sentence for one in said if one.verdict is not Verdict.PASS]
    if waiting:
        return waiting[0]
    if not said:
        return "no metric has a say in passing this step"
    return "; ".join(one.sentence for one in said) if verdict is Verdict.PASS else f"{units:,} units of {min_units:,} have been seen"


def amount(log_e: float) -> str:
    """E, in words that stay short."""
    if log_e > math.log(1e6):
        return "over 1,000,000"
    return f"{math.exp(log_e):,.0f}" if log_e >= math.log(10) else f"{math.exp(log_e):.2g}"
