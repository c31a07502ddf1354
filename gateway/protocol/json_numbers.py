"""Numbers to JSON text, as short as reads back to the same bits. Knows no tensor names and no answers.

orjson writes numpy arrays: 30 ns for a float32, whose shortest text is not that of its double (0.1, not 0.10000000149011612);
numpy's own repr takes 900. It writes null for NaN and the infinities: here they become the tokens that Triton and TensorFlow
Serving write, and `has_nonfinite` lets a stricter caller refuse them.
"""

from __future__ import annotations

import numpy as np
import orjson

_OPTIONS = orjson.OPT_SERIALIZE_NUMPY
_NULL = b"null"


def values_text(array: np.ndarray, datatype: str) -> bytes:
    """All values in row-major order, between commas. `array` holds numbers or booleans, BF16 as its bits."""
    plain = widened(array) if datatype == "BF16" else array
    if plain.ndim == 2 and len(plain) == 1:
        return _dump(plain)[2:-2]  # one row, as most callers ask for: a reshape costs as much as its text
    return _dump(plain if plain.ndim == 1 else plain.reshape(-1))[1:-1]


def nested_text(array: np.ndarray, datatype: str) -> bytes:
    """All of an array as lists nested like its shape, or its one value. Not for strings."""
    if not array.ndim:
        return values_text(array, datatype)
    if not array.size:
        return orjson.dumps(array.tolist())
    return _dump(widened(array) if datatype == "BF16" else array)


def nested_rows(array: np.ndarray, datatype: str) -> list[bytes]:
    """Each row of a batch as lists nested like its shape, or its one value. Not for strings."""
    if not array.size:
        return [orjson.dumps(row) for row in array.tolist()]
    text, depth = nested_text(array, datatype), array.ndim - 1
    if not depth:
        return text[1:-1].split(b",")
    opening, closing = b"[" * depth, b"]" * depth
    return [opening + row + closing for row in text[1 + depth : -1 - depth].split(closing + b"," + opening)]


def row_texts(array: np.ndarray, datatype: str) -> list[bytes]:
    """The values of each row of a batch that is not empty, between commas."""
    plain = widened(array) if datatype == "BF16" else array
    rows = len(array)
    if plain.size == rows:
        return _dump(plain.reshape(-1))[1:-1].split(b",")
    return _dump(plain if plain.ndim == 2 else plain.reshape(rows, -1))[2:-2].split(b"],[")


def has_nonfinite(text: bytes) -> bool:
    """Whether such a text names NaN or an infinity: nothing else in it has a capital letter."""
    return b"N" in text or b"I" in text


def widened(array: np.ndarray) -> np.ndarray:
    """The bits of bfloat16 as the float32 of the same values."""
    return (array.astype(np.uint32) << 16).view(np.float32)


def _dump(array: np.ndarray) -> bytes:
    try:
        text = orjson.dumps(array, option=_OPTIONS)
    except TypeError:  # a slice, or transposed
        text = orjson.dumps(np.ascontiguousarray(array), option=_OPTIONS)
    return _with_tokens(text, array) if _NULL in text else text


def _with_tokens(text: bytes, array: np.ndarray) -> bytes:
    """Name what orjson wrote as null. Both stand in row-major order."""
    values = array[~np.isfinite(array)].tolist()
    tokens = [b"NaN" if value != value else b"Infinity" if value > 0 else b"-Infinity" for value in values]  # noqa: PLR0124 - NaN
    pieces = text.split(_NULL)
    return b"".join([part for pair in zip(pieces, tokens, strict=False) for part in pair]) + pieces[-1]
