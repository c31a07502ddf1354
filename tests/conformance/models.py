"""The models that the clients call, written as a Triton-style repository: `<model>/1/model.onnx`.

plus_one     ROW FP32 [-1, 4] → NEXT FP32 [-1, 4], each value plus 1: rows that a caller can tell from its neighbours'
mirror       one input and one output per datatype, [-1, 2]: out comes what went in
mirror_half  the same for FP16 and BF16, which gRPC carries in raw form only
echo         DATA FP32 [-1, -1] → SAME: tensors of any size, both ways
ramp         START FP32 [-1, 1] → VALUES FP32 [-1, 65536]: 256 KiB a row, more than a peer's first window of 64 KiB
slow_*       STEPS FP32 [-1, 1] → DONE FP32 [-1, 1]: a loop of half a millisecond or so a step; one copy per client, so that
             nobody's deadline is judged by what another client's calls have taught the server about the cost
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATATYPES = {
    "BOOL": TensorProto.BOOL, "UINT8": TensorProto.UINT8, "UINT16": TensorProto.UINT16, "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64, "INT8": TensorProto.INT8, "INT16": TensorProto.INT16, "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64, "FP32": TensorProto.FLOAT, "FP64": TensorProto.DOUBLE,
    "BYTES": TensorProto.STRING,
}  # fmt: skip
HALVES = {"FP16": TensorProto.FLOAT16, "BF16": TensorProto.BFLOAT16}
RAMP_VALUES = 65_536
SLOW_MATRIX = 256  # rows and columns of the product in each step of slow_*
CLIENTS = ("go", "java", "node", "grpcio", "aio", "nghttp", "envoy")


def tensor(name: str, kind: int, *width: int | str) -> onnx.ValueInfoProto:
    """A tensor with a free batch dimension."""
    return helper.make_tensor_value_info(name, kind, ["batch", *width])


def constant(name: str, values: np.ndarray) -> onnx.TensorProto:
    """An initializer."""
    return numpy_helper.from_array(values, name)


def model(name: str, nodes: list, inputs: list, outputs: list, constants: tuple = ()) -> onnx.ModelProto:
    """A checked model of one graph."""
    graph = helper.make_graph(nodes, name, inputs, outputs, list(constants))
    built = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.checker.check_model(built)
    return built


def plus_one() -> onnx.ModelProto:
    """NEXT = ROW + 1."""
    one = constant("one", np.ones(1, np.float32))
    row, following = (tensor(name, TensorProto.FLOAT, 4) for name in ("ROW", "NEXT"))
    return model("plus_one", [helper.make_node("Add", ["ROW", "one"], ["NEXT"])], [row], [following], (one,))


def mirror(name: str, datatypes: dict[str, int]) -> onnx.ModelProto:
    """OUT_<datatype> = IN_<datatype>."""
    nodes = [helper.make_node("Identity", [f"IN_{key}"], [f"OUT_{key}"]) for key in datatypes]
    inputs, outputs = ([tensor(side + key, kind, 2) for key, kind in datatypes.items()] for side in ("IN_", "OUT_"))
    return model(name, nodes, inputs, outputs)


def echo() -> onnx.ModelProto:
    """SAME = DATA."""
    data, same = (tensor(name, TensorProto.FLOAT, "width") for name in ("DATA", "SAME"))
    return model("echo", [helper.make_node("Identity", ["DATA"], ["SAME"])], [data], [same])


def ramp() -> onnx.ModelProto:
    """VALUES[i] = START + i."""
    steps = constant("steps", np.arange(RAMP_VALUES, dtype=np.float32))
    start, values = tensor("START", TensorProto.FLOAT, 1), tensor("VALUES", TensorProto.FLOAT, RAMP_VALUES)
    return model("ramp", [helper.make_node("Add", ["START", "steps"], ["VALUES"])], [start], [values], (steps,))


def slow() -> onnx.ModelProto:
    """DONE = STEPS, after max(STEPS) matrix products by the identity."""
    square = helper.make_tensor_value_info
    body = helper.make_graph(
        [helper.make_node("MatMul", ["before", "identity"], ["after"]), helper.make_node("Identity", ["going"], ["still_going"])],
        "step",
        [square("index", TensorProto.INT64, []), square("going", TensorProto.BOOL, []), square("before", TensorProto.FLOAT, None)],
        [square("still_going", TensorProto.BOOL, []), square("after", TensorProto.FLOAT, None)],
    )
    nodes = [
        helper.make_node("ReduceMax", ["STEPS"], ["longest"], keepdims=0),
        helper.make_node("Cast", ["longest"], ["count"], to=TensorProto.INT64),
        helper.make_node("Loop", ["count", "always", "first"], ["last"], body=body),
        helper.make_node("ReduceMean", ["last"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["STEPS", "nothing"], ["DONE"]),
    ]
    constants = (
        constant("always", np.array(True)),
        constant("zero", np.zeros(1, np.float32)),
        constant("identity", np.eye(SLOW_MATRIX, dtype=np.float32)),
        constant("first", np.ones((SLOW_MATRIX, SLOW_MATRIX), np.float32)),
    )
    return model("slow", nodes, [tensor("STEPS", TensorProto.FLOAT, 1)], [tensor("DONE", TensorProto.FLOAT, 1)], constants)


def write(folder: Path) -> None:
    """Fill `folder` with every model."""
    models = {
        "plus_one": plus_one(),
        "mirror": mirror("mirror", DATATYPES),
        "mirror_half": mirror("mirror_half", HALVES),
        "echo": echo(),
        "ramp": ramp(),
        **{f"slow_{client}": slow() for client in CLIENTS},
    }
    for name, built in models.items():
        path = folder / name / "1" / "model.onnx"
        path.parent.mkdir(parents=True, exist_ok=True)
        onnx.save(built, path)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
