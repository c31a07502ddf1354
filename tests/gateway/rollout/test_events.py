"""The grammar of events, and of which records they are true."""

from __future__ import annotations

import math
import re

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollout import events
from gateway.rollout.events import Condition
from gateway.rollout.plan import Plan
from gateway.rollout.records import Flag

NAMES = st.sampled_from(sorted(events.FLAGS))
BOUNDS = st.integers(1, 3_600_000)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("server_error", Condition(flags=Flag.SERVER_ERROR)),
        (" bad_output ", Condition(flags=Flag.BAD_OUTPUT)),
        ("latency_ms > 50", Condition(above_s=0.05)),
        ("latency_ms>0.5", Condition(above_s=0.0005)),
        ("server_error or rejected_input", Condition(flags=Flag.SERVER_ERROR | Flag.REJECTED_INPUT)),
        ("latency_ms > 500 or latency_ms > 20 or bad_output", Condition(flags=Flag.BAD_OUTPUT, above_s=0.02)),
    ],
)
def test_an_event_is_a_union_of_terms(text: str, expected: Condition) -> None:
    """Flags are joined; of two bounds the smaller one holds."""
    assert expected == events.parse(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "'' is no event: write server_error, rejected_input, bad_output or latency_ms > 50"),
        ("server_eror", "'server_eror' is no event; did you mean 'server_error'?"),
        ("output_nan or bad_output", "'output_nan' is no event; did you mean 'bad_output'?"),
        ("5xx", "'5xx' is no event; did you mean 'server_error'?"),
        ("weather", "'weather' is no event; there are server_error, rejected_input, bad_output and latency_ms > NUMBER"),
        ("latency > 50ms", "'latency > 50ms' is no event: write latency_ms > 50, a plain number of ms"),
        ("latency_ms >= 50", "'latency_ms >= 50' is no event: only > is known; write latency_ms > 50"),
        ("latency_ms < 50", "'latency_ms < 50' is no event: only > is known; write latency_ms > 50"),
        ("latency_ms > -1", "'latency_ms > -1' is no event: write latency_ms > 50, a plain number of ms"),
        ("latency_ms > 0", "a bound on latency is above 0 and at most 3600000 ms"),
        ("latency_ms > 3600001", "a bound on latency is above 0 and at most 3600000 ms"),
        ("server_error or", "'server_error or' is no event; did you mean 'server_error'?"),
        ("server_error and bad_output", "'server_error and bad_output' is no event; did you mean 'server_error'?"),
    ],
)
def test_what_is_no_event_is_refused_with_what_to_write(text: str, reason: str) -> None:
    """Nothing is guessed, nothing is passed over."""
    with pytest.raises(ValueError, match=f"^{re.escape(reason)}$"):
        events.parse(text)


@given(st.sets(NAMES), st.sets(BOUNDS), st.randoms())
def test_the_order_of_terms_is_no_matter(names: set[str], bounds: set[int], random: object) -> None:
    """What is written is read, in any order."""
    terms = [*names, *(f"latency_ms > {bound}" for bound in bounds)]
    if not terms:
        return
    random.shuffle(terms)  # type: ignore[attr-defined]
    flags = Flag(0)
    for name in names:
        flags |= events.FLAGS[name]
    assert Condition(flags, min(bounds) / 1e3 if bounds else math.inf) == events.parse(" or ".join(terms))


@given(st.text(max_size=30))
def test_any_other_text_is_a_value_error(text: str) -> None:
    """Whatever is in a file."""
    try:
        events.parse(text)
    except ValueError as error:
        assert str(error)  # noqa: PT017


def test_a_condition_is_met_by_a_flag_or_by_being_late() -> None:
    """The bound itself is in time; a latency that is not known is no late one; other flags do not count."""
    condition = events.parse("bad_output or latency_ms > 500")
    flags = np.array([0, Flag.BAD_OUTPUT, Flag.SERVER_ERROR, 0, Flag.BAD_OUTPUT | Flag.SAMPLED, 0], np.uint16)
    latency_s = np.array([0.5, 0.1, 0.1, 0.75, np.nan, np.nan], np.float32)
    assert [False, True, False, True, True, False] == condition.met(flags, latency_s).tolist()


def test_the_bounds_of_a_plan_are_those_of_its_rates() -> None:
    """Ascending, each once."""
    metrics = [{"name": f"m{i}", "type": "rate", "event": event} for i, event in enumerate(["latency_ms > 50", "server_error",
               "latency_ms > 5 or bad_output", "latency_ms > 50"])]  # fmt: skip
    spec = {"model": "m", "candidate": {"version": 2}, "strategy": {"steps": [{"setWeight": 5}]}, "analysis": {"metrics": metrics}}
    plan = msgspec.convert({"apiVersion": "tidegate/v1", "kind": "Rollout", "metadata": {"name": "n"}, "spec": spec}, Plan)
    assert (0.005, 0.05) == events.slo_s(plan)
