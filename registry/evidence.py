"""Why a version may serve: small documents about exactly one manifest, stored as blobs and named in the log by digest.

A document that is about another manifest, or that says "not passed", proves nothing, whatever its kind.
"""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

from registry.errors import RegistryError
from registry.formats import FORMAT, decode_state, encode_state
from registry.names import Digest

EvidenceKind = Annotated[str, msgspec.Meta(pattern=r"\A[a-z][a-z0-9_.-]{0,63}\Z")]


class Evidence(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One finding about one manifest."""

    format: int = FORMAT
    kind: EvidenceKind  # "eval", "infra", "rollout": a policy asks for it by this word
    manifest: Digest
    passed: bool
    facts: dict[str, Any] = {}  # JSON: figures, verdicts, links


def encode(evidence: Evidence) -> bytes:
    """Deterministic JSON."""
    return encode_state(evidence)


def proves(content: bytes, *, manifest: str) -> str | None:
    """The kind that these bytes prove for `manifest`, or None."""
    try:
        evidence = decode_state(content, Evidence, key="evidence", what="an evidence document")
    except RegistryError:
        return None
    return evidence.kind if evidence.passed and evidence.manifest == manifest else None
