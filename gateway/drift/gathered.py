"""Rows of small batches, one below the other, until there are enough of them to be counted together. Pure.

Most of what counting a small batch costs is the same for a large one. Rows are copied: what they came in is free again while it is in the
cache, which costs less than keeping it (benchmarks/drift_tax.py).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec

MAX_ROWS, MAX_BYTES = 512, 128 << 10  # of one version
_LEAST_ROWS = 16  # fewer are not worth copying
_REFERENCE_BYTES = 8  # of a text elsewhere

Arrays = Sequence[np.ndarray]


def room_for(signature: Signature) -> int:
    """How many rows are gathered; 0 where rows differ in shape, are no rows of a batch, or are so wide that each is worth a call."""
    specs = (*signature.inputs, *signature.outputs)
    if not signature.max_batch_size or not signature.inputs or any(size < 0 for spec in specs for size in spec.shape[1:]):
        return 0
    rows = min(MAX_ROWS, MAX_BYTES // max(1, sum(map(_row_bytes, specs))))
    return rows if rows >= _LEAST_ROWS else 0


def _row_bytes(spec: TensorSpec) -> int:
    return math.prod(spec.shape[1:]) * (DATATYPES[spec.datatype].itemsize or _REFERENCE_BYTES)


class Gathered:
    """Of one version. Its memory is taken with the first rows and given back by `let_go`."""

    def __init__(self, room: int) -> None:
        """`room`: the most rows."""
        self.room = room
        self.rows = self.batches = 0
        self._arrays: list[np.ndarray] = []
        self._sizes: list[int] = []  # of a row of each
        self._inputs = 0

    def add(self, inputs: Arrays, outputs: Arrays) -> bool:
        """Copy a batch, which must fit; False where it has another shape than those before."""
        begin, rows = self.rows, len(inputs[0])
        if not self._arrays:
            self._begin(inputs, outputs)
        end = begin + rows
        for kept, size, array in zip(self._arrays, self._sizes, [*inputs, *outputs], strict=True):
            if array.size != size * rows:  # else it might be broadcast
                return False
            kept[begin:end] = array
        self.rows = end
        self.batches += 1
        return True

    def _begin(self, inputs: Arrays, outputs: Arrays) -> None:
        self._arrays = [np.empty((self.room, *array.shape[1:]), array.dtype) for array in (*inputs, *outputs)]
        self._sizes = [math.prod(array.shape[1:]) for array in (*inputs, *outputs)]
        self._inputs = len(inputs)

    def take(self) -> tuple[Arrays, Arrays]:
        """Inputs and outputs, valid until more is added or, where the memory is let go, for good; from now on nothing is gathered."""
        taken = [array[: self.rows] for array in self._arrays]
        self.rows = self.batches = 0
        return taken[: self._inputs], taken[self._inputs :]

    def let_go(self) -> None:
        """Give the memory back; nothing is gathered."""
        self._arrays = []
