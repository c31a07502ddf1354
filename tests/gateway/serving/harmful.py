"""Graphs that do harm to whoever runs them, for rows with a value of 1 and more: x FP32 [n, 2] → y, warmed up with zeros like any other."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from tests.gateway.serving.graphs import graph, value

WIDE = 384  # of the square matrix that `sluggish` multiplies
_ROWS = [value("x", 1, "n", 2)]
_ANSWERS = [value("y", 1, "n", 2)]


def overflowing() -> onnx.ModelProto:
    """The process is gone: −2^31 / −1 is no 32-bit integer, and x86-64 raises SIGFPE for it, which ONNX Runtime does not look out for."""
    nodes = [
        *_grown(),
        helper.make_node("Where", ["grown", "minus", "plus"], ["divisor"]),
        helper.make_node("Div", ["lowest", "divisor"], ["quotient"]),
        helper.make_node("Cast", ["quotient"], ["number"], to=TensorProto.FLOAT),
        helper.make_node("Mul", ["x", "number"], ["y"]),
    ]
    whole = {"minus": np.array(-1, np.int32), "plus": np.array(1, np.int32), "lowest": np.array(-(2**31), np.int32)}
    return graph(nodes, _ROWS, _ANSWERS, one=np.array(1, np.float32), **whole)


def hoarding() -> onnx.ModelProto:
    """The run doubles what it holds until there is no more."""
    body = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Concat", ["v", "v"], ["w"], axis=0)]
    return _looped(body, most="", kind=("M",), seed=np.zeros(1 << 16, np.float32))


def sluggish(times: int = 8) -> onnx.ModelProto:
    """Right, after tens of milliseconds: y = 2 x."""
    body = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("MatMul", ["v", "square"], ["w"])]
    square = np.eye(WIDE, dtype=np.float32)
    return _looped(body, most="times", kind=(WIDE, WIDE), seed=np.zeros((WIDE, WIDE), np.float32), square=square, times=np.array(times))


def undefined() -> onnx.ModelProto:
    """y = the logarithm of −x: NaN, or −∞ for zeros."""
    nodes = [helper.make_node("Neg", ["x"], ["minus"]), helper.make_node("Log", ["minus"], ["y"])]
    return graph(nodes, _ROWS, _ANSWERS)


def _grown() -> list[onnx.NodeProto]:
    return [
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("GreaterOrEqual", ["top", "one"], ["grown"]),
    ]


def _looped(
    body: list[onnx.NodeProto], *, most: str, kind: tuple[int | str, ...], seed: np.ndarray, **constants: np.ndarray
) -> onnx.ModelProto:
    """y = 2 x + 0 · what a loop makes of `seed`, which begins only where a row has grown."""
    inner = helper.make_graph(
        body, "body", [value("i", TensorProto.INT64), value("c", TensorProto.BOOL), value("v", 1, *kind)],
        [value("on", TensorProto.BOOL), value("w", 1, *kind)],
    )  # fmt: skip
    nodes = [
        *_grown(),
        helper.make_node("Loop", [most, "grown", "seed"], ["end"], body=inner),
        helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["nothing"]),
        helper.make_node("Mul", ["x", "two"], ["twice"]),
        helper.make_node("Add", ["twice", "nothing"], ["y"]),
    ]
    numbers = {name: np.array(number, np.float32) for name, number in (("one", 1), ("two", 2), ("zero", 0))}
    return graph(nodes, _ROWS, _ANSWERS, seed=seed, **numbers, **constants)
