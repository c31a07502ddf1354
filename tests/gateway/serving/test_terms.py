"""With which requests one is counted, whatever else it says."""

from __future__ import annotations

import math
from typing import Any

import pytest

from gateway.serving.batch import Item
from gateway.serving.terms import Segmenting, terms_of
from registry.queueing import Queueing

SHOPS = Segmenting("shop", {"north": 0, "7": 1, "true": 2, "None": 3})


@pytest.mark.parametrize(
    ("value", "segment"),
    [("north", 0), ("7", 1), (7, 1), (True, 2), ("true", 2), (False, -1), (None, -1), ("None", 3), ("", -1), ("South", -1), (7.5, -1)],
)
def test_a_parameter_divides_by_what_it_says(value: Any, segment: int) -> None:
    """As a text, a number or a boolean; none is no value."""
    assert segment == SHOPS.of({"shop": value})
    terms = terms_of({"shop": value}, Queueing(), SHOPS)
    assert segment == (-1 if terms is None else terms.segment)


def test_requests_without_the_parameter_are_among_the_others() -> None:
    """And have no terms to hold, where nothing else is said."""
    assert -1 == SHOPS.of({})
    assert terms_of({}, Queueing(), SHOPS) is None
    assert terms_of({"shop": "north"}, Queueing()) is None


def test_a_segment_changes_nothing_of_how_a_request_waits() -> None:
    """Level, deadline and patience are as without it."""
    queueing = Queueing(priority_levels=3, default_priority_level=2)
    for parameters in ({}, {"priority": 1}, {"timeout": 500_000}, {"priority": 3, "timeout": 1}):
        held = []
        for segmenting, more in ((None, {}), (SHOPS, {"shop": "7"})):
            item = Item()
            item.arrival = 5.0
            terms = terms_of({**parameters, **more}, queueing, segmenting)
            assert terms is not None
            terms.hold(item, math.inf, 10.0)
            held.append((item.level, item.deadline, item.answer_by, item.late_from))
            assert (-1 if segmenting is None else 1) == item.segment
        assert held[0] == held[1]
