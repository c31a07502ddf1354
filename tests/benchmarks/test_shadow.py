"""What the bench of shadows makes of its windows: shares within a round, the twin's noise beside them."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.shadow import COMPARED, _shares, _spread, _turn, judge


def window(rate: float, p99_us: float, **more: Any) -> dict[str, Any]:
    return {"rate": rate, "p99_us": p99_us, "faults": [], **more}


def rounds(count: int, **more: Any) -> list[dict[str, dict[str, Any]]]:
    """A machine that is twice as slow in every other round; the shadow costs 4 % of the throughput and 5 % of the p99."""
    return [
        {
            "plain": window(1_000 / pace, 100 * pace),
            "twin": window(1_000 / pace, 100 * pace),
            "shadowed": window(960 / pace, 105 * pace, coverage=0.995, **more),
        }
        for pace in [1 + number % 2 for number in range(count)]
    ]


def test_a_machine_that_changes_its_pace_changes_no_share() -> None:
    """Each window is held against those of its own round."""
    found = {"half": rounds(8), "full": rounds(8), "broken": {}}
    bars = {bar["name"]: bar for bar in judge(found)}
    assert (1.05, 0.96) == tuple(bars[f"{name}_with_and_without"]["value"] for name, _, _ in COMPARED)
    assert all(bar["holds"] for bar in bars.values())
    assert {"value": 1.0, "interval": [1.0, 1.0], "quartiles": [1.0, 1.0]} == _spread(_shares(found["full"], "twin", "rate"))


def test_a_window_that_does_not_count_leaves_no_value() -> None:
    """And its bar does not hold."""
    found = {"half": rounds(4), "full": rounds(4), "broken": {"hanging": window(1, 1) | {"faults": ["1 x INTERNAL"]}}}
    found["full"][2]["shadowed"]["faults"] = ["1 x UNAVAILABLE"]
    assert [("throughput_at_full_load_with_and_without", None), ("errors_beside_broken_candidates", 1)] == [
        (bar["name"], bar["value"]) for bar in judge(found) if not bar["holds"]
    ]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_everybody_is_at_every_place_as_often(place: int) -> None:
    """And comes after everybody else as often."""
    names = ["plain", "twin", "shadowed"]
    turns = [_turn(names, number) for number in range(12)]
    assert [4] * 3 == [sum(turn[place] == name for turn in turns) for name in names]
    after = [(turn[0], turn[1]) for turn in turns]
    assert {2} == {after.count(pair) for pair in set(after)}
