"""Many rows of a model's inputs in one piece of memory, for a child process that asks the model a slice at a time.

Numbers lie row by row, little-endian; texts as their ends, int64, and then their bytes in UTF-8. What lies where travels beside it as plain
data. numpy is imported only where arrays are turned into bytes and back.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import TYPE_CHECKING

import msgspec

from registry.errors import refused
from registry.golden import NUMPY_TYPES

if TYPE_CHECKING:
    import numpy as np

MAX_PACKED_BYTES = 2 << 30
_ALIGN = 64
_TEXT = "tensor(string)"


class PackedInput(msgspec.Struct, frozen=True, kw_only=True):
    """Where the rows of one input lie."""

    name: str
    type: str  # a key of `NUMPY_TYPES`
    shape: tuple[int, ...]  # of a row
    start: int  # bytes
    end: int

    @property
    def elements(self) -> int:
        """Of a row."""
        return math.prod(self.shape)


class Packed(msgspec.Struct, frozen=True, kw_only=True):
    """What a piece of memory holds."""

    rows: int
    inputs: tuple[PackedInput, ...]

    @property
    def size_bytes(self) -> int:
        """At least 1: an empty file cannot be mapped."""
        return max([each.end for each in self.inputs], default=0) or 1


def pack(arrays: Mapping[str, np.ndarray], types: Mapping[str, str]) -> tuple[Packed, list[bytes]]:
    """Arrays [rows, …] of as many rows, by input, and the ONNX type of each; the pieces together are the memory.

    Raises `Kind.INVALID_MODEL` past 2 GiB.
    """
    pieces: list[bytes] = []
    inputs, at = [], 0
    for name, array in arrays.items():
        content = list(_content(array, types[name]))
        size = sum(map(len, content))
        inputs.append(PackedInput(name=name, type=types[name], shape=tuple(array.shape[1:]), start=at, end=at + size))
        pieces += [*content, bytes(-size % _ALIGN)]
        at += size + -size % _ALIGN
        if at > MAX_PACKED_BYTES:
            raise refused(f"the reference rows have more than {MAX_PACKED_BYTES} bytes of inputs")
    return Packed(rows=len(next(iter(arrays.values()))), inputs=tuple(inputs)), [*pieces, b"\0"]


def unpack(packed: Packed, memory: memoryview, start: int, stop: int) -> dict[str, np.ndarray]:
    """Rows `start` to `stop` of every input."""
    return {each.name: _array(each, memory, packed.rows, start, stop) for each in packed.inputs}


def _content(array: np.ndarray, kind: str) -> Iterator[bytes]:
    import numpy as np

    if kind != _TEXT:
        dtype = np.dtype(NUMPY_TYPES[kind])
        yield np.ascontiguousarray(array, dtype.newbyteorder("<")).tobytes()
        return
    texts = [text.encode() if isinstance(text, str) else text for text in array.ravel().tolist()]
    yield np.cumsum([len(text) for text in texts], dtype="<i8").tobytes()
    yield b"".join(texts)


def _array(each: PackedInput, memory: memoryview, rows: int, start: int, stop: int) -> np.ndarray:
    import numpy as np

    shape, width = (stop - start, *each.shape), each.elements
    if each.type != _TEXT:
        dtype = np.dtype(NUMPY_TYPES[each.type])
        found = np.frombuffer(memory, dtype.newbyteorder("<"), (stop - start) * width, each.start + start * width * dtype.itemsize)
        return found.astype(dtype).reshape(shape)
    ends = np.frombuffer(memory, "<i8", rows * width, each.start)
    first = each.start + 8 * rows * width
    bounds = [first + (int(ends[start * width - 1]) if start else 0), *(first + ends[start * width : stop * width]).tolist()]
    texts = [str(memory[low:high], "utf-8") for low, high in pairwise(bounds)]
    return np.array([*texts, None], object)[:-1].reshape(shape)  # None keeps numpy from guessing a text type
