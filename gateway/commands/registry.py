"""`tidegate publish` and `tidegate models`: what goes into a registry directory, and what is in one."""

from __future__ import annotations

import getpass
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands.output import Json, command, document, printable, say, table

if TYPE_CHECKING:
    from registry.store import Store
    from registry.verified import ModelVersionRef

Registry = Annotated[Path, typer.Option("--registry", "-r", help="Registry directory.")]


@command
def publish(
    model: Annotated[Path, typer.Argument(help="ONNX file; external data is taken from its folder.")],
    *,
    name: Annotated[str, typer.Option("--name", "-n", help="Model name.")],
    registry: Registry,
    publish_id: Annotated[str | None, typer.Option(help="Repeating a command with the same id gives the same version.")] = None,
    publisher: Annotated[str | None, typer.Option(help="Who publishes [the user].")] = None,
    as_json: Json = False,
) -> None:
    """Make an ONNX file the next version of a model. An absent or empty directory becomes a registry."""
    from registry.publish import publish as put
    from registry.store import Store

    store = Store.create(registry)
    done = put(store, model, name=name, publisher=publisher or _user(), now_s=SystemClock().wall(), publish_id=publish_id)
    if as_json:
        document({key: getattr(done, key) for key in ("model", "version", "digest", "model_digest", "publish_id", "new")})
        return
    say(f"{done.model} version {done.version} {'published' if done.new else 'had been published before'}")
    say(f"  manifest {done.digest}")
    say(f"  model    {done.model_digest}")


@command
def models(
    *,
    registry: Annotated[Path, typer.Option("--registry", "--repository", "-r", help="Registry or Triton-style repository.")],
    as_json: Json = False,
) -> None:
    """List the models and versions of a directory. A registry's contents are shown with inputs and outputs."""
    from registry.discovery import open_source

    listing = open_source(registry).listing()
    store = _store(registry)
    rows = [_described(store, ref) for ref in listing.versions]
    if as_json:
        document({"models": rows, "problems": list(listing.problems)})
        return
    if rows:
        cells = [(row["model"], row["version"], _ports(row["inputs"]), _ports(row["outputs"]), (row["digest"] or "")[7:19]) for row in rows]
        table(["model", "version", "inputs", "outputs", "digest"], cells, right=["version"])
    else:
        say(f"no models in {printable(str(registry))}")
    damaged = [f"{row['model']} version {row['version']}: {row['problem']}" for row in rows if "problem" in row]
    for problem in (*damaged, *listing.problems):
        say(f"problem: {printable(problem)}")


def _store(directory: Path) -> Store | None:
    """The registry in a directory, or None for a Triton-style repository."""
    from registry.store import MARKER, Store

    return Store.open(directory) if (directory / MARKER).exists() else None


def _described(store: Store | None, ref: ModelVersionRef) -> dict[str, Any]:
    """One version as JSON; inputs and outputs are None where the directory does not say them."""
    from registry.errors import RegistryError

    row: dict[str, Any] = {"model": ref.model, "version": ref.version, "digest": ref.digest, "inputs": None, "outputs": None}
    try:
        contract = store.contract(ref.model, ref.version) if store else None
    except RegistryError as error:
        return row | {"problem": error.message}
    for way in ("inputs", "outputs") if contract else ():
        row[way] = [{"name": port.name, "type": port.type, "shape": port.shape} for port in getattr(contract, way)]
    return row


def _ports(ports: list[dict[str, Any]] | None) -> str:
    shown = [f"{port['name']} {port['type']}" for port in ports or ()]
    return ", ".join(shown[:4]) + (f", … ({len(shown)})" if len(shown) > 4 else "") if shown else "?"


def _user() -> str:
    """The user's name as the registry accepts it; a container's user may have none."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64] or "unknown"
