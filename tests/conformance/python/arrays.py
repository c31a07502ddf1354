"""What the numpy-speaking clients send: one array per datatype, at its extremes, a row, a large tensor, an odd name."""

from __future__ import annotations

import numpy as np

ARRAYS = {
    "BOOL": np.array([[True, False]]),
    **{name: np.array([[np.iinfo(name.lower()).min, np.iinfo(name.lower()).max]], name.lower())
       for name in ("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64")},
    "FP32": np.array([[0.1, -3e38]], np.float32),
    "FP64": np.array([[0.1, -1e300]], np.float64),
    "BYTES": np.array([["grüß".encode(), b""]], np.object_),
}  # fmt: skip
ODD_NAME = "modèle 100% ☂ 😀"  # needs percent-encoding in grpc-message, the percent sign included
ROW = np.array([[1.0, 2.5, -3.0, 0.0]], np.float32)
LARGE = (np.arange(1 << 19, dtype=np.float32) / 3).reshape(1, -1)


def same(expected: np.ndarray, actual: np.ndarray) -> None:
    """Equal shape and values; strings as bytes, whichever of the two a client decodes them to."""
    if expected.dtype == np.object_:
        actual = np.array([[text.encode() if isinstance(text, str) else text for text in row] for row in actual], np.object_)
    if expected.shape != actual.shape or not np.array_equal(expected, actual):
        raise AssertionError(f"expected {expected}, got {actual}")
