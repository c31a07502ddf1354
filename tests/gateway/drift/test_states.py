"""The transition table of drift, and the document that is written from it."""

from __future__ import annotations

import re
from itertools import product
from pathlib import Path

import pytest

from gateway.drift.states import MEANINGS, TABLE, WHEN, Event, IllegalTransitionError, Standing, State, diagram, meanings, rise, step, worst

PAGE = Path(__file__).parents[3] / "docs" / "drift.md"


def test_the_diagram_of_the_document_is_the_table() -> None:
    """And so are the tables of states and events."""
    text = PAGE.read_text()
    (drawn,) = re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert diagram() == drawn, 'run: python -c "from gateway.drift.states import diagram; print(diagram())"'
    written = text.partition("<!-- states -->\n")[2].partition("<!-- /states -->")[0]
    assert meanings() == written, 'run: python -c "from gateway.drift.states import meanings; print(meanings())"'
    assert (set(State), set(Event)) == (set(MEANINGS), set(WHEN))


@pytest.mark.parametrize(("state", "event"), [*product(State, Event)], ids=str)
def test_every_pair_has_a_next_state_or_is_refused(state: State, event: Event) -> None:
    """What is not in the table raises and names both."""
    if (state, event) in TABLE:
        assert TABLE[state, event] is step(state, event)
        return
    with pytest.raises(IllegalTransitionError, match=f"^'{event.value}' cannot happen in {state.name}$"):
        step(state, event)


@pytest.mark.parametrize(("state", "level"), [*product(State, State)], ids=lambda value: value.name)
def test_evidence_lifts_at_once_and_never_lowers(state: State, level: State) -> None:
    """To the level that it is enough for, over those between."""
    event = rise(level, state)
    assert (level if level > state else None) == (None if event is None else step(state, event))


def test_down_is_one_level_at_a_time_or_to_ok() -> None:
    """And nothing leads down by evidence that is missing."""
    down = {(before, after): event for (before, event), after in TABLE.items() if after < before}
    assert {Event.EASED, Event.CALM} == {event for (_, event), after in TABLE.items() if after < _}
    assert all(after is State.OK or after == before - 1 for before, after in down)


def test_since_when() -> None:
    """A state is as old as its last transition; the worst of several as old as the first that has it, OK as the last that came to it."""
    moved = Standing(State.OK, 1.0).after(Event.WARNED, 5.0)
    assert (Standing(State.WARN, 5.0), moved) == (moved, moved.after(None, 9.0))
    several = [moved, Standing(State.WARN, 3.0), Standing(State.DRIFT, 2.0), Standing(State.OK, 8.0)]
    assert Standing(State.WARN, 3.0) == worst(several, 0.0)
    assert Standing(State.OK, 8.0) == worst([Standing(State.OK, 2.0), several[3]], 0.0)
    assert Standing(State.OK, 0.5) == worst([], 0.5)
