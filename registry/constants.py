"""The constants of an ONNX file: does each tensor hold what its shape and type declare, and where is it if it lies in another file?

A reader that trusts the declared shape reads past the data; one that trusts the data disagrees with the next. Both must be the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from onnx import SparseTensorProto, TensorProto

from registry.errors import refused
from registry.gate import Gate
from registry.names import is_plain_file_name

_EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}  # onnx IR specification, "External Tensor Data"
_LIBRARIES = (".so", ".dll", ".dylib")
_T = TensorProto
_BITS: dict[int, int] = {
    **dict.fromkeys((_T.INT2, _T.UINT2), 2),
    **dict.fromkeys((_T.INT4, _T.UINT4, _T.FLOAT4E2M1), 4),
    **dict.fromkeys((_T.BOOL, _T.INT8, _T.UINT8, _T.FLOAT8E4M3FN, _T.FLOAT8E4M3FNUZ, _T.FLOAT8E5M2, _T.FLOAT8E5M2FNUZ, _T.FLOAT8E8M0), 8),
    **dict.fromkeys((_T.INT16, _T.UINT16, _T.FLOAT16, _T.BFLOAT16), 16),
    **dict.fromkeys((_T.INT32, _T.UINT32, _T.FLOAT), 32),
    **dict.fromkeys((_T.INT64, _T.UINT64, _T.DOUBLE, _T.COMPLEX64), 64),
    _T.COMPLEX128: 128,
}
# Field of values → element types that may use it (onnx.proto, TensorProto). All others with a size use int32_data.
_FIELDS = {
    "float_data": {_T.FLOAT, _T.COMPLEX64},
    "double_data": {_T.DOUBLE, _T.COMPLEX128},
    "int64_data": {_T.INT64},
    "uint64_data": {_T.UINT64, _T.UINT32},
    "string_data": {_T.STRING},
}
_DATA_FIELDS = (*_FIELDS, "int32_data", "raw_data")
_COMPLEX = {_T.COMPLEX64, _T.COMPLEX128}


@dataclass(frozen=True, slots=True)
class External:
    """Where a tensor's values lie."""

    file: str
    offset: int
    length: int | None  # None where the model does not say


def is_external(tensor: TensorProto) -> bool:
    """Whether any reader would look for the values in another file."""
    return tensor.data_location == TensorProto.EXTERNAL or len(tensor.external_data) > 0


def check_tensor(tensor: TensorProto, gate: Gate) -> None:
    """Raises `Kind.INVALID_MODEL` where values, type and shape do not belong together."""
    elements = _elements(tensor, gate)
    filled = [field for field in _DATA_FIELDS if _has(tensor, field)]
    if tensor.HasField("segment"):
        raise refused(f"{_subject(tensor)} is one segment of a larger one")
    if tensor.data_location not in TensorProto.DataLocation.values():
        raise refused(f"{_subject(tensor)} has its data in an unknown place")
    if is_external(tensor):
        _check_external(tensor, filled)
    elif elements and not filled:
        raise refused(f"{_subject(tensor)} declares {elements} elements and has none")
    elif filled:
        _check_values(tensor, filled, elements)


def check_sparse(sparse: SparseTensorProto, gate: Gate) -> None:
    """Raises `Kind.INVALID_MODEL` where a sparse tensor is larger than it looks, or not whole in the file."""
    subject = f"sparse {_subject(sparse.values)}"
    if is_external(sparse.values) or is_external(sparse.indices):
        raise refused(f"{subject} has external data; its indices could not be checked")
    if any(size < 0 for size in sparse.dims) or len(sparse.dims) > gate.max_rank:
        raise refused(f"{subject} has a shape that is negative or has more than {gate.max_rank} dimensions")
    if math.prod(sparse.dims) > gate.max_sparse_elements:
        raise refused(f"{subject} has {math.prod(sparse.dims)} elements once it is dense, more than {gate.max_sparse_elements}")
    if sparse.indices.data_type != TensorProto.INT64 or list(sparse.indices.dims[:1]) != list(sparse.values.dims[:1]):
        raise refused(f"{subject} does not have one index for each value")


