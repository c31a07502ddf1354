"""A tensor's data, as bytes or as Python values, to the little-endian bytes that a runtime takes. No JSON, no protobuf.

Nothing is allocated by a number that the caller wrote before that number has been held against the bytes that came.
Bounds: `RequestLimits.max_rank`, `max_elements`, `max_string_elements`, `max_string_bytes`.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Sequence

import numpy as np

from gateway.errors import TidegateError, invalid, too_large
from gateway.limits import RequestLimits
from gateway.protocol.tensors import DATATYPES, Datatype, InputTensor, shown

_STRUCT_CODES = {
    "BOOL": "?", "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
_PACKED_AT_ONCE = 8_192  # values that one call of struct turns over: 10 ns each, numpy takes 20 at any size
_SCAN_BYTES = 2_048  # up to here deleting the good bytes beats numpy's maximum
_LENGTH = struct.Struct("<I")


def datatype_of(name: str, *, tensor: str) -> Datatype:
    """The datatype of that exact, upper-case name."""
    try:
        return DATATYPES[name]
    except KeyError:
        raise invalid(f"input '{shown(tensor)}' has an unknown datatype '{shown(name)}'") from None


def check_shape(shape: Sequence[int], *, tensor: str, model: str, limits: RequestLimits) -> int:
    """The number of elements of a shape, 0 where a dimension is 0 (`bind` decides about those).

    Rank first: a packed shape of 4 MiB costs 16 times that as a list. The product is of Python integers, which do not wrap.
    """
    if len(shape) > limits.max_rank:
        raise invalid(f"input '{shown(tensor)}' for model '{shown(model)}' has {len(shape)} dimensions, the limit is {limits.max_rank}")
    for size in shape:
        if type(size) is not int:
            raise invalid(f"shape of input '{shown(tensor)}' for model '{shown(model)}' must hold integers only")
        if size < 0:
            raise invalid(f"shape of input '{shown(tensor)}' for model '{shown(model)}' has a negative dimension")
    count = math.prod(shape)
    if count > limits.max_elements:
        raise invalid(f"input '{shown(tensor)}' for model '{shown(model)}' has more than {limits.max_elements} elements")
    return count


def size_mismatch(tensor: str, model: str, *, expected: int, got: int) -> TidegateError:
    """The text that clients of this protocol know, in bytes."""
    return invalid(f"input byte size mismatch for input '{shown(tensor)}' for model '{shown(model)}'. Expected {expected}, got {got}")


def raw(tensor: str, datatype: str, shape: Sequence[int], buffer: bytes | memoryview, *, model: str, limits: RequestLimits) -> InputTensor:
    """An input from its wire bytes: little-endian and row-major, BOOL as 0 or 1, BYTES as 4-byte length and UTF-8 each.

    Fixed-width data stays where it is: the tensor holds `buffer` itself.
    """
    itemsize = datatype_of(datatype, tensor=tensor).itemsize
    count = check_shape(shape, tensor=tensor, model=model, limits=limits)
    if not itemsize:
        return InputTensor(tensor, datatype, tuple(shape), texts=_texts(buffer, count, tensor=tensor, model=model, limits=limits))
    if len(buffer) != count * itemsize:
        raise size_mismatch(tensor, model, expected=count * itemsize, got=len(buffer))
    if datatype == "BOOL" and not _only_0_and_1(buffer):
        raise invalid(f"input '{shown(tensor)}' for model '{shown(model)}' has a BOOL byte that is neither 0 nor 1")
    return InputTensor(tensor, datatype, tuple(shape), buffer)


def out_of_range(tensor: str, datatype: str, *, model: str) -> TidegateError:
    """A number that the datatype cannot hold."""
    return invalid(f"data of input '{shown(tensor)}' for model '{shown(model)}' has a number out of range for {datatype}")


def pack(datatype: str, values: Sequence[bool | int | float]) -> bytes:
    """Numbers of the right Python type as little-endian bytes. Raises OverflowError for what `datatype` cannot hold.

    A finite value that would become infinite is out of range; NaN and the infinities stay themselves.
    """
    if datatype == "BF16":
        return _pack_bfloat16(np.array(values, np.float64))
    count = len(values)
    try:
        if count <= _PACKED_AT_ONCE:
            return packer(datatype, count)(*values)  # type: ignore[no-any-return]
        parts = [values[at : at + _PACKED_AT_ONCE] for at in range(0, count, _PACKED_AT_ONCE)]
        return b"".join([packer(datatype, len(part))(*part) for part in parts])
    except struct.error as error:
        raise OverflowError(str(error)) from None


@functools.lru_cache(maxsize=2048)
def packer(datatype: str, count: int):  # type: ignore[no-untyped-def]
    """`struct`'s pack of so many values of a datatype other than BF16 and BYTES."""
    return struct.Struct(f"<{count}{_STRUCT_CODES[datatype]}").pack


