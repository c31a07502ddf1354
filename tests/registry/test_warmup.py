"""The arrays of a warm-up: shapes, types, values, and data files that are not what they should be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from registry.ports import Ports, View, hold_the_same
from registry.schema import OIP_TYPES, ContractFile
from registry.warmup import MAX_VALUES_BYTES, Filling, Sample, arrays_of, check_filling, in_graph, numpy_type


def sample(filling: Filling, *, rows: int = 1, batched: bool | None = True) -> Sample:
    return Sample(name="s", rows=rows, runs=1, batched=batched, inputs={"x": filling})


def filling(datatype: str = "FP32", *dims: int, values: Any = "zero", data: bytes = b"") -> Filling:
    return Filling(datatype=datatype, dims=dims, values=values, file="f" if values == "file" else "", data=data)


def only(made: Sample, rank: int) -> np.ndarray:
    (array,) = arrays_of(made, {"x": rank}).values()
    return array


@pytest.mark.parametrize("datatype", sorted(OIP_TYPES))
@pytest.mark.parametrize("values", ["zero", "random"])
def test_every_datatype_has_values(datatype: str, values: str) -> None:
    """Of its own type; twice the same, and within what a model takes."""
    made = sample(filling(datatype, 2, 3, values=values), rows=4)
    array = only(made, 3)
    assert ((4, 2, 3), numpy_type(datatype), True) == (array.shape, array.dtype.name, array.flags.c_contiguous)
    assert array.tolist() == only(made, 3).tolist()
    if datatype == "BYTES":
        assert {""} == set(array.ravel().tolist())
    elif values == "zero":
        assert not array.any()
    elif datatype != "BF16":
        assert 0 <= array.min() <= array.max() <= 1
        assert array.any()


def test_random_bfloat16_are_small_numbers() -> None:
    """Their bits, as they travel."""
    bits = only(sample(filling("BF16", 100, values="random")), 2).astype(np.uint32) << 16
    assert 0.0 <= bits.view(np.float32).min() < bits.view(np.float32).max() < 1.0


@pytest.mark.parametrize("dims", [(), (1,)])
def test_a_scalar_can_be_random(dims: tuple[int, ...]) -> None:
    """A model may take a number."""
    assert dims == only(sample(filling("FP64", *dims, values="random"), batched=False), len(dims)).shape


@pytest.mark.parametrize(
    ("batched", "rank", "shape"),
    [(True, 2, (3, 2)), (False, 1, (2,)), (None, 2, (3, 2)), (None, 1, (2,))],
)
def test_the_batch_is_in_front(batched: bool | None, rank: int, shape: tuple[int, ...]) -> None:
    """Where the model has one; where nothing says so, its rank does."""
    assert shape == only(sample(filling("INT64", 2), rows=3, batched=batched), rank).shape


def test_data_of_a_file_is_repeated_for_every_row() -> None:
    """Little-endian numbers, and texts behind their lengths."""
    data = np.array([1.5, -2.0], "<f4").tobytes()
    assert [[1.5, -2.0]] * 2 == only(sample(filling("FP32", 2, values="file", data=data), rows=2), 2).tolist()
    texts = b"".join(len(text).to_bytes(4, "little") + text for text in ("ä".encode(), b""))
    made = sample(filling("BYTES", 2, values="file", data=texts), rows=2)
    assert [["ä", ""]] * 2 == only(made, 2).tolist()


@pytest.mark.parametrize(
    ("made", "rows", "text"),
    [
        (filling("FP32", 2, values="file", data=b"1234567"), 1, "subject has 7 bytes in its file, where 8 are expected"),
        (filling("BOOL", 2, values="file", data=b"123"), 1, "subject has 3 bytes in its file, where 2 are expected"),
        (filling("BF16", 2, values="file", data=b""), 1, "subject has 0 bytes in its file, where 4 are expected"),
        (filling("BYTES", 2, values="file", data=b"\1\0\0\0a"), 1, "subject has 1 texts in its file, where 2 are expected"),
        (filling("BYTES", 1, values="file", data=b"\2\0\0\0a"), 1, "subject has a file that ends within a text"),
        (filling("BYTES", 1, values="file", data=b"\2\0\0"), 1, "subject has a file that ends within a text"),
        (filling("BYTES", 1, values="file", data=b"\1\0\0\0\xff"), 1, "subject has a file with a text that is not UTF-8"),
        (filling("FP32", 1 << 40), 1, f"subject holds more than {MAX_VALUES_BYTES} bytes"),
        (filling("FP32", 1 << 20), 1 << 20, f"subject holds more than {MAX_VALUES_BYTES} bytes"),
    ],
)
def test_what_is_not_of_the_inputs_size_is_refused(made: Filling, rows: int, text: str, kind_of: Callable[..., str]) -> None:
    """Before anything of that size is made."""
    assert f"invalid_model: {text}" == kind_of(lambda: check_filling(made, rows=rows, subject="subject"))


def test_a_sample_has_the_inputs_of_its_model(kind_of: Callable[..., str]) -> None:
    """All of them, and no other."""
    for ranks in ({}, {"y": 1}, {"x": 1, "y": 1}):
        text = "invalid_model: warm-up sample 's' does not have the model's inputs"
        assert text == kind_of(lambda ranks=ranks: arrays_of(sample(filling()), ranks))


# --- two shapes of the same elements -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "shape", "same"),
    [
        ((4,), (2, 2), True), ((4,), (4, 1), True), ((1,), (), True), ((-1, 2), (-1, 1, 2), True), ((2, -1, 3), (2, -1, 3, 1), True),
        ((4,), (3,), False), ((-1,), (2,), False), ((-1, 4), (2, -1, 2), False), ((-1, -1), (-1,), False),
    ],
)  # fmt: skip
def test_elements_stay_between_free_sizes(dims: tuple[int, ...], shape: tuple[int, ...], same: bool) -> None:
    """Triton's rule."""
    assert same is hold_the_same(dims, shape) is hold_the_same(shape, dims)


def test_a_view_goes_both_ways() -> None:
    """Free sizes follow in their order; another shape is none of it."""
    view = View(seen=(-1, 4), graph=(-1, 2, 2))
    assert ((3, 2, 2), (3, 4)) == (view.to_graph((3, 4)), view.to_seen((3, 2, 2)))
    for shape in ((3, 5), (3,), (3, 4, 1)):
        with pytest.raises(ValueError, match=r"."):
            view.to_graph(shape)


def test_a_sample_is_asked_in_the_shape_of_the_graph(kind_of: Callable[..., str]) -> None:
    """Where there is no gateway in between, as in a trial."""
    ports = Ports(contract=ContractFile(), batched=True, inputs={"x": View(seen=(-1, 4), graph=(-1, 2, 2))})
    made = sample(filling("FP32", 4), rows=3)
    assert (3, 2, 2) == only(in_graph(made, ports), 3).shape
    assert made is not None
    assert in_graph(made, None) == made
    text = "invalid_model: warm-up sample 's' has an input that is not of the model's shape"
    assert text == kind_of(lambda: in_graph(sample(filling("FP32", 5)), ports))
