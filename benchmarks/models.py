"""The ONNX models of the benches, their inputs, and the answers that bare ONNX Runtime gives to them.

Owns what is served; knows no server. Weights and rows come from the seed, so the gateway and every baseline see the same ones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

FEATURES = 16
OTHER_FEATURES = 24  # the second row shape of `shapes`
ECHO_FLOATS = 262_144  # 1 MiB a row
MLP_WIDTHS = (256, 1024, 1024, 10)
OPSET, IR_VERSION = 17, 9

Dimensions = list[int | str]
Outputs = dict[str, tuple[int, Dimensions]]


@dataclass(frozen=True, slots=True)
class Served:
    """One model of the bench. `outputs` are names and protocol datatypes, in the order of the graph."""

    name: str
    row: tuple[int, ...]  # shape of one input row
    outputs: tuple[tuple[str, str], ...]


TABULAR = Served("tabular", (FEATURES,), (("label", "INT64"), ("probabilities", "FP32")))
SHAPES = Served("shapes", (FEATURES,), (("output", "FP32"),))
SHAPES_OTHER = Served("shapes", (OTHER_FEATURES,), (("output", "FP32"),))
MLP = Served("mlp", (MLP_WIDTHS[0],), (("output", "FP32"),))
ECHO = Served("echo", (ECHO_FLOATS,), (("output", "FP32"),))


def write_repository(root: Path, *, names: Iterable[str] = ("tabular", "shapes", "mlp", "echo"), seed: int = 0) -> Path:
    """Write `<root>/<name>/1/model.onnx` for each name and return the root."""
    for name in names:
        folder = root / name / "1"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.onnx").write_bytes(BUILDERS[name](np.random.default_rng(seed)).SerializeToString())
    return root


def session(path: Path) -> onnxruntime.InferenceSession:
    """One session as every server of the bench runs it: one thread, no spinning."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def rows(model: Served, count: int, seed: int) -> np.ndarray:
    """`count` different rows, float32 [count, *row]."""
    return np.random.default_rng(seed).standard_normal((count, *model.row), dtype=np.float32)


def answers(repository: Path, model: Served, inputs: np.ndarray) -> list[list[np.ndarray]]:
    """What ONNX Runtime answers to each row alone: per row, one array per output."""
    run = session(repository / model.name / "1" / "model.onnx").run
    return [run(None, {"input": row[None]}) for row in inputs]


def _build(nodes: list[NodeProto], row: Dimensions, outputs: Outputs, constants: dict[str, np.ndarray]) -> ModelProto:
    """A graph from `input` [N, *row] to `outputs`, each an element type and a shape after N."""
    graph = helper.make_graph(
        nodes,
        "bench",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, ["N", *row])],
        [helper.make_tensor_value_info(output, kind, ["N", *shape]) for output, (kind, shape) in outputs.items()],
        [numpy_helper.from_array(value, key) for key, value in constants.items()],
    )
    return helper.make_model(graph, producer_name="tidegate-bench", opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def tabular(random: np.random.Generator, features: int = FEATURES) -> ModelProto:
    """A standard scaler and a logistic regression, as a converter would write them."""
    constants = {
        "mean": random.standard_normal(features, dtype=np.float32),
        "scale": random.uniform(0.5, 2.0, features).astype(np.float32),
        "weight": random.standard_normal((features, 2), dtype=np.float32),
        "bias": random.standard_normal(2, dtype=np.float32),
    }
    nodes = [
        helper.make_node("Sub", ["input", "mean"], ["centred"]),
        helper.make_node("Div", ["centred", "scale"], ["scaled"]),
        helper.make_node("Gemm", ["scaled", "weight", "bias"], ["logits"]),
        helper.make_node("Softmax", ["logits"], ["probabilities"], axis=1),
        helper.make_node("ArgMax", ["probabilities"], ["label"], axis=1, keepdims=0),
    ]
    return _build(nodes, [features], {"label": (TensorProto.INT64, []), "probabilities": (TensorProto.FLOAT, [2])}, constants)


def _shapes(_: np.random.Generator) -> ModelProto:
    """The norm of rows of any width: one model that takes several row shapes."""
    nodes = [helper.make_node("ReduceL2", ["input"], ["output"], axes=[1], keepdims=1)]
    return _build(nodes, ["width"], {"output": (TensorProto.FLOAT, [1])}, {})


def _mlp(random: np.random.Generator) -> ModelProto:
    constants, nodes, last = {}, [], "input"
    for layer, (inside, outside) in enumerate(pairwise(MLP_WIDTHS)):
        constants[f"w{layer}"] = random.standard_normal((inside, outside), dtype=np.float32) / np.float32(np.sqrt(inside))
        constants[f"b{layer}"] = random.standard_normal(outside, dtype=np.float32)
        final = layer == len(MLP_WIDTHS) - 2
        nodes.append(helper.make_node("Gemm", [last, f"w{layer}", f"b{layer}"], ["output" if final else f"h{layer}"]))
        if not final:
            nodes.append(helper.make_node("Relu", [f"h{layer}"], [f"r{layer}"]))
        last = f"r{layer}"
    return _build(nodes, [MLP_WIDTHS[0]], {"output": (TensorProto.FLOAT, [MLP_WIDTHS[-1]])}, constants)


def _echo(_: np.random.Generator) -> ModelProto:
    nodes = [helper.make_node("Identity", ["input"], ["output"])]
    return _build(nodes, [ECHO_FLOATS], {"output": (TensorProto.FLOAT, [ECHO_FLOATS])}, {})


BUILDERS = {"tabular": tabular, "shapes": _shapes, "mlp": _mlp, "echo": _echo}
