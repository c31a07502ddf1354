"""Verdicts from evidence: which of them each state of it comes to, and what decides a step. Thresholds, and who has a say."""

from __future__ import annotations

import itertools
import math

import pytest

from gateway.rollout.thresholds import is_decisive, rule_of
from gateway.rollout.verdict import Found, MetricVerdict, Top, Verdict, judge, judge_step
from tests.gateway.rollout.traffic import ERRORS, plan

MIX = {"name": "mix", "type": "distribution", "critical": True}
SLO = {"name": "slo", "type": "rate", "event": "latency_ms > 50", "pass_if": {"ratio": 1.5, "or_abs": 0.01}}
AGREEMENT = {"name": "agreement", "type": "agreement", "critical": True}
DRY = ERRORS | {"name": "dry", "dryRun": True}
QUERY = {"name": "query", "type": "query", "query": "up", "server": "http://p", "below": 1}
COUNTED = Found(units=(10, 10))


def rules(*metrics, shadow=False, arms=1):
    analysis = plan(*metrics).spec.analysis
    return {metric.name: rule_of(metric, analysis, "canary", arms=arms, shadow=shadow) for metric in analysis.metrics}


def metric(verdict, *, critical=True, dry_run=False, has_say=True):
    found = Found()
    return MetricVerdict(
        metric="m", type="rate", arm="canary", verdict=verdict, critical=critical, dry_run=dry_run, has_say=has_say,
        tripped=verdict is Verdict.FAIL, found=found, greatest_log_e_fail=0.0, greatest_log_e_pass=0.0, fail_at=1.0,
        pass_at=1.0, sentence="",
    )  # fmt: skip


def step(*metrics, fast=None, invalid=False, units=1000, min_units=500):
    return judge_step(metrics, fast=fast, invalid=invalid, units=units, min_units=min_units)


def test_critical_metrics_share_alpha_and_so_do_the_others() -> None:
    """A distribution never leads back, whatever it says of itself; what is only reported takes nothing from anybody."""
    found = rules(ERRORS, AGREEMENT, SLO, MIX, QUERY, DRY)
    assert [2, 2, 3, 3, 3, 3] == [round(0.01 * math.exp(rule.fail_at)) for rule in found.values()]
    assert [False, False, True, True, True, True] == [rule.pauses for rule in found.values()]
    assert [True, True, False, False, False, False] == [is_decisive(rule.metric) for rule in found.values()]


def test_two_ways_to_pass_and_several_arms_divide_alpha() -> None:
    """ln of 20 for one way and one arm."""
    assert pytest.approx([20, 40]) == [math.exp(rule.pass_at) for rule in rules(ERRORS, SLO).values()]
    assert pytest.approx([60, 120]) == [math.exp(rule.pass_at) for rule in rules(ERRORS, SLO, arms=3).values()]
    assert pytest.approx(300) == math.exp(rules(ERRORS, arms=3)["errors"].fail_at)


def test_who_has_a_say_depends_on_the_step() -> None:
    """A shadow's time says nothing, a canary's answers have nothing to agree with; reports and mixes never have a say."""
    metrics = ERRORS, AGREEMENT, SLO, MIX, QUERY, DRY
    assert {"errors", "slo", "query"} == {name for name, rule in rules(*metrics).items() if rule.has_say}
    assert {"errors", "agreement", "query"} == {name for name, rule in rules(*metrics, shadow=True).items() if rule.has_say}


def test_a_metric_fails_passes_or_waits() -> None:
    """A failure is there whatever else is; nothing else counts while units are missing."""
    rule = rules(ERRORS)["errors"]
    strong, weak = Top(fail=rule.fail_at), Top(fail=rule.fail_at - 1e-9)
    assert Verdict.FAIL is judge(rule, COUNTED, strong, invalid=True)
    assert Verdict.INVALID is judge(rule, COUNTED, weak, invalid=True)
    assert Verdict.ERROR is judge(rule, Found(error="no answer"), weak, invalid=False)
    assert Verdict.NO_DATA is judge(rule, Found(), weak, invalid=False)
    assert Verdict.INCONCLUSIVE is judge(rule, COUNTED, weak, invalid=False)
    assert Verdict.PASS is judge(rule, COUNTED, Top(passes=rule.pass_at), invalid=False)
    assert Verdict.PASS is judge(rule, COUNTED, Top(within=True), invalid=False)


def test_only_passes_of_all_that_have_a_say_pass_a_step() -> None:
    """Every combination of two verdicts, with a metric that has none beside them."""
    idle = metric(Verdict.INCONCLUSIVE, has_say=False, critical=False)
    for first, second in itertools.product(Verdict, repeat=2):
        found = step(metric(first), metric(second), idle)
        assert (found is Verdict.PASS) == (first is second is Verdict.PASS)
        assert (found is Verdict.FAIL) == (Verdict.FAIL in (first, second))


@pytest.mark.parametrize(
    ("metrics", "options", "expected"),
    [
        ([], {}, Verdict.INCONCLUSIVE),  # nobody has a say
        ([metric(Verdict.PASS)], {"units": 499}, Verdict.INCONCLUSIVE),
        ([metric(Verdict.PASS)], {"units": 0}, Verdict.NO_DATA),
        ([metric(Verdict.PASS), metric(Verdict.NO_DATA)], {}, Verdict.NO_DATA),
        ([metric(Verdict.NO_DATA), metric(Verdict.ERROR)], {}, Verdict.ERROR),
        ([metric(Verdict.PASS)], {"invalid": True}, Verdict.INVALID),
        ([metric(Verdict.PASS)], {"fast": "crashed", "invalid": True, "units": 0}, Verdict.FAIL),
        ([metric(Verdict.FAIL)], {"invalid": True}, Verdict.FAIL),
        ([metric(Verdict.PASS), metric(Verdict.FAIL, critical=False, has_say=False)], {}, Verdict.INCONCLUSIVE),
        ([metric(Verdict.PASS), metric(Verdict.FAIL, dry_run=True)], {}, Verdict.PASS),
        ([metric(Verdict.PASS), metric(Verdict.INCONCLUSIVE, has_say=False)], {}, Verdict.PASS),
    ],
)
def test_what_decides_a_step(metrics, options, expected) -> None:
    """Enough units, nothing against it, a sound split; reports never decide."""
    assert expected is step(*metrics, **options)