def _refuse_new_infinities(infinite: np.ndarray, wide: np.ndarray) -> None:
    if infinite.any() and not np.isinf(wide[infinite]).all():
        raise OverflowError("a finite number rounds to infinity")


def _pack_bfloat16(wide: np.ndarray) -> bytes:
    """Doubles to the upper halves of floats, to nearest even.

    The step over float32 rounds to odd, so that the two roundings are as good as one (Boldo & Melquiond, 2008).
    """
    with np.errstate(over="ignore", invalid="ignore"):
        near = wide.astype("<f4")
    bits = near.view("<u4") - (np.abs(near) > np.abs(wide))  # towards zero
    bits |= near != wide
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    rounded = np.where(np.isnan(wide), 0x7FC0, rounded).astype("<u2")
    _refuse_new_infinities(rounded & 0x7FFF == 0x7F80, wide)
    return rounded.tobytes()


def _only_0_and_1(buffer: bytes | memoryview) -> bool:
    if len(buffer) <= _SCAN_BYTES:
        return not bytes(buffer).translate(None, b"\0\1")
    return bool(np.frombuffer(buffer, np.uint8).max() <= 1)


def check_texts(count: int, *, tensor: str, limits: RequestLimits) -> None:
    """How many strings one tensor may have, before the first is made."""
    if count > limits.max_string_elements:
        raise too_large(f"input '{shown(tensor)}' has {count} string elements, the limit is {limits.max_string_elements}")


def text_too_long(tensor: str, limits: RequestLimits) -> TidegateError:
    return too_large(f"input '{shown(tensor)}' has a string element of more than {limits.max_string_bytes} bytes")


def _texts(buffer: bytes | memoryview, count: int, *, tensor: str, model: str, limits: RequestLimits) -> list[str]:
    """Length-prefixed strings; each length is held against the bytes that are left before anything is cut out."""
    check_texts(count, tensor=tensor, limits=limits)
    texts: list[str] = []
    at, end, longest = 0, len(buffer), limits.max_string_bytes
    while at < end:
        if len(texts) == count:
            raise _text_count(count + 1, count, tensor=tensor, model=model)
        if end - at < 4:
            raise invalid(f"input '{shown(tensor)}' for model '{shown(model)}' ends within the length of a string element")
        (length,) = _LENGTH.unpack_from(buffer, at)
        at += 4
        if length > end - at:
            where = f"string element {len(texts)} of input '{shown(tensor)}' for model '{shown(model)}'"
            raise invalid(f"{where} says {length} bytes, {end - at} are left")
        if length > longest:
            raise text_too_long(tensor, limits)
        texts.append(_text(buffer[at : at + length], tensor=tensor, model=model))
        at += length
    if len(texts) != count:
        raise _text_count(len(texts), count, tensor=tensor, model=model)
    return texts


def _text(value: bytes | memoryview, *, tensor: str, model: str) -> str:
    """Strict UTF-8: ONNX Runtime would turn bytes into the text `b'..'`."""
    try:
        return str(value, "utf-8")
    except UnicodeDecodeError:
        raise invalid(f"input '{shown(tensor)}' for model '{shown(model)}' has a string element that is not UTF-8") from None


def _text_count(got: int, expected: int, *, tensor: str, model: str) -> TidegateError:
    if got > expected:
        return invalid(f"unexpected number of string elements {got} for inference input '{shown(tensor)}', expecting {expected}")
    where = f"inference input '{shown(tensor)}' for model '{shown(model)}'"
    return invalid(f"expected {expected} string elements for {where}, got {got}")
