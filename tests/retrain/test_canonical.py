"""Graphs that mean the same become the same bytes, and still say the same."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from retrain.canonical import canonical
from tests.retrain.disturbed import disturbed


def _value(name: str, kind: int = TensorProto.FLOAT, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _branch(op: str, *taken: str) -> GraphProto:
    """A branch that takes from around it, through a value whose name both branches use."""
    nodes = [helper.make_node(op, list(taken), ["same"]), helper.make_node("Mul", ["same", "two"], ["out"])]
    return helper.make_graph(nodes, "branch", [], [_value("out")], [numpy_helper.from_array(np.float32(2), "two")])


def _model() -> ModelProto:
    """y = relu(a + b) · 2 or |a| · 2, then looped three times over + b; z = a − b. With a dead node and an unused constant."""
    body = helper.make_graph(
        [helper.make_node("Identity", ["go"], ["on"]), helper.make_node("Add", ["state", "b"], ["next"])],
        "body",
        [_value("i", TensorProto.INT64, []), _value("go", TensorProto.BOOL, []), _value("state")],
        [_value("on", TensorProto.BOOL, []), _value("next")],
    )
    nodes = [
        helper.make_node("Add", ["a", "b"], ["sum"]),
        helper.make_node("ReduceSum", ["a"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["flag"]),
        helper.make_node("If", ["flag"], ["chosen"], then_branch=_branch("Relu", "sum"), else_branch=_branch("Abs", "a")),
        helper.make_node("Loop", ["three", "", "chosen"], ["y"], body=body),
        helper.make_node("Sub", ["a", "b"], ["z"]),
        helper.make_node("Neg", ["sum"], ["dead"]),
    ]
    constants = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(np.array(3, np.int64), "three"),
        numpy_helper.from_array(np.ones(5, np.float32), "unused"),
    ]
    graph = helper.make_graph(
        nodes, "g", [_value("a", shape=[3]), _value("b", shape=[3])], [_value("y", shape=[3]), _value("z", shape=[3])], constants
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _bytes(model: ModelProto) -> bytes:
    copy = ModelProto.FromString(model.SerializeToString())
    canonical(copy)
    return copy.SerializeToString(deterministic=True)


def _run(content: bytes, a: list[float]) -> list[list[float]]:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return [value.tolist() for value in session.run(["y", "z"], {"a": np.array(a, np.float32), "b": np.ones(3, np.float32)})]


@given(st.integers(0, 10**9))
def test_order_and_names_do_not_matter(seed: int) -> None:
    """Whatever a process makes of them, the bytes are the same."""
    assert _bytes(_model()) == _bytes(disturbed(_model(), random.Random(seed)))


@pytest.mark.parametrize(("a", "y"), [([1, 2, 3], [7, 9, 11]), ([-1, -2, -3], [5, 7, 9])])
def test_it_says_what_it_said(a: list[float], y: list[float]) -> None:
    """Through both branches and the loop, checked by ONNX's checker and run."""
    content = _bytes(_model())
    onnx.checker.check_model(content)
    assert [y, [value - 1 for value in a]] == _run(content, a) == _run(_model().SerializeToString(), a)


def test_doing_it_twice_changes_nothing() -> None:
    """Also although the names that it gives are in use by then."""
    assert _bytes(_model()) == _bytes(ModelProto.FromString(_bytes(_model())))


def test_what_no_output_needs_is_left_out() -> None:
    """Dead nodes and unused constants."""
    graph = ModelProto.FromString(_bytes(_model())).graph
    assert "Neg" not in {node.op_type for node in graph.node}
    assert 2 == len(graph.initializer)


def test_outputs_get_the_names_that_are_asked_for() -> None:
    """In their order, although a value within the model has one of these names."""
    model = _model()
    canonical(model, outputs=("sum", "value_1"))
    content = model.SerializeToString()
    onnx.checker.check_model(content)
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    assert ["sum", "value_1"] == [output.name for output in session.get_outputs()]
    found = session.run(None, {"a": np.array([1, 2, 3], np.float32), "b": np.ones(3, np.float32)})
    assert [[7, 9, 11], [0, 1, 2]] == [value.tolist() for value in found]


def test_a_long_chain() -> None:
    """Longer than Python's stack."""
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(5000)]
    graph = helper.make_graph(nodes, "g", [_value("v0", shape=[1])], [_value("v5000", shape=[1])])
    model = helper.make_model(graph)
    canonical(model)
    assert 5000 == len(model.graph.node)
