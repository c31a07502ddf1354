"""What is said of a feature, of the predictions, of a version: four states and a transition table. Pure.

Upwards at once, because evidence that was looked at at every moment needs no second look; downwards only when traffic itself speaks for
it over the whole cool-down. docs/drift.md has the tables `diagram()` and `meanings()`.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass


class State(enum.IntEnum):
    """The number is the value of `tidegate_drift_state`."""

    OK = 0
    DRIFT = 1
    WARN = 2
    ALARM = 3


class Event(enum.Enum):
    """What evidence or traffic says."""

    DRIFTED = "drifted"
    WARNED = "warned"
    ALARMED = "alarmed"
    EASED = "eased"
    CALM = "calm"


MEANINGS: Mapping[State, str] = {
    State.OK: "nothing is known to have moved",
    State.DRIFT: "something has moved, however little: test A, or the e-detector after a quiet time",
    State.WARN: "it has moved by more than PSI 0.1: test B at 0.05 nats",
    State.ALARM: "it has moved by more than PSI 0.25: test B at 0.125 nats; or the estimated performance is at risk",
}
WHEN: Mapping[Event, str] = {
    Event.DRIFTED: "the evidence for any change is enough",
    Event.WARNED: "the evidence for a change beyond the first tolerance is enough",
    Event.ALARMED: "the evidence for a change beyond the second tolerance is enough, or the performance is at risk",
    Event.EASED: "for the cool-down, PSI was below `hysteresis` of the level's own: test B begins anew",
    Event.CALM: "for the cool-down, traffic was as the reference: 1,000 times as likely as where it had moved to; all tests begin anew",
}
RISES = {State.DRIFT: Event.DRIFTED, State.WARN: Event.WARNED, State.ALARM: Event.ALARMED}
TABLE: Mapping[tuple[State, Event], State] = {
    **{(before, event): after for after, event in RISES.items() for before in State if before < after},
    (State.ALARM, Event.EASED): State.WARN,
    (State.WARN, Event.EASED): State.DRIFT,
    **{(state, Event.CALM): State.OK for state in State if state is not State.OK},
}


class IllegalTransitionError(Exception):
    """An event that cannot happen in this state."""


def step(state: State, event: Event) -> State:
    """The next state. Raises `IllegalTransitionError`."""
    after = TABLE.get((state, event))
    if after is None:
        raise IllegalTransitionError(f"'{event.value}' cannot happen in {state.name}")
    return after


def rise(level: State, state: State) -> Event | None:
    """The event when evidence is enough for `level`; None where the state says as much already."""
    return RISES[level] if level > state else None


@dataclass(frozen=True, slots=True)
class Standing:
    """A state and since when [s since the epoch]."""

    state: State = State.OK
    since_s: float = 0.0

    def after(self, event: Event | None, now_s: float) -> Standing:
        """After an event, if there was one. Raises `IllegalTransitionError`."""
        return self if event is None else Standing(step(self.state, event), now_s)


def worst(standings: Iterable[Standing], start_s: float) -> Standing:
    """The highest state of several, and since when it is theirs; OK since `start_s` where there are none."""
    found = [*standings]
    state = max((standing.state for standing in found), default=State.OK)
    times = [standing.since_s for standing in found if standing.state is state]
    return Standing(state, start_s if not times else (max(times) if state is State.OK else min(times)))


def diagram() -> str:
    """The table as a state diagram in Mermaid; events between the same two states share an arrow."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), after in TABLE.items():
        arrows.setdefault((state, after), []).append(event.value)
    lines = [f"    {state.name} --> {after.name}: {', '.join(events)}" for (state, after), events in sorted(arrows.items())]
    return "\n".join(["stateDiagram-v2", "    [*] --> OK", *lines]) + "\n"


def meanings() -> str:
    """States and events as tables in Markdown."""
    states = [f"| **{state.name}** | {int(state)} | {text} |" for state, text in MEANINGS.items()]
    events = [f"| `{event.value}` | {text} |" for event, text in WHEN.items()]
    return "\n".join(["| state | gauge | what it means |", "|---|---|---|", *states, "", "| event | when |", "|---|---|", *events]) + "\n"
