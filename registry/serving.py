"""How a version wants to be served: rows of a run, waiting for more of them, instances. Pure data."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from registry.errors import damaged

Positive = Annotated[int, msgspec.Meta(ge=1)]


class Serving(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """The blob `serving.json` of a version. None leaves a choice to the gateway's own settings."""

    format: Literal[1]
    batching: bool = True  # False where the first dimension is no batch: requests are neither joined nor split
    max_batch_size: Positive | None = None  # rows of one run
    max_queue_delay_ms: Annotated[float, msgspec.Meta(ge=0)] | None = None
    instances: Positive | None = None  # sessions that run at once
    parameters: dict[str, str] = {}  # the model's own, which the gateway shows and does not read


def encode(serving: Serving) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(serving, order="deterministic")


def decode(content: bytes, *, key: str) -> Serving:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=Serving)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} does not say how to serve: {error}") from error
