"""One version over its life: it moves, is found, comes back, and begins anew; another version knows nothing of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gateway.drift.documents import findings_of, gauges_of
from gateway.drift.findings import Rule
from gateway.drift.layout import ROWS
from gateway.drift.policy import Policy
from gateway.drift.saved import restore, save
from gateway.drift.states import State
from gateway.drift.watch import Watch
from registry.profile import SCORE_BINS, Calibration, Profile, Windows
from tests.gateway.drift.traffic import NOON_S, Traffic, categorical, gaussian, numeric, profile_of

TWO = gaussian(20_000, features=2, seed=1)
QUICK = Policy(calm_minutes=5, recent_minutes=10)


class Life:
    """A watch, its traffic and its time."""

    def __init__(self, profile: Profile, policy: Policy = QUICK, *, seed: int = 0) -> None:
        self.watch, self.traffic = Watch(profile, policy, wall_s=NOON_S), Traffic(profile)
        self.now, self.rng = NOON_S, np.random.default_rng(seed)

    def pass_(self, minutes: int, *, shift: float = 0.0, rows: int = 600, features: int = 2) -> set[str]:
        """So many minutes with as many rows each; the first feature is shifted. Every state that the first one was in."""
        states = set()
        for _ in range(minutes):
            values = {f"f{index}": self.rng.normal(shift if index == 0 else 0.0, size=rows) for index in range(features)}
            self.traffic.send(values)
            self.now += 60
            self.watch.look(self.traffic.views, self.now)
            states.add(self.watch.standings[0].state.name)
        return states

    @property
    def state(self) -> State:
        return self.watch.standings[0].state


def test_a_version_moves_is_found_comes_back_and_begins_anew() -> None:
    """OK, ALARM, and OK again after the cool-down; the other feature is OK all the time, and the version as bad as the worst."""
    life = Life(TWO)
    assert {"OK"} == life.pass_(20)
    life.pass_(8, shift=1.0)
    assert State.ALARM is life.state is life.watch.standing().state
    change = life.watch.changes[0]
    assert abs(change.row - 20 * 600) <= 1_200
    assert abs(change.wall_s - (NOON_S + 20 * 60)) <= 120
    life.pass_(2)
    assert State.ALARM is life.state
    assert "OK" not in life.pass_(2)
    life.pass_(6)
    assert State.OK is life.state is life.watch.standing().state is life.watch.together.state
    assert ({}, 2) == (life.watch.changes, life.watch.evidence.any.number[0])
    assert State.OK is life.watch.standings[1].state
    assert 1 == life.watch.evidence.any.number[1]
    life.pass_(8, shift=1.0)
    assert State.ALARM is life.state


def test_a_level_is_left_one_at_a_time() -> None:
    """From PSI 1 to PSI 0.15: ALARM becomes WARN and stays that; to 0.02: DRIFT and stays that."""
    life = Life(TWO)
    life.pass_(10, shift=1.0)
    assert State.ALARM is life.state
    life.pass_(20, shift=0.4)
    assert State.WARN is life.state
    life.pass_(30, shift=0.2)
    assert State.DRIFT is life.state
    assert (1, 3) == (life.watch.evidence.any.number[0], life.watch.evidence.tolerance.number[0])


def test_a_change_that_stays_is_said_all_the_time() -> None:
    """However long, and though it begins long before the window that is shown."""
    life = Life(TWO)
    life.pass_(5)
    life.pass_(3, shift=0.5)
    life.pass_(30, shift=0.5)
    assert {"WARN"} == life.pass_(30, shift=0.5)


def test_nothing_moves_by_itself() -> None:
    """No rows, and time goes by: a state stays what it is."""
    life = Life(TWO)
    life.pass_(8, shift=1.0)
    for _ in range(90):
        life.now += 60
        life.watch.look(life.traffic.views, life.now)
    assert State.ALARM is life.state


def test_a_look_at_the_same_counts_costs_nothing() -> None:
    """Within a minute it is not even evaluated."""
    life = Life(TWO)
    life.pass_(1)
    signs = life.watch.signs
    assert not life.watch.look(life.traffic.views, life.now + 1)
    assert signs is life.watch.signs
    assert life.watch.look(life.traffic.views, life.now + 61)
    assert signs is life.watch.signs, "evidence of the same counts was weighed again"
    assert 600 == life.watch.rings.recent(2)[ROWS]


def test_counts_that_fall_are_refused() -> None:
    """Whoever sums the blocks has lost one."""
    life = Life(TWO)
    life.pass_(1)
    with pytest.raises(AssertionError, match="counts never fall"):
        life.watch.look(Traffic(TWO).views, life.now + 60)


def test_another_version_has_evidence_of_its_own() -> None:
    """A rollout raises no alarm: neither does the old version's traffic reach the new one, nor its state."""
    old, new = Life(TWO, seed=1), Life(gaussian(20_000, features=2, seed=9), seed=2)
    old.pass_(8, shift=1.0)
    assert {"OK"} == new.pass_(8)
    assert (State.ALARM, State.OK) == (old.watch.standing().state, new.watch.standing().state)


def test_false_alarms_are_rarer_than_promised() -> None:
    """Twenty-four versions of five features over 12,000 rows, looked at every 200: nothing ever leaves OK in all but 5 % of them."""
    moved = 0
    profile = gaussian(5_000, features=5, seed=3)
    for seed in range(24):
        life = Life(profile, seed=seed)
        life.pass_(60, rows=200, features=5)
        moved += life.watch.standing().since_s > NOON_S
    assert moved <= 1


