"""One version through saves: what comes back is what was known, whatever of it can be read."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.drift.layout import ROWS
from gateway.drift.learned import Learner
from gateway.drift.learning import profile_of_rows
from gateway.drift.plans import WatchPlan, plan_of
from gateway.drift.policy import Policy
from gateway.drift.tracked import Tracked
from gateway.drift_settings import Contract, DriftPlan
from gateway.protocol.tensors import Signature, TensorSpec
from registry.profile import Profile
from registry.schema import Field, Range, Schema
from tests.gateway.drift.profiles import profile

SCHEMA = Schema(format=1, inputs=(Field(name="x", type="tensor(float)", shape=None, range=Range(max=4)),), outputs=())
SIGNATURE = Signature("m", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "BF16", (-1, 1)),), 64)


def plan(reference: Profile | None, learn_rows: int = 0) -> WatchPlan:
    made = plan_of(reference, SCHEMA, DriftPlan(watched=True, learn_rows=learn_rows, bins=False, segments=None), Contract())
    assert made is not None
    return made


def block(plan_: WatchPlan) -> np.ndarray:
    made = np.zeros(plan_.layout.block_words, np.int64)
    plan_.layout.views(made).begin(plan_.layout.checksum)
    return made


def served(plan_: WatchPlan, memory: np.ndarray, rows: int, broken: int = 0) -> None:
    views = plan_.layout.views(memory)
    views.head[ROWS] += rows
    views.rules[0] += broken
    for counts in views.counts:
        counts[0, :, 2] += rows
    for counts in views.categories:
        counts[0, 0] += rows


@pytest.mark.parametrize("reference", [None, profile()])
def test_rules_and_rows_go_on_from_what_was_saved(reference: Profile | None) -> None:
    """In the same block, or after it is gone; saved again and again nothing is added twice."""
    plan_ = plan(reference)
    memory = block(plan_)
    content = None
    for round_ in range(1, 4):
        tracked = Tracked("m", plan_, Policy(), content, 0.0)
        tracked.tally.open("b", [memory])
        served(plan_, memory, 10, broken=3)
        tracked.look(60.0 * round_)
        assert [3 * round_] == [broken.values for broken in tracked.violations()] or reference is not None
        content = tracked.saved()
        content = tracked.saved()
    after = Tracked("m", plan_, Policy(), content, 0.0)
    if reference is None:
        assert [9] == [broken.values for broken in after.violations()]
    else:
        findings = after.findings()
        assert findings is not None
        assert (30, 9) == (findings.rows, findings.violations[0].values)


def test_rows_that_come_while_it_is_saved_are_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers do not wait: what is saved of blocks and what is in the document are of one moment."""
    plan_ = plan(profile())
    memory = block(plan_)
    tracked = Tracked("m", plan_, Policy(), None, 0.0)
    tracked.tally.open("b", [memory])
    served(plan_, memory, 10)
    tracked.look(60.0)
    watch = tracked.watch
    assert watch is not None
    look = type(watch).look

    def looks_while_others_count(self, total, wall_s):  # type: ignore[no-untyped-def]
        served(plan_, memory, 5)
        return look(self, total, wall_s)

    monkeypatch.setattr(type(watch), "look", looks_while_others_count)
    content = tracked.saved()
    monkeypatch.undo()
    again = Tracked("m", plan_, Policy(), content, 0.0)
    again.tally.open("b", [memory])
    again.look(120.0)
    findings = again.findings()
    assert findings is not None
    assert 15 == findings.rows


@pytest.mark.parametrize("content", [b"", b"?", b"\x80", b"\x83"])
def test_what_cannot_be_read_is_as_nothing(content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    """The log says so."""
    tracked = Tracked("m/1", plan(profile()), Policy(), content, 0.0)
    findings = tracked.findings()
    assert findings is not None
    assert 0 == findings.rows
    assert "drift of m/1 begins anew" in caplog.text


def test_nothing_new_is_not_looked_at() -> None:
    """Until a row comes, a rule is broken or a minute is over."""
    plan_ = plan(profile())
    memory = block(plan_)
    tracked = Tracked("m", plan_, Policy(), None, 0.0)
    tracked.tally.open("b", [memory])
    tracked.look(1.0)
    tracked.saved()
    assert not tracked.changed
    tracked.look(2.0)
    assert not tracked.changed
    for wall_s, rows, broken in ((3.0, 5, 0), (4.0, 0, 1), (61.0, 0, 0)):
        served(plan_, memory, rows, broken)
        tracked.look(wall_s)
        assert tracked.changed
        tracked.saved()


def test_rows_of_all_workers_make_a_profile() -> None:
    """Once there are as many as wanted; tensors that numpy has no type for are left out."""
    plan_ = plan(None, learn_rows=30)
    memories = [block(plan_) for _ in range(3)]
    tracked = Tracked("m", plan_, Policy(), None, 0.0)
    tracked.tally.open("b", memories)
    rows = np.random.default_rng(0).normal(size=(36, 2)).astype(np.float32)
    for at, memory in enumerate(memories[:2]):
        assert tracked.learned() is None
        part = rows[18 * at : 18 * at + 18]
        views = plan_.layout.views(memory)
        Learner(views, SIGNATURE, rows=30).keep([part], [np.zeros((18, 1), np.uint16)])
        views.head[ROWS] += 18
    found = tracked.learned()
    assert found is not None
    assert np.array_equal(rows, found[1][0])
    made = profile_of_rows(*found, SCHEMA)
    assert (36, "served", ["x[0]", "x[1]"]) == (made.rows, made.source, [feature.name for feature in made.numeric])
