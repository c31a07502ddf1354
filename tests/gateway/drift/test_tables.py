"""What kernels are given of a profile."""

from __future__ import annotations

import numpy as np

from gateway.drift.layout import layout_of
from gateway.drift.tables import Vocabulary, integer_tables, tables_of, text_tables
from gateway.protocol.tensors import Signature, TensorSpec
from kernels.categories import EMPTY
from tests.gateway.drift.recorded import categorical, numeric, profile


def test_thresholds_are_in_the_type_of_the_values_and_computed_ones_in_float64() -> None:
    """From -inf over the edges to the greatest number, then +inf; features of one group may have different numbers of bins."""
    features = [numeric("a", "p", 0, side="output"), numeric("b", "p", 1, side="output", edges=(0.0, 1.0))]
    features.append(numeric("m", "p", side="output", kind="margin"))
    made = profile(*features)
    (port,) = tables_of(made, layout_of(made), Signature("m", (), (TensorSpec("p", "FP16", (-1, 2)),), 4))
    values, margin = port.numbers
    most = float(np.finfo(np.float32).max)
    assert np.float32 == values.thresholds.dtype
    assert [[-np.inf, -1, 0, 1, most, np.inf], [-np.inf, 0, 1, most, np.inf, np.inf]] == values.thresholds.tolist()
    assert [[0, 3], [1, 2]] == values.places.tolist()
    assert np.float64 == margin.thresholds.dtype
    assert [-np.inf, -1, 0, 1, np.finfo(np.float64).max, np.inf] == margin.thresholds[0].tolist()


def test_one_port_has_all_that_is_counted_of_it() -> None:
    """Numbers and categories of one tensor of integers; ports in the order of the signature, inputs before outputs."""
    made = profile(numeric("n", "x", 1), categorical("c", "x", [4], 0), numeric("y", "y", side="output"))
    signature = Signature("m", (TensorSpec("w", "FP32", (-1,)), TensorSpec("x", "INT32", (-1, 2))), (TensorSpec("y", "FP64", (-1,)),), 4)
    inputs, outputs = tables_of(made, layout_of(made), signature)
    assert ("input", 1, 2) == (inputs.side, inputs.position, inputs.width)
    assert inputs.integers is not None
    assert 1 == len(inputs.numbers)
    assert ("output", 0, 1) == (outputs.side, outputs.position, outputs.width)
    assert outputs.integers is None


def test_tables_are_a_quarter_full_at_most() -> None:
    """So that searches are short, whatever the number of categories."""
    for count in (1, 2, 3, 4, 5, 255, 256):
        for tables in (
            integer_tables([Vocabulary({k: k for k in range(count)}, count)]),
            text_tables([Vocabulary({str(k): k for k in range(count)}, count)]),
        ):
            full = int((tables.slots != EMPTY).sum())
            assert full == count
            assert 4 * full <= len(tables.slots) <= 8 * full


def test_keys_of_another_type_than_the_tensor_has_are_left_out() -> None:
    """A text is no integer and an integer no text."""
    assert 1 == int((integer_tables([Vocabulary({"a": 0, 5: 1}, 2)]).slots != EMPTY).sum())
    assert 1 == int((text_tables([Vocabulary({"a": 0, 5: 1}, 2)]).slots != EMPTY).sum())
