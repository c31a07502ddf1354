"""Servers are killed, or stand still, at every entry of a rollout's journal, under real traffic."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.killing import PROMOTED, ROLLED_BACK, Moment, Story, Trials, each


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("moment", Moment)
@pytest.mark.parametrize("story", [PROMOTED, ROLLED_BACK], ids=["promoted", "rolled-back"])
def test_killed_at_every_entry(tmp_path: Path, story: Story, moment: Moment) -> None:
    """The same rollout, plan, salt and steps; each step once; the alias moved as often; callers miss only who is away."""
    trials = Trials(tmp_path, story)
    trials.play(each(moment))
    assert len(trials.kills) >= len(story.events) - 3 - (moment is Moment.BEFORE) * len(story.events) // 2
    assert trials.callers.lost or moment is Moment.REFEREE
