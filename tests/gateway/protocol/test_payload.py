"""Shapes and data to little-endian bytes, without a transport (cases 9 to 21 and 30 to 39)."""

from __future__ import annotations

import struct
import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.limits import RequestLimits
from gateway.protocol import payload
from gateway.protocol.tensors import DATATYPES, InputTensor
from gateway.protocol.texts import pack_texts

LIMITS = RequestLimits()
FIXED = sorted(name for name, datatype in DATATYPES.items() if datatype.itemsize)
INTEGERS = [name for name in FIXED if DATATYPES[name].numpy.kind in "iu" and name != "BF16"]


def check(shape: Any) -> int:
    return payload.check_shape(shape, tensor="x", model="m", limits=LIMITS)


def raw(datatype: str, shape: list[int], data: bytes) -> InputTensor:
    return payload.raw("x", datatype, shape, data, model="m", limits=LIMITS)


def refusal(function: Any, *arguments: Any) -> tuple[Code, str]:
    with pytest.raises(TidegateError) as refused:
        function(*arguments)
    return refused.value.code, refused.value.message


# --- shapes ------------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(0, 8), max_size=8))
def test_a_shape_has_the_product_of_its_dimensions(shape: list[int]) -> None:
    """One for a scalar, zero where a dimension is."""
    assert int(np.prod(shape, dtype=object)) == check(shape)


@pytest.mark.parametrize("shape", [[-1], [-1, 16], [2, -5], [-2, -5], [0, -1]])
def test_case_14_15_negative_dimensions_are_refused_one_by_one(shape: list[int]) -> None:
    """Two negative ones have a positive product."""
    assert (Code.INVALID_ARGUMENT, "shape of input 'x' for model 'm' has a negative dimension") == refusal(check, shape)


@pytest.mark.parametrize("shape", [[2**4, 2**60 + 2], [2**33, 2**33], [2**62, 4], [2**2, 2**60 + 2], [2**63], [10**9], [2**70, 0, -1]])
def test_case_17_18_products_do_not_wrap(shape: list[int]) -> None:
    """Where 64 bits would wrap to a small number, Python's do not."""
    assert Code.INVALID_ARGUMENT == refusal(check, shape)[0]


@pytest.mark.parametrize("size", [3.0, 1e3, "3", True, None])
def test_case_19_a_dimension_is_an_integer(size: object) -> None:
    """A float, a string, a boolean and null are none."""
    assert (Code.INVALID_ARGUMENT, "shape of input 'x' for model 'm' must hold integers only") == refusal(check, [1, size])


def test_case_20_the_rank_is_looked_at_first() -> None:
    """Four million dimensions are counted, not read."""

    class Shape(list[int]):
        def __iter__(self) -> Any:
            raise AssertionError("read")

    assert (Code.INVALID_ARGUMENT, "input 'x' for model 'm' has 4000000 dimensions, the limit is 8") == refusal(
        check, Shape([1] * 4_000_000)
    )


def test_case_21_nothing_is_allocated_by_shape() -> None:
    """A billion strings claimed above four bytes, and as many as are allowed."""
    tracemalloc.start()
    assert Code.INVALID_ARGUMENT == refusal(raw, "BYTES", [10**9], b"\0\0\0\0")[0]
    assert "expected 1048576 string elements for inference input 'x' for model 'm', got 1" == refusal(raw, "BYTES", [2**20], b"\0\0\0\0")[1]
    assert Code.INVALID_ARGUMENT == refusal(raw, "FP64", [2**23], b"\0\0\0\0")[0]
    assert tracemalloc.get_traced_memory()[1] < 100_000
    tracemalloc.stop()


@pytest.mark.parametrize("datatype", ["FP7", "", "fp32", "STRING", "TYPE_FP32", "a\nb", "x" * 10**6])
def test_case_9_an_unknown_datatype_is_refused(datatype: str) -> None:
    """Names are exact; what was sent is shown cut and on one line."""
    code, text = refusal(raw, datatype, [1], b"")
    assert Code.INVALID_ARGUMENT == code
    assert text.isprintable()
    assert len(text) < 200


