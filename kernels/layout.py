"""Many rows of bytes that differ in few places: one constant, columns laid over it. Frames of a batch's answers are such rows."""

from __future__ import annotations

from numba import types

from kernels.jit import kernel

__all__ = ["fill", "number", "place"]

_rows = types.Array(types.uint8, 2, "C")
_octets = types.Array(types.uint8, 1, "C")
_constant_octets = types.Array(types.uint8, 1, "C", readonly=True)


@kernel(types.void(_rows, _constant_octets), releases_gil=False)
def fill(block, constant):  # type: ignore[no-untyped-def]
    """Make every row of `block` [rows, width] the constant [width]. numpy's broadcast takes three times as long for short rows."""
    for i in range(block.shape[0]):
        for j in range(block.shape[1]):
            block[i, j] = constant[j]


@kernel(types.void(_rows, types.int64, _octets), types.void(_rows, types.int64, _constant_octets), releases_gil=False)
def place(block, at, column):  # type: ignore[no-untyped-def]
    """Lay a column over all rows from byte `at` on. column: [rows * width], row after row."""
    rows = block.shape[0]
    width = column.shape[0] // rows
    for i in range(rows):
        for j in range(width):
            block[i, at + j] = column[i * width + j]


@kernel(types.void(_rows, types.Array(types.int64, 1, "C"), types.int64, types.int64, types.int64), releases_gil=False)
def number(block, numbers, first, second, third):  # type: ignore[no-untyped-def]
    """Write a number of each row, 32 bits in network order, at three places. numbers: [rows]."""
    for i in range(block.shape[0]):
        for k in range(4):
            octet = (numbers[i] >> (24 - 8 * k)) & 0xFF
            block[i, first + k] = octet
            block[i, second + k] = octet
            block[i, third + k] = octet
