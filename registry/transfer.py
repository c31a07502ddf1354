"""Versions to and from a directory that somebody carries to another site: content-addressed, checked while leaving and while arriving.

A bundle is a directory with `blobs/sha256/…` and `signatures/…` as in a registry and `tidegate-bundle.json`, which lists versions and their
signatures. Both directions may be stopped and repeated: what is there already is hashed, not copied. Aliases, approvals, rollouts and the
log stay behind; which version serves is decided at each site, and so is whose signatures count.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec

from registry import manifest as manifests
from registry.blobs import Blobs
from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError, damaged, storage_errors
from registry.formats import FORMAT, decode_checked, encode_checked
from registry.medium import CHUNK_BYTES, Medium, Progress, unseen
from registry.names import Digest, blob_key, check_model_name, digest_of
from registry.signatures import attach, attached, file_name, read_envelope
from registry.store import MARKER, Store

INDEX = "tidegate-bundle.json"


class Carried(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One version in a bundle, as its record says. A list without signatures is, to the byte, what it was before they were carried."""

    model: str
    version: int
    manifest: Digest
    publish_id: str
    publisher: str
    created: datetime
    signatures: tuple[Digest, ...] = ()  # of the envelopes over its manifest, ascending


class Bundle(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The list of a bundle."""

    format: int = FORMAT
    registry: UUID  # where the versions come from
    versions: tuple[Carried, ...]
    check: str = ""


@dataclass(frozen=True, slots=True)
class Pulled:
    """A version that arrived. Numbers are the receiving registry's own."""

    model: str
    source_version: int
    version: int
    new: bool  # False where it had arrived before


def export(store: Store, versions: Iterable[tuple[str, int]], directory: Path, *, progress: Progress = unseen) -> Bundle:
    """Put versions (model, number) into a bundle at `directory`, beside those that are there: the whole list afterwards.

    The envelopes over their manifests go along. Raises `Kind.CONFLICT` where the directory is a registry or another registry's bundle,
    `Kind.NOT_FOUND`, `Kind.DAMAGED`.
    """
    medium = DirectoryMedium(directory, limits=store.medium.limits)
    medium.prepare()
    if medium.read(MARKER) is not None:
        raise RegistryError(Kind.CONFLICT, "the directory is a registry; a bundle needs one of its own")
    for name in ("tmp", "blobs/sha256"):
        medium.make_directory(name)
    carried = {(entry.model, entry.version): entry for entry in _listed(medium, store.id)}
    target = Blobs(medium)
    for model, number in versions:
        record = store.record(model, number)
        for digest in _digests(store.blobs, record.manifest):
            copy_blob(store.blobs, target, digest, progress=progress, mend=True)
        carried[model, number] = Carried(
            model=model,
            version=number,
            manifest=record.manifest,
            publish_id=record.publish_id,
            publisher=record.publisher,
            created=record.created,
            signatures=_pack_signatures(store.medium, medium, record.manifest, progress),
        )
    bundle = Bundle(registry=store.id, versions=tuple(carried[key] for key in sorted(carried)))
    medium.replace(INDEX, encode_checked(bundle), durable=True)
    return bundle


def pull(store: Store, directory: Path, *, models: Iterable[str] | None = None, progress: Progress = unseen) -> list[Pulled]:
    """Publish the versions of a bundle, or those of some models, in the order of their numbers.

    Their publish ids make sure that each arrives once; signatures are attached before the version is there, also where it had arrived
    without them. Raises `Kind.NOT_FOUND` where there is no bundle, `Kind.DAMAGED` naming what did not
    survive the journey, `Kind.CONFLICT` where a publish id stands for something else here; what arrived before that stays.
    """
    medium = DirectoryMedium(directory, limits=store.medium.limits)
    bundle = _bundle(medium)
    if bundle is None:
        raise RegistryError(Kind.NOT_FOUND, f"there is no {INDEX} in this directory, so it is no bundle")
    source, wanted = Blobs(medium), None if models is None else {check_model_name(model) for model in models}
    return [_arrive(store, source, entry, progress) for entry in bundle.versions if wanted is None or entry.model in wanted]


def copy_blob(source: Blobs, target: Blobs, digest: str, *, progress: Progress = unseen, mend: bool = False) -> None:
    """Copy a blob and check it on the way; one that is there is hashed. With `mend` a wrong one is written again.

    Raises `Kind.DAMAGED` where the source's bytes are not what their name says, or without `mend` the target's.
    """
    if target.medium.stat(blob_key(digest)) is not None:
        if target.digest_now(digest, progress=progress) == digest:
            return
        if mend:
            target.medium.remove(blob_key(digest))
    with target.stage() as staged, storage_errors(f"copy {blob_key(digest)}"), os.fdopen(source.open(digest), "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            staged.write(chunk)
            progress(len(chunk))
        if staged.digest != digest:
            raise damaged(f"{blob_key(digest)} does not hold what its name says")
        target.commit(staged)


def _pack_signatures(source: Medium, bundle: Medium, manifest: Digest, progress: Progress) -> tuple[Digest, ...]:
    """Digests of the envelopes, which lie in the bundle from now on; one that is wrong there is written again."""
    packed = []
    for key, envelope in attached(source, manifest):
        if bundle.read(key) not in {None, envelope}:
            bundle.remove(key)
        attach(bundle, manifest, envelope)
        packed.append(digest_of(envelope))
        progress(len(envelope))
    return tuple(packed)


def _arrive(store: Store, source: Blobs, entry: Carried, progress: Progress) -> Pulled:
    for digest in _digests(source, entry.manifest):
        copy_blob(source, store.blobs, digest, progress=progress)
    for digest in entry.signatures:
        envelope = read_envelope(source.medium, entry.manifest, file_name(digest))
        attach(store.medium, entry.manifest, envelope)
        progress(len(envelope))
    manifest = manifests.decode(source.read(entry.manifest), key=blob_key(entry.manifest))
    version, _, new = store.add_version(
        entry.model, manifest, publish_id=entry.publish_id, publisher=entry.publisher, now_s=entry.created.timestamp()
    )
    return Pulled(entry.model, entry.version, version, new)


def _digests(blobs: Blobs, manifest: str) -> list[str]:
    """What a version is made of; the manifest last, so that whoever finds it finds everything."""
    found = manifests.decode(blobs.read(manifest), key=blob_key(manifest))
    return [*(blob.digest for blob in found.blobs), manifest]


def _listed(medium: DirectoryMedium, registry: UUID) -> tuple[Carried, ...]:
    bundle = _bundle(medium)
    if bundle is not None and bundle.registry != registry:
        raise RegistryError(Kind.CONFLICT, "the directory holds a bundle of another registry")
    return () if bundle is None else bundle.versions


def _bundle(medium: DirectoryMedium) -> Bundle | None:
    content = medium.read(INDEX)
    return None if content is None else decode_checked(content, Bundle, key=INDEX, what="the list of a bundle")
