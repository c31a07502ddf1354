"""`tidegate delete`, `hold`, `release` and `gc`: the end of versions and of their files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import msgspec
import typer

from gateway.clock import SystemClock
from gateway.commands import place
from gateway.commands.output import Json, command, document, performed, say, short, size, table

if TYPE_CHECKING:
    from registry.gc import Collected

DAY_S = 86400.0
SHOWN_BLOBS = 50
Model = Annotated[str, typer.Argument(help="Model name.")]
Version = Annotated[str, typer.Argument(help="A number or an alias.")]
Hold = Annotated[str, typer.Argument(help="What the hold is called, e.g. audit-2026.")]


@command
def delete(
    model: Model,
    version: Version,
    *,
    registry: place.Registry,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Take a version out of the registry. Refused where an alias or a hold needs it; its files go with `gc`, its number stays taken."""
    store = place.existing(registry, option)
    number = place.version(store, model, version)
    done = store.deletion(model).delete(number, **place.who(actor, reason, operation_id))
    performed(done, f"{model} version {number} deleted; `tidegate gc --collect` takes its files after the grace period", as_json=as_json)


@command
def hold(
    model: Model,
    version: Version,
    name: Hold,
    *,
    registry: place.Registry,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Forbid that a version is deleted, until the hold is released."""
    store = place.existing(registry, option)
    number = place.version(store, model, version)
    done = store.deletion(model).hold(name, number, **place.who(actor, reason, operation_id))
    performed(done, f"hold {name} placed on {model} version {number}", as_json=as_json)


@command
def release(
    model: Model,
    name: Hold,
    *,
    registry: place.Registry,
    reason: place.Reason = "",
    actor: place.Actor = None,
    operation_id: place.OperationId = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """End a hold."""
    done = place.existing(registry, option).deletion(model).release(name, **place.who(actor, reason, operation_id))
    performed(done, f"hold {name} of {model} released", as_json=as_json)


@command
def gc(
    *,
    registry: place.Registry,
    collect: Annotated[bool, typer.Option("--collect", help="Do it; without this, only say what would be done.")] = False,
    grace: Annotated[float, typer.Option("--grace", min=1 / 24, max=36500, help="Days that everything is kept; an hour at least.")] = 7.0,
    actor: place.Actor = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Collect files that nothing refers to: first into the trash, and what lay there for the grace period is deleted.

    Runs beside publishing. What was interrupted is simply repeated.
    """
    from registry.gc import collect as collecting

    store = place.existing(registry, option)
    found = collecting(store, actor=actor or place.user(), now_s=SystemClock().wall(), grace_s=grace * DAY_S, dry_run=not collect)
    if as_json:
        sums = {f"{what}_bytes": sum(item.size_bytes for item in getattr(found, what)) for what in ("trashed", "deleted")}
        document(msgspec.to_builtins(found) | sums)
    else:
        _show(found)


def _show(found: Collected) -> None:
    trashed, deleted = ("to the trash", "delete") if found.dry_run else ("in the trash", "deleted")
    kinds = ((deleted, found.deleted), (trashed, found.trashed))
    rows = [(what, short(item.digest), size(item.size_bytes)) for what, items in kinds for item in items]
    rows += [("restore" if found.dry_run else "restored", short(digest), "") for digest in found.restored]
    rows += [("remove" if found.dry_run else "removed", f"tmp/{name}", "") for name in found.leftovers]
    if rows:
        table(["what", "blob", "size"], rows[:SHOWN_BLOBS], right=["size"])
    if len(rows) > SHOWN_BLOBS:
        say(f"… {len(rows) - SHOWN_BLOBS:,} more; --json lists all")
    for what, items in kinds:
        say(f"{what}: {len(items):,} blobs, {size(sum(item.size_bytes for item in items))}")
    if found.dry_run and rows:
        say("nothing was changed; --collect does it")
