"""Golden requests: exact to write, judged with a tolerance."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from registry import golden as goldens
from registry.golden import Golden, GoldenRequest, Tensor, Tolerance, array_of, difference, golden_of, tensor_of

_TYPES = ["float16", "float32", "float64", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "bool"]


@given(st.sampled_from(_TYPES).flatmap(lambda name: hnp.arrays(name, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4))))
def test_every_array_comes_back(array: np.ndarray) -> None:
    """To the bit: NaNs, infinities, empty arrays and scalars."""
    tensor = tensor_of(array)
    back = array_of(msgspec.json.decode(msgspec.json.encode(tensor), type=Tensor))
    assert (array.dtype, array.shape, array.tobytes()) == (back.dtype, back.shape, back.tobytes())


@given(st.lists(st.text(max_size=4), max_size=4))
def test_every_text_comes_back(texts: list[str]) -> None:
    """Also a trailing NUL, which numpy's own text type drops."""
    array = np.array([*texts, None], object)[:-1].reshape(-1, 1)
    assert texts == array_of(tensor_of(array)).ravel().tolist()
    assert array.shape == array_of(tensor_of(array)).shape


def test_other_orders_of_bytes_and_memory() -> None:
    """Big-endian and column-major arrays are written like any other."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert tensor_of(array) == tensor_of(array.astype(">f4")) == tensor_of(np.asfortranarray(array))


@pytest.mark.parametrize("array", [np.zeros(1, np.complex64), np.array([b"x"]), np.array([1, "a"], object), np.zeros(1, "M8[s]")])
def test_arrays_that_are_no_tensors(array: np.ndarray, kind_of: Callable[..., str]) -> None:
    """Refused instead of guessed."""
    assert kind_of(lambda: tensor_of(array)).startswith("invalid_model: an array of ")


def test_requests_from_rows() -> None:
    """Single rows, and all of them together: a model that mixes up the rows of a batch is found."""
    golden = golden_of({"x": np.arange(20, dtype=np.float32).reshape(10, 2)}, requests=3)
    assert [(1, 2), (1, 2), (1, 2), (3, 2)] == [request.inputs["x"].shape for request in golden.requests]
    assert [(1, 2)] == [request.inputs["x"].shape for request in golden_of({"x": np.zeros((1, 2))}).requests]


@pytest.mark.parametrize("rows", [{}, {"x": np.zeros((0, 2))}, {"x": np.float32(1)}, {"x": np.zeros(2), "y": np.zeros(3)}])
def test_no_rows(rows: dict[str, Any], kind_of: Callable[..., str]) -> None:
    """None, or of several lengths."""
    assert "invalid_model: the sample rows are none" in kind_of(
        lambda: golden_of({name: np.asarray(array) for name, array in rows.items()})
    )


@pytest.mark.parametrize(
    ("expected", "found", "text"),
    [
        ([1.0, 2.0], [1.0 + 1e-5, 2.0], None),
        ([np.nan, np.inf, -np.inf], [np.nan, np.inf, -np.inf], None),
        ([1.0, 2.0], [1.5, 2.0], "1 of 2 values differ, by up to 0.5"),
        ([np.inf], [-np.inf], "1 of 1 values differ, by up to inf"),
        ([np.nan], [1.0], "1 of 1 values differ, by up to nan"),
        ([1.0], [1.0, 2.0], "tensor(double) of shape [2] instead of tensor(double) of shape [1]"),
        ([1], [1.0], "tensor(double) of shape [1] instead of tensor(int64) of shape [1]"),
        ([1, 2], [1, 3], "1 of 2 values differ"),
        ([True], [False], "1 of 1 values differ"),
        ([], [], None),
    ],
)
def test_differences(expected: list[Any], found: list[Any], text: str | None) -> None:
    """Floats within the tolerance, everything else exactly, type and shape always."""
    assert text == difference(tensor_of(np.array(expected)), tensor_of(np.array(found)), Tolerance(absolute=1e-4, relative=0.0))


def test_differing_texts() -> None:
    """Text is equal or not."""
    a, b = (tensor_of(np.array([text], object)) for text in "ab")
    assert (None, "1 of 1 values differ") == (difference(a, a, Tolerance()), difference(a, b, Tolerance()))


def _golden(**tensor: Any) -> Golden:
    given = {"type": "tensor(float)", "shape": (1,), "data": bytes(4)} | tensor
    return Golden(requests=(GoldenRequest(inputs={"x": Tensor(**given)}, outputs={}),))


@pytest.mark.parametrize(
    ("golden", "text"),
    [
        (Golden(requests=()), "there are 0, where 1 to 64 are allowed"),
        (Golden(requests=_golden().requests * 65), "there are 65, where 1 to 64 are allowed"),
        (_golden(type="tensor(bfloat16)"), "tensor(bfloat16) is no type of a golden tensor"),
        (_golden(shape=(2,)), "a tensor(float) is not of its shape"),
        (_golden(shape=(1 << 40, 1 << 40)), "a tensor(float) is not of its shape"),
        (_golden(texts=("a",)), "a tensor(float) is not of its shape"),
        (_golden(type="tensor(string)", data=b"", texts=()), "a tensor of texts is not of its shape"),
        (_golden(data=bytes(9 << 20), shape=(9 << 18,)), "they hold 9437184 bytes of values, more than 8388608"),
        (msgspec.structs.replace(_golden(), tolerance=Tolerance(absolute=float("inf"))), "a tolerance is not finite"),
    ],
)
def test_refused(golden: Golden, text: str, kind_of: Callable[..., str]) -> None:
    """Before a trial, and as damage where such bytes are stored."""
    assert "invalid_model: the golden requests are refused: " + text == kind_of(lambda: goldens.check(golden))
    if golden.tolerance.absolute < 1:  # JSON has no infinity
        assert "damaged: k is no set of golden requests: " + text == kind_of(lambda: goldens.decode(goldens.encode(golden), key="k"))


@pytest.mark.parametrize("content", [b"", b"{}", b'{"format":2,"tolerance":{},"requests":[]}', b"\xff"])
def test_damaged(content: bytes, kind_of: Callable[..., str]) -> None:
    """Stored bytes that are no golden requests of this format."""
    assert kind_of(lambda: goldens.decode(content, key="blobs/k")).startswith("damaged: blobs/k is no set of golden requests: ")
