"""The typed contents of an input (InferTensorContents), from wire bytes to tensor data without a parsed message between.

A caller puts a tensor's elements into the one field that belongs to its datatype. Packed BOOL, FP32 and FP64 are on the wire
what a runtime takes; integers are varints; strings come one by one. Elements in another field, or in two, are an error.
"""

from __future__ import annotations

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
_FLOATS = frozenset({"FP32", "FP64"})  # on the wire as a runtime takes them
_WIDE = {"i": np.dtype(np.int32), "u": np.dtype(np.uint32)}  # what int_contents and uint_contents hold, by numpy's kind


_COPIED_BYTES = 4_096  # up to here a copy is quicker than a view, and lets go of the array

Buffer = bytes | memoryview


def typed_input(
    tensor: str, datatype: str, shape: tuple[int, ...], contents: bytes, *, size: int, model: str, limits: RequestLimits
) -> InputTensor:
    """An input from its serialized InferTensorContents. `shape` has been checked; `size` is what its numbers take, in bytes.

    Raises INVALID_ARGUMENT for malformed bytes, a wrong or second field, a wrong number of elements, a number out of range and
    strings that are not UTF-8, TOO_LARGE for too many or too long strings.
    """
    number = _NUMBERS.get(datatype)
    if number is None:
        raise invalid(f"{datatype} data of input '{shown(tensor)}' for model '{shown(model)}' must be sent in raw_input_contents")
    data = _single_chunk(contents, number) if datatype != "BYTES" else None
    if data is None:
        data = _collected(tensor, datatype, contents, model=model)
    if datatype in _FLOATS and len(data) == size:
        return InputTensor(tensor, datatype, shape, data)
    if datatype in _FLOATS or datatype == "BYTES":
        return payload.raw(tensor, datatype, shape, data, model=model, limits=limits)
    return InputTensor(tensor, datatype, shape, _decoded(tensor, datatype, data, size=size, model=model))


def _single_chunk(contents: bytes, number: int) -> bytes | None:
    """The data where `contents` is one packed field and nothing else, as every client writes it; None where it is not."""
    if len(contents) < 2 or contents[0] != number << 3 | protobuf.LENGTH:
        return None
    length, at = contents[1], 2
    if length > 127:
        length &= 127
        for shift in (7, 14, 21, 28):
            if at == len(contents):
                return None
            length |= (contents[at] & 127) << shift
            at += 1
            if contents[at - 1] < 128:
                break
        else:
            return None
    return contents[at:] if at + length == len(contents) else None


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


def _decoded(tensor: str, datatype: str, data: bytes, *, size: int, model: str) -> Buffer:
    """Varints to fixed width. No more is allocated than elements came, whatever the shape says."""
    itemsize = DATATYPES[datatype].itemsize
    numbers = np.empty(min(size // itemsize, len(data)), np.uint64)
    count = protobuf.varints(data, numbers)
    if count == protobuf.MALFORMED:
        raise _malformed(tensor, model)
    if count * itemsize != size:
        count = int(np.count_nonzero(np.frombuffer(data, np.uint8) < 0x80))  # a varint ends with its first byte below
        raise payload.size_mismatch(tensor, model, expected=size, got=count * itemsize)
    narrow = _narrowed(tensor, datatype, numbers, model=model)
    return narrow.tobytes() if size <= _COPIED_BYTES else narrow.data.cast("B")


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