# --- raw ---------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", [name for name in FIXED if name != "BOOL"])
@given(data=st.data())
def test_raw_data_stays_where_it_is(datatype: str, data: st.DataObject) -> None:
    """The tensor holds the buffer itself, whatever its bits."""
    buffer = memoryview(data.draw(st.binary(max_size=64)))
    count = len(buffer) // DATATYPES[datatype].itemsize
    buffer = buffer[: count * DATATYPES[datatype].itemsize]
    assert raw(datatype, [count], buffer).data is buffer


@pytest.mark.parametrize("size", [0, 31, 33, 64])
def test_case_30_a_wrong_byte_count_is_refused(size: int) -> None:
    """In the words that clients know."""
    text = f"input byte size mismatch for input 'x' for model 'm'. Expected 32, got {size}"
    assert (Code.INVALID_ARGUMENT, text) == refusal(raw, "FP32", [2, 4], bytes(size))


@pytest.mark.parametrize("size", [5, 5_000])
@pytest.mark.parametrize("byte", [2, 255])
def test_case_34_a_boolean_byte_is_0_or_1(byte: int, size: int) -> None:
    """ONNX Runtime would hand 2 on as 2; short and long tensors take different ways."""
    good = (b"\0\1" * size)[:size]
    assert good == raw("BOOL", [size], good).data
    bad = good[:-1] + bytes([byte])
    assert (Code.INVALID_ARGUMENT, "input 'x' for model 'm' has a BOOL byte that is neither 0 nor 1") == refusal(raw, "BOOL", [size], bad)
    assert Code.INVALID_ARGUMENT == refusal(raw, "BOOL", [size], memoryview(bad))[0]


@given(st.lists(st.text(max_size=5), max_size=8))
def test_strings_come_back(texts: list[str]) -> None:
    """BYTES in raw form, from bytes and from a view of them."""
    packed = pack_texts(texts)
    assert texts == raw("BYTES", [len(texts)], packed).texts
    assert texts == payload.raw("x", "BYTES", [len(texts)], memoryview(packed), model="m", limits=LIMITS).texts


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"\1\0\0", "input 'x' for model 'm' ends within the length of a string element"),
        (pack_texts(["a"]) + b"\1\0\0", "input 'x' for model 'm' ends within the length of a string element"),
        (b"\xff\xff\xff\xff", "string element 0 of input 'x' for model 'm' says 4294967295 bytes, 0 are left"),
        (b"\2\0\0\0a", "string element 0 of input 'x' for model 'm' says 2 bytes, 1 are left"),
        (pack_texts(["a"]), "expected 2 string elements for inference input 'x' for model 'm', got 1"),
        (b"", "expected 2 string elements for inference input 'x' for model 'm', got 0"),
        (pack_texts(["a"] * 5), "unexpected number of string elements 3 for inference input 'x', expecting 2"),
        (pack_texts(["a"]) + b"\1\0\0\0\xff", "input 'x' for model 'm' has a string element that is not UTF-8"),
        (pack_texts(["a"]) + b"\3\0\0\0\xed\xa0\x80", "input 'x' for model 'm' has a string element that is not UTF-8"),
    ],
)  # fmt: skip
def test_case_35_36_37_38_bad_strings_are_refused(data: bytes, text: str) -> None:
    """Truncated prefixes, lengths beyond the end, counts that differ from the shape, no UTF-8, surrogates."""
    assert (Code.INVALID_ARGUMENT, text) == refusal(raw, "BYTES", [2], data)


def test_case_39_strings_may_be_nul_empty_and_as_long_as_allowed() -> None:
    """Past the limits of length and count they are TOO_LARGE."""
    longest = "a" * LIMITS.max_string_bytes
    assert ["\0", "", longest] == raw("BYTES", [3], pack_texts(["\0", "", longest])).texts
    assert Code.TOO_LARGE == refusal(raw, "BYTES", [1], pack_texts([longest + "a"]))[0]
    assert Code.TOO_LARGE == refusal(raw, "BYTES", [LIMITS.max_string_elements + 1], b"")[0]


