"""Rows asked of two versions side by side: pairs as a shadow gives them, whatever fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway.errors import Code
from gateway.limits import ServingLimits
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.rollout.plan import Plan
from gateway.rollout.replay import Replay, replayed, usual
from gateway.rollout.verdict import StepVerdict, Verdict
from gateway.serving.model import Arrays, RunFault, RunLost
from gateway.serving.versions import Version
from tests.gateway.rollout import plans

METRICS, STEPS = "spec.analysis.metrics", "spec.strategy.steps"
Answer = Callable[[np.ndarray], np.ndarray]


class FakeModel:
    """A model of one input and one output that answers by a function of the rows."""

    never_inline = True
    quarantine = None

    def __init__(self, answer: Answer, *, name: str = "x", batch: int = 64) -> None:
        self._answer = answer
        self.signature = Signature("m", (TensorSpec(name, "FP32", (-1, 1)),), (TensorSpec("y", "FP32", (-1, 1)),), batch)
        self.sizes: list[int] = []

    def run(self, arrays: Any, options: object = None) -> Arrays:
        self.sizes.append(len(arrays[0]))
        return [self._answer(arrays[0])]

    def close(self) -> None: ...


def version(answer: Answer, **more: Any) -> Version:
    return Version(1, FakeModel(answer, **more), ServingLimits(), release=lambda *_: None)  # type: ignore[arg-type]


def same(x: np.ndarray) -> np.ndarray:
    return x.copy()


def failing(bad: Callable[[np.ndarray], np.ndarray], code: Code = Code.INTERNAL, kind: type[RunFault] = RunFault) -> Answer:
    """Fails with any batch that has a bad row."""

    def answer(x: np.ndarray) -> np.ndarray:
        if bad(x[:, 0]).any():
            raise kind(code, "it failed")
        return x.copy()

    return answer


def ran(stable: Version, candidate: Version, *, rows: int = 2_000, plan: Plan | None = None) -> tuple[StepVerdict, list[int]]:
    """The verdict on rows 0, 1, 2 …, and what progress was told."""
    told: list[int] = []
    inputs = {"x": np.arange(rows, dtype=np.float32)[:, None]}
    found = Replay(replayed(plan or usual("m", 2)), stable, candidate, wall=lambda: 1_800_000_000.0).run(inputs, told.append)
    return found, told


def counts(found: StepVerdict) -> dict[str, tuple[int, int]]:
    return {one.metric: one.found.events for one in found.metrics}


def test_two_versions_that_say_the_same_pass() -> None:
    """Every row counts once; runs are as large as both allow."""
    stable, candidate = version(same), version(same)
    found, told = ran(stable, candidate)
    assert (Verdict.PASS, 2_000) == (found.verdict, found.units)
    assert {(0, 0)} == {counts(found)[name] for name in ("errors", "refused", "agreement")}
    assert [64] * 31 + [16] == told == stable.model.sizes == candidate.model.sizes  # type: ignore[attr-defined]


def test_too_few_rows_do_not_tell() -> None:
    """However well they agree."""
    found, _ = ran(version(same), version(same), rows=20)
    assert (Verdict.INCONCLUSIVE, 20) == (found.verdict, found.units)


def test_a_candidate_that_says_something_else_fails_to_agree() -> None:
    """It is no critical metric: somebody should look."""
    found, _ = ran(version(same), version(lambda x: np.where(x % 10 == 5, -x, x)))
    by_name = {one.metric: one for one in found.metrics}
    assert (Verdict.FAIL, (200, 0)) == (by_name["agreement"].verdict, by_name["agreement"].found.events)
    assert Verdict.INCONCLUSIVE == found.verdict
    assert found.pause


def test_rows_that_fail_together_are_asked_alone() -> None:
    """One row in fifty fails, and it alone counts; its neighbours are compared."""
    found, told = ran(version(same), version(failing(lambda x: x % 50 == 7)))
    assert (40, 0) == counts(found)["errors"]
    assert (40, 0) == counts(found)["agreement"]
    assert (Verdict.FAIL, 2_000, 2_000) == (found.verdict, found.units, sum(told))


def test_what_stable_fails_too_is_held_against_nobody() -> None:
    """Both fail the same rows for the same reason: they agree, and neither is worse."""
    bad = lambda x: x % 50 == 7  # noqa: E731
    found, _ = ran(version(failing(bad)), version(failing(bad)))
    assert ((40, 40), (0, 0)) == (counts(found)["errors"], counts(found)["agreement"])
    assert Verdict.PASS == found.verdict


def test_refusals_are_told_from_errors() -> None:
    """By the code of what was said."""
    found, _ = ran(version(same), version(failing(lambda x: x % 20 == 0, Code.INVALID_ARGUMENT)))
    assert ((0, 0), (100, 0), Verdict.FAIL) == (counts(found)["errors"], counts(found)["refused"], found.verdict)


def test_a_candidate_that_takes_other_inputs_refuses_everything() -> None:
    """As it would if it were asked."""
    found, _ = ran(version(same), version(same, name="z"), rows=100)
    assert ((100, 0), Verdict.FAIL) == (counts(found)["refused"], found.verdict)


def test_no_numbers_are_bad_outputs() -> None:
    """NaN where stable has a number."""
    found, _ = ran(version(same), version(lambda x: np.where(x % 20 == 0, np.float32("nan"), x)))
    assert ((100, 0), Verdict.FAIL) == (counts(found)["errors"], found.verdict)


def test_a_process_that_ends_is_the_end() -> None:
    """At the row with which it did, at once."""
    found, told = ran(version(same), version(failing(lambda x: x == 100, kind=RunLost)))
    assert (Verdict.FAIL, 65, [64, 1]) == (found.verdict, found.units, told)
    assert "the process of the shadow ended" in (found.fast or "")


def test_a_process_of_stable_that_ends_is_nobody_s_verdict() -> None:
    """Nothing can be compared."""
    with pytest.raises(RunLost):
        ran(version(failing(lambda x: x == 100, kind=RunLost)), version(same))


def test_models_without_batches_are_asked_row_by_row() -> None:
    """Where one of the two does not join requests."""
    stable = version(same)
    found, told = ran(stable, version(same, batch=0), rows=50)
    assert ([1] * 50, [1] * 50) == (told, stable.model.sizes)  # type: ignore[attr-defined]
    assert 50 == found.units


def test_a_plan_is_replayed_as_one_shadow_step() -> None:
    """With the `until` of its first shadow, or else of its first weight; what rows do not tell is left out."""
    more = [{"name": "slo", "type": "rate", "event": "latency_ms > 5", "pass_if": {}}, {"name": "d", "type": "dominance"},
            {"name": "q", "type": "query", "query": "up", "server": "http://h", "below": 1}]  # fmt: skip
    whole = plans.plan({METRICS: [*plans.GOOD["spec"]["analysis"]["metrics"], *more], "spec.analysis.sample": 0.1})
    plan = replayed(whole)
    (step,) = plan.steps()
    assert (100.0, "6h") == (step.shadow.percent if step.shadow else 0, step.until.max_duration if step.until else "")
    assert (["errors", "agreement"], 1.0) == ([metric.name for metric in plan.spec.analysis.metrics], plan.spec.analysis.sample)
    weights = replayed(plans.plan({STEPS: [{"pause": {}}, {"setWeight": 5, "until": {"min_units": 77}}], f"{METRICS}.1": ...}))
    assert [77] == [step.until.min_units for step in weights.steps() if step.until]
    timed = {"spec.strategy": {"bluegreen": {}}, f"{METRICS}.1": ...}
    assert [500] == [step.until.min_units for step in replayed(plans.plan(timed)).steps() if step.until]
    assert plan == msgspec.json.decode(msgspec.json.encode(plan), type=Plan)
