"""`tidegate sign`: vouch for a version."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from gateway.commands import files, place, signing
from gateway.commands.output import Json, UsageError, command, document, say


@command
def sign(
    model: Annotated[str, typer.Argument(help="Model name.")],
    version: Annotated[str, typer.Argument(help="A number or an alias.")],
    *,
    registry: place.Registry,
    key: Annotated[Path | None, typer.Option(metavar="PRIVATE.pem", help="The private key to sign with: ECDSA, P-256.")] = None,
    password_file: signing.PasswordFile = None,
    attach: Annotated[Path | None, typer.Option(metavar="ENVELOPE.json", help="A DSSE envelope that another tool made.")] = None,
    option: place.Options = None,
    as_json: Json = False,
) -> None:
    """Sign the manifest of a version, and so all its files. The signature lies beside the version, which does not change."""
    from registry import signatures

    if (key is None) == (attach is None):
        raise UsageError("give one of --key and --attach")
    signer = None if key is None else signing.private_key(key, password_file)
    store = place.existing(registry, option)
    place.check_model(store, model)
    number = store.resolve(model, version)
    digest = store.record(model, number).manifest
    manifest = store.read_blob(digest)
    if signer is not None:
        kept = signatures.attach(store.medium, digest, signatures.sign(manifest, signer))
    else:
        assert attach is not None
        envelope = files.content(attach, max_bytes=signatures.MAX_ENVELOPE_BYTES)
        files.understood(attach, lambda: signatures.verify(envelope, manifest, ()))
        kept = signatures.attach(store.medium, digest, envelope)
    key_id = None if signer is None else signer.public.key_id
    if as_json:
        document({"model": model, "version": number, "manifest": digest, "key_id": key_id, "signature": kept})
    else:
        say(f"{model} version {number} signed{f' by key {key_id}' if key_id else ''}")
        say(f"  manifest  {digest}")
        say(f"  signature {kept}")
