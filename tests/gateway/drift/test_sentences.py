"""What findings say in plain English."""

from __future__ import annotations

import numpy as np
import pytest

from gateway.drift.estimate import Bounds, Performance
from gateway.drift.sentences import clock_time, feature_sentence, percent, performance_sentence, version_sentence, what_tells
from gateway.drift.states import State
from registry.profile import Categorical, Numeric
from tests.gateway.drift.traffic import NOON_S

TEMP = Numeric(
    name="temp", side="input", port="x", element=0, edges=(20.0, 50.0, 60.0, 70.0, 85.0, 99.0),
    counts=(0, 0, 250, 250, 240, 250, 10, 0, 0, 0),
    atoms=(2,), mean=60.0, m2=100.0, m3=0.0, m4=0.0,
)  # fmt: skip
PORT = Categorical(name="port", side="input", port="c", element=0, categories=("JFK", "LGA"), counts=(700, 300, 0, 0))


def counts(feature: Numeric | Categorical, **changed: int) -> np.ndarray:
    """Live counts: as the reference, but for some slots."""
    live = np.array(feature.counts)
    for slot, count in changed.items():
        live[int(slot.removeprefix("slot"))] = count
    return live


def said(feature: Numeric | Categorical, live: np.ndarray) -> str:
    return what_tells(feature, live, np.array(feature.counts, np.float64))


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (counts(TEMP, slot6=100), "values above 85 went from 1 % to 9.2 %"),
        (counts(TEMP, slot2=600), "values up to 50 went from 25 % to 44 %"),
        (counts(TEMP, slot4=2_000), "the value 70 went from 24 % to 72 %"),
        (counts(TEMP, slot3=2_000), "values from 50 to 60 went from 25 % to 73 %"),
        (counts(TEMP, slot9=200), "missing values went from under 0.01 % to 17 %"),
        (counts(TEMP, slot1=50, slot7=60), "values outside 20 to 99 went from 0.02 % to 9.9 %"),
    ],
)
def test_the_values_whose_share_changed_most_are_named(live: np.ndarray, expected: str) -> None:
    """A tail, a bin, an atom, missing or outside values."""
    assert expected == said(TEMP, live)


def test_a_tail_that_lost_is_told_by_the_one_that_gained() -> None:
    """Values came from somewhere; the sentence says where they are now."""
    assert "values up to 60 went from 50 % to 96 %" == said(TEMP, np.array([0, 0, 480, 480, 20, 15, 5, 0, 0, 0]))


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        (counts(PORT, slot1=2_000), "'LGA' went from 30 % to 74 %"),
        (counts(PORT, slot2=500), "values that the reference does not name went from 0.012 % to 33 %"),
        (counts(PORT, slot3=500), "null went from 0.012 % to 33 %"),
    ],
)
def test_categories_are_named(live: np.ndarray, expected: str) -> None:
    """Known, unknown, missing."""
    assert expected == said(PORT, live)


def test_a_finding_says_what_how_far_and_since_when() -> None:
    """In one sentence; what did not move has a shorter one."""
    live, reference = counts(TEMP, slot6=100), np.array(TEMP.counts, np.float64)
    moved = feature_sentence(TEMP, live, reference, psi=0.309, state=State.ALARM, changed_s=NOON_S + 8_400, now_s=NOON_S + 9_000)
    assert "temp has moved far: PSI 0.31 since about 14:20 UTC; values above 85 went from 1 % to 9.2 %" == moved
    same = feature_sentence(TEMP, live, reference, psi=0.004, state=State.OK, changed_s=None, now_s=NOON_S)
    assert "temp is as the reference: PSI 0.004" == same
    assert "temp: no rows" == feature_sentence(TEMP, 0 * live, reference, psi=0.0, state=State.OK, changed_s=None, now_s=NOON_S)


def test_a_time_of_another_day_has_its_date() -> None:
    """Of today the minute is enough."""
    assert ("12:00 UTC", "2027-01-15 12:00 UTC") == (clock_time(NOON_S, NOON_S + 60), clock_time(NOON_S, NOON_S + 86_400))


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, "0 %"), (1e-6, "under 0.01 %"), (0.01, "1 %"), (0.0123, "1.2 %"),
    (0.0999, "10 %"), (1.0, "100 %")]
)  # fmt: skip
def test_shares_are_short(share: float, expected: str) -> None:
    """Two digits."""
    assert expected == percent(share)


def test_a_version_names_its_features() -> None:
    """The first three, and how many more there are."""
    assert "no rows yet" == version_sentence(State.OK, [], 4, rows=0, at_risk=False)
    assert "nothing is known to have moved" == version_sentence(State.OK, [], 4, rows=9, at_risk=False)
    assert "1 of 4 features has moved: a" == version_sentence(State.WARN, ["a"], 4, rows=9, at_risk=False)
    assert "5 of 9 features have moved: a, b, c and 2 more" == version_sentence(State.WARN, [*"abcde"], 9, rows=9, at_risk=False)
    assert "something has moved, and no single feature can be named" == version_sentence(State.DRIFT, [], 4, rows=9, at_risk=False)
    risk = version_sentence(State.ALARM, [], 4, rows=9, at_risk=True)
    assert "the estimated performance is at risk; nothing is known to have moved" == risk


def test_an_estimate_says_whether_to_trust_it() -> None:
    """Beside what it was on the reference."""
    found = Performance(900, Bounds(0.85, 0.87, 0.89), None, 0.2)
    text = "accuracy is estimated at 0.870 (0.850 to 0.890), and was 0.930 on the reference"
    assert text == performance_sentence(found, 0.93, trustworthy=True)
    assert text + "; do not trust it: too many rows lie where the reference has none" == performance_sentence(
        found, 0.93, trustworthy=False
    )
    assert "no scores to estimate the accuracy from" == performance_sentence(Performance(0, None, None, 0.0), 0.9, trustworthy=True)
