"""Tensors as the protocol describes them, before any runtime sees them: datatypes, specs, requests, and how texts name them.

Knows no JSON, no protobuf and no limits; what may not be said about a tensor is checked in `payload`, what does not fit a
model in `binding`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Datatype:
    """One datatype of the Open Inference Protocol. `itemsize` is in bytes, 0 for the variable-length BYTES."""

    name: str
    numpy: np.dtype
    itemsize: int


DATATYPES: dict[str, Datatype] = {
    name: Datatype(name, np.dtype(code), np.dtype(code).itemsize if name != "BYTES" else 0)
    for name, code in {
        "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2",
        "INT32": "<i4", "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
        "BF16": "<u2",  # numpy has no bfloat16: its bits travel as unsigned 16-bit integers
        "BYTES": "O",
    }.items()
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """An input or output of a model. `shape` has the batch dimension, -1 where a dimension is free."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Signature:
    """What a version accepts and returns. `max_batch_size` 0 means that the model has no batch dimension."""

    model: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    max_batch_size: int


@dataclass(slots=True)
class InputTensor:
    """One input as a caller sent it: fixed-width data little-endian and row-major in `data`, strings in `texts`."""

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: bytes | memoryview = b""
    texts: list[str] | None = None  # BYTES only, decoded from UTF-8


@dataclass(slots=True)
class InferRequest:
    """A decoded request, not yet held against a model's signature."""

    model: str
    version: str  # "" when the caller named none
    id: str
    inputs: list[InputTensor]
    outputs: list[str] | None = None  # None: all
    parameters: dict[str, bool | int | float | str] = field(default_factory=dict)


@dataclass(slots=True)
class BoundRequest:
    """A request that fits its version: inputs in the order of the signature, ready to be batched."""

    rows: int  # 1 for a model without a batch dimension
    shapes: tuple[tuple[int, ...], ...]  # per input, without the batch dimension where there is one
    data: tuple[bytes | memoryview | list[str], ...]  # per input
    outputs: tuple[int, ...] | None  # requested outputs as indices into the signature; None: all
    size: int  # bytes held while in flight


SHOWN_CHARACTERS = 64  # of one caller's name in a text: enough to recognise it, too few to flood a log


def shown(name: str) -> str:
    """A caller's name as an error text may carry it: cut, and on one line whatever it holds."""
    if len(name) <= SHOWN_CHARACTERS and name.isprintable():
        return name
    cut = name[:SHOWN_CHARACTERS]
    text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)
    return text if cut == name else text + "..."


def shape_text(shape: tuple[int, ...]) -> str:
    """`[-1,16]`, the form that clients of this protocol look for in texts."""
    return f"[{','.join(map(str, shape))}]"
