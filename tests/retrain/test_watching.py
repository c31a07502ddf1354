"""Looks at a model: losses in windows, rows that are new, and what is done about them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.store import Store
from retrain.dataset import Dataset
from retrain.errors import RetrainError
from retrain.losses import lower_bound, windows_of
from retrain.policy import Policy, policy_of
from retrain.situation import situation
from retrain.watching import look
from tests.retrain.jobs import DAY_S, MODEL, START_S, StillClock, desk, drawn, proposed, with_champion, written

pytestmark = pytest.mark.demo
MIDNIGHT_S = (START_S // DAY_S + 1) * DAY_S
LOSS = {"kind": "loss", "level": 0.22, "window": "2d", "for": "2 of 3", "min_rows": 50}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    found = Store.create(tmp_path / "registry")
    with_champion(found)
    return found


def policy(path: Path, *rules: dict[str, Any], **when: Any) -> Policy:
    plain = {
        "apiVersion": "tidegate/v1", "kind": "Retraining", "model": MODEL, "data": {"rows": [str(path)], "label": "late", "time": "at"},
        "gates": {"validation": {"min_rows": 500}}, "when": {"rules": list(rules), **when},
    }  # fmt: skip
    return policy_of(plain, source="policy.yaml")


def turned_at_half(rows: int = 4_000) -> Dataset:
    """Forty days; from the twentieth on the place matters the other way round."""
    before, after = drawn(rows), drawn(rows, turned=True)
    assert before.times_s is not None
    late = before.times_s >= before.times_s[0] + 20 * DAY_S
    columns = {name: np.where(late, after.columns[name], before.columns[name]) for name in before.columns}
    columns["x"] = columns["x"].astype(np.float32)
    return Dataset(columns, np.where(late, after.labels, before.labels), before.times_s)


def at_day(day: float) -> StillClock:
    return StillClock(START_S + day * DAY_S)


def test_a_loss_that_rises_runs_a_job_which_publishes_a_better_version(store: Store, tmp_path: Path) -> None:
    """Nothing while the champion does well; then the rule is met, and what was learned is only what was known by then."""
    path = written(tmp_path / "rows.parquet", turned_at_half())
    rules = policy(path, LOSS)
    assert [] == [done for done in look(desk(store, tmp_path, clock=at_day(19)), rules) if done.decision.what == "run"]
    told: list[str] = []
    (done,) = look(desk(store, tmp_path, clock=at_day(34)), rules, told=lambda one: told.append(one.decision.what))
    assert done.journal is not None
    assert ("run", ["run"], "published") == (done.decision.what, told, done.journal.state)
    assert "brier is surely above 0.2200 in" in done.decision.reason
    trigger = store.triggers.read(MODEL, done.trigger or "")
    assert trigger is not None
    assert trigger.evidence["lower"] > 0.22
    found = look(desk(store, tmp_path, clock=at_day(34)), rules)
    assert [] == [one for one in found if one.decision.what == "run"]


def test_what_a_look_sees(store: Store, tmp_path: Path) -> None:
    """Labelled rows since the champion was published, the contract of those, the windows that are over."""
    rows = drawn(4_000)
    assert rows.times_s is not None
    x = rows.columns["x"].copy()
    x[-100:] = 9.5  # beyond the contract's range
    path = written(tmp_path / "rows.parquet", Dataset({**rows.columns, "x": x}, rows.labels, rows.times_s))
    clock = at_day(50)
    found = situation(store, policy(path, {**LOSS, "window": "10d", "for": "3 of 5"}), now_s=clock.wall())
    assert 3_999 == found.new_rows  # the champion is as old as the first row
    assert found.violations == pytest.approx(100 / 3_999)
    assert 5 == len(found.windows["loss"])
    assert sum(window.rows for window in found.windows["loss"]) == np.sum(rows.times_s >= found.windows["loss"][0].start_s)
    assert ["proposed"] == [past.state for past in found.past]
    assert all(window.lower < window.mean < 0.25 for window in found.windows["loss"] if window.rows)


def test_nothing_is_asked_of_the_model_without_a_loss_rule(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loading it takes time."""
    monkeypatch.setattr("retrain.situation.stored", lambda *_: pytest.fail("it was loaded"))
    path = written(tmp_path / "rows.parquet", drawn(600))
    assert {} == situation(store, policy(path), now_s=at_day(50).wall()).windows


def test_a_trigger_that_another_job_has_in_hand_is_left_to_it(store: Store, tmp_path: Path) -> None:
    """The look goes on."""
    path, clock = written(tmp_path / "rows.parquet", drawn(600)), at_day(50)
    held = proposed(store, rule="other", now_s=clock.wall())
    store.triggers.claim(MODEL, held.id, holder="job-9", now_s=clock.wall(), ttl_s=60)
    (done,) = look(desk(store, tmp_path, clock=clock), policy(path, {"kind": "age", "older_than": "1d"}, expire_after="99d"))
    assert ("run", None) == (done.decision.what, done.journal)


def test_triggers_expire(store: Store, tmp_path: Path) -> None:
    """In the journal, once."""
    path, clock = written(tmp_path / "rows.parquet", drawn(600)), at_day(60)
    (done,) = look(desk(store, tmp_path, clock=clock), policy(path))
    assert done.journal is not None
    assert ("expire", "expired") == (done.decision.what, done.journal.state)
    assert [] == look(desk(store, tmp_path, clock=clock), policy(path))


def test_a_loss_needs_times(store: Store, tmp_path: Path) -> None:
    """Said by the name of the rule."""
    path = written(tmp_path / "rows.parquet", drawn(600))
    plain = {"apiVersion": "tidegate/v1", "kind": "Retraining", "model": MODEL, "data": {"rows": [str(path)], "label": "late"}}
    rules = policy_of({**plain, "when": {"rules": [LOSS]}}, source="policy.yaml")
    with pytest.raises(RetrainError, match="rule 'loss' needs to know when each row was"):
        situation(store, rules, now_s=at_day(50).wall())


@given(st.lists(st.tuples(st.floats(0, 10 * DAY_S), st.floats(0, 1)), max_size=50), st.integers(1, 5), st.floats(0.5, 9.5))
def test_windows_hold_the_rows_of_their_time(rows: list[tuple[float, float]], count: int, days: float) -> None:
    """Whole days before the moment, each row in one of them."""
    times, losses = (np.array([row[place] for row in rows], np.float64) for place in (0, 1))
    until_s = MIDNIGHT_S + days * DAY_S
    found = windows_of(MIDNIGHT_S + times, losses, window_s=DAY_S, until_s=until_s, count=count, confidence=0.95)
    assert count == len(found)
    assert found[-1].end_s <= until_s < found[-1].end_s + DAY_S
    for window in found:
        inside = losses[(MIDNIGHT_S + times >= window.start_s) & (MIDNIGHT_S + times < window.end_s)]
        assert len(inside) == window.rows
        if window.rows:
            assert window.mean == pytest.approx(inside.mean())
        assert not window.lower > window.mean


def test_a_lower_bound_holds() -> None:
    """Of losses with a mean of 0.3, hardly ever is it above that; of many rows it is close."""
    generator = np.random.default_rng(0)
    bounds = [lower_bound(generator.binomial(1, 0.3, 400).astype(np.float64), 0.9) for _ in range(500)]
    assert np.mean(np.array(bounds) > 0.3) <= 0.1
    assert lower_bound(generator.binomial(1, 0.3, 100_000).astype(np.float64), 0.95) > 0.29
    assert -np.inf == lower_bound(np.array([0.5]), 0.95)
