"""`tidegate log`: what happened to a model, by whom and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gateway.commands import moves, place
from gateway.commands.output import Json, command, document, moment, say, table

if TYPE_CHECKING:
    from registry.entries import Entry
    from registry.store import Store


@command
def log(
    model: Annotated[str, typer.Argument(help="Model name.")],
    *,
    registry: place.Registry,
    last: Annotated[int | None, typer.Option("--last", "-n", min=1, help="Only so many of the newest entries.")] = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Show the log of a model, oldest first. The whole chain is verified before anything is shown."""
    store = place.existing(registry, option)
    place.check_model(store, model)
    entries = _verified(store, model)
    shown = entries[-last:] if last else entries
    if as_json:
        document([msgspec.to_builtins(entry) for entry in shown])
        return
    cells = [(entry.seq, moment(entry.time), entry.actor, sentence(entry), getattr(entry, "reason", "")) for entry in shown]
    table(["entry", "time", "who", "what", "why"], cells, right=["entry"], whole=["time"])
    if len(shown) < len(entries):
        say(f"{len(entries) - len(shown):,} entries before these")


def _verified(store: Store, model: str) -> list[Entry]:
    """Every entry, each held against the one before from the first on. Raises `Kind.DAMAGED`."""
    from registry.head import Head, fold

    journal = store.versions_of(model).journal
    links = list(journal.links(after=0, last=journal.read().seq))
    fold(Head(model=model), links)
    return [link.entry for link in links]


def sentence(entry: Entry) -> str:
    """What an entry says, without who and why."""
    from registry import entries

    proofs = len(getattr(entry, "evidence", ()))
    proven = f", on {proofs} {'document' if proofs == 1 else 'documents'} of evidence" if proofs else ""
    match entry:
        case entries.VersionCreated():
            return f"version {entry.version} published"
        case entries.AliasMoved():
            return f"{entry.alias} moved from {moves.shown(entry.from_version)} to {entry.to}{proven}"
        case entries.AliasRemoved():
            return f"{entry.alias} removed from {entry.from_version}"
        case entries.ApprovalGiven():
            return f"version {entry.version} approved as {entry.alias}{proven}"
        case entries.ApprovalRejected():
            return f"version {entry.version} rejected as {entry.alias}{proven}"
        case entries.HoldPlaced():
            return f"hold {entry.hold} placed on version {entry.version}"
        case entries.HoldReleased():
            return f"hold {entry.hold} released"
        case entries.VersionDeleted():
            return f"version {entry.version} deleted"
