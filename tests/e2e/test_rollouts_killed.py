"""A server that is killed in the middle of a rollout, which goes on where it was; tests/faults kills it at every entry of the journal."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.killing import SHORT, Moment, Trials, at


@pytest.mark.timeout(300)
def test_whoever_is_killed_the_rollout_goes_on_where_it_was(tmp_path: Path) -> None:
    """Whoever decides, then the supervisor before it can follow what was decided: each thing happens once."""
    trials = Trials(tmp_path, SHORT)
    trials.play(at(("ready", Moment.REFEREE), ("pass", Moment.BEFORE)))
    assert 2 == len(trials.kills)
