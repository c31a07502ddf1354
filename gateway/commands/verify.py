"""`tidegate verify`: is everything in a registry as it was published?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands import place
from gateway.commands.output import Exit, Json, UsageError, command, document, printable, say
from gateway.commands.watching import watched
from registry.errors import Kind, RegistryError

if TYPE_CHECKING:
    from registry.store import Store

_NOTICE = "notice"  # what an interrupted publish leaves; everything else fails the command
Finding = dict[str, str]


@command
def verify(
    *,
    registry: place.Registry,
    model: Annotated[str | None, typer.Option("--model", help="Only one version of this model.")] = None,
    version: Annotated[str | None, typer.Option("--version", help="Its number or an alias.")] = None,
    key: place.Keys = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Hash every file again. Exits with 1 where something is damaged, or where a --key did not sign the version. Writes nothing."""
    if (model is None) != (version is None):
        raise UsageError("--model and --version go together")
    if key and model is None:
        raise UsageError("--key: signatures are checked of one version; add --model and --version")
    store = place.existing(registry, option)
    if model is None or version is None:
        findings = _of_all(store, as_json=as_json)
    else:
        place.check_model(store, model)
        findings = _of_one(store, model, store.resolve(model, version), key, as_json=as_json)
    found = [finding for finding in findings if finding["severity"] != _NOTICE]
    if as_json:
        document({"whole": not found, "findings": findings})
    else:
        for finding in findings:
            say(f"{finding['severity']:8}  {printable(finding['key'])}: {printable(finding['message'])}")
        say(f"{len(found)} {'problem' if len(found) == 1 else 'problems'}" if found else "all is as it was published")
    if found:
        raise typer.Exit(Exit.FAILED)


def _of_all(store: Store, *, as_json: bool) -> list[Finding]:
    from registry.verify import verify as survey

    with watched("hashing", as_json=as_json, total_bytes=lambda: place.blob_bytes(store)) as progress:
        found = survey(store, progress=progress)
    return [{"severity": finding.severity.value, "key": finding.key, "message": finding.message} for finding in found]


def _of_one(store: Store, model: str, version: int, keys: Sequence[Path] | None, *, as_json: bool) -> list[Finding]:
    """Files, parts and signatures of one version."""
    from registry.parts import read_parts
    from registry.signatures import Trusted

    trusted = place.trusted(keys) or Trusted(())  # also without keys every envelope is read
    subject = store.versions_of(model).key(version)
    try:
        with watched("hashing", as_json=as_json, total_bytes=lambda: place.version_bytes(store, model, version)) as progress:
            store.check_version(model, version, progress=progress)
        read_parts(store.manifest(model, version), store.read_blob)
        store.contract(model, version)
        digest = store.record(model, version).manifest
        signed = trusted(store.medium, digest, store.read_blob(digest))
    except RegistryError as error:
        if error.kind is not Kind.DAMAGED:
            raise
        return [{"severity": "damage", "key": subject, "message": error.message}]
    lacking = [key.key_id for key in trusted.keys if key.key_id not in signed]
    return [{"severity": "unsigned", "key": subject, "message": f"key {key} did not sign it"} for key in lacking]
