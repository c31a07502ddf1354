"""Candidates that a shadow meets: one that is as stable is, and some that are broken, each for a few of the rows and in a way of its own.

All take and return what the tabular model does. Zeros, with which a version is warmed up, are no row that breaks anything.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from benchmarks.models import FEATURES, IR_VERSION, OPSET, tabular

RARE = 3.0  # one row in forty of a standard normal distribution has a value above it
WIDE = 384  # of the square matrix that slow runs multiply
SLOW_TIMES = 12


def _model(loop: list[NodeProto], **constants: np.ndarray) -> ModelProto:
    """`input` [N, 16] → `label` [N], `probabilities` [N, 2], after `loop` has made `looped`, one number that is 0, of it."""
    nodes = [
        *loop,
        helper.make_node("Gemm", ["input", "weight"], ["logits"]),
        helper.make_node("Add", ["logits", "looped"], ["moved"]),
        helper.make_node("Softmax", ["moved"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    constants["weight"] = np.ones((FEATURES, 2), np.float32)
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", FEATURES])],
        [
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 2]),
        ],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def _value(name: str, kind: int, *shape: int | str) -> object:
    return helper.make_tensor_value_info(name, kind, shape)


def _loop(body: list[NodeProto], *, most: str, carried: str, kind: tuple[int, ...], on: str) -> list[NodeProto]:
    """From `carried`, as long as `on` says; its sum times 0 is `looped`. Begins only for a rare row, where `on` is "on"."""
    graph = helper.make_graph(
        body, "body",
        [_value("i", TensorProto.INT64), _value("c", TensorProto.BOOL), _value("v", TensorProto.FLOAT, *kind)],
        [_value(on, TensorProto.BOOL), _value("w", TensorProto.FLOAT, *kind)],
    )  # fmt: skip
    return [
        helper.make_node("ReduceMax", ["input"], ["top"], keepdims=0),
        helper.make_node("Greater", ["top", "rare"], ["begin"]),
        helper.make_node("Loop", [most, "begin" if on == "on" else "", carried], ["end"], body=graph),
        helper.make_node("ReduceMax", ["end"], ["most"], keepdims=0),
        helper.make_node("Mul", ["most", "zero"], ["looped"]),
    ]


def _hanging() -> ModelProto:
    """A run with a rare row does not end."""
    body = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Identity", ["v"], ["w"])]
    return _model(_loop(body, most="", carried="seed", kind=(1,), on="on"), **_constants(np.zeros(1, np.float32)))


def _leaking() -> ModelProto:
    """A run with a rare row doubles what it holds until there is no more."""
    body = [helper.make_node("Identity", ["c"], ["on"]), helper.make_node("Concat", ["v", "v"], ["w"], axis=0)]
    return _model(_loop(body, most="", carried="seed", kind=("M",), on="on"), **_constants(np.zeros(1 << 16, np.float32)))


def _slow() -> ModelProto:
    """Every run takes tens of milliseconds."""
    body = [helper.make_node("Identity", ["c"], ["go"]), helper.make_node("MatMul", ["v", "square"], ["w"])]
    square = np.eye(WIDE, dtype=np.float32)
    constants = _constants(np.zeros((WIDE, WIDE), np.float32)) | {"square": square, "times": np.array(SLOW_TIMES)}
    return _model(_loop(body, most="times", carried="seed", kind=(WIDE, WIDE), on="go"), **constants)


def _constants(seed: np.ndarray) -> dict[str, np.ndarray]:
    return {"seed": seed, "rare": np.array(RARE, np.float32), "zero": np.array(0, np.float32)}


def _alike() -> ModelProto:
    return tabular(np.random.default_rng(0), FEATURES)


# What is called crashing is as good as any: its process is killed from outside.
CANDIDATES: dict[str, Callable[[], ModelProto]] = {
    "alike": _alike, "hanging": _hanging, "crashing": _alike, "leaking": _leaking, "slow": _slow,
}  # fmt: skip