def test_transitions_are_told_once() -> None:
    """For the journal and the trigger: from where to where, by scope."""
    life = Life(TWO)
    life.pass_(3)
    assert () == life.watch.moves()
    life.pass_(8, shift=1.0)
    told = {(move.scope, move.before, move.after) for move in life.watch.moves()}
    assert {("global", "OK", "ALARM"), ("feature:f0", "OK", "ALARM")} == told
    assert () == life.watch.moves()
    assert () == restore(save(life.watch), TWO, QUICK).moves()


# --- other things that are judged ---------------------------------------------------------------------------------------------------


def scored(accuracy: float = 0.86) -> Profile:
    middles = (np.arange(SCORE_BINS) + 0.5) / SCORE_BINS
    table = Calibration(
        port="y", element=0, threshold=0.5, positives=tuple(middles.tolist()), errors=(0.0,) * SCORE_BINS, counts=(20,) * SCORE_BINS,
        accuracy=accuracy, auc=0.9,
    )  # fmt: skip
    rng = np.random.default_rng(5)
    return profile_of(
        numeric("x", rng.normal(size=5_000)), numeric("y", rng.beta(0.4, 0.4, 5_000), side="output", port="y"), calibration=table
    )


def scores_of(life: Life, minutes: int, a: float, *, x: float = 0.0) -> None:
    for _ in range(minutes):
        scores = life.rng.beta(a, a, size=600)
        life.traffic.send({"x": life.rng.normal(x, size=600), "y": life.rng.beta(0.4, 0.4, 600)}, scores=scores)
        life.now += 60
        life.watch.look(life.traffic.views, life.now)


def test_scores_that_are_less_sure_are_a_risk() -> None:
    """An ALARM of the performance alone, until they are sure again."""
    life = Life(scored())
    scores_of(life, 12, 0.4)
    assert State.OK is life.watch.performance.state
    scores_of(life, 14, 2.0)
    assert (State.ALARM, State.OK) == (life.watch.performance.state, life.watch.standings[1].state)
    found = findings_of(life.watch).performance
    assert found is not None
    assert found.recent.accuracy is not None
    assert found.recent.accuracy.high < 0.81
    assert found.all.rows > found.recent.rows
    assert findings_of(life.watch).sentence.startswith("the estimated performance is at risk")
    scores_of(life, 14, 0.4)
    assert State.OK is life.watch.performance.state


def test_an_estimate_that_is_not_to_be_trusted_alarms_nobody() -> None:
    """Inputs that the reference never had: their drift is the alarm."""
    life = Life(scored())
    scores_of(life, 12, 2.0, x=5.0)
    assert State.OK is life.watch.performance.state
    found = findings_of(life.watch).performance
    assert found is not None
    assert not found.trustworthy
    assert State.ALARM is life.watch.standings[0].state


def test_predictions_have_a_scope() -> None:
    """The worst of the outputs."""
    life = Life(scored())
    for _ in range(10):
        life.traffic.send({"x": life.rng.normal(size=600), "y": life.rng.beta(4, 1, size=600)})
        life.now += 60
        life.watch.look(life.traffic.views, life.now)
    assert (State.ALARM, State.OK) == (life.watch.predictions().state, life.watch.standings[0].state)
    assert {"global": 3, "predictions": 3, "performance": 0} == gauges_of(life.watch).states


def test_windows_of_the_reference_are_the_other_half_of_the_stake() -> None:
    """A second layer that sees windows move calls DRIFT although no row-wise test is sure."""
    values = np.random.default_rng(1).normal(size=20_000)
    windows = Windows(rows=500, hours=(-1,) * 200, scores=tuple(np.random.default_rng(2).normal(0.062, 0.004, 200).tolist()))
    profile = profile_of(numeric("f0", values, tau=60.0), windows=windows)
    life = Life(profile)
    states = life.pass_(40, shift=0.3, rows=500, features=1)
    assert {"OK"} == states
    assert State.DRIFT is life.watch.together.state is life.watch.standing().state
    assert life.watch.log_e_windows > -math.log(life.watch.policy.test_alpha)
    found = findings_of(life.watch)
    assert ("DRIFT", "something has moved, and no single feature can be named") == (found.together.state, found.sentence)


def test_segments_and_rules_are_told() -> None:
    """A part of the traffic that lies elsewhere, and what broke the contract."""
    profile = profile_of(numeric("x", np.random.default_rng(1).normal(size=5_000)), categorical("port", ["a"] * 4_000 + ["b"] * 1_000))
    rule = Rule(input="x", rule="range", mode="warn")
    watch = Watch(profile, QUICK, segments=("web", "app", "others"), rules=(rule,), wall_s=NOON_S)
    traffic, rng = Traffic(profile, segments=3, rules=1), np.random.default_rng(3)
    for segment, shift in ((0, 0.0), (1, 1.5)):
        traffic.send({"x": rng.normal(shift, size=2_000), "port": ["a"] * 1_600 + ["b"] * 400}, segment=segment)
    traffic.views.rules[0] = 7, 5
    watch.look(traffic.views, NOON_S + 1)
    found = findings_of(watch)
    (violation,) = found.violations
    assert ("x", "range", "warn", 7, 5) == (violation.input, violation.rule, violation.mode, violation.values, violation.rows)
    assert [("web", 2_000, False), ("app", 2_000, True), ("others", 0, False)] == [(s.name, s.rows, s.beyond) for s in found.segments]
    assert "x" == found.segments[1].farthest
    assert found.segments[1].farthest_psi > 1 > 0.1 > found.segments[0].psi
