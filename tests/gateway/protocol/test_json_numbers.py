"""Numbers as JSON text, held against the standard library and numpy."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.protocol import payload
from gateway.protocol.json_numbers import has_nonfinite, row_texts, values_text
from gateway.protocol.tensors import DATATYPES

FIXED = sorted(name for name, datatype in DATATYPES.items() if datatype.itemsize)
NUMPY = {name: DATATYPES[name].numpy for name in FIXED}


@st.composite
def batches(draw: st.DrawFn) -> tuple[str, np.ndarray]:
    """A datatype and an array of it, with rows."""
    datatype = draw(st.sampled_from(FIXED))
    shape = tuple(draw(st.lists(st.integers(1, 4), min_size=1, max_size=3)))
    return datatype, draw(arrays.arrays(NUMPY[datatype], shape))


def widened(datatype: str, array: np.ndarray) -> np.ndarray:
    return (array.astype("<u4") << 16).view("<f4") if datatype == "BF16" else array


@given(batches())
def test_what_is_written_reads_back_to_the_same_values(batch: tuple[str, np.ndarray]) -> None:
    """Whole numbers exactly, floats to the same bits, NaN and the infinities by name."""
    datatype, array = batch
    values = json.loads(b"[%b]" % values_text(array, datatype))
    expected = widened(datatype, array).reshape(-1)
    np.testing.assert_array_equal(expected, np.array(values, object).astype(expected.dtype))
    if datatype == "BF16" and not np.isnan(expected).any():
        assert array.tobytes() == payload.pack("BF16", values)


@given(batches())
def test_rows_are_the_same_text_cut(batch: tuple[str, np.ndarray]) -> None:
    """One piece per row."""
    datatype, array = batch
    rows = row_texts(array, datatype)
    assert len(array) == len(rows)
    assert values_text(array, datatype) == b",".join(rows)


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1))
def test_a_float32_is_as_short_as_numpy_writes_it(values: list[float]) -> None:
    """The shortest decimal of the float32, never the longer one of its double."""
    array = np.array(values, np.float32)
    texts = values_text(array, "FP32").decode().split(",")
    assert all(np.float32(text) == value for text, value in zip(texts, array, strict=True))
    digits = [len(text.split("e")[0].replace(".", "").replace("-", "").strip("0")) for text in texts]
    shortest = [
        len(np.format_float_scientific(value, unique=True).split("e")[0].replace(".", "").replace("-", "").strip("0")) for value in array
    ]
    assert shortest == digits


def test_known_numbers() -> None:
    """The ones that go wrong elsewhere."""
    single = np.array([0.1, 1e-7, 16777216, -0.0, 3.4028235e38, math.nan, math.inf, -math.inf], "f4")
    assert b"0.1,1e-7,16777216.0,-0.0,3.4028235e+38,NaN,Infinity,-Infinity" == values_text(single, "FP32")
    assert b"0.1,NaN" == values_text(np.array([0.1, math.nan]), "FP64")
    assert b"9223372036854775807,-9223372036854775808" == values_text(np.array([2**63 - 1, -(2**63)]), "INT64")
    assert b"18446744073709551615" == values_text(np.array([2**64 - 1], "u8"), "UINT64")
    assert b"true,false" == values_text(np.array([True, False]), "BOOL")
    assert b"1.0,NaN,-Infinity" == values_text(np.array([0x3F80, 0x7FC0, 0xFF80], "u2"), "BF16")


@pytest.mark.parametrize("array", [np.zeros((4, 6), "f4")[:, ::2], np.zeros((2, 6), "f4").T, np.zeros((), "f4"), np.zeros((3, 0), "f4")])
def test_any_layout_is_written(array: np.ndarray) -> None:
    """Slices, transposed, scalars, empty."""
    assert b",".join([b"0.0"] * array.size) == values_text(array, "FP32")
    if array.size and array.ndim:
        assert [b",".join([b"0.0"] * (array.size // len(array)))] * len(array) == row_texts(array, "FP32")


def test_nonfinite_texts_are_told_from_others() -> None:
    """By each of the three tokens; exponents and booleans are none."""
    assert all(has_nonfinite(values_text(np.array([1, value]), "FP64")) for value in (math.nan, math.inf, -math.inf))
    assert not has_nonfinite(values_text(np.array([1e300, -1e-300]), "FP64"))
    assert not has_nonfinite(b"true,false")
