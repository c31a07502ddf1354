"""The version that a job starts from: what its inputs are, how it was made, and what its successor must keep. Reads the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from registry import profile as profiles
from registry.contract import Contract
from registry.golden import Golden
from registry.names import blob_key
from registry.parts import read_parts
from registry.profile import Profile
from registry.schema import ContractFile, Field, Schema, Terms, merge
from registry.serving import Serving
from registry.store import Store
from registry.training import TrainingRecord

_TERMS = ("nulls", "null_value", "range", "categories", "unit", "description")


@dataclass(frozen=True, slots=True)
class Champion:
    """One version."""

    model: str
    version: int
    manifest: str
    size_bytes: int  # of the ONNX file and its data
    contract: Contract
    schema: Schema
    profile: Profile | None
    golden: Golden | None
    training: TrainingRecord | None
    serving: Serving | None
    card: str | None

    @property
    def parameters(self) -> dict[str, Any]:
        """Those that it was trained with."""
        return dict(self.training.parameters) if self.training else {}

    @property
    def terms(self) -> ContractFile:
        """What its author said of inputs and outputs, for the next version."""
        return ContractFile(inputs=_said(self.schema.inputs), outputs=_said(self.schema.outputs))


def champion_of(store: Store, model: str, version: int) -> Champion:
    """Raises `Kind.NOT_FOUND`, `Kind.DAMAGED`."""
    record, contract = store.record(model, version), store.contract(model, version)
    manifest = store.manifest_of(record.manifest)
    parts = read_parts(manifest, store.read_blob)
    return Champion(
        model=model, version=version, manifest=record.manifest,
        size_bytes=sum(one.size for one in (manifest.model, *manifest.external_data)),
        contract=contract, schema=parts.schema or merge(contract, ContractFile()),
        profile=None if parts.profile is None else profiles.decode(parts.profile, key=blob_key(record.manifest)),
        golden=parts.golden, training=parts.training, serving=parts.serving, card=parts.card,
    )  # fmt: skip


def _said(fields: tuple[Field, ...]) -> dict[str, Terms]:
    found = {field.name: Terms(**{name: getattr(field, name) for name in _TERMS}) for field in fields}
    return {name: terms for name, terms in found.items() if terms != Terms()}
