"""Where a rollout is: the weights of steps, and what contradicts a plan."""

from __future__ import annotations

import pytest

from gateway.rollout.stage import Stage
from tests.gateway.rollout.traffic import SHADOW, plan


def test_a_step_has_the_weights_it_was_entered_with() -> None:
    """Shares of units are the candidate's weight, ½ of pairs, and 0 before a step is entered."""
    stage = Stage(plan(steps=SHADOW))
    assert not stage.in_shadow
    stage.enter(0, 0, 1.0)
    assert stage.in_shadow
    assert [0.5, 0.0] == stage.shares(1).tolist()
    stage.enter(1, 2500, 2.0)
    assert [0.5, 0.25] == stage.shares(1).tolist()
    assert (1, 2.0, 2, ("canary",)) == (stage.step, stage.entered_s, stage.arms, stage.names)


def test_of_several_arms_each_is_beside_stable_alone() -> None:
    """20 % and 30 % of the units beside 50 %."""
    stage = Stage(plan(ab={"arms": [{"name": "b", "version": 2, "weight": 20}, {"name": "c", "version": 3, "weight": 30}]}))
    stage.enter(0, 5000, 1.0)
    assert [0.5, 0.2, 0.3] == stage.weights[0].tolist()
    assert [pytest.approx(2 / 7), pytest.approx(3 / 8)] == [stage.shares(1)[0], stage.shares(2)[0]]
    with pytest.raises(ValueError, match="arms have 5000"):
        stage.enter(0, 4000, 1.0)


@pytest.mark.parametrize(
    ("step", "weight", "text"), [(3, 0, "plan of 3"), (-1, 0, "plan of 3"), (0, 10_001, "whole"), (0, 600, "another weight")]
)
def test_what_contradicts_the_plan_or_the_past_is_refused(step, weight, text) -> None:
    """Evidence of one step is of one weight."""
    stage = Stage(plan())
    stage.enter(0, 500, 1.0)
    with pytest.raises(ValueError, match=text):
        stage.enter(step, weight, 2.0)
    stage.enter(0, 500, 3.0)
