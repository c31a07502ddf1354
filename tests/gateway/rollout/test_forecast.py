"""What a plan will take: units from the tests, time from traffic, and what decides how long a step is."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.rollout.forecast import Forecast, MetricForecast, Traffic, forecast
from gateway.rollout.passage import events_needed
from kernels.odds import above, below
from tests.gateway.rollout import plans

METRICS, STEPS = "spec.analysis.metrics", "spec.strategy.steps"
RATIO = {"name": "slo", "type": "rate", "event": "latency_ms > 50", "critical": True, "pass_if": {"ratio": 1.5}}
FAULTS = RATIO | {"name": "faults", "event": "server_error"}
COLD = {"spec.analysis.warmup": {"requests": 0, "duration": "0s"}}
ONE = COLD | {STEPS: [{"setWeight": 10, "until": {"min_units": 0}}], METRICS: [RATIO]}


def foreseen(changes: dict[str, Any], *, base: float = 0.01, requests_per_s: float = 100.0, requests_per_unit: float = 1.0) -> Forecast:
    plan = plans.plan(changes)
    rates = {metric.name: base for metric in plan.spec.analysis.metrics if metric.type == "rate"}
    return forecast(plan, Traffic(requests_per_s=requests_per_s, base_rates=rates, requests_per_unit=requests_per_unit))


def metric(changes: dict[str, Any], **traffic: float) -> MetricForecast:
    """The first metric of the first step."""
    return foreseen(changes, **traffic).steps[0].metrics[0]


def test_units_are_those_in_which_the_events_are_found() -> None:
    """PASS at α, FAIL at α over the number of critical metrics; a worse candidate has more events."""
    found = metric(ONE)
    passing = events_needed(0.1, 1.0, tested=1.5, alternatives=below(1.5), log_level=math.log(20.0))
    failing = events_needed(0.1, 4.0, tested=1.0, alternatives=above(1.0), log_level=math.log(100.0))
    assert pytest.approx((passing / 0.01, passing)) == (found.passing[0].units, found.passing[0].seconds)
    assert pytest.approx(failing / 0.013) == found.failing[1].units
    assert [(1.0, 1.25), (2.0, 4.0, 10.0)] == [tuple(each.truth for each in side) for side in (found.passing, found.failing)]
    two = metric(ONE | {METRICS: [RATIO, RATIO | {"name": "other"}]})
    assert found.passing == two.passing
    assert [True] * 3 == [(a.units or 0) < (b.units or 0) for a, b in zip(found.failing, two.failing, strict=True)]


def test_the_published_requests_are_met() -> None:
    """Requests until FAIL at a base of 0.5 %, by weight, for candidates twice and ten times as bad."""
    for weight, twice, tenfold in ((5, 57_600, 1_700), (10, 34_200, 900), (50, 11_600, 500)):
        needed = metric(ONE | {STEPS: [{"setWeight": weight}]}, base=0.005).failing
        per_failure = 1 / (0.005 * (1 + 9 * weight / 100))
        assert pytest.approx(twice, rel=0.15) == needed[0].units
        assert pytest.approx(tenfold, rel=0.15, abs=3.6 * per_failure) == needed[2].units  # a median that goes in steps of three failures


def test_an_absolute_margin_helps_where_events_are_rare() -> None:
    """Each way has half of α then; whichever is sooner."""
    both = RATIO | {"pass_if": {"ratio": 1.5, "or_abs": 0.01}}
    rare, often = metric(ONE, base=0.0005).passing[0].units, metric(ONE, base=0.05).passing[0].units
    helped = metric(ONE | {METRICS: [both]}, base=0.0005).passing[0].units
    hindered = metric(ONE | {METRICS: [both]}, base=0.05).passing[0].units
    assert (helped or 0) < (rare or 0) / 20
    assert (often or 0) < (hindered or 0) < 1.3 * (often or 0)


def test_what_is_as_bad_as_the_margin_never_passes() -> None:
    """And without a margin a metric has no say."""
    assert None is metric(ONE | {METRICS: [RATIO | {"pass_if": {"ratio": 1.25}}]}).passing[1].units
    found = metric(ONE | {METRICS: [{"name": "r", "type": "rate", "event": "server_error"}, RATIO]})
    assert ((), 3) == (found.passing, len(found.failing))


def test_requests_of_one_unit_take_longer() -> None:
    """Units are what is counted."""
    single, shared = metric(ONE).passing[0], metric(ONE, requests_per_unit=10.0).passing[0]
    assert (single.units, 10 * (single.seconds or 0)) == (shared.units, shared.seconds)


def test_a_shadow_sees_pairs() -> None:
    """Of a share of the traffic, at most so many a second; it agrees or not."""
    shadow = {STEPS: [{"shadow": {"percent": 50, "max_qps": 20}}], METRICS: [FAULTS, {"name": "same", "type": "agreement"}]}
    (step,) = foreseen(COLD | shadow).steps
    assert ("shadow 50 %", 20.0, 20.0) == (step.what, step.candidate_per_s, step.units_per_s)
    even = metric(ONE | {STEPS: [{"setWeight": 50}]})
    assert pytest.approx((even.passing[0].units or 0) / 2, rel=0.02) == step.metrics[0].passing[0].units
    same = step.metrics[1]
    assert ("agreement", pytest.approx(0.02)) == (same.type, same.base_rate)
    assert [(0.25, 0.5), (2.0, 4.0, 10.0)] == [tuple(each.truth for each in side) for side in (same.passing, same.failing)]
    slow = foreseen(COLD | {STEPS: [{"shadow": {"percent": 50}}]}).steps[0]
    assert (50.0, 50.0) == (slow.candidate_per_s, slow.units_per_s)


@pytest.mark.parametrize(
    ("until", "seconds", "reason"),
    [
        ({"min_units": 0}, 434.44, "slo"),
        ({"min_units": 100_000}, 10_000.0, "min_units"),
        ({"min_units": 0, "min_duration": "2h"}, 7200.0, "min_duration"),
        ({"verdict": None, "min_duration": "1m"}, 60.0, "min_duration"),
    ],
)
def test_a_step_is_as_long_as_what_takes_longest(until: dict[str, Any], seconds: float, reason: str) -> None:
    """min_units are of the smaller arm."""
    (step,) = foreseen(ONE | {STEPS: [{"setWeight": 10, "until": until}]}).steps
    assert (pytest.approx(seconds, rel=0.001), reason, False) == (step.seconds, step.reason, step.late)


def test_a_step_that_cannot_pass_in_time_is_late() -> None:
    """Its max_duration is over first; and without traffic there is no end at all."""
    late = ONE | {STEPS: [{"setWeight": 10, "until": {"min_units": 0, "max_duration": "7m"}}]}
    assert foreseen(late).steps[0].late
    assert not foreseen(late, requests_per_s=200.0).steps[0].late
    nothing = foreseen(late, requests_per_s=0.0)
    assert (None, True, ("min_units",)) == (nothing.steps[0].seconds, nothing.steps[0].late, nothing.waits)


def test_the_first_step_with_traffic_warms_up() -> None:
    """Until both the time and the candidate's requests are over."""
    warm = {"spec.analysis.warmup": {"requests": 200, "duration": "5s"}}
    steps = {STEPS: [{"pause": {"duration": "1m"}}, {"setWeight": 10, "until": {"min_units": 0}}, {"setWeight": 20}]}
    cold, found = foreseen(ONE | steps), foreseen(ONE | steps | warm)
    assert [0.0, 20.0, 0.0] == [(b.seconds or 0) - (a.seconds or 0) for a, b in zip(cold.steps, found.steps, strict=True)]
    assert pytest.approx(cold.seconds + 20.0) == found.seconds


