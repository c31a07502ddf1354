"""The models of the end-to-end tests, written as a Triton-style repository.

rows        x FP32 [-1, 4] → y = x (version 1) or y = -x (version 2), z FP32 [-1] = the row's sum: rows that can be told apart
pair        a FP32 [-1, 2], b INT64 [-1, 1] → sum FP32 [-1, 2] = a + b, b INT64 [-1, 1]
same_*      x [-1, -1] → y = x, one model per datatype
fixed       x FP32 [2, 3] → y = x, without a batch dimension
logarithm   x FP32 [-1, 1] → y = ln x: NaN and -inf for the asking
embedding   id INT64 [-1] → y FP32 [-1, 4], a table of TABLE rows: an id beyond it fails the run that holds it
spread      x FP32 [-1], n INT64 [-1] → y FP32 = x expanded to shape n: the output's size is the caller's choice
loop        steps INT64 [] → y FP32: time is the caller's choice
quoted      an input whose name holds quotes, backslashes, a line break and a path
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

KINDS = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16, "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE, "BYTES": TensorProto.STRING,
}  # fmt: skip
TABLE = 10
QUOTED = 'in "put\\ \n../../etc/passwd'
FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64

Dimension = int | str


def value(name: str, kind: int, *shape: Dimension) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def constant(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array, name)


def model(nodes: list, inputs: list, outputs: list, constants: tuple = ()) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, list(constants))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def rows(sign: float) -> onnx.ModelProto:
    nodes = [
        helper.make_node("Mul", ["x", "sign"], ["y"]),
        helper.make_node("ReduceSum", ["x", "axis"], ["z"], keepdims=0),
    ]
    constants = constant("sign", np.array(sign, np.float32)), constant("axis", np.array([1]))
    return model(nodes, [value("x", FLOAT, "n", 4)], [value("y", FLOAT, "n", 4), value("z", FLOAT, "n")], constants)


def pair() -> onnx.ModelProto:
    nodes = [
        helper.make_node("Cast", ["b"], ["c"], to=FLOAT),
        helper.make_node("Add", ["a", "c"], ["sum"]),
        helper.make_node("Identity", ["b"], ["same"]),
    ]
    inputs = [value("a", FLOAT, "n", 2), value("b", INT64, "n", 1)]
    return model(nodes, inputs, [value("sum", FLOAT, "n", 2), value("same", INT64, "n", 1)])


def same(kind: int, shape: tuple[Dimension, ...] = ("n", "m"), name: str = "x") -> onnx.ModelProto:
    return model([helper.make_node("Identity", [name], ["y"])], [value(name, kind, *shape)], [value("y", kind, *shape)])


def logarithm() -> onnx.ModelProto:
    return model([helper.make_node("Log", ["x"], ["y"])], [value("x", FLOAT, "n", 1)], [value("y", FLOAT, "n", 1)])


def embedding() -> onnx.ModelProto:
    table = constant("table", np.arange(TABLE * 4, dtype=np.float32).reshape(TABLE, 4))
    return model([helper.make_node("Gather", ["table", "id"], ["y"])], [value("id", INT64, "n")], [value("y", FLOAT, "n", 4)], (table,))


def spread() -> onnx.ModelProto:
    return model(
        [helper.make_node("Expand", ["x", "n"], ["y"])], [value("x", FLOAT, "k"), value("n", INT64, "r")], [value("y", FLOAT, *"ab")]
    )


def loop() -> onnx.ModelProto:
    body = helper.make_graph(
        [helper.make_node("Add", ["before", "one"], ["after"]), helper.make_node("Identity", ["going"], ["on"])],
        "body",
        [value("step", INT64), value("going", TensorProto.BOOL), value("before", FLOAT)],
        [value("on", TensorProto.BOOL), value("after", FLOAT)],
    )
    node = helper.make_node("Loop", ["steps", "always", "zero"], ["y"], body=body)
    constants = constant("always", np.array(True)), constant("zero", np.array(0, np.float32)), constant("one", np.array(1, np.float32))
    return model([node], [value("steps", INT64)], [value("y", FLOAT)], constants)


def save(folder: Path, name: str, built: onnx.ModelProto, version: int = 1) -> None:
    path = folder / name / str(version) / "model.onnx"
    path.parent.mkdir(parents=True)
    onnx.save(built, path)


def write(folder: Path) -> None:
    """Fill `folder` with every model."""
    save(folder, "rows", rows(1.0), 1)
    save(folder, "rows", rows(-1.0), 2)
    for name, kind in KINDS.items():
        save(folder, f"same_{name.lower()}", same(kind))
    save(folder, "fixed", same(FLOAT, (2, 3)))
    save(folder, "quoted", same(FLOAT, ("n", 1), QUOTED))
    for name, build in {"pair": pair, "logarithm": logarithm, "embedding": embedding, "spread": spread, "loop": loop}.items():
        save(folder, name, build())
    save(folder, "half", half())
    save_bytes(folder, "broken", b"this is no ONNX file")


def half() -> onnx.ModelProto:
    """ONNX Runtime has no such kernel for the CPU."""
    node = helper.make_node("Add", ["x", "x"], ["y"])
    return model([node], [value("x", TensorProto.BFLOAT16, "n", 1)], [value("y", TensorProto.BFLOAT16, "n", 1)])


def save_bytes(folder: Path, name: str, content: bytes) -> None:
    path = folder / name / "1" / "model.onnx"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
