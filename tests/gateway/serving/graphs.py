"""Small ONNX graphs, each made to show one property of a model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATATYPES = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "FP16": TensorProto.FLOAT16, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16, "BYTES": TensorProto.STRING,
}  # fmt: skip


def value(name: str, kind: int, *shape: int | str) -> onnx.ValueInfoProto:
    """An input or output."""
    return helper.make_tensor_value_info(name, kind, shape)


def graph(nodes: list, inputs: list, outputs: list, **constants: np.ndarray) -> onnx.ModelProto:
    """A model of one graph."""
    weights = [numpy_helper.from_array(np.asarray(array), name) for name, array in constants.items()]
    made = helper.make_graph(nodes, "g", inputs, outputs, weights)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def twice(*, weight: float = 2.0, batch: int | str = "n") -> onnx.ModelProto:
    """y [n, 2] = x [n, 2] * weight."""
    node = helper.make_node("Mul", ["x", "w"], ["y"])
    return graph([node], [value("x", 1, batch, 2)], [value("y", 1, batch, 2)], w=np.array([weight], np.float32))


def mirror(datatype: str) -> onnx.ModelProto:
    """y = x of one datatype, [n, 2]."""
    kind = DATATYPES[datatype]
    return graph([helper.make_node("Identity", ["x"], ["y"])], [value("x", kind, "n", 2)], [value("y", kind, "n", 2)])


def centred() -> onnx.ModelProto:
    """y = x minus the mean over all rows: what a row gives depends on its neighbours."""
    nodes = [helper.make_node("ReduceMean", ["x"], ["m"], axes=[0], keepdims=1), helper.make_node("Sub", ["x", "m"], ["y"])]
    return graph(nodes, [value("x", 1, "n", 2)], [value("y", 1, "n", 2)])


def squeezed() -> onnx.ModelProto:
    """y = x without its dimensions of 1, declared as rows: one row loses its batch dimension."""
    return graph([helper.make_node("Squeeze", ["x"], ["y"])], [value("x", 1, "n", 1)], [value("y", 1, "n")])


def picky() -> onnx.ModelProto:
    """y [n] = table[id - 5] for ids 2 … 7: zeros are no valid input."""
    nodes = [helper.make_node("Sub", ["id", "five"], ["at"]), helper.make_node("Gather", ["table", "at"], ["y"], axis=0)]
    inputs, outputs = [value("id", TensorProto.INT64, "n")], [value("y", 1, "n")]
    return graph(nodes, inputs, outputs, five=np.array(5, np.int64), table=np.array([10, 20, 30], np.float32))


def brittle() -> onnx.ModelProto:
    """y [n, 2] = 0 for zeros, and an error for anything else."""
    nodes = [helper.make_node("Cast", ["x"], ["at"], to=TensorProto.INT64), helper.make_node("Gather", ["table", "at"], ["y"], axis=0)]
    return graph(nodes, [value("x", 1, "n", 2)], [value("y", 1, "n", 2)], table=np.zeros(1, np.float32))


def chooser() -> onnx.ModelProto:
    """y [n, 2] = x, by way of an If whose two branches are the same."""
    branches = {
        f"{name}_branch": helper.make_graph([helper.make_node("Identity", ["x"], [name])], name, [], [value(name, 1, "n", 2)])
        for name in ("then", "else")
    }
    node = helper.make_node("If", ["yes"], ["y"], **branches)
    return graph([node], [value("x", 1, "n", 2)], [value("y", 1, "n", 2)], yes=np.array(True))


def endless() -> onnx.ModelProto:
    """y = x after a loop that does not end for x of 1 and more."""
    body = helper.make_graph(
        [helper.make_node("ReduceMax", ["v"], ["top"], keepdims=0), helper.make_node("GreaterOrEqual", ["top", "one"], ["on"]),
         helper.make_node("Identity", ["v"], ["w"])],
        "body", [value("i", TensorProto.INT64), value("c", TensorProto.BOOL), value("v", 1, "n", 2)],
        [value("on", TensorProto.BOOL), value("w", 1, "n", 2)],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["largest"], keepdims=0), helper.make_node("GreaterOrEqual", ["largest", "one"], ["begin"]),
        helper.make_node("Loop", ["", "begin", "x"], ["y"], body=body),
    ]  # fmt: skip
    return graph(nodes, [value("x", 1, "n", 2)], [value("y", 1, "n", 2)], one=np.array(1, np.float32))


def product() -> onnx.ModelProto:
    """y = a @ b of free shapes, [n, k] and [n, n]: inputs that do not fit each other fail inside."""
    inputs = [value("a", 1, "n", "k"), value("b", 1, "n", "m")]
    return graph([helper.make_node("MatMul", ["a", "b"], ["y"])], inputs, [value("y", 1, "n", "m")])


def sequence() -> onnx.ModelProto:
    """An output that is no tensor."""
    out = helper.make_tensor_sequence_value_info("y", 1, None)
    return graph([helper.make_node("SequenceConstruct", ["x"], ["y"])], [value("x", 1, "n", 2)], [out])


def saved(path: Path, model: onnx.ModelProto) -> Path:
    """The model's file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.SerializeToString())
    return path
