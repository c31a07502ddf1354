"""What a graph takes and returns, as the protocol says it: held against what was said of it, and in the shapes that callers see.

Knows the runtime's description of a graph only by its look.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from gateway.protocol.tensors import Signature, TensorSpec, shape_text
from registry.contract import Contract, Port
from registry.errors import refused
from registry.ports import CONFIG_FILE, Ports, View
from registry.schema import Field, Schema, Terms, merge

_DATATYPE = {
    "tensor(bool)": "BOOL", "tensor(uint8)": "UINT8", "tensor(uint16)": "UINT16", "tensor(uint32)": "UINT32", "tensor(uint64)": "UINT64",
    "tensor(int8)": "INT8", "tensor(int16)": "INT16", "tensor(int32)": "INT32", "tensor(int64)": "INT64", "tensor(float16)": "FP16",
    "tensor(float)": "FP32", "tensor(double)": "FP64", "tensor(bfloat16)": "BF16", "tensor(string)": "BYTES",
}  # fmt: skip


class Node(Protocol):
    """An input or output of a graph, as the runtime describes it."""

    @property
    def name(self) -> str:
        """In the graph."""
        ...

    @property
    def type(self) -> str:
        """As ONNX writes it: "tensor(float)"."""
        ...

    @property
    def shape(self) -> Sequence[int | str | None] | None:
        """Empty also where the rank is not known."""
        ...


Nodes = Sequence[Node]


@dataclass(frozen=True, slots=True)
class Reshaping:
    """Arrays between the shapes that callers see and those of the graph; None for a port where they are the same."""

    inputs: tuple[View | None, ...]
    outputs: tuple[View | None, ...]

    def given(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Inputs for the graph. Raises `ValueError` for another shape."""
        pairs = zip(arrays, self.inputs, strict=True)
        return [array if view is None else array.reshape(view.to_graph(array.shape)) for array, view in pairs]

    def made(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for callers. Raises `ValueError` where the graph made another shape than was said."""
        pairs = zip(arrays, self.outputs, strict=True)
        return [array if view is None or array.shape == view.seen else array.reshape(view.to_seen(array.shape)) for array, view in pairs]


def signature_of(
    model: str, inputs: Nodes, outputs: Nodes, *, max_batch_size: int, schema: Schema | None, ports: Ports | None
) -> tuple[Signature, Reshaping | None]:
    """What callers are told, and how to get from there to the graph.

    Sizes that the graph leaves free and `schema` or `ports` fix are fixed. Raises `Kind.INVALID_MODEL` for types that the protocol lacks,
    and where `ports` does not fit the graph.
    """
    if ports is not None:
        inputs, outputs = _chosen(inputs, ports.contract.inputs, "input"), _chosen(outputs, ports.contract.outputs, "output")
        schema = merge(_contract(inputs, outputs), ports.contract, source=CONFIG_FILE)
    given = _fixed(tuple(_spec(node, "input") for node in inputs), schema.inputs if schema else ())
    made = _fixed(tuple(_spec(node, "output") for node in outputs), schema.outputs if schema else ())
    if ports is not None and ports.batched:
        check_batched((*given, *made))
    reshaping = None if ports is None else _reshaping(inputs, outputs, ports)
    if reshaping is not None:
        given, made = _seen(given, reshaping.inputs), _seen(made, reshaping.outputs)
    batched = bool(inputs) and all(spec.shape and spec.shape[0] == -1 for spec in (*given, *made))
    return Signature(model=model, inputs=given, outputs=made, max_batch_size=max_batch_size if batched else 0), reshaping


def check_batched(specs: Sequence[TensorSpec]) -> None:
    """Raises `Kind.INVALID_MODEL` where one of them has no free first dimension."""
    for spec in specs:
        if spec.shape[:1] != (-1,):
            shape = shape_text(spec.shape)
            raise refused(f"{CONFIG_FILE} has a max_batch_size above 0, and the first dimension of '{spec.name}', {shape}, is not free")


def _chosen(nodes: Nodes, listed: Mapping[str, Terms], what: str) -> Nodes:
    """All where none is listed; else those that are, in that order. Every input has to be listed, an output may be left out."""
    if not listed:
        return nodes
    by_name = {node.name: node for node in nodes}
    missing = by_name.keys() - listed.keys()
    if missing and what == "input":
        raise refused(f"{CONFIG_FILE} lists inputs without '{min(missing)}', which the model needs")
    strangers = listed.keys() - by_name.keys()
    if strangers:
        raise refused(f"{CONFIG_FILE} lists {what} '{min(strangers)}', which the model does not have")
    return [by_name[name] for name in listed]


def _contract(inputs: Nodes, outputs: Nodes) -> Contract:
    return Contract(ir_version=0, opsets={}, producer="", inputs=_described(inputs), outputs=_described(outputs))


def _described(nodes: Nodes) -> tuple[Port, ...]:
    return tuple(Port(name=node.name, type=node.type, shape=tuple(node.shape) if node.shape else None) for node in nodes)


def _reshaping(inputs: Nodes, outputs: Nodes, ports: Ports) -> Reshaping | None:
    """None where callers see the shapes of the graph."""
    given = tuple(ports.inputs.get(node.name) or _scalar(node, ports.contract.inputs) for node in inputs)
    made = tuple(ports.outputs.get(node.name) or _scalar(node, ports.contract.outputs) for node in outputs)
    return Reshaping(given, made) if any((*given, *made)) else None


def _scalar(node: Node, listed: Mapping[str, Terms]) -> View | None:
    """Triton has no empty dims: what is said to be one value is a scalar where the graph has no dimensions, or does not say which."""
    shape = () if node.shape or node.name not in listed else tuple(size or 0 for size in listed[node.name].shape or ())
    return View(seen=shape, graph=()) if set(shape) == {1} else None


def _seen(specs: tuple[TensorSpec, ...], views: tuple[View | None, ...]) -> tuple[TensorSpec, ...]:
    """The specs as callers see them."""
    return tuple(replace(spec, shape=view.seen) if view else spec for spec, view in zip(specs, views, strict=True))


def _spec(node: Node, role: str) -> TensorSpec:
    datatype = _DATATYPE.get(node.type)
    if datatype is None:
        raise refused(f"{role} '{node.name}' has type {node.type}, which is not a tensor of the protocol's datatypes")
    return TensorSpec(node.name, datatype, tuple(size if isinstance(size, int) and size >= 0 else -1 for size in node.shape or ()))


def _fixed(specs: tuple[TensorSpec, ...], fields: tuple[Field, ...]) -> tuple[TensorSpec, ...]:
    """The specs with the sizes that the author fixed where the graph leaves them free."""
    shapes = {field.name: field.shape for field in fields}
    return tuple(replace(spec, shape=_fixed_shape(spec.shape, shapes.get(spec.name))) for spec in specs)


def _fixed_shape(shape: tuple[int, ...], said: tuple[int | str | None, ...] | None) -> tuple[int, ...]:
    sizes = tuple(size if isinstance(size, int) else -1 for size in said or ())
    if not shape:  # the runtime says of a tensor without a known rank what it says of a scalar
        return sizes
    return tuple(ours if ours >= 0 else theirs for ours, theirs in zip(shape, sizes, strict=True)) if sizes else shape
