"""Everything that a registry knows of one version, or of one model, as plain values. Reads, shows nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from registry.head import Head
    from registry.manifest import Manifest
    from registry.schema import Schema
    from registry.signatures import Trusted
    from registry.store import Store


def of_model(store: Store, model: str) -> dict[str, Any]:
    """Versions, aliases, holds and leases."""
    head = store.versions_of(model).journal.read()
    return {
        "model": model,
        "versions": [{"version": number} | _record(store, model, number) for number in store.versions(model)],
        "deleted": sorted(head.versions.keys() - head.live.keys()),
        "aliases": head.aliases,
        "holds": head.holds,
        "leases": [lease for lease in _leases(store) if lease["model"] == model],
        "log_entries": head.seq,
    }


def of_version(store: Store, model: str, version: int, trusted: Trusted | None) -> dict[str, Any]:
    """Record, files, contract with its schema, parts, signatures, and what points at the version. Raises `Kind.DAMAGED`."""
    from registry.parts import read_parts

    manifest = store.manifest(model, version)
    parts = read_parts(manifest, store.read_blob)
    head = store.versions_of(model).journal.read()
    return {
        "model": model,
        "version": version,
        **_record(store, model, version),
        "files": _files(manifest),
        **_contract(store, model, version, parts.schema),
        "golden": parts.golden and {"requests": len(parts.golden.requests), "tolerance": msgspec.to_builtins(parts.golden.tolerance)},
        "training": parts.training and msgspec.to_builtins(parts.training),
        "serving": parts.serving and msgspec.to_builtins(parts.serving),
        "profile": parts.profile and of_profile(parts.profile),
        "card": parts.card,
        "signatures": _signatures(store, model, version, trusted),
        **_pointing(store, model, version, head),
    }


def of_profile(content: bytes) -> dict[str, Any]:
    """A reference profile without its numbers."""
    from registry.profile import decode

    profile = decode(content, key="profile.json")
    return {
        "size_bytes": len(content),
        "digest": profile.digest,
        "rows": profile.rows,
        "source": profile.source,
        "numeric": len(profile.numeric),
        "categorical": len(profile.categorical),
        "is_calibrated": profile.calibration is not None,
        "windows": len(profile.windows.scores) if profile.windows else 0,
    }


def _record(store: Store, model: str, version: int) -> dict[str, Any]:
    record = store.record(model, version)
    return {
        "digest": record.manifest,
        "publish_id": record.publish_id,
        "publisher": record.publisher,
        "created": record.created.isoformat(),
    }


def _files(manifest: Manifest) -> list[dict[str, Any]]:
    return [
        {"name": blob.title or "contract", "media_type": blob.media_type, "digest": blob.digest, "size_bytes": blob.size}
        for blob in manifest.blobs
    ]


def _contract(store: Store, model: str, version: int, schema: Schema | None) -> dict[str, Any]:
    """The graph's ports, or the schema's fields, which hold all that the ports do."""
    contract = store.contract(model, version)
    said = schema or contract
    return {
        "ir_version": contract.ir_version,
        "opsets": contract.opsets,
        "producer": contract.producer,
        "inputs": msgspec.to_builtins(said.inputs),
        "outputs": msgspec.to_builtins(said.outputs),
    }


def _signatures(store: Store, model: str, version: int, trusted: Trusted | None) -> dict[str, Any]:
    """Keys that say they signed, and which of the trusted ones did."""
    from registry import signatures

    digest = store.record(model, version).manifest
    envelopes = [msgspec.json.decode(content, type=signatures.Envelope) for _, content in signatures.attached(store.medium, digest)]
    claimed = sorted({signature.keyid for envelope in envelopes for signature in envelope.signatures})
    verified = sorted(trusted(store.medium, digest, store.read_blob(digest))) if trusted else None
    return {"claimed": claimed, "verified": verified, "checked_with": [key.key_id for key in trusted.keys] if trusted else None}


def _pointing(store: Store, model: str, version: int, head: Head) -> dict[str, Any]:
    """What refers to a version."""
    return {
        "aliases": sorted(alias for alias, number in head.aliases.items() if number == version),
        "opinions": [msgspec.to_builtins(opinion) for opinion in head.opinions if opinion.version == version],
        "holds": sorted(hold for hold, number in head.holds.items() if number == version),
        "leases": [lease for lease in _leases(store) if (lease["model"], lease["version"]) == (model, version)],
    }


def _leases(store: Store) -> list[dict[str, Any]]:
    names = ("id", "holder", "model", "version")
    return [{name: getattr(lease, name) for name in names} | {"expires": lease.expires.isoformat()} for lease in store.leases.all()]
