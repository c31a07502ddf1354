"""Retrain triggers and what came of them, as tables, sentences and JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from gateway.commands.output import moment, printable, say, short, table
from registry.errors import RegistryError

if TYPE_CHECKING:
    from registry.store import Store
    from registry.trigger_entries import TriggerJournal
    from registry.triggers import Trigger


def row(trigger: Trigger, journal: TriggerJournal) -> tuple[str, ...]:
    """One line of `status`."""
    last = journal.last
    return (
        trigger.id,
        trigger.model,
        str(trigger.version),
        trigger.rule,
        moment(trigger.created),
        journal.state,
        last.reason if last else "",
    )


def plain(store: Store, trigger: Trigger, journal: TriggerJournal, *, reports: bool) -> dict[str, Any]:
    """One trigger for scripts; with `reports`, also what its gates and its validation said."""
    found: dict[str, Any] = {
        "trigger": msgspec.to_builtins(trigger),
        "state": journal.state,
        "version": journal.detail("version"),
        "entries": [msgspec.to_builtins(entry) for entry in journal.entries],
    }
    return found | ({name: _blob(store, journal, name) for name in ("gates", "report")} if reports else {})


def show(store: Store, trigger: Trigger, journal: TriggerJournal) -> None:
    """Everything for people."""
    say(f"trigger {trigger.id}: {journal.state}")
    say(f"  asked   {moment(trigger.created)} by {printable(trigger.proposer)}, rule {printable(trigger.rule)}")
    say(f"  for     {trigger.model} version {trigger.version}" + (f": {printable(trigger.reason)}" if trigger.reason else ""))
    for name, figure in trigger.evidence.items():
        say(f"          {printable(name)} {figure:g}")
    for entry in journal.entries:
        say(f"  {moment(entry.time)}  {entry.state:<9} {printable(entry.reason)}")
    for name in ("dataset", "model_digest", "manifest"):
        if journal.detail(name):
            say(f"  {name:<13} {journal.detail(name)}")
    for name in ("rollout", "rollout_error"):
        if journal.detail(name):
            say(f"  {name:<13} {printable(str(journal.detail(name)))}")
    metrics = journal.detail("metrics")
    if metrics:
        say()
        names = sorted({name for figures in metrics.values() for name in figures})
        table(["rows of", *names], [(part, *(_figure(figures, name) for name in names)) for part, figures in metrics.items()], right=names)
    gates = _blob(store, journal, "gates")
    if gates:
        say()
        table(["gate", "", "what was found"], [line for gate in gates for line in _gate(gate)])


def headline(trigger: Trigger, journal: TriggerJournal) -> str:
    """The outcome in one sentence."""
    last = journal.last
    reason = f": {last.reason}" if last and last.reason else ""
    return printable(f"{trigger.model}, trigger {short(trigger.id)}: {journal.state}{reason}")


def _gate(gate: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(gate["name"], _word(check), check["text"]) for check in gate["checks"]]


def _word(check: dict[str, Any]) -> str:
    return ("passed" if check["passed"] else "not passed") if check.get("judged", True) else "not judged"


def _figure(figures: dict[str, float], name: str) -> str:
    return "" if name not in figures else f"{figures[name]:,.0f}" if name == "rows" else f"{figures[name]:.4f}"


def _blob(store: Store, journal: TriggerJournal, name: str) -> Any:
    digest = journal.detail(name)
    if digest is None:
        return None
    try:
        return msgspec.json.decode(store.read_blob(digest))
    except (RegistryError, msgspec.DecodeError):
        return None  # the journal speaks for itself
