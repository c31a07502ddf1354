"""What the year of the demo is told by: labels that come when their time has come, a table, and a sentence for whatever it was worth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
import pytest

from gateway import demo_year_terms
from gateway.clock import SinceClock
from gateway.config import load
from gateway.demo_airline import DELAY_S, Reports
from gateway.demo_year_table import Month, table, told_gain
from gateway.rollout import spec
from registry.label import problem_of
from retrain.policy import Volume, policy_of

DAY_S = 86_400.0


def test_a_label_comes_once_and_not_before_its_time() -> None:
    """Two to four days after the departure, of which the seed decides; what has come so far is what may be known."""
    generator = np.random.default_rng(3)
    departures = np.sort(generator.uniform(0, 20 * DAY_S, 400)) + 1e9
    reports = Reports(np.random.default_rng(7))
    reports.add([("a", row) for row in range(250)], departures[:250], np.arange(250) % 2)
    reports.add([("b", row) for row in range(150)], departures[250:], np.arange(150) % 2)
    came = []
    for now in 1e9 + np.arange(0, 26) * DAY_S:
        due = list(reports.due(now))
        assert all("" == problem_of(label, int(now * 1e6)) for label in due)
        assert all(label.arrival_us is not None and label.arrival_us <= now * 1e6 for label in due)
        came += due
        assert len(came) == reports.known(now)
        assert reports.known(now) == reports.known(now, since_s=1e9 + 10 * DAY_S) + int(
            (reports.said & (departures < 1e9 + 10 * DAY_S)).sum()
        )
    assert 400 == len({label.label_id for label in came}) == len(came)
    delays = np.array([(label.arrival_us or 0) - (label.event_us or 0) for label in came]) / 1e6
    assert (DELAY_S[0] <= delays.min() < DELAY_S[0] + DAY_S / 4, DELAY_S[1] - DAY_S / 4 < delays.max() <= DELAY_S[1]) == (True, True)
    again = Reports(np.random.default_rng(7))
    again.add([("a", 0)], departures[:1], np.ones(1, np.int64))
    assert again.arrivals_s[0] == reports.arrivals_s[0]


def test_the_table_says_who_answered_and_how_well() -> None:
    """With the loop and without it, side by side."""
    month = Month("April", 4_000, Counter({"2": 3_000, "1": 1_000, "10": 1}), "DRIFT", (0.7, 0.65), (0.15, 0.16), ["loss: …"])
    columns, rows = table([month])
    assert ["month", "flights", "by version", "state", "AUC", "v1 alone", "Brier", "v1 alone"] == columns
    assert [("April", "4,000", "1 then 2 then 10", "DRIFT", "0.700", "0.650", "0.1500", "0.1600")] == rows
    assert {"answered": {"2": 3_000, "1": 1_000, "10": 1}, "first_brier": 0.16, "events": ["loss: …"]}.items() <= month.summary().items()


def test_the_terms_are_understood(tmp_path: Path) -> None:
    """By those who read them: the policy, the plan, and the settings; what is told of the policy is what it says."""
    policy = policy_of({**demo_year_terms.policy_of(tmp_path, demo_year_terms.QUICK, 5)}, source="policy")
    assert (5, "event", str(tmp_path)) == (policy.wish.training.seed, policy.wish.data.join.time, policy.wish.data.log)
    volume = next(rule for rule in policy.when.rules if isinstance(rule, Volume))
    assert f"or {volume.rows:,} flights" in demo_year_terms.told_policy(demo_year_terms.QUICK)
    (tmp_path / "plan.yaml").write_bytes(msgspec.json.encode(demo_year_terms.plan_of()))
    metrics = {metric.name: metric.dry_run for metric in spec.load(tmp_path / "plan.yaml").plan.spec.analysis.metrics}
    assert {"errors": False, "bad_output": False, "refused": False, "agreement": True} == metrics
    (tmp_path / "settings.yaml").write_bytes(msgspec.json.encode(demo_year_terms.settings_of(tmp_path)))
    settings = load(tmp_path / "settings.yaml", {"repository.path": str(tmp_path)})
    assert (True, True, tmp_path / "log") == (settings.capture.enabled, settings.labels.enabled, settings.capture.directory)


@dataclass
class Found:
    metric: str
    before: float
    after: float
    gain: float
    low: float
    high: float
    verdict: str


@pytest.mark.parametrize(
    ("gain", "text"),
    [
        (
            Found("auc", 0.7, 0.72, 0.02, 0.01, 0.03, "better"),
            "0.7200 with the loop, 0.7000 without; 0.0200 better (95 % of days drawn anew: ",
        ),
        (Found("brier", 0.15, 0.16, -0.01, -0.02, 0.001, "neither"), "0.0100 worse (95 % of days drawn anew: -0.0200 to +0.0010): neither"),
    ],
)
def test_what_it_was_worth_is_said_whatever_it_is(gain: Found, text: str) -> None:
    """A loss is called one."""
    assert text in told_gain(gain)


def test_a_clock_that_begins_elsewhere_goes_on_as_the_other_does() -> None:
    """Its wall time is that of its begin and what has passed since."""

    class Other:
        at = 5.0

        def now(self) -> float:
            return self.at

        def wall(self) -> float:
            return 1e9

    other = Other()
    clock = SinceClock(100.0, other)
    other.at = 8.0
    assert (8.0, 103.0) == (clock.now(), clock.wall())