def test_pauses_and_approvals_are_as_long_as_people_take() -> None:
    """They have no units, and their time is not in the sum unless it is stated."""
    steps = [{"setWeight": 10}, {"pause": {}}, {"pause": {"duration": "1h"}}, {"approve": {"count": 2}}]
    found = foreseen(ONE | {STEPS: steps})
    assert [None, 3600.0, None] == [step.seconds for step in found.steps[1:]]
    assert ("a resume", "its approval") == found.waits
    assert ["pause", "pause", "approval by 2"] == [step.what for step in found.steps[1:]]
    assert pytest.approx((found.steps[0].seconds or 0) + 3600.0) == found.seconds


def test_at_all_traffic_nothing_is_compared() -> None:
    """Blue/green: a shadow, then its bake; what has no base rate is named."""
    query = {"name": "q", "type": "query", "query": "up", "server": "http://localhost", "below": 1}
    found = foreseen(COLD | {"spec.strategy": {"bluegreen": {"shadow": {}}}, METRICS: [FAULTS, query]})
    assert [1, 0] == [len(step.metrics) for step in found.steps]
    assert ("weight 100 %", 600.0) == (found.steps[1].what, found.steps[1].seconds)
    assert ("q",) == found.unknown


def test_a_shadow_s_latency_is_nobody_s() -> None:
    """It neither fails nor passes there."""
    found = foreseen(COLD | {STEPS: [{"shadow": {}}, {"setWeight": 10}], METRICS: [RATIO, FAULTS]})
    assert [["faults"], ["slo", "faults"]] == [[metric.metric for metric in step.metrics] for step in found.steps]


def test_each_arm_of_a_split_is_compared_with_stable() -> None:
    """Of the units that are its or stable's, and with its part of α."""
    arms = [{"name": "b", "version": 13, "weight": 30}, {"name": "c", "version": 14, "weight": 10}]
    split = {"spec.strategy": {"ab": {"arms": arms}}, "spec.candidate": ..., METRICS: [FAULTS]}
    (step,) = foreseen(COLD | split).steps
    assert ["b", "c"] == [metric.arm for metric in step.metrics]
    events = events_needed(1 / 3, 4.0, tested=1.0, alternatives=above(1.0), log_level=math.log(200.0))
    assert pytest.approx(events / (0.01 * (1 + 3 / 3)) / 0.9) == step.metrics[0].failing[1].units


def test_a_rate_without_a_base_rate_is_named() -> None:
    """Nothing is supposed silently."""
    with pytest.raises(KeyError, match="slo"):
        forecast(plans.plan(ONE), Traffic(requests_per_s=1.0, base_rates={}))
