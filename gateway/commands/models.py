"""`tidegate models`: what is in a registry or a Triton-style repository."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands import place
from gateway.commands.output import Json, command, document, printable, say, short, table
from registry.errors import RegistryError

if TYPE_CHECKING:
    from registry.desired import Desired
    from registry.store import Store

LISTED_VERSIONS = 200  # past this one line per model, so that a large registry lists in a second


@command
def models(
    *,
    registry: Annotated[
        str, typer.Option("--registry", "--repository", "-r", metavar="PLACE", help="Registry (path or URL) or Triton-style repository.")
    ],
    everything: Annotated[bool, typer.Option("--all", help="Every version, also where there are many.")] = False,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """List models and versions, with what a registry knows of them. Past 200 versions, one line per model."""
    store, said = _said(registry, option)
    count = sum(len(model.versions) for model in said.models.values())
    if as_json:
        document({"models": _rows(store, said), "problems": list(said.problems)})
        return
    if not count:
        say(f"no models in {printable(registry)}")
    elif count > LISTED_VERSIONS and not everything:
        table(["model", "versions", "newest", "created", "aliases"], _summaries(store, said), right=["versions", "newest"])
        say(f"{count:,} versions of {len(said.models):,} models; --all lists each")
    problems = said.problems
    if 0 < count <= LISTED_VERSIONS or everything:
        rows = _rows(store, said)
        columns = ["model", "version", "aliases", "inputs", "outputs", "digest", "created"]
        table(columns, map(_cells, rows), right=["version"], whole=["digest", "created"])
        problems = (*(f"{row['model']} version {row['version']}: {row['problem']}" for row in rows if "problem" in row), *problems)
    for problem in problems:
        say(f"problem: {printable(problem)}")


def _said(where: str, option: Sequence[str] | None) -> tuple[Store | None, Desired]:
    """The registry, or None for a Triton-style repository, and what is in it."""
    from registry.desired import Desired, DesiredModel, desired_or_kept
    from registry.discovery import open_source
    from registry.store import MARKER

    with place.named(where):
        is_registry = "://" in where or (Path(where) / MARKER).exists()
    if is_registry:
        store = place.existing(where, option)
        return store, desired_or_kept(store)
    place.object_options(where, option)  # refuses them
    with place.named(where):
        listing = open_source(where).listing()
    models: dict[str, DesiredModel] = {}
    for ref in listing.versions:
        models.setdefault(ref.model, DesiredModel({}, {})).versions[ref.version] = None
    return None, Desired(models=models, problems=listing.problems)


def _rows(store: Store | None, said: Desired) -> list[dict[str, Any]]:
    """Every version as JSON."""
    return [
        _described(store, name, number, digest, sorted(alias for alias, stands in model.aliases.items() if stands == number))
        for name, model in said.models.items()
        for number, digest in model.versions.items()
    ]


def _described(store: Store | None, model: str, version: int, digest: str | None, aliases: list[str]) -> dict[str, Any]:
    """One version; what a Triton-style repository does not say is None."""
    row: dict[str, Any] = {"model": model, "version": version, "digest": digest, "created": None, "aliases": aliases}
    row |= {"inputs": None, "outputs": None}
    if store is None:
        return row
    try:
        row["created"] = store.record(model, version).created.isoformat()
        contract = store.contract(model, version)
    except RegistryError as error:
        return row | {"problem": error.message}
    for way in ("inputs", "outputs"):
        row[way] = [{"name": port.name, "type": port.type, "shape": port.shape} for port in getattr(contract, way)]
    return row


def _cells(row: dict[str, Any]) -> tuple[object, ...]:
    created = row["created"][:10] if row["created"] else "?"
    ports = (_ports(row["inputs"]), _ports(row["outputs"]))
    return row["model"], row["version"], ", ".join(row["aliases"]), *ports, short(row["digest"]), created


def _ports(ports: list[dict[str, Any]] | None) -> str:
    shown = [f"{port['name']} {port['type'].removeprefix('tensor(').removesuffix(')')}" for port in ports or ()]
    return ", ".join(shown[:4]) + (f", … ({len(shown)})" if len(shown) > 4 else "") if shown else "?"


def _summaries(store: Store | None, said: Desired) -> Iterator[tuple[object, ...]]:
    """One line per model; of its newest version the record is read and nothing else."""
    for name, model in said.models.items():
        if model.versions:
            newest, created = max(model.versions), "?"
            with suppress(RegistryError):
                created = f"{store.record(name, newest).created:%Y-%m-%d}" if store else "?"
            aliases = ", ".join(f"{alias} {number}" for alias, number in sorted(model.aliases.items()))
            yield name, len(model.versions), newest, created, aliases
