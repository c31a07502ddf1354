"""Bodies of `:predict`: rows and columns give the tensors that they stand for, and what stands for none is refused with its place."""

from __future__ import annotations

import base64
import json
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.binding import bind
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from tests.gateway.protocol.v1_bodies import COLUMNS, LIMITS, MIXED, ROWS, TEXT, array_of, read, values

# --- what TensorFlow Serving's page shows ----------------------------------------------------------------------------------------


def test_named_inputs_in_rows_and_in_columns() -> None:
    """The same tensors, whatever the order of the names."""
    for body in ({"instances": ROWS}, {"inputs": COLUMNS}, {"instances": [dict(reversed(row.items())) for row in ROWS]}):
        request, by_rows = read(body, MIXED)
        assert ("m", "3", "", None, "instances" in body) == (request.model, request.version, request.id, request.outputs, by_rows)
        assert COLUMNS == values(body, MIXED)
        assert ((2,), (2, 5), (2, 2, 2)) == tuple(tensor.shape for tensor in request.inputs)
        assert 2 == bind(MIXED, request, LIMITS).rows


@pytest.mark.parametrize(
    ("key", "value", "datatype", "shape"),
    [("instances", ["foo", "bar", "baz"], "BYTES", (3,)), ("instances", [[[1, 2]], [[3, 4]]], "FP32", (2, 1, 2)),
     ("instances", [1.0, 2.0, 5.0], "FP32", (3,)), ("instances", [[1, 2]], "INT8", (1, 2)), ("instances", [True], "BOOL", (1,)),
     ("inputs", [1.0, 2.0], "FP64", (2,)), ("inputs", 5, "INT64", ()), ("inputs", "foo", "BYTES", ()), ("inputs", True, "BOOL", ()),
     ("inputs", [[]], "FP32", (1, 0)), ("inputs", [], "FP32", (0,)), ("inputs", [[["a"], ["b"]]], "BYTES", (1, 2, 1)),
     ("inputs", [1.5, -2.25], "FP16", (2,)), ("inputs", [[18446744073709551615]], "UINT64", (1, 1))],
)  # fmt: skip
def test_one_input_goes_without_its_name(key: str, value: Any, datatype: str, shape: tuple[int, ...]) -> None:
    """Scalars and lists of any depth."""
    signature = Signature("m", (TensorSpec("x", datatype, (-1,) * len(shape)),), (), 8)
    (tensor,) = read({key: value}, signature)[0].inputs
    assert (datatype, shape, value) == (tensor.datatype, tensor.shape, array_of(tensor).tolist())


def test_one_input_may_be_named_too() -> None:
    """In rows and in columns."""
    expected = {"x": [[1.0, 2.0], [3.0, 4.0]]}
    assert expected == values({"instances": [{"x": [1, 2]}, {"x": [3, 4]}]})
    assert expected == values({"inputs": {"x": [[1, 2], [3, 4]]}})


@pytest.mark.parametrize("more", [{}, {"signature_name": ""}, {"signature_name": "serving_default"}, {"later": {"a": [None, "b"]}, "b": 1}])
def test_what_may_stand_beside_the_values(more: dict[str, Any]) -> None:
    """The one signature by its name or none, and members that are none of our business."""
    assert {"x": [[1.0, 2.0]]} == values({"instances": [[1, 2]], **more})


@pytest.mark.parametrize("text", [b"a", "größe ☂".encode(), b"", b'"\\', b"x" * 100])
def test_strings_may_come_as_their_bytes(text: bytes) -> None:
    """Between others, alone, in rows and columns, by name and without."""
    encoded = {"b64": base64.b64encode(text).decode()}
    assert {"text": [text.decode(), "b"]} == values({"instances": [encoded, "b"]}, TEXT) == values({"inputs": [encoded, "b"]}, TEXT)
    assert {"text": [text.decode()]} == values({"instances": [{"text": encoded}]}, TEXT) == values({"inputs": {"text": [encoded]}}, TEXT)
    assert {"text": text.decode()} == values({"inputs": encoded}, TEXT)
    assert {"text": [[["b"], [text.decode()]]]} == values({"inputs": [[["b"], [encoded]]]}, TEXT)


