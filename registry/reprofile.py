"""A published version once more, with a reference profile: the same files and parts, the profile, and the next number.

A version is immutable, so what has no profile never gets one (decision 0024). Nothing is copied: the new manifest names the same blobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from registry import manifest as manifests
from registry import profile as profiles
from registry import schema as schemas
from registry.answers import answers_of
from registry.contract import Contract
from registry.errors import refused
from registry.manifest import PART_TITLES, Manifest, file_layer, manifest_of
from registry.names import digest_of
from registry.parts import MAX_PROFILE_BYTES, read_parts
from registry.profile import Profile
from registry.publish import Published, Trial
from registry.reference import profile_of_file
from registry.schema import ContractFile, Schema
from registry.store import Store
from registry.trial import Submitted, load_in_child

if TYPE_CHECKING:
    import numpy as np

    from registry.rows import Reference

_TITLE, _SCHEMA = "profile.json", "schema.json"


def with_reference(
    store: Store,
    model: str,
    version: int,
    reference: Reference,
    *,
    publisher: str,
    now_s: float,
    publish_id: str | None = None,
    trial: Trial = load_in_child,
) -> Published:
    """The version with the profile of a file of rows; the model is asked for outputs that the file does not have.

    Raises as `with_profile`, `Kind.INVALID_MODEL` for the rows, and `DigestMismatchError`.
    """
    manifest, contract = store.manifest(model, version), store.contract(model, version)

    def ask(rows: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        with store.load_verified(model, version) as files:
            data_fds = {title: sealed.fd for title, sealed in files.external_data.items()}
            return answers_of(Submitted(files.file.fd, data_fds, files.size_bytes), contract, rows, store.medium.limits, trial)

    found = profile_of_file(reference, schema_of(store, manifest, contract), ask)
    done = with_profile(store, model, version, found.profile, publisher=publisher, now_s=now_s, publish_id=publish_id)
    return replace(done, notes=found.notes)


def with_profile(
    store: Store, model: str, version: int, profile: Profile, *, publisher: str, now_s: float, publish_id: str | None = None
) -> Published:
    """The version with this profile, in place of the one that it may have. Without a publish id, the same profile gives one version.

    Raises `Kind.INVALID_MODEL` for a profile of another model, `Kind.NOT_FOUND`, `Kind.DAMAGED`, `Kind.CONFLICT`, `Kind.STORAGE`.
    """
    record, manifest = store.record(model, version), store.manifest(model, version)
    profiles.check_ports(profiles.check(profile), store.contract(model, version))
    content = profiles.encode(profile)
    if len(content) > MAX_PROFILE_BYTES:
        raise refused(f"the reference profile has more than {MAX_PROFILE_BYTES} bytes")
    digest, size = store.put_blob(content)
    layer = file_layer(title=_TITLE, media_type=PART_TITLES[_TITLE], digest=digest, size=size)
    profiled = manifest_of(manifest.config, [*(other for other in manifest.layers if other.title != _TITLE), layer])
    if digest_of(manifests.encode(profiled)) == record.manifest:
        return Published(model, version, record.manifest, manifest.model.digest, record.publish_id, new=False)
    if publish_id is None:
        publish_id = f"profile-{digest_of((record.manifest + digest).encode())[7:39]}"
    number, made, new = store.add_version(model, profiled, publish_id=publish_id, publisher=publisher, now_s=now_s)
    return Published(model, number, made.manifest, manifest.model.digest, publish_id, new)


def schema_of(store: Store, manifest: Manifest, contract: Contract) -> Schema:
    """What its author said, or else what the graph says."""
    said = read_parts(manifest, store.read_blob, only=(_SCHEMA,)).schema
    return said or schemas.merge(contract, ContractFile())
