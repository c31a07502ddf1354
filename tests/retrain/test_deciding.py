"""When a model is trained again: rules, what holds them back, and ids that two watchers agree on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.triggers import trigger_id
from retrain.cron import schedule
from retrain.deciding import DAY_S, Decision, Past, Situation, decide
from retrain.errors import RetrainError
from retrain.losses import Window
from retrain.policy import BlockIf, Policy, When, policy_of

pytestmark = pytest.mark.demo

NOW_S = 20_000 * DAY_S + 5 * 3_600
MANIFEST = "sha256:" + "a" * 64


def policy(*rules: dict[str, Any], **when: Any) -> Policy:
    """What a file with these rules says."""
    plain = {
        "apiVersion": "tidegate/v1", "kind": "Retraining", "model": "m", "data": {"rows": ["rows.parquet"]},
        "when": {"rules": list(rules), **when},
    }  # fmt: skip
    return policy_of(plain, source="policy.yaml")


def now(**changes: Any) -> Situation:
    given: dict[str, Any] = {
        "now_s": NOW_S, "model": "m", "version": 3, "manifest": MANIFEST, "published_s": NOW_S - 40 * DAY_S, "new_rows": 5_000,
    } | changes  # fmt: skip
    return Situation(**given)


def past(**changes: Any) -> Past:
    given: dict[str, Any] = {
        "id": "0" * 32, "version": 3, "rule": "prediction_drift", "state": "proposed", "created_s": NOW_S - 3_600, "started_s": None,
    } | changes  # fmt: skip
    return Past(**given)


def windows(*lower: float, rows: int = 500) -> dict[str, tuple[Window, ...]]:
    start = NOW_S // DAY_S - len(lower)
    found = [Window((start + place) * DAY_S, (start + place + 1) * DAY_S, rows, one + 0.01, one) for place, one in enumerate(lower)]
    return {"loss": tuple(found)}


def said(decisions: list[Decision]) -> list[tuple[str, str]]:
    return [(decision.what, decision.rule) for decision in decisions]


AGE = {"kind": "age", "older_than": "30d"}
VOLUME = {"kind": "volume", "rows": 4_000}
LOSS = {"kind": "loss", "level": 0.2, "for": "2 of 3"}


@pytest.mark.parametrize(
    ("rule", "changes", "met"),
    [
        (AGE, {}, True),
        (AGE, {"published_s": NOW_S - 29 * DAY_S}, False),
        (VOLUME, {}, True),
        (VOLUME, {"new_rows": 3_999}, False),
        (VOLUME, {"new_rows": None}, False),
        (LOSS, {"windows": windows(0.21, 0.1, 0.22)}, True),
        (LOSS, {"windows": windows(0.21, 0.1, 0.2)}, False),
        (LOSS, {"windows": windows(0.21, 0.21, 0.1, 0.1)}, False),
        (LOSS, {"windows": windows(0.3, 0.3, 0.3, rows=100)}, False),
        (LOSS, {}, False),
        ({"kind": "loss", "above_training": 0.05, "for": "1 of 1"}, {"windows": windows(0.2), "training_losses": {"brier": 0.14}}, True),
        ({"kind": "loss", "above_training": 0.05, "for": "1 of 1"}, {"windows": windows(0.2), "training_losses": {"brier": 0.16}}, False),
        ({"kind": "loss", "above_training": 0.05, "for": "1 of 1"}, {"windows": windows(0.2)}, False),
        ({"kind": "schedule", "cron": "0 3 * * *"}, {}, True),
        ({"kind": "schedule", "cron": "0 3 * * *"}, {"published_s": NOW_S - 3_600}, False),
        ({"kind": "schedule", "cron": "0 3 1 1 *"}, {}, False),
    ],
)
def test_a_rule_that_is_met_runs_a_job(rule: dict[str, Any], changes: dict[str, Any], *, met: bool) -> None:
    """And one that is not asks for nothing."""
    assert ([("run", rule.get("name", rule["kind"]))] if met else []) == said(decide(policy(rule), now(**changes)))


def test_drift_alone_proposes() -> None:
    """Servers have written the trigger: it waits for a person, unless the rule runs, on so many days."""
    drifted = [past(id=f"{day:032x}", created_s=NOW_S - day * DAY_S) for day in (0, 1, 2)]
    assert [] == decide(policy({"kind": "drift"}), now(past=tuple(drifted)))
    runs = {"kind": "drift", "action": "run", "for": "3 of 4"}
    (decision,) = decide(policy(runs), now(past=tuple(drifted)))
    assert ("run", "prediction_drift", drifted[0].id) == (decision.what, decision.rule, decision.trigger)
    assert [] == decide(policy(runs), now(past=tuple(drifted[:2])))
    assert [] == decide(policy({**runs, "rules": ["feature_drift"]}), now(past=tuple(drifted)))
    others = tuple(past(id=one.id, created_s=one.created_s, version=2) for one in drifted)
    assert [("expire", "prediction_drift")] * 3 == said(decide(policy(runs), now(past=others)))


def test_a_rule_may_propose() -> None:
    """Once: the trigger that there is, is not proposed again."""
    rule = {**AGE, "action": "propose"}
    (decision,) = decide(policy(rule), now())
    assert "propose" == decision.what
    made = trigger_id("m", MANIFEST, "age", bucket=int(decision.at_s // decision.bucket_s))
    assert [] == decide(policy(rule), now(past=(past(id=made, rule="age"),)))


HELD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "running": ({}, {"past": (past(state="running", started_s=NOW_S - 9 * DAY_S),)}, f"trigger {'0' * 32} is running"),
    "rollout": ({}, {"open_rollout": "m-4"}, "rollout m-4 is open"),
    "violations": ({}, {"violations": 0.02}, "2.00% of the latest rows break the contract, more than 1.00%"),
    "drops": ({}, {"drops": 0.01}, "1.00% of the latest rows were lost by the log, more than 0.50%"),
    "cooldown": ({}, {"past": (past(state="rejected", started_s=NOW_S - 23 * 3_600),)}, "the last job began less than 24h ago"),
    "budget": (
        {"cooldown": "1h", "max_per_week": 1}, {"past": (past(state="published", started_s=NOW_S - 6 * DAY_S),)},
        "1 jobs began within a week, and 1 are allowed",
    ),
    "rows": ({"min_new_rows": 6_000}, {}, "5,000 labelled rows are new, fewer than 6,000"),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(HELD))
def test_what_holds_a_job_back_is_said(name: str) -> None:
    """And holds proposals not back."""
    when, changes, reason = HELD[name]
    (decision,) = decide(policy(AGE, **when), now(**changes))
    assert ("wait", f"version 3 is 40.0 days old; held back: {reason}") == (decision.what, decision.reason)
    assert [("propose", "age")] == said(decide(policy({**AGE, "action": "propose"}, **when), now(**changes)))


def test_blocks_can_be_taken_off() -> None:
    """By the policy."""
    off = {"violations": None, "drops": None, "open_rollout": False}
    assert [("run", "age")] == said(decide(policy(AGE, block_if=off), now(open_rollout="m-1", violations=1.0, drops=1.0)))
    assert BlockIf() == When().block_if


def test_one_job_at_a_time_by_the_order_of_the_rules() -> None:
    """The others wait for another look."""
    assert [("run", "volume"), ("wait", "age")] == said(decide(policy(VOLUME, AGE), now()))


def test_what_was_done_in_a_stretch_of_time_is_not_done_again_in_it() -> None:
    """The id says so; when the next stretch begins, the rule is met anew."""
    at = now()
    (first,) = decide(policy(AGE), at)
    made = trigger_id("m", MANIFEST, "age", bucket=int(first.at_s // first.bucket_s))
    over = past(id=made, rule="age", state="rejected", created_s=NOW_S, started_s=NOW_S - 30 * DAY_S)
    assert [] == decide(policy(AGE), now(past=(over,)))
    assert [("run", "age")] == said(decide(policy(AGE), now(past=(over,), now_s=NOW_S + DAY_S)))
    taken_up = past(id=made, rule="age", created_s=NOW_S)
    (again,) = decide(policy(AGE), now(past=(taken_up,)))
    assert ("run", made) == (again.what, again.trigger)


def test_triggers_that_nobody_took_up_expire() -> None:
    """After a while, or once another version serves."""
    old = past(created_s=NOW_S - 8 * DAY_S)
    assert [("expire", "prediction_drift")] == said(decide(policy(), now(past=(old,))))
    assert [] == decide(policy(expire_after="9d"), now(past=(old,)))


RULES = [AGE, VOLUME, {"kind": "schedule", "cron": "*/7 * * * *"}, {"kind": "drift", "action": "run"}]
STATES = ["proposed", "running", "rejected", "published", "expired"]
PASTS = st.builds(
    past,
    id=st.integers(0, 20).map(lambda n: f"{n:032x}"),
    version=st.integers(2, 3),
    rule=st.sampled_from(["age", "prediction_drift"]),
    state=st.sampled_from(STATES),
    created_s=st.floats(NOW_S - 9 * DAY_S, NOW_S),
    started_s=st.none() | st.floats(NOW_S - 9 * DAY_S, NOW_S),
)


@given(
    st.lists(st.sampled_from(RULES), max_size=3, unique_by=str),
    st.lists(PASTS, max_size=5, unique_by=lambda one: one.id),
    st.floats(0, 0.1),
    st.sampled_from([None, "m-1"]),
)
def test_whatever_is_so_the_budget_is_kept(rules: list[dict[str, Any]], before: list[Past], violations: float, rollout: str | None) -> None:
    """At most one job at once, none while another runs or a feed is broken, never more a week than allowed; the same twice."""
    at = now(past=tuple(before), violations=violations, open_rollout=rollout)
    found = decide(policy(*rules, max_per_week=2), at)
    runs = [decision for decision in found if decision.what == "run"]
    started = [one.started_s for one in before if one.started_s is not None and NOW_S - one.started_s < 7 * DAY_S]
    assert len(runs) <= 1
    if rollout or violations > 0.01 or len(started) >= 2 or any(one.state == "running" for one in before):
        assert [] == runs
    assert found == decide(policy(*rules, max_per_week=2), at)
    assert len({decision.trigger for decision in found if decision.trigger}) == sum(decision.trigger is not None for decision in found)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"kind": "Rollout"}, r"policy.yaml: Invalid enum value 'Rollout' - at `\$.kind`"),
        ({"unknown": 1}, "policy.yaml: Object contains unknown field `unknown`"),
        ({"when": {"rules": [{"kind": "loss", "level": 0.2, "for": "4 of 3"}]}}, "policy.yaml: '4 of 3' windows can never be"),
        ({"when": {"rules": [{"kind": "loss"}]}}, "a loss has a level, or is above that of training"),
        ({"when": {"rules": [AGE, AGE]}}, "policy.yaml: two rules are called 'age'"),
        ({"when": {"cooldown": "1 day"}}, "policy.yaml: Expected `str` matching regex"),
        ({"when": {"rules": [{"kind": "schedule", "cron": "0 25 * * *"}]}}, "'25' is no hour of a schedule: it lies between 0 and 23"),
        ({"data": {"rows": ["x"], "holdout": 1.5}}, r"policy.yaml: Expected `float` < 1.0 - at `\$.data.holdout`"),
        ({"gates": {"changes": [{"metric": "f1"}]}}, r"Invalid enum value 'f1' - at `\$.gates.changes\[0\].metric`"),
    ],
)
def test_policies_that_are_none(changes: dict[str, Any], text: str) -> None:
    """Refused with the place of the mistake."""
    plain = {"apiVersion": "tidegate/v1", "kind": "Retraining", "model": "m", "data": {"rows": ["r"]}} | changes
    with pytest.raises(RetrainError, match=text):
        policy_of(plain, source="policy.yaml")


FIELDS = st.tuples(
    st.sampled_from(["*", "0", "*/20", "5-40/7", "1,2,59"]), st.sampled_from(["*", "3", "22-23", "*/5"]),
    st.sampled_from(["*", "1", "13", "28-31", "*/9"]), st.sampled_from(["*", "2", "1-12/3"]), st.sampled_from(["*", "0", "7", "1-5", "6"]),
)  # fmt: skip


@settings(max_examples=30)
@given(FIELDS, st.integers(1_700_000_000, 1_800_000_000))
def test_the_last_time_of_a_schedule(fields: tuple[str, ...], now_s: int) -> None:
    """As a slow search says, minute by minute back, for two days."""
    found = schedule(" ".join(fields)).last(now_s)
    moment = datetime.fromtimestamp(now_s // 60 * 60, UTC)
    wanted = [_naive(field, *ends) for field, ends in zip(fields, ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7)), strict=True)]
    either = fields[2][0] != "*" and fields[4][0] != "*"
    for _ in range(3_000):
        if _is_due(wanted, moment, either=either):
            assert moment.timestamp() == found
            return
        moment -= timedelta(minutes=1)
    assert found is None or found < moment.timestamp() + 60


def _is_due(wanted: list[set[int]], at: datetime, *, either: bool) -> bool:
    minute, hour, day, month, weekday = wanted
    if at.minute not in minute or at.hour not in hour or at.month not in month:
        return False
    of_week = at.isoweekday() % 7 in {number % 7 for number in weekday}
    return (at.day in day or of_week) if either else (at.day in day and of_week)


def _naive(field: str, least: int, most: int) -> set[int]:
    found = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        low, _, high = span.partition("-")
        numbers = range(least, most + 1) if span == "*" else range(int(low), int(high or low) + 1)
        found |= {number for number in numbers if (number - numbers[0]) % int(step or 1) == 0}
    return found


@pytest.mark.parametrize(
    "text", ["", "* * * *", "60 * * * *", "* * 0 * *", "a * * * *", "5-1 * * * *", "*/0 * * * *", "0 0 30 2 *", "@daily"]
)
def test_schedules_that_are_none(text: str) -> None:
    """Also one that never comes."""
    with pytest.raises(RetrainError, match="schedule"):
        schedule(text)


def test_the_29th_of_february_comes() -> None:
    """Also over a year that has none."""
    assert datetime(2028, 2, 29, tzinfo=UTC).timestamp() == schedule("0 0 29 2 *").last(datetime(2031, 1, 1, tzinfo=UTC).timestamp())
