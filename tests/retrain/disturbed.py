"""An ONNX graph as another process might have written it."""

from __future__ import annotations

import random
from collections.abc import Iterator

import onnx
from onnx import GraphProto, ModelProto, TensorProto


def _graphs(graph: GraphProto) -> Iterator[GraphProto]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _graphs(attribute.g)


def disturbed(model: ModelProto, chance: random.Random) -> ModelProto:
    """The same graph as another process might write it: other names, another order that still respects what needs what."""
    copy = ModelProto.FromString(model.SerializeToString())
    ports = {value.name for value in (*copy.graph.input, *copy.graph.output)}
    names: dict[str, str] = {name: name for name in ports}

    def renamed(name: str) -> str:
        return names.setdefault(name, f"n{chance.randrange(10**9)}") if name else ""

    for graph in _graphs(copy.graph):
        for value in (*graph.input, *graph.output, *graph.initializer):
            value.name = renamed(value.name)
        for node in graph.node:
            node.input[:] = [renamed(name) for name in node.input]
            node.output[:] = [renamed(name) for name in node.output]
            node.name = f"node{chance.randrange(10**9)}"
    for graph in _graphs(copy.graph):
        _shuffle(graph, chance)
    return copy


def _shuffle(graph: GraphProto, chance: random.Random) -> None:
    waiting, ordered = [onnx.NodeProto.FromString(node.SerializeToString()) for node in graph.node], []
    while waiting:
        missing = {name for node in waiting for name in node.output}
        ready = [node for node in waiting if not any(f'"{name}"' in str(node) for name in missing - set(node.output) if name)]
        ordered.append(chance.choice(ready))
        waiting.remove(ordered[-1])
    del graph.node[:]
    graph.node.extend(ordered)
    constants = [TensorProto.FromString(tensor.SerializeToString()) for tensor in graph.initializer]
    chance.shuffle(constants)
    del graph.initializer[:]
    graph.initializer.extend(constants)
