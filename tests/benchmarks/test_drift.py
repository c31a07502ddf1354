"""The bars of the drift bench, and what becomes of a peer that cannot be had."""

from __future__ import annotations

import pytest

from benchmarks import environments
from benchmarks.drift import BOUNDS, judge, profile_for
from registry.profile import check

ROUND = {"counting": 2.0, "numpy_bins": 30.0, "kll": 20.0, "kll_vector": 12.0, "adwin": 100.0, "page_hinkley": 30.0, "whylogs": 2000.0}


def test_ratios_are_taken_within_each_round() -> None:
    """The median of them is judged; datasketches is used in the better of two ways."""
    slow = {name: 10 * value for name, value in ROUND.items()}
    bars = {bar["name"].removeprefix("counting_vs_"): bar for bar in judge([ROUND, slow, {**ROUND, "counting": 1.0}])}
    assert {"numpy_bins": 15.0, "kll": 6.0, "adwin": 50.0, "page_hinkley": 15.0, "whylogs": 1000.0} == {
        k: v["value"] for k, v in bars.items()
    }
    assert {"page_hinkley"} == {name for name, bar in bars.items() if not bar["holds"]}


def test_a_peer_that_is_missing_holds_no_bar() -> None:
    """Its bar is there, without a value."""
    bars = judge([{"counting": 2.0, "numpy_bins": 30.0}])
    assert len(BOUNDS) == len(bars)
    assert [(None, False)] == sorted({(bar["value"], bar["holds"]) for bar in bars if bar["value"] is None})
    assert bars[0]["holds"]


def test_what_cannot_be_installed_says_why(tmp_path: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installer's last words."""
    monkeypatch.setattr(environments, "PLACE", tmp_path)
    with pytest.raises(environments.Uninstallable, match="no-such-requirement!"):
        environments.environment("none", ["no-such-requirement!"])


def test_the_reference_of_the_bench_is_a_profile() -> None:
    """Its numbers do not contradict each other."""
    assert 32 == check(profile_for(2, 0)).numeric[1].bins
