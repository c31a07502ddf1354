"""One spelling for every ONNX graph: nodes, constants and names in an order that only the graph's meaning decides.

skl2onnx orders nodes by where they lie in memory, so the same pipeline comes out in another order in the next process. Here nodes are
written in the order in which a walk from the outputs back to the inputs finishes them; everything that is not an input or output of the
model is named by that order; what no output needs is left out. Knows messages of ONNX, not the package.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

Node = Any  # NodeProto; the package is not imported for its types
Graph = Any
Model = Any


def canonical(model: Model, *, outputs: Sequence[str] = ()) -> None:
    """Rewrite `model` in place. Equal graphs become equal bytes, whatever order and names they had.

    `outputs` are new names for the outputs, in their order. Inputs keep theirs, which must be others.
    """
    given = outputs or [value.name for value in model.graph.output]
    kept = dict(zip((value.name for value in model.graph.output), given, strict=True)) | {
        value.name: value.name for value in model.graph.input
    }
    _freshen(model.graph, {}, kept, _Names(kept=set()))
    names = _Names(kept=set(kept.values()))
    _rewrite(model.graph, {name: name for name in names.kept}, names)
    once = {opset.domain: opset for opset in model.opset_import}  # skl2onnx may write one twice
    _replace(model.opset_import, list(once.values()))
    for entries, key in ((model.opset_import, "domain"), (model.metadata_props, "key"), (model.functions, "name")):
        _sort(entries, key)
    model.ClearField("doc_string")


@dataclass(slots=True)
class _Names:
    """Names by order of use, none of them one of `kept`."""

    kept: set[str]
    count: int = 0

    def next(self, stem: str) -> str:
        """Never given before, nor one of `kept`."""
        while True:
            self.count += 1
            name = f"{stem}_{self.count}"
            if name not in self.kept:
                return name


def _freshen(graph: Graph, outer: Mapping[str, str], kept: Mapping[str, str], names: _Names) -> None:
    """Give every value of every graph a name that no other has, so that an inner one never hides an outer one."""
    made = [value.name for value in (*graph.input, *graph.initializer)] + [name for node in graph.node for name in node.output if name]
    scope = dict(outer) | {name: kept.get(name) or names.next("%") for name in made}
    for value in (*graph.input, *graph.initializer, *graph.output):
        value.name = scope.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [scope.get(name, name) for name in node.input]
        node.output[:] = [scope.get(name, name) for name in node.output]
        for inner in _inner(node):
            _freshen(inner, scope, {}, names)


@dataclass(slots=True)
class _Walk:
    """Nodes in the order in which they are finished: all that a node needs stands before it."""

    nodes: list[Node]
    makers: dict[str, int] = field(default_factory=dict)  # name of a value → index of its node
    order: list[int] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.makers = {name: index for index, node in enumerate(self.nodes) for name in node.output if name}

    def visit(self, name: str) -> None:
        """Finish the node that makes `name` and what it needs. Without recursion: a chain of nodes may be long."""
        waiting = [(self.makers[name], False)] if name in self.makers else []
        while waiting:
            index, finished = waiting.pop()
            if finished:
                self.order.append(index)
            elif index not in self.seen:
                self.seen.add(index)
                needs = [self.makers[need] for need in _needs(self.nodes[index]) if need in self.makers]
                waiting.extend([(index, True), *((need, False) for need in reversed(needs))])


def _ordered(graph: Graph) -> list[Node]:
    """The nodes that the outputs need, by a walk from the outputs."""
    walk = _Walk(list(graph.node))
    for output in graph.output:
        walk.visit(output.name)
    return [walk.nodes[index] for index in walk.order]


def _needs(node: Node) -> Iterator[str]:
    """The values that a node takes, in their order; graphs within it take from around them."""
    yield from node.input
    for inner in _inner(node):
        ordered = _ordered(inner)
        made = {value.name for value in (*inner.input, *inner.initializer)} | {name for one in ordered for name in one.output}
        taken = [*(name for one in ordered for name in _needs(one)), *(output.name for output in inner.output)]
        yield from (name for name in taken if name not in made)


def _rewrite(graph: Graph, renamed: dict[str, str], names: _Names) -> None:
    """Order, prune and rename one graph and those within it. `renamed` has the names so far; every value has one name in it."""
    ordered = _ordered(graph)
    constants = _constants(graph, ordered)
    for value, stem in (*((value, "port") for value in graph.input), *((constant, "constant") for constant in constants)):
        value.name = renamed.setdefault(value.name, value.name if value.name in names.kept else names.next(stem))
    for node in ordered:
        _rename(node, renamed, names)
    for output in graph.output:
        output.name = renamed.get(output.name, output.name)
    _replace(graph.node, ordered)
    _replace(graph.initializer, constants)
    graph.name = "graph"
    for clutter in ("value_info", "quantization_annotation", "doc_string"):
        graph.ClearField(clutter)


def _constants(graph: Graph, nodes: list[Node]) -> list[Any]:
    """Those that are used, in the order of their first use."""
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    used = dict.fromkeys([*(name for node in nodes for name in _needs(node)), *(output.name for output in graph.output)])
    return [tensors[name] for name in used if name in tensors]


def _rename(node: Node, renamed: dict[str, str], names: _Names) -> None:
    """Give a node, its outputs and the graphs within it their names; its inputs have theirs."""
    node.input[:] = [renamed.get(name, name) for name in node.input]
    node.name = names.next(node.op_type)
    node.ClearField("doc_string")
    _sort(node.attribute, "name")
    for inner in _inner(node):
        _rewrite(inner, renamed, names)
    for name in node.output:
        if name and name not in renamed:
            renamed[name] = names.next("value")
    node.output[:] = [renamed.get(name, name) for name in node.output]


def _inner(node: Node) -> list[Graph]:
    """The graphs within a node, by the names of its attributes."""
    attributes = sorted(node.attribute, key=lambda attribute: str(attribute.name))
    return [graph for one in attributes for graph in (*([one.g] if one.HasField("g") else []), *one.graphs)]


def _sort(entries: Any, key: str) -> None:
    _replace(entries, sorted(entries, key=lambda entry: str(getattr(entry, key))))


def _replace(entries: Any, wanted: list[Any]) -> None:
    """Set a repeated field. The messages are copied first, because they live in what is cleared."""
    copies = [type(entry).FromString(entry.SerializeToString(deterministic=True)) for entry in wanted]
    del entries[:]
    entries.extend(copies)
