"""The typed contents of an input (InferTensorContents), from wire bytes to tensor data without a parsed message between.

A caller puts a tensor's elements into the one field that belongs to its datatype. Packed BOOL, FP32 and FP64 are on the wire
what a runtime takes; integers are varints; strings come one by one. Elements in another field, or in two, are an error.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gateway.errors import TidegateError, invalid
from gateway.limits import RequestLimits
from gateway.pb import inference_pb2 as pb
from gateway.protocol import payload
from gateway.protocol.tensors import DATATYPES, InputTensor, shown
from kernels import protobuf

_FIELDS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip
_NUMBERS = {datatype: pb.InferTensorContents.DESCRIPTOR.fields_by_name[name].number for datatype, name in _FIELDS.items()}
_WIRE_TYPES = {"FP32": protobuf.FIXED32, "FP64": protobuf.FIXED64, "BYTES": protobuf.LENGTH}  # the rest are varints
_ELEMENTS = np.full(1 + max(_NUMBERS.values()), -1, np.int64)
for _datatype, _number in _NUMBERS.items():
    _ELEMENTS[_number] = _WIRE_TYPES.get(_datatype, protobuf.VARINT)
_AS_THEY_COME = frozenset({"BOOL", "FP32", "FP64"})
_WIDE = {"i": np.dtype(np.int32), "u": np.dtype(np.uint32)}  # what int_contents and uint_contents hold, by numpy's kind


def typed_input(tensor: str, datatype: str, shape: Sequence[int], contents: bytes, *, model: str, limits: RequestLimits) -> InputTensor:
    """An input from its serialized InferTensorContents.

    Raises INVALID_ARGUMENT for malformed bytes, a wrong or second field, a wrong number of elements, a number out of range and
    strings that are not UTF-8, TOO_LARGE for too many or too long strings.
    """
    payload.datatype_of(datatype, tensor=tensor)
    number = _NUMBERS.get(datatype)
    if number is None:
        raise invalid(f"{datatype} data of input '{shown(tensor)}' for model '{shown(model)}' must be sent in raw_input_contents")
    data = _single_chunk(contents, number) if datatype != "BYTES" else None
    if data is None:
        data = _collected(tensor, datatype, contents, model=model)
    if datatype in _AS_THEY_COME and (datatype != "BOOL" or not data.translate(None, b"\0\1")):
        return payload.raw(tensor, datatype, shape, data, model=model, limits=limits)
    if datatype == "BYTES":
        return payload.raw(tensor, datatype, shape, data, model=model, limits=limits)
    return _decoded(tensor, datatype, shape, data, model=model, limits=limits)


def _single_chunk(contents: bytes, number: int) -> bytes | None:
    """The data where `contents` is one packed field and nothing else, as every client writes it; None where it is not."""
    if not contents or contents[0] != number << 3 | protobuf.LENGTH:
        return None
    at, shift, length = 1, 0, 0
    while at < len(contents) and shift < 35:
        byte = contents[at]
        length |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return contents[at:] if at + length == len(contents) else None
    return None


def _collected(tensor: str, datatype: str, contents: bytes, *, model: str) -> bytes:
    """The data wherever they are in `contents`: in several chunks, unpacked, between unknown fields."""
    out = np.empty(2 * len(contents), np.uint8)
    size = protobuf.collect(np.frombuffer(contents, np.uint8), _NUMBERS[datatype], _ELEMENTS, out)
    if size == protobuf.MALFORMED:
        raise _malformed(tensor, model)
    if size == protobuf.CONFLICT:
        raise invalid(
            f"input '{shown(tensor)}' for model '{shown(model)}' has typed contents in a field other than '{_FIELDS[datatype]}', "
            f"which belongs to {datatype}"
        )
    return out[:size].tobytes()


def _decoded(tensor: str, datatype: str, shape: Sequence[int], data: bytes, *, model: str, limits: RequestLimits) -> InputTensor:
    """Varints to fixed width. No more is allocated than elements came."""
    count = payload.check_shape(shape, tensor=tensor, model=model, limits=limits)
    numbers = np.empty(min(count, len(data)), np.uint64)
    got = protobuf.varints(data, numbers)
    if got == protobuf.MALFORMED:
        raise _malformed(tensor, model)
    if got != count:
        exact = int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))  # a varint ends with its first byte below
        itemsize = DATATYPES[datatype].itemsize
        raise payload.size_mismatch(tensor, model, expected=count * itemsize, got=exact * itemsize)
    return InputTensor(tensor, datatype, tuple(shape), _narrowed(tensor, datatype, numbers, model=model).data.cast("B"))


def _narrowed(tensor: str, datatype: str, numbers: np.ndarray, *, model: str) -> np.ndarray:
    """64-bit numbers as `datatype`: fields of 32 bits drop the upper half, as protobuf does; what then does not fit is refused."""
    target = DATATYPES[datatype].numpy
    if datatype == "BOOL":
        return numbers.astype(np.bool_)
    if target.itemsize == 8:
        return numbers
    held = numbers.astype(np.uint32).view(_WIDE[target.kind])
    narrow: np.ndarray = held.astype(target)
    if target.itemsize < 4 and (narrow != held).any():
        raise payload.out_of_range(tensor, datatype, model=model)
    return narrow


def _malformed(tensor: str, model: str) -> TidegateError:
    return invalid(f"the typed contents of input '{shown(tensor)}' for model '{shown(model)}' are malformed")