@pytest.mark.parametrize(
    ("body", "expected"),
    [('{"instances":[[NaN,1e0],[-Infinity,Infinity]]}', [[math.nan, 1.0], [-math.inf, math.inf]]),
     ('{"inputs":{"x":[[NaN,2]]}}', [[math.nan, 2.0]]),
     ('{"instances":[{"x":[NaN,NaN]},{"x":[1.0000e0,-1]}]}', [[math.nan] * 2, [1.0, -1.0]])],
)  # fmt: skip
def test_nan_and_infinity_are_numbers_in_floating_point_data(body: str, expected: list) -> None:
    """Beside numbers that look like what stands for them meanwhile."""
    assert np.array_equal(np.array(expected), np.array(values(body)["x"]), equal_nan=True)


def test_tokens_in_one_column_leave_the_others_alone() -> None:
    """Strings that look like them too."""
    rows = [{"tag": "NaN", "signal": [1, 2, 3, 4, 5], "sensor": [[math.inf, 1], [2, 3]]}, {**ROWS[1], "tag": "1e0"}]
    found = values({"instances": rows}, MIXED)
    assert (["NaN", "1e0"], [[math.inf, 1.0], [2.0, 3.0]]) == (found["tag"], found["sensor"][0])


# --- rows and columns say the same -----------------------------------------------------------------------------------------------

SCALARS: dict[str, st.SearchStrategy[Any]] = {
    "BOOL": st.booleans(), "INT8": st.integers(-128, 127), "UINT64": st.integers(0, 2**64 - 1), "INT64": st.integers(-(2**63), 2**63 - 1),
    "FP32": st.floats(width=32), "FP64": st.floats(), "BYTES": st.text(max_size=4),
}  # fmt: skip


@st.composite
def requests(draw: st.DrawFn) -> tuple[Signature, dict[str, Any]]:
    """A signature, and a value for each of its inputs, which all have as many rows."""
    rows = draw(st.integers(1, 4))
    specs, given_values = [], {}
    names = st.text('abü_0 "\\', min_size=1, max_size=3)
    for name in draw(st.lists(names, min_size=1, max_size=4, unique=True)):
        datatype = draw(st.sampled_from(sorted(SCALARS)))
        shape = (rows, *draw(st.lists(st.integers(1, 3), max_size=3)))
        flat = draw(st.lists(SCALARS[datatype], min_size=math.prod(shape), max_size=math.prod(shape)))
        nested = np.empty(len(flat), object)
        nested[:] = flat
        specs.append(TensorSpec(name, datatype, (-1,) * len(shape)))
        given_values[name] = nested.reshape(shape).tolist()
    return Signature("m", tuple(specs), (), 8), given_values


@given(requests(), st.booleans())
def test_rows_and_columns_are_the_same_tensors(case: tuple[Signature, dict[str, Any]], ascii_only: bool) -> None:
    """Bit by bit those that were written: what is decoded is what was encoded."""
    signature, columns = case
    count = len(next(iter(columns.values())))
    rows = [{name: column[index] for name, column in columns.items()} for index in range(count)]
    bodies = [{"instances": rows}, {"inputs": columns}]
    if len(columns) == 1:
        bodies += [{"instances": next(iter(columns.values()))}, {"inputs": next(iter(columns.values()))}]
    for body in bodies:
        request, by_rows = read(json.dumps(body, ensure_ascii=ascii_only), signature)
        assert ("instances" in body) == by_rows
        assert list(columns) == [tensor.name for tensor in request.inputs]
        for tensor in request.inputs:
            expected = np.array(columns[tensor.name], DATATYPES[tensor.datatype].numpy)
            found = array_of(tensor)
            assert expected.shape == found.shape
            assert np.array_equal(expected, found, equal_nan=tensor.datatype in {"FP32", "FP64"})
        assert count == bind(signature, request, LIMITS).rows
