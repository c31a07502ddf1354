"""A month is what came between two answers of the server: nothing that was before it, and every row of it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from gateway.demo_months import MonthError, first_moved, moved_most, seen, sentences, table, told_estimates, told_first, told_worth
from tests.naive import smoothed

REFERENCE = [50, 30, 20]
MARCH = np.array([True] * 6 + [False] * 4)


def psi(live: list[int], reference: list[int]) -> float:
    q, p = (np.array(shares) for shares in smoothed(np.array(live, float), np.array(reference, float)))
    return float(((q - p) * np.log(q / p)).sum())


def answer(rows: int, live: dict[str, list[int]], *, estimate: float, moved: tuple[str, ...] = (), trusted: bool = True) -> dict[str, Any]:
    """As the server's, as far as it is read."""
    features = [
        {
            "name": name, "side": "output" if name == "label" else "input", "state": "ALARM" if name in moved else "OK",
            "sentence": f"{name} has moved" if name in moved else f"{name} is as the reference", "psi": psi(counts, REFERENCE), "tau": 20.0,
            "histogram": [{"live": count, "reference": known} for count, known in zip(counts, REFERENCE, strict=True)],
        }
        for name, counts in live.items()
    ]  # fmt: skip
    performance = {"all": {"rows": rows, "accuracy": {"mid": estimate}}, "trustworthy": trusted}
    state, reference = "ALARM" if moved else "OK", {"rows": 100}
    sentence = f"{len(moved)} features have moved"
    return {"rows": rows, "state": state, "sentence": sentence, "reference": reference, "features": features, "performance": performance}


FEBRUARY = answer(20, {"scheduled_hour": [10, 6, 4], "temp": [10, 6, 4], "label": [20, 0, 0]}, estimate=0.8)
AFTER = answer(
    30, {"scheduled_hour": [15, 9, 6], "temp": [10, 6, 14], "label": [29, 1, 0]}, estimate=0.75, moved=("temp", "label"), trusted=False
)


@pytest.fixture
def months():
    return [seen("February", None, FEBRUARY, right=np.ones(20, bool)), seen("March", FEBRUARY, AFTER, right=MARCH)]


def test_numbers_are_of_the_months_own_rows(months) -> None:
    """The PSI of ten rows that all were in the last bin, and the share that their scores promised: (30 · 0.75 − 20 · 0.8) / 10."""
    _, march = months
    assert {"scheduled_hour", "temp"} == march.psi.keys()
    assert [psi([5, 3, 2], REFERENCE), psi([0, 0, 10], REFERENCE)] == pytest.approx([march.psi["scheduled_hour"], march.psi["temp"]])
    assert (10, "ALARM", 0.6, pytest.approx(0.65), False) == (march.rows, march.state, march.accuracy, march.estimated, march.trusted)
    assert ["temp", "label"] == march.moved == march.summary()["moved"]


@pytest.mark.parametrize(("before", "rows"), [(None, 31), (FEBRUARY, 9), (AFTER, 0)])
def test_a_histogram_that_lacks_a_row_or_has_one_too_many_ends_it(before, rows: int) -> None:
    """Also where a count has fallen while all together agree."""
    moved_back = answer(30, {"scheduled_hour": [15, 9, 6], "temp": [11, 6, 13], "label": [29, 1, 0]}, estimate=0.7)
    with pytest.raises(MonthError, match=f"and {rows} were sent"):
        seen("March", before, moved_back, right=np.ones(rows, bool))


def test_what_is_told(months) -> None:
    """The ones that moved most come first, and the schedule last."""
    assert ["temp", "scheduled_hour"] == moved_most(months)
    columns, (february, march) = table(months)
    assert ["month", "flights", "state", "accuracy", "estimated", "temp", "scheduled_hour"] == columns
    assert ("February", "20", "OK", "100.0%", "80.0% ", "0.00", "0.00") == february
    assert ("March", "10", "ALARM", "60.0%", "65.0%?") == march[:5]
    assert {"temp": "March", "label": "March"} == first_moved(months)
    assert "March: temp, label" == told_first(months)
    assert "nothing" == told_first(months[:1])
    assert "off by 12.5 points on average, most in February (20.0 too low), March (5.0 too high)" in told_estimates(months)
    assert "share the temp, so the 100 of the reference say as much of it as 5 independent ones" in told_worth(AFTER)
    assert ["2 features have moved", "temp has moved", "label has moved"] == sentences(AFTER)
