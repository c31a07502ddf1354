"""What is kept of an input or output: by its policy, a buffer of typed values. Texts are dropped unless somebody says otherwise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gateway.capture_settings import CapturedField
from gateway.protocol.tensors import DATATYPES, TensorSpec
from registry.frames import Buffer
from registry.log_rows import Field, packed_texts

_FLOATS = ("FP16", "FP32", "FP64")
_BUCKETS, _HASHES = "INT32", "UINT64"
Encode = Callable[[np.ndarray], Buffer]  # the values of some rows [rows, *shape]


class UnfitError(Exception):
    """A policy that an input or output cannot have; the text says why."""


class Column:
    """One input or output that something is kept of. `place`: among those of the signature."""

    def __init__(self, place: int, field: Field, encode: Encode) -> None:
        self.place, self.field, self.encode = place, field, encode


def columns_of(specs: Sequence[TensorSpec], batched: bool, policies: dict[str, CapturedField], key: bytes) -> list[Column]:
    """Of all inputs, or outputs. `key`: of hashes, 16 bytes. Raises UnfitError."""
    found = []
    for place, spec in enumerate(specs):
        policy = policies.get(spec.name) or CapturedField(policy="drop" if spec.datatype == "BYTES" else "keep")
        if policy.policy != "drop":
            dims = spec.shape[1:] if batched else spec.shape
            datatype, encode = _encoder(spec, policy, key)
            found.append(Column(place, Field(spec.name, datatype, tuple(dims), policy.policy), encode))
    return found


def _encoder(spec: TensorSpec, policy: CapturedField, key: bytes) -> tuple[str, Encode]:
    text = spec.datatype == "BYTES"
    match policy.policy:
        case "hash":
            return _HASHES, _hashing(text, key)
        case "bucket" if not text and spec.datatype != "BF16":
            return _BUCKETS, _bucketing(np.array(policy.edges))
        case "truncate" if text and policy.characters is not None:
            return "BYTES", _cutting(policy.characters)
        case "truncate" if spec.datatype in _FLOATS and policy.decimals is not None:
            return spec.datatype, _rounding(policy.decimals, DATATYPES[spec.datatype].numpy)
        case "keep":
            return spec.datatype, _texts if text else _keeping(DATATYPES[spec.datatype].numpy)
    raise UnfitError(f"'{spec.name}' is {spec.datatype}, which policy {policy.policy} cannot be applied to as it is set")


def _octets(values: np.ndarray) -> Buffer:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8).data if values.size else b""


def _texts(values: np.ndarray) -> Buffer:
    return packed_texts(values.ravel().tolist())


def _keeping(dtype: np.dtype) -> Encode:
    def encode(values: np.ndarray) -> Buffer:
        return _octets(values if values.dtype == dtype else values.astype(dtype))

    return encode


def _cutting(characters: int) -> Encode:
    def encode(values: np.ndarray) -> Buffer:
        return packed_texts([_text(value)[:characters] for value in values.ravel().tolist()])

    return encode


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _rounding(decimals: int, dtype: np.dtype) -> Encode:
    def encode(values: np.ndarray) -> Buffer:
        return _octets(np.round(values.astype(np.float64), decimals).astype(dtype))

    return encode


def _bucketing(edges: np.ndarray) -> Encode:
    def encode(values: np.ndarray) -> Buffer:
        numbers = values.astype(np.float64)
        places = np.searchsorted(edges, numbers, side="right").astype("<i4")
        return _octets(np.where(np.isnan(numbers), np.int32(-1), places).astype("<i4"))

    return encode


def _hashing(text: bool, key: bytes) -> Encode:
    from kernels.siphash import hash_strings  # 3 ms of a worker that hashes nothing

    key_0, key_1 = (int.from_bytes(half, "little") for half in (key[:8], key[8:16]))

    def encode(values: np.ndarray) -> Buffer:
        hashes = np.zeros(values.size, np.uint64)
        if text:
            packed = packed_texts(values.ravel().tolist())
            octets = np.frombuffer(packed, np.uint8)[4 * values.size :].copy()
            ends = np.cumsum(np.frombuffer(packed, "<u4", values.size), dtype=np.int64)
        else:
            octets = values.flatten().view(np.uint8)  # a copy: what came over the wire is read-only, which the kernel does not take
            ends = np.arange(1, values.size + 1, dtype=np.int64) * values.itemsize
        if values.size:
            hash_strings(octets, ends, np.uint64(key_0), np.uint64(key_1), hashes)  # type: ignore[arg-type]
        return _octets(hashes)

    return encode
