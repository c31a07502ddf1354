"""All that decides what a job makes: the version that it starts from, the dataset, the way to train, the seeds, the gates. Pure data.

Stored when a trigger is accepted, so that whoever takes the job over, or replays it, does the same. Where the data lies is beside it.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from registry.errors import damaged
from registry.names import Digest
from registry.training import Plain
from retrain.gate_settings import Gates
from retrain.snapshot import Snapshot


class JobSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One job."""

    format: Literal[1] = 1
    model: str
    base_version: Annotated[int, msgspec.Meta(ge=1)]
    base_manifest: Digest
    snapshot: Snapshot
    locations: tuple[str, ...]  # of the files of rows, or of the log
    entry_point: str | None = None  # "module:function"; None: a recipe
    parameters: dict[str, Plain] = {}
    seed: int = 0  # of the training
    bootstrap_seed: int = 0  # of the bounds
    gates: Gates = Gates()
    lock_digest: Digest | None = None
    run_url: str | None = None


def encode(spec: JobSpec) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(spec, order="deterministic")


def decode(content: bytes, *, key: str) -> JobSpec:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=JobSpec)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is no description of a job: {error}") from error