# --- packing -----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("datatype", [name for name in FIXED if name not in {"FP16", "BF16"}])
@pytest.mark.parametrize("count", [1, 16, 20_000])
def test_values_become_little_endian_bytes(datatype: str, count: int) -> None:
    """As numpy writes them, for few and for many."""
    expected = (np.random.default_rng(count).random(count) * 2).astype(DATATYPES[datatype].numpy)
    assert expected.tobytes() == payload.pack(datatype, expected.tolist())


@pytest.mark.parametrize("datatype", INTEGERS)
@pytest.mark.parametrize("padding", [0, 10_000])
def test_case_33_values_out_of_range_are_refused(datatype: str, padding: int) -> None:
    """The ends of the range are in, their neighbours are not; also deep in a long tensor."""
    info = np.iinfo(DATATYPES[datatype].numpy)
    ends = [0] * padding + [int(info.min), int(info.max)]
    assert np.array(ends, DATATYPES[datatype].numpy).tobytes() == payload.pack(datatype, ends)
    for value in (int(info.min) - 1, int(info.max) + 1):
        with pytest.raises(OverflowError):
            payload.pack(datatype, [0] * padding + [value])


# --- rounding ----------------------------------------------------------------------------------------------------------------------


@given(st.lists(st.floats(), max_size=20))
def test_narrow_floats_are_rounded_as_numpy_does_and_never_overflow(values: list[float]) -> None:
    """FP16 and FP32: what numpy makes infinite is out of range unless it was infinite before."""
    for datatype in ("FP16", "FP32"):
        with np.errstate(over="ignore", invalid="ignore"):
            expected = np.array(values, np.float64).astype(DATATYPES[datatype].numpy)
        if np.isinf(expected[np.isfinite(values)]).any() if values else False:
            with pytest.raises(OverflowError):
                payload.pack(datatype, values)
        else:
            got = np.frombuffer(payload.pack(datatype, values), expected.dtype)
            np.testing.assert_array_equal(expected, got)


def nearest_bfloat16(value: float) -> int:
    """The slow way: the nearest of the three candidates around the truncated bits, exactly, ties to even."""
    (single,) = struct.unpack("<I", struct.pack("<f", np.float32(value)))
    candidates = [bits & 0xFFFF for bits in range((single >> 16) - 1, (single >> 16) + 2) if bits >= 0]
    finite = [bits for bits in candidates if bits & 0x7F80 != 0x7F80]
    distance = {bits: abs(int(value * 2**200) - int(widened(bits) * 2**200)) for bits in finite}
    return min(finite, key=lambda bits: (distance[bits], bits & 1))


def widened(bits: int) -> float:
    (value,) = struct.unpack("<f", struct.pack("<I", bits << 16))
    return float(value)


@given(st.floats(1e-30, 1e30) | st.integers(0x3F00, 0x40FF).map(lambda bits: (widened(bits) + widened(bits + 1)) / 2 * (1 + 2**-40)))
def test_bfloat16_rounds_once_to_nearest_even(value: float) -> None:
    """Also just above the middle between two neighbours, where rounding over float32 would round twice."""
    (got,) = struct.unpack("<H", payload.pack("BF16", [value]))
    assert nearest_bfloat16(value) == got


@pytest.mark.parametrize(
    ("value", "bits"),
    [(1.0, 0x3F80), (-1.0, 0xBF80), (0.0, 0), (-0.0, 0x8000), (1.00390625, 0x3F80), (1.01171875, 0x3F82), (float("inf"), 0x7F80),
     (float("-inf"), 0xFF80), (float("nan"), 0x7FC0), (3.3895313892515355e38, 0x7F7F), (1e-45, 0), (1e-320, 0)],
)  # fmt: skip
def test_bfloat16_of_known_values(value: float, bits: int) -> None:
    """Ties to even, signed zero, the infinities, NaN, the largest finite value, underflow."""
    assert bits == int.from_bytes(payload.pack("BF16", [value]), "little")


@pytest.mark.parametrize(
    ("datatype", "value"), [("FP16", 65520.0), ("FP32", 1e39), ("FP32", 3.4028235677973366e38), ("BF16", 3.4e38), ("BF16", -1e39)]
)
def test_a_finite_number_never_becomes_infinite(datatype: str, value: float) -> None:
    """The smallest numbers that round to infinity, and larger ones."""
    with pytest.raises(OverflowError):
        payload.pack(datatype, [value])
