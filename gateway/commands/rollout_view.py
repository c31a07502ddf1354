"""A rollout for people: lines of text from its status, as a command prints them and a live view repeats them. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.commands.output import moment, printable
from gateway.rollout.analysis import verdict
from gateway.rollout.status import HistoryEntry, Status

_BAR = 20  # characters


def lines(status: Status) -> Iterator[str]:
    """The whole of it, no more than a screen."""
    yield f"{printable(status.id)}: {headline(status)}"
    yield f"  {_bar(status.percent)} {status.percent:g} % of the traffic, {_position(status)}"
    for arm in status.arms:
        yield f"  {printable(arm.name)}: version {arm.version}, {arm.percent:g} %"
    if status.waiting:
        yield f"  waits for {printable(status.waiting)}"
    if status.approvals_wanted:
        named = f" ({printable(', '.join(status.approvals))})" if status.approvals else ""
        yield f"  approvals: {len(status.approvals)} of {status.approvals_wanted}{named}"
    for trip in status.tripped:
        accepted = ", accepted" if trip.metric in status.accepted else ""
        yield f"  {printable(trip.metric)}{accepted}: {printable(trip.sentence)}"
    if status.ahead:
        yield f"  behind {printable(', '.join(status.ahead))}"
    yield f"  begun {moment(status.started)} by {printable(status.starter)}; {status.entries} entries"


def headline(status: Status) -> str:
    """One line: the phase, why, and the verdict."""
    phase = status.phase.replace("_", " ") + (f" ({status.cause.replace('_', ' ')})" if status.cause else "")
    reason = f": {printable(status.reason)}" if status.reason else ""
    return f"{phase}, {verdict(status).value}{reason}"


def row(entry: HistoryEntry) -> tuple[object, ...]:
    """An entry of a journal as a row of a table."""
    place = entry.to_phase if entry.from_phase in ("", entry.to_phase) else f"{entry.from_phase} -> {entry.to_phase}"
    event = entry.event if entry.counts else f"{entry.event} (does not count)"
    return entry.seq, moment(entry.time), entry.actor, event, place, entry.step, entry.reason


def _position(status: Status) -> str:
    if not status.steps or status.step >= status.steps:
        return "no step is left" if status.steps else "no steps"
    kind = f" ({status.step_kind})" if status.step_kind else ""
    return f"step {status.step + 1} of {status.steps}{kind}"


def _bar(percent: float) -> str:
    full = round(percent * _BAR / 100)
    return "[" + "#" * full + "." * (_BAR - full) + "]"
