"""What a batch adds to its version's block, for every datatype and every kind of feature."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.layout import BATCHES, ROWS
from gateway.drift.recorder import INLINE_VALUES
from gateway.protocol.tensors import DATATYPES, TensorSpec
from gateway.protocol.texts import pack_texts
from registry.profile import SCORE_BINS, Calibration
from tests import naive
from tests.gateway.drift.recorded import Recorded, categorical, numeric, profile

NUMERIC = [name for name in DATATYPES if name != "BYTES"]
BF16 = {-2.0: 0xC000, 0.5: 0x3F00, 1.0: 0x3F80, 2.0: 0x4000, math.nan: 0x7FC0, math.inf: 0x7F80}


def texts(rows: list[list[str]]) -> np.ndarray:
    """As a batch has them."""
    array = np.empty((len(rows), len(rows[0])), object)
    array[:] = rows
    return array


def tensor(values: list[list[float]], datatype: str) -> np.ndarray:
    """Of any datatype but BYTES; what an integer cannot hold is cut to fit."""
    if datatype == "BF16":
        return np.array([[BF16[value] for value in row] for row in values], np.uint16)
    kind = DATATYPES[datatype].numpy
    return np.array(values).astype(kind)


@pytest.mark.parametrize("datatype", NUMERIC)
@pytest.mark.parametrize("rows", [1, 40])
def test_numbers_of_every_datatype_are_binned(datatype: str, rows: int) -> None:
    """As the numbers that they are: half-precision and bfloat16 as float32, integers and booleans as float64."""
    values = [[0.5, 2.0]] if datatype in {"BF16", "FP16", "FP32", "FP64"} else [[0.0, 1.0]]
    version = Recorded(profile(numeric("a", "x"), numeric("b", "x", 1)), [TensorSpec("x", datatype, (-1, 2))])
    version.record([tensor(values * rows, datatype)], [])
    expected = [[0] * 8, [0] * 8]
    for f, value in enumerate(values[0]):
        expected[f][naive.numeric_slot(value, [-1.0, 0.0, 1.0], 8)] = rows
    assert expected == version.counts()
    assert [rows * (values[0][0] - 0.25), rows * (values[0][1] - 0.25)] == version.views.sums[0][0].tolist()
    assert values[0] == version.views.extremes[0][0].tolist()
    assert (rows, 1) == (version.views.head[ROWS], version.views.head[BATCHES])


@pytest.mark.parametrize("datatype", ["BF16", "FP16", "FP32", "FP64"])
def test_what_is_no_number_has_slots_of_its_own(datatype: str) -> None:
    """NaN is in the last slot, and neither it nor an infinity is in a sum."""
    version = Recorded(profile(numeric("a", "x")), [TensorSpec("x", datatype, (-1, 1))])
    version.record([tensor([[math.nan], [math.inf], [1.0]], datatype)], [])
    assert [[0, 0, 0, 1, 0, 1, 0, 1]] == version.counts()
    assert 0.75 == version.views.sums[0][0, 0]


@pytest.mark.parametrize("datatype", [name for name in NUMERIC if name not in {"BF16", "FP16", "FP32", "FP64"}])
def test_integers_and_booleans_may_be_categories(datatype: str) -> None:
    """Slots: the categories, other, null."""
    version = Recorded(profile(categorical("a", "x", [1], null=0)), [TensorSpec("x", datatype, (-1, 1))])
    version.record([np.array([[0], [1], [1]]).astype(DATATYPES[datatype].numpy)], [])
    assert [[2, 0, 1]] == version.views.categories[0].tolist()


def test_the_largest_unsigned_integers_are_found() -> None:
    """Above 2^63 too."""
    known = [2**64 - 1, 2**63, 5]
    version = Recorded(profile(categorical("a", "x", known)), [TensorSpec("x", "UINT64", (-1, 1))])
    version.record([np.array([[2**64 - 1], [2**63], [2**63 + 1], [5]], np.uint64)], [])
    assert [[1, 1, 1, 1, 0]] == version.views.categories[0].tolist()


@settings(max_examples=500)
@given(st.lists(st.tuples(st.sampled_from(("a", "b", "", "é")), st.text(max_size=3)), min_size=1, max_size=20), st.booleans())
def test_texts_count_the_same_however_they_come(rows: list[tuple[str, str]], free: bool) -> None:
    """As str, as bytes, and as the bytes of the wire, also where the width is known only of the batch."""
    features = categorical("a", "x", ["b", "", "é"], 0, null="a"), categorical("z", "x", ["0"], 1)
    blocks = []
    flat = [text for row in rows for text in row]
    encoded = np.array([text.encode() for text in flat], object).reshape(-1, 2)
    for array in (texts([list(row) for row in rows]), encoded, np.frombuffer(pack_texts(flat), np.uint8)):
        version = Recorded(profile(*features), [TensorSpec("x", "BYTES", (-1, -1 if free else 2))])
        version.record([array], [], rows=len(rows))
        blocks.append(version.block.tolist())
    first = [0] * 5
    for text, _ in rows:
        first[naive.category_slot(text, ["b", "", "é"], "a")] += 1
    assert first == version.views.categories[0][0].tolist()
    assert blocks[0] == blocks[1] == blocks[2]


def test_what_python_has_for_nothing_is_missing() -> None:
    """None among texts."""
    version = Recorded(profile(categorical("a", "x", ["b"])), [TensorSpec("x", "BYTES", (-1, 1))])
    version.record([np.array([[None], ["b"], ["c"]], object)], [])
    assert [[1, 1, 1]] == version.views.categories[0].tolist()


@pytest.mark.parametrize("datatype", ["BF16", "FP32", "FP64"])
def test_probabilities_give_margins_entropies_and_scores(datatype: str) -> None:
    """Of one output: its elements, what is computed of its rows, and the score that the calibration is for."""
    table = Calibration(
        port="p", element=1, threshold=0.5, positives=(0.5,) * SCORE_BINS, errors=(0.0,) * SCORE_BINS, counts=(0,) * SCORE_BINS,
        accuracy=1.0, auc=1.0,
    )  # fmt: skip
    features = [numeric("p[1]", "p", 1, side="output")]
    features += [numeric(kind, "p", side="output", kind=kind, edges=(0.0, 0.4, 0.8, 1.0), mean=0.0) for kind in ("margin", "entropy")]
    version = Recorded(profile(*features, calibration=table), [], [TensorSpec("p", datatype, (-1, 2))])
    probabilities = tensor([[0.5, 0.5], [1.0, 0.5]], datatype)
    version.record([], [probabilities], rows=2)
    assert [[0, 0, 0, 2, 0, 0, 0, 0]] == version.counts(0)
    assert [0.5, 0.5 - 0.5] == [version.views.sums[1][0, 0], version.views.extremes[1][0, 0]]
    nats = naive.entropy([0.5, 0.5]) + naive.entropy([1.0, 0.5])
    assert nats == pytest.approx(version.views.sums[2][0, 0])
    assert (2, 2) == (version.views.scores[512], version.views.scores.sum())


def test_segments_divide_every_count() -> None:
    """Rows of a segment that there is none of, also of a negative one, go to the last."""
    features = numeric("a", "x"), categorical("b", "n", [1]), categorical("c", "t", ["u"])
    specs = [TensorSpec("x", "FP32", (-1, 1)), TensorSpec("n", "INT32", (-1, 1)), TensorSpec("t", "BYTES", (-1, 1))]
    version = Recorded(profile(*features), specs, segments=3)
    batch = [np.float32([[0.5]] * 5), np.int32([[1], [1], [1], [2], [2]]), texts([["u"]] * 5)]
    version.record(batch, [], np.array([0, 1, 1, -1, 77], np.int64))
    assert [1, 2, 2] == version.views.segment_rows.tolist()
    assert [1, 2, 2] == version.views.counts[0][:, 0, 3].tolist()
    assert [[1, 0, 0], [2, 0, 0], [0, 2, 0]] == version.views.categories[0].tolist()
    assert [[1, 0, 0], [2, 0, 0], [2, 0, 0]] == version.views.categories[1].tolist()
    version.record(batch, [])
    assert [1, 2, 7] == version.views.segment_rows.tolist()


def test_blocks_of_several_workers_add_up_to_one() -> None:
    """In any order: `Views.add` of three is the block of all rows."""
    features = numeric("a", "x"), numeric("b", "x", 2), categorical("c", "n", [1, 2])
    specs = [TensorSpec("x", "FP32", (-1, 3)), TensorSpec("n", "INT64", (-1, 1))]
    seed = np.random.default_rng(0)
    batches = [[seed.normal(size=(rows, 3)).astype(np.float32), seed.integers(0, 4, (rows, 1))] for rows in (1, 50, 300)]
    alone, merged = Recorded(profile(*features), specs), Recorded(profile(*features), specs)
    for batch in batches:
        alone.record(batch, [])
    for batch in reversed(batches):
        worker = Recorded(profile(*features), specs)
        worker.record(batch, [])
        merged.views.add(worker.views)
    np.testing.assert_allclose(merged.views.sums[0], alone.views.sums[0], rtol=1e-12)
    for one, other in zip(
        (merged.views.counts, merged.views.categories, merged.views.extremes),
        (alone.views.counts, alone.views.categories, alone.views.extremes),
        strict=True,
    ):
        assert [array.tolist() for array in one] == [array.tolist() for array in other]
    assert [351, 3] == merged.views.head[[ROWS, BATCHES]].tolist()


def test_a_wide_batch_is_counted_without_the_gil_and_the_same() -> None:
    """Above INLINE_VALUES."""
    width = 200
    version = Recorded(profile(*(numeric(f"f{k}", "x", k) for k in range(width))), [TensorSpec("x", "FP64", (-1, width))])
    rows = INLINE_VALUES // width + 1
    version.record([np.full((rows, width), 0.5)], [])
    assert [[0, 0, 0, rows, 0, 0, 0, 0]] * width == version.counts()


@pytest.mark.parametrize(
    "array", [np.zeros((3, 0), np.float32), np.zeros((2, 2), np.float32), np.empty((3, 1), object), np.zeros((3, 1, 1), np.float32)]
)
def test_arrays_that_are_not_as_the_signature_says_do_no_harm(array: np.ndarray) -> None:
    """Too narrow, not of so many rows, of objects: what is there is counted, nothing raises."""
    version = Recorded(
        profile(numeric("a", "y", side="output"), numeric("b", "y", 1, side="output")), [], [TensorSpec("y", "FP32", (-1, 2))]
    )
    version.record([], [array], rows=3)
    assert 3 == version.views.head[ROWS]
    assert version.views.counts[0].sum() == (3 if array.ndim == 3 else 0)
    version.record([], [np.zeros((0, 2), np.float32)], rows=0)
    assert 1 == version.views.head[BATCHES]


def test_ports_that_a_version_lacks_are_left_out() -> None:
    """A profile of another version's tensors counts nothing, and neither do categories of floats."""
    version = Recorded(profile(numeric("a", "old"), categorical("b", "x", ["u"])), [TensorSpec("x", "FP32", (-1, 1))])
    version.record([np.float32([[1.0]])], [])
    assert () == version.tables
    assert 1 == version.views.head[ROWS]


def test_a_model_without_a_batch_dimension_is_one_row() -> None:
    """Its outputs come without the dimension that its inputs are given."""
    version = Recorded(profile(numeric("a", "y", 3, side="output")), [TensorSpec("x", "FP32", (2, 2))], [TensorSpec("y", "FP32", (2, 2))])
    output: Any = np.float32([[9, 9], [9, 0.5]])
    version.record([np.zeros((1, 2, 2), np.float32)], [output])
    assert [[0, 0, 0, 1, 0, 0, 0, 0]] == version.counts()
