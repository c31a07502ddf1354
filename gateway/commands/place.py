"""Which registry, whose signatures count, and who acts: the options that the registry's commands share."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.clock import SystemClock
from gateway.commands.output import UsageError
from registry.errors import Kind, RegistryError, storage_errors

if TYPE_CHECKING:
    from registry.signatures import Trusted
    from registry.store import Store

Registry = Annotated[str, typer.Option("--registry", "-r", metavar="PLACE", help="Registry: a directory, or s3://…, gs://…, az://….")]
Options = Annotated[
    list[str] | None,
    typer.Option(
        "--option",
        metavar="KEY=VALUE",
        help="For a URL: an option of the object store, e.g. aws_region=eu-west-1. Credentials come from where the cloud's tools look.",
    ),
]
Keys = Annotated[list[Path] | None, typer.Option("--key", metavar="PUBLIC.pem", help="A key whose signatures count.")]
Actor = Annotated[str | None, typer.Option("--actor", help="Who does this [the user].")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it stands in the log.")]
OperationId = Annotated[str | None, typer.Option("--operation-id", help="Repeating a command with the same id does it once.")]

_SCHEMES = ("s3://", "gs://", "az://")
_NUMBER_DIGITS = 19


def existing(where: str, options: Sequence[str] | None = None, keys: Sequence[Path] | None = None) -> Store:
    """The registry at a path or URL. Raises `UsageError` for options and keys that cannot be understood, else as `Store.open`."""
    from registry.store import Store

    chosen, signers = object_options(where, options), trusted(keys)
    with named(where):
        return Store.open(checked(where), options=chosen, signers=signers)


def created(where: str, options: Sequence[str] | None = None, keys: Sequence[Path] | None = None) -> Store:
    """As `existing`, but an absent or empty place becomes a registry."""
    from registry.store import Store

    chosen, signers = object_options(where, options), trusted(keys)
    with named(where):
        return Store.create(checked(where), options=chosen, signers=signers)


@contextmanager
def named(where: str) -> Iterator[None]:
    """What the registry says of a place names the place."""
    try:
        with storage_errors("look into it"):
            yield
    except RegistryError as error:
        raise RegistryError(error.kind, f"{where.partition('?')[0]}: {error.message}") from error


def checked(where: str) -> str:
    """A path or URL as it is. Raises `UsageError` for a URL of another kind."""
    if "://" in where and not where.startswith(_SCHEMES):
        raise UsageError(f"{where.partition('?')[0]}: not a path, and no URL that begins with {', '.join(_SCHEMES)}")
    return where


def object_options(where: str, options: Sequence[str] | None) -> dict[str, str] | None:
    """`KEY=VALUE` options of an object store. Raises `UsageError` for others, and where `where` is a path."""
    pairs = [text.partition("=") for text in options or ()]
    if any(not (key and equals) for key, equals, _ in pairs):
        raise UsageError("--option: expected KEY=VALUE")  # not what was given: it may be a secret
    if pairs and "://" not in where:
        raise UsageError(f"--option: {where} is a directory, which has no options")
    return {key: value for key, _, value in pairs} if pairs else None


def trusted(keys: Sequence[Path] | None) -> Trusted | None:
    """What checks signatures, or None without keys. Raises `UsageError` for a file that is no key."""
    if not keys:
        return None
    from registry.signatures import trusted as trusting

    try:
        return trusting(keys)
    except RegistryError as error:
        raise UsageError(f"--key: {error.message}") from None


def version(store: Store, model: str, label: str) -> int:
    """A number as it is typed, whether or not it exists, or the version that an alias stands for. Raises `Kind.NOT_FOUND`."""
    if label.isascii() and label.isdigit() and len(label) <= _NUMBER_DIGITS:
        return int(label)
    check_model(store, model)
    return store.resolve(model, label)


def check_model(store: Store, model: str) -> None:
    """Raises `Kind.NOT_FOUND` where the registry never had a version of this model."""
    if not store.versions_of(model).numbers():
        raise RegistryError(Kind.NOT_FOUND, f"the registry has no model '{model}'")


def version_bytes(store: Store, model: str, number: int) -> int:
    """What hashing a version reads."""
    return sum(blob.size for blob in store.manifest(model, number).blobs)


def blob_bytes(store: Store) -> int:
    """What hashing all blobs of a registry reads."""
    medium = store.medium
    shards = [f"blobs/sha256/{shard}" for shard in medium.names("blobs/sha256")]
    stats = (medium.stat(f"{shard}/{name}") for shard in shards for name in medium.names(shard))
    return sum(stat.size_bytes for stat in stats if stat is not None)


def who(actor: str | None, reason: str, operation_id: str | None) -> dict[str, Any]:
    """What every operation says of itself, as the registry's calls take it."""
    return {"actor": actor or user(), "reason": reason, "now_s": SystemClock().wall(), "operation_id": operation_id}


def user() -> str:
    """The user's name as the registry accepts it; a container's user may have none."""
    try:
        name = getpass.getuser()
    except (KeyError, OSError):
        name = f"uid-{os.getuid()}"
    return re.sub(r"[^A-Za-z0-9._-]", "-", name)[:64] or "unknown"