def external_of(tensor: TensorProto) -> External:
    """Where an external tensor lies. Raises `Kind.INVALID_MODEL` for what is not a plain file name with a range in plain digits."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    subject = _subject(tensor)
    if len(entries) != len(tensor.external_data) or not entries.keys() <= _EXTERNAL_KEYS:
        raise refused(f"{subject} has repeated or unknown keys in its external data")
    if not is_plain_file_name(name):
        raise refused(f"{subject} has its data in {name[:128]!r}; external data must be a file beside the model, without a path")
    if name.lower().endswith(_LIBRARIES):
        raise refused(f"{subject} has its data in '{name}', which is named as a program library")
    numbers = [entries.get(key) or None for key in ("offset", "length")]
    if not all(value is None or (value.isascii() and value.isdigit() and len(value) < 19) for value in numbers):
        raise refused(f"{subject} has an offset or length that is not a number of bytes")
    return External(name, int(numbers[0] or 0), None if numbers[1] is None else int(numbers[1]))


def external_end(tensor: TensorProto) -> tuple[str, int]:
    """(file name, bytes of that file that the tensor needs at least)."""
    place = external_of(tensor)
    length = _bytes(tensor) if place.length is None else place.length
    return place.file, place.offset + length


def _subject(tensor: TensorProto) -> str:
    return f"tensor '{tensor.name[:128]}'"


def _has(tensor: TensorProto, field: str) -> bool:
    """Whether a field of values is there. Bytes are not asked for their length, which would copy them."""
    return bool(tensor.HasField("raw_data")) if field == "raw_data" else len(getattr(tensor, field)) > 0


def _elements(tensor: TensorProto, gate: Gate) -> int:
    if tensor.data_type not in _BITS and tensor.data_type != TensorProto.STRING:
        raise refused(f"{_subject(tensor)} has the element type {tensor.data_type}, which is unknown or has no fixed size")
    if len(tensor.dims) > gate.max_rank:
        raise refused(f"{_subject(tensor)} has {len(tensor.dims)} dimensions, more than {gate.max_rank}")
    if any(size < 0 for size in tensor.dims):
        raise refused(f"{_subject(tensor)} has a negative dimension")
    elements = math.prod(tensor.dims)  # of Python's integers: machine words overflow to small numbers
    if elements > gate.max_elements:
        raise refused(f"{_subject(tensor)} declares {elements} elements, more than {gate.max_elements}")
    return elements


def _bytes(tensor: TensorProto) -> int:
    """Of the values as they lie in a file; types under one byte are packed."""
    return -(-math.prod(tensor.dims) * _BITS.get(tensor.data_type, 0) // 8)


def _check_external(tensor: TensorProto, filled: list[str]) -> None:
    place, size = external_of(tensor), _bytes(tensor)
    if filled:
        raise refused(f"{_subject(tensor)} has values both in the model and in external data")
    if tensor.data_type == TensorProto.STRING:
        raise refused(f"{_subject(tensor)} has texts in external data")
    if place.length is not None and place.length != size:
        raise refused(f"{_subject(tensor)} declares {size} bytes and refers to {place.length} in '{place.file}'")


def _check_values(tensor: TensorProto, filled: list[str], elements: int) -> None:
    if len(filled) > 1:
        raise refused(f"{_subject(tensor)} has its values twice: {' and '.join(filled)}")
    field = filled[0]
    if field == "raw_data":
        _check_raw(tensor)
        return
    home = next((name for name, types in _FIELDS.items() if tensor.data_type in types), "int32_data")
    packed = _BITS.get(tensor.data_type, 8)
    expected = -(-elements * packed // 8) if packed < 8 else elements * (2 if tensor.data_type in _COMPLEX else 1)
    if field != home or len(getattr(tensor, field)) != expected:
        raise refused(f"{_subject(tensor)} declares {elements} elements and has {len(getattr(tensor, field))} values in {field}")


def _check_raw(tensor: TensorProto) -> None:
    raw = tensor.raw_data
    if tensor.data_type == TensorProto.STRING:
        raise refused(f"{_subject(tensor)} has texts as raw bytes")
    if len(raw) != _bytes(tensor):
        raise refused(f"{_subject(tensor)} declares {_bytes(tensor)} bytes and has {len(raw)}")
    if tensor.data_type == TensorProto.BOOL and raw.strip(b"\x00\x01"):
        raise refused(f"{_subject(tensor)} has a truth value that is neither 0 nor 1")
