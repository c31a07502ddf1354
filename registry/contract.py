"""What a version says about its model: format, operator sets, inputs and outputs. Pure data; the config blob of a manifest.

Taken from the ONNX file itself, so the same file always gives the same bytes. Knows no numpy types and no protocol.
"""

from __future__ import annotations

import msgspec

from registry.errors import damaged


class Port(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input or output of the graph."""

    name: str
    type: str  # as ONNX writes it: "tensor(float)", "seq(map(int64,tensor(float)))"
    shape: tuple[int | str | None, ...] | None  # a size, a named dimension, or None where unknown; None as a whole where there is no shape


class Contract(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The config blob, media type `manifest.CONFIG_TYPE`."""

    ir_version: int
    opsets: dict[str, int]  # operator domain → version; "" is ONNX's own
    producer: str
    inputs: tuple[Port, ...]  # initialisers excluded
    outputs: tuple[Port, ...]


def encode(contract: Contract) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(contract, order="deterministic")


def decode(content: bytes, *, key: str) -> Contract:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        return msgspec.json.decode(content, type=Contract)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is not a model contract: {error}") from error
