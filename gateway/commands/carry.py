"""`tidegate export`, `pull` and `backup`: versions to another site, and whole registries to another place."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from gateway.commands import place
from gateway.commands.output import Json, UsageError, command, document, printable, say, table
from gateway.commands.watching import watched

if TYPE_CHECKING:
    from registry.store import Store


@command
def export(
    versions: Annotated[list[str], typer.Argument(metavar="MODEL[@VERSION]...", help="Version: a number or an alias; without one, all.")],
    *,
    registry: place.Registry,
    to: Annotated[Path, typer.Option("--to", help="The bundle, a directory that may hold an earlier one.")],
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Put versions into a directory that can be carried to a site without a network. What was interrupted is simply repeated."""
    from registry.transfer import export as exporting

    store = place.existing(registry, option)
    chosen = sorted({pair for text in versions for pair in _chosen(store, text)})
    with watched("exporting", as_json=as_json, total_bytes=lambda: sum(place.version_bytes(store, *pair) for pair in chosen)) as progress:
        bundle = exporting(store, chosen, to, progress=progress)
    if as_json:
        document(msgspec.to_builtins(bundle))
        return
    for model, number in chosen:
        say(f"{model} version {number}")
    say(f"{len(chosen)} {_versions(chosen)} exported; {printable(str(to))} holds {len(bundle.versions)}")


@command
def pull(
    bundle: Annotated[Path, typer.Argument(help="The directory that `export` made.")],
    *,
    registry: place.Registry,
    model: Annotated[list[str] | None, typer.Option("--model", help="Only this model.")] = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Publish the versions of a bundle. An absent or empty place becomes a registry. What was interrupted is simply repeated.

    Aliases are not carried: which version serves is decided at each site.
    """
    from registry.transfer import INDEX
    from registry.transfer import pull as pulling

    if not (bundle / INDEX).exists():
        raise UsageError(f"{bundle} is no bundle: there is no {INDEX} in it")
    with watched("pulling", as_json=as_json) as progress:
        arrived = pulling(place.created(registry, option), bundle, models=model or None, progress=progress)
    if as_json:
        document(msgspec.to_builtins(arrived))
        return
    cells = [(each.model, each.source_version, each.version, "new" if each.new else "was here") for each in arrived]
    table(["model", "there", "here", ""], cells, right=["there", "here"])
    say(f"{sum(each.new for each in arrived)} new, {len(arrived)} in all")


@command
def backup(
    *,
    registry: place.Registry,
    to: Annotated[str, typer.Option("--to", metavar="PLACE", help="Where the copy is: a directory, or s3://…, gs://…, az://….")],
    option: place.Options = None,
    to_option: Annotated[
        list[str] | None, typer.Option("--to-option", metavar="KEY=VALUE", help="As --option, for the object store of the copy.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Copy a whole registry, or bring an earlier copy up to date. Restoring is the same in the other direction.

    Runs beside publishing. A copy that was interrupted is no registry until it is repeated.
    """
    from registry.backup import copy_registry

    store = place.existing(registry, option)
    options = place.object_options(place.checked(to), to_option)
    with watched("copying", as_json=as_json, total_bytes=lambda: place.blob_bytes(store)) as progress:
        copied = copy_registry(store, to, options=options, progress=progress)
    if as_json:
        document(msgspec.to_builtins(copied))
    else:
        held = f"{copied.models} models, {copied.versions} versions, {copied.entries} log entries, {copied.blobs} blobs"
        say(f"{printable(to)} holds {held}")


def _chosen(store: Store, text: str) -> Iterator[tuple[str, int]]:
    """The versions that an argument names."""
    model, at, label = text.partition("@")
    place.check_model(store, model)
    yield from ((model, number) for number in ([store.resolve(model, label)] if at else store.versions(model)))


def _versions(chosen: list[Any]) -> str:
    return "version" if len(chosen) == 1 else "versions"
