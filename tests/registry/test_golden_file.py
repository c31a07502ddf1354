"""Golden requests as people write them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from registry.golden import Golden, GoldenRequest, Tolerance, golden_of, tensor_of
from registry.golden_file import golden_file
from registry.yaml_text import read_yaml

FILE = b"""
tolerance: {absolute: 1.0e-3, relative: 0}
requests:
- inputs:
  - {name: x, datatype: FP32, shape: [2, 2], data: [[0.5, 1], [.nan, -.inf]]}
  - {name: t, datatype: BYTES, shape: [2, 1], data: [a, ""]}
  outputs: [{name: y, datatype: INT64, shape: [2], data: [3, -9223372036854775808]}]
- inputs: [{name: b, datatype: BOOL, shape: [1], data: [true]}, {name: u, datatype: UINT8, shape: [], data: [255]}]
"""


def test_a_whole_file() -> None:
    """Flat or nested, with or without answers; special values, texts, scalars."""
    golden = golden_file(read_yaml(FILE, name="golden.yaml"))
    first = GoldenRequest(
        inputs={
            "x": tensor_of(np.array([[0.5, 1], [np.nan, -np.inf]], np.float32)),
            "t": tensor_of(np.array([["a"], [""]], object)),
        },
        outputs={"y": tensor_of(np.array([3, -(1 << 63)], np.int64))},
    )
    second = GoldenRequest(inputs={"b": tensor_of(np.array([True])), "u": tensor_of(np.array(255, np.uint8))}, outputs={})
    assert Golden(tolerance=Tolerance(absolute=1e-3, relative=0.0), requests=(first, second)) == golden


def test_the_usual_tolerance() -> None:
    """What is not said is as for requests from rows."""
    plain = {"requests": [{"inputs": [{"name": "x", "datatype": "FP64", "shape": [1], "data": [1]}]}]}
    assert golden_of({"x": np.ones(1)}) == golden_file(plain)


@pytest.mark.parametrize(
    ("tensor", "text"),
    [
        ({"datatype": "FP32", "shape": [2], "data": [1]}, "golden request 1: 'x' has 1 values, which are not of its shape"),
        ({"datatype": "FP32", "shape": [1 << 40, 1 << 40], "data": []}, "golden request 1: 'x' has 0 values, which are not of its shape"),
        ({"datatype": "FP32", "shape": [1], "data": ["1"]}, "golden request 1: 'x' is FP32, which is unknown or cannot hold '1'"),
        ({"datatype": "FP32", "shape": [1], "data": [None]}, "golden request 1: 'x' is FP32, which is unknown or cannot hold None"),
        ({"datatype": "FP32", "shape": [1], "data": [True]}, "golden request 1: 'x' is FP32, which is unknown or cannot hold True"),
        ({"datatype": "FP32", "shape": [1], "data": [1e39]}, "golden request 1: 'x' is FP32, which does not reach to its values"),
        ({"datatype": "FP16", "shape": [1], "data": [70000]}, "golden request 1: 'x' is FP16, which does not reach to its values"),
        ({"datatype": "FP64", "shape": [1], "data": [1 << 1100]}, "golden request 1: 'x' is FP64, which is unknown or cannot hold "),
        ({"datatype": "INT32", "shape": [1], "data": [1.5]}, "golden request 1: 'x' is INT32, which is unknown or cannot hold 1.5"),
        ({"datatype": "INT8", "shape": [1], "data": [128]}, "golden request 1: 'x' is INT8, which is unknown or cannot hold 128"),
        ({"datatype": "UINT64", "shape": [1], "data": [-1]}, "golden request 1: 'x' is UINT64, which is unknown or cannot hold -1"),
        ({"datatype": "BOOL", "shape": [1], "data": [1]}, "golden request 1: 'x' is BOOL, which is unknown or cannot hold 1"),
        ({"datatype": "BYTES", "shape": [1], "data": [1]}, "golden request 1: 'x' is BYTES, which is unknown or cannot hold 1"),
        ({"datatype": "BF16", "shape": [0], "data": []}, "golden request 1: 'x' is BF16, which is unknown"),
        ({"datatype": "FP32", "shape": [1], "data": [{}]}, "golden request 1: 'x' has a mapping among its values"),
        ({"datatype": "FP32", "shape": [-1], "data": [1]}, "the file of golden requests is not one: "),
        ({"datatype": "FP32", "shape": [1], "data": [1], "parameters": {}}, "the file of golden requests is not one: "),
    ],
)
def test_refused_tensors(tensor: dict[str, Any], text: str, kind_of: Callable[..., str]) -> None:
    """Nothing is rounded, guessed or left out."""
    plain = {"requests": [{"inputs": [{"name": "x", **tensor}]}]}
    assert kind_of(lambda: golden_file(plain)).startswith("invalid_model: " + text)


@pytest.mark.parametrize(
    ("plain", "text"),
    [
        (None, "the file of golden requests is not one: "),
        ({"requests": []}, "the golden requests are refused: there are 0"),
        ({"format": 2, "requests": []}, "the file of golden requests is not one: "),
        ({"requests": [], "tolerance": {"absolute": -1}}, "the file of golden requests is not one: "),
        (
            {"requests": [{"inputs": [{"name": "x", "datatype": "FP32", "shape": [0], "data": []}] * 2}]},
            "golden request 1 has a tensor twice",
        ),
    ],
)
def test_refused_files(plain: Any, text: str, kind_of: Callable[..., str]) -> None:
    """Other documents, and requests that cannot be told apart."""
    assert kind_of(lambda: golden_file(plain)).startswith("invalid_model: " + text)
