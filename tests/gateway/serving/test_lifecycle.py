"""The transition table, what folds into a snapshot, and the document that is drawn from both."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from gateway.serving.deciding import applied, decide
from gateway.serving.lifecycle import TABLE, Desired, Event, Failure, IllegalTransitionError, Known, Snapshot, State, Wanted, diagram, step

PAGE = Path(__file__).parents[3] / "docs" / "lifecycle.md"
ONE = Wanted("a", 1, "x")


def test_the_diagram_of_the_document_is_the_table() -> None:
    """And every state and event is explained beside it."""
    text = PAGE.read_text()
    (drawn,) = re.findall(r"^```mermaid\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert diagram() == drawn, 'run: python -c "from gateway.serving.lifecycle import diagram; print(diagram())"'
    assert {state.value for state in State} == set(re.findall(r"^\| \*\*(\w+)\*\* \|", text, re.MULTILINE))
    assert {event.value for event in Event} == set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.parametrize(("state", "event"), [*product(State, Event)], ids=lambda value: value.value)
def test_every_pair_has_a_next_state_or_is_refused(state: State, event: Event) -> None:
    """What is not in the table raises and names both."""
    if (state, event) in TABLE:
        assert TABLE[state, event] is step(state, event)
        return
    with pytest.raises(IllegalTransitionError, match=f"^'{event.value}' cannot happen to a version in {state.value}$"):
        step(state, event)


def test_every_state_is_reached_and_only_closed_is_the_end() -> None:
    """From VERIFY, by the table alone."""
    reached, found = {State.VERIFY}, {State.VERIFY}
    while found:
        found = {after for (state, _), after in TABLE.items() if state in found} - reached
        reached |= found
    assert set(State) == reached
    assert {State.CLOSED} == set(State) - {state for state, _ in TABLE}


def test_nothing_is_ready_that_did_not_pass_everything() -> None:
    """READY has one way in, and so has each step before it."""
    ways = {
        after: [before for (before, _), to in TABLE.items() if to is after] for after in (State.READY, State.GOLDEN, State.WARM, State.LOAD)
    }
    assert {State.READY: [State.GOLDEN], State.GOLDEN: [State.WARM], State.WARM: [State.LOAD], State.LOAD: [State.VERIFY]} == ways


def test_waiting_for_a_storage_doubles_up_to_a_minute() -> None:
    """And what is wrong with the model itself is not tried again by time."""
    known, waits = Known(ONE), []
    for _ in range(9):
        failed = known.failed(Failure.UNREACHABLE, "no route", 100.0)
        waits.append(failed.retry_at_s - 100.0)
        known = failed.after(Event.RETRY)
    assert [1, 2, 4, 8, 16, 32, 60, 60, 60] == waits
    assert float("inf") == Known(ONE).failed(Failure.MODEL, "bad", 100.0).retry_at_s


def _wanting() -> Snapshot:
    snapshot = Snapshot().wants(Desired(frozenset({ONE}))).joined(1)
    return applied(snapshot, decide(snapshot))


@pytest.mark.parametrize("event", [Event.VERIFIED, Event.LOADED, Event.DROP, Event.RELEASED])
def test_a_worker_cannot_speak_of_what_it_was_not_told_to_hold(event: Event) -> None:
    """The version is being verified, or there is none."""
    for wanted in (ONE, Wanted("b", 1, "x")):
        with pytest.raises(IllegalTransitionError, match=f"^worker 1 reports '{event.value}' of a version that it was not told to hold"):
            _wanting().reported(1, wanted, event)


@pytest.mark.parametrize("event", [Event.LOADED, Event.PASSED, Event.RELEASED, Event.DROP, Event.REFUSE, Event.RETRY, Event.LOST])
def test_a_worker_cannot_skip_a_step_or_decide(event: Event) -> None:
    """It was told to hold it."""
    told = _told()
    with pytest.raises(IllegalTransitionError):
        told.reported(1, ONE, event)


def _told() -> Snapshot:
    snapshot = _wanting().verified(ONE)
    return applied(snapshot, decide(snapshot))


@pytest.mark.parametrize("late", [lambda s: s.verified(ONE), lambda s: s.unverified(ONE, Failure.MODEL, "bad")])
def test_the_result_of_a_verification_that_was_given_up_changes_nothing(late: Callable[[Snapshot], Snapshot]) -> None:
    """Nobody wants the version any more."""
    snapshot = _wanting().wants(Desired())
    gone = applied(snapshot, decide(snapshot))
    assert gone == late(gone)


def test_what_a_worker_measures_replaces_the_estimate() -> None:
    """The largest of all workers counts."""
    told = _told().wants(Desired(frozenset({ONE})), {ONE: 10})
    assert 10 == told.size(ONE)
    once = told.reported(1, ONE, Event.VERIFIED).reported(1, ONE, Event.LOADED, bytes_held=700)
    assert 700 == once.size(ONE)
    assert 700 == once.reported(1, ONE, Event.WARMED, bytes_held=650).size(ONE)
