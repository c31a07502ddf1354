"""Every graph, node and name of an ONNX file held against the gate, before any runtime sees it. Reads a parsed message, opens no files.

The order is from cheap to dear: the model's head, then one walk over all messages, then what the walk cannot see in one place (functions
that call each other, external data). Tensors are judged by constants.py.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message
from google.protobuf.unknown_fields import UnknownFieldSet
from onnx import FunctionProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto, TypeProto, ValueInfoProto

from registry.constants import check_sparse, check_tensor
from registry.errors import refused
from registry.gate import Gate

# Operators of allowed domains that read other files or run other programs' code.
_DENIED = {
    ("com.microsoft", "EPContext"): "it holds a compiled program of an accelerator, or the path of one",
    ("com.microsoft", "ATen"): "it calls into another framework",
}
_DENIED_METADATA = {"ort_config"}  # ONNX Runtime can be told to take session options from there
_NAMES = {
    GraphProto: ("name",),
    NodeProto: ("name", "op_type", "domain", "overload", "input", "output"),
    ValueInfoProto: ("name",),
    TensorProto: ("name",),
    FunctionProto: ("name", "domain", "overload", "input", "output", "attribute"),
    ModelProto: ("producer_name", "producer_version", "domain"),
}
_QUOTES = "\"'`\\"


def scan(model: ModelProto, gate: Gate) -> None:
    """Raises `Kind.INVALID_MODEL` with the first thing that the gate does not let pass."""
    _check_head(model, gate)
    _check_metadata(model, gate)
    _check_functions(model, gate)
    _check_counts(model, gate)
    _check_messages(model, gate)
    _check_depth(model.graph, gate, depth=1)
    for function in model.functions:
        _check_depth(function, gate, depth=1)
    _check_expansion(model, gate)


def messages(root: Message, *, most: int = 1 << 62) -> Iterator[Message]:
    """Every message below and including `root`, by the messages' own structure, so that no place is forgotten.

    Raises `Kind.INVALID_MODEL` where more than `most` of them wait at once.
    """
    waiting: list[Any] = [root]
    while waiting:
        if len(waiting) > most:
            raise refused(f"the file has more than {most} messages")
        message = waiting.pop()
        yield message
        if isinstance(message, TensorProto):  # its other fields are plain values, and asking for them copies weights
            waiting.extend([*message.external_data, *message.metadata_props, message.segment])
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend(itertools.islice(value, most + 1) if field.is_repeated else [value])


def domain_of(name: str) -> str:
    """ONNX's own domain has two spellings."""
    return "" if name == "ai.onnx" else name


def _check_head(model: ModelProto, gate: Gate) -> None:
    if not gate.min_ir_version <= model.ir_version <= gate.max_ir_version:
        raise refused(f"IR version {model.ir_version} is not between {gate.min_ir_version} and {gate.max_ir_version}")
    domains = [domain_of(opset.domain) for opset in model.opset_import]
    if len({(domain, opset.version) for domain, opset in zip(domains, model.opset_import, strict=True)}) != len(set(domains)):
        raise refused("an operator domain is imported in two versions")  # skl2onnx imports one version twice, which is harmless
    local = {domain_of(function.domain) for function in model.functions}
    for opset, domain in zip(model.opset_import, domains, strict=True):
        if domain not in gate.domains and domain not in local:
            raise refused(
                f"operator domain {domain[:128]!r} is not allowed; allowed are {', '.join(name or 'ai.onnx' for name in gate.domains)}"
            )
        if domain == "" and not gate.min_opset <= opset.version <= gate.max_opset:
            raise refused(f"operator set {opset.version} is not between {gate.min_opset} and {gate.max_opset}")
    if model.training_info:
        raise refused("the model has training graphs; publish it without them")
    for ports in (model.graph.input, model.graph.output):
        if len(ports) > gate.max_ports:
            raise refused(f"the model has {len(ports)} inputs or outputs, more than {gate.max_ports}")


def _check_metadata(model: ModelProto, gate: Gate) -> None:
    size = sum(len(entry.key.encode()) + len(entry.value.encode()) for entry in model.metadata_props)
    if size > gate.max_metadata_bytes:
        raise refused(f"the model's metadata has more than {gate.max_metadata_bytes} bytes")
    keys = [entry.key for entry in model.metadata_props]
    for key in keys:
        _check_name(key, "metadata key", gate)
        if key in _DENIED_METADATA:
            raise refused(f"metadata key '{key}' would configure the runtime")
    if len(set(keys)) != len(keys):
        raise refused("a metadata key occurs twice")


def _check_functions(model: ModelProto, gate: Gate) -> None:
    """A function may not stand in the place of a known operator, where readers would disagree on which of the two is meant."""
    seen = set()
    for function in model.functions:
        key = _call(function.domain, function.name, function.overload)
        if key in seen:
            raise refused(f"function '{function.name[:128]}' is defined twice")
        seen.add(key)
        if key[0] in gate.domains or not key[0]:
            raise refused(f"function '{function.name[:128]}' is defined in domain '{key[0] or 'ai.onnx'}', which belongs to the runtime")
        for opset in function.opset_import:
            if domain_of(opset.domain) not in gate.domains and domain_of(opset.domain) not in {
                domain_of(f.domain) for f in model.functions
            }:
                raise refused(f"operator domain {opset.domain[:128]!r} is not allowed; function '{function.name[:128]}' imports it")


def _check_counts(model: ModelProto, gate: Gate) -> None:
    """Before anything is done for each node: none of it is made into Python's objects here."""
    nodes = len(model.graph.node) + sum(len(function.node) for function in model.functions)
    if nodes > gate.max_nodes:
        raise refused(f"the model has {nodes} nodes, more than {gate.max_nodes}")


def _check_messages(model: ModelProto, gate: Gate) -> None:
    calls = {_call(function.domain, function.name, function.overload) for function in model.functions}
    tensors = 0
    for message in messages(model, most=gate.max_messages):
        if len(UnknownFieldSet(message)):
            raise refused(f"a {type(message).__name__} has a field that this release does not know")
        _check_names(message, gate)
        match message:
            case NodeProto():
                _check_node(message, calls, gate)
            case TensorProto():
                check_tensor(message, gate)
                tensors += 1
            case SparseTensorProto():
                check_sparse(message, gate)
            case TypeProto.Tensor() | TypeProto.SparseTensor():
                _check_shape(message, gate)
            case _:
                pass
        if tensors > gate.max_tensors:
            raise refused(f"the model has more than {gate.max_tensors} constants")


def _check_names(message: Message, gate: Gate) -> None:
    for field in _NAMES.get(type(message), ()):
        value = getattr(message, field)
        for name in [value] if isinstance(value, str) else value:
            _check_name(name, f"{type(message).__name__.removesuffix('Proto').lower()} {field}", gate)


def _check_name(name: str, what: str, gate: Gate) -> None:
    """Names go into logs, metrics and answers of both protocols."""
    if len(name) > gate.max_name:
        raise refused(f"a {what} has more than {gate.max_name} characters")
    if not name.isprintable() or any(character in name for character in _QUOTES):
        raise refused(f"{what} {name[:128]!r} has a control character, a quote or a backslash")


def _check_node(node: NodeProto, calls: set[tuple[str, str, str]], gate: Gate) -> None:
    domain = domain_of(node.domain)
    operator = f"operator '{node.op_type[:128]}'"
    if domain not in gate.domains and _call(node.domain, node.op_type, node.overload) not in calls:
        raise refused(f"{operator} is of domain {domain[:128]!r}, which is not allowed and of which the model defines no such function")
    if (domain, node.op_type) in _DENIED:
        raise refused(f"{operator} of domain '{domain}' is not allowed: {_DENIED[domain, node.op_type]}")
    names = [attribute.name for attribute in node.attribute]
    for name in names:
        _check_name(name, "attribute name", gate)
    if len(set(names)) != len(names):
        raise refused(f"{operator} has an attribute twice")


def _check_shape(kind: TypeProto.Tensor | TypeProto.SparseTensor, gate: Gate) -> None:
    if len(kind.shape.dim) > gate.max_rank:
        raise refused(f"a value has {len(kind.shape.dim)} dimensions, more than {gate.max_rank}")
    for dimension in kind.shape.dim:
        _check_name(dimension.dim_param, "dimension", gate)
        if dimension.HasField("dim_value") and dimension.dim_value < 0:
            raise refused("a value has a negative dimension")


def _check_depth(graph: GraphProto | FunctionProto, gate: Gate, *, depth: int) -> None:
    if depth > gate.max_depth:
        raise refused(f"graphs are nested more than {gate.max_depth} deep")
    for node in graph.node:
        for inner in _subgraphs(node):
            _check_depth(inner, gate, depth=depth + 1)


def _check_expansion(model: ModelProto, gate: Gate) -> None:
    """Count nodes with every call of a function replaced by its body, as the runtime does it: a few lines can stand for billions."""
    bodies = {_call(function.domain, function.name, function.overload): function for function in model.functions}
    sizes: dict[tuple[str, str, str], int] = {}
    for key in bodies:
        _function_size(key, bodies, sizes, (), gate)
    total = sum(sizes.get(_call(node.domain, node.op_type, node.overload), 0) + 1 for node in _all_nodes(model.graph))
    if total > gate.max_nodes:
        raise refused(f"the model has {total} nodes with its functions in place, more than {gate.max_nodes}")


def _function_size(
    key: tuple[str, str, str],
    bodies: dict[tuple[str, str, str], FunctionProto],
    sizes: dict[tuple[str, str, str], int],
    callers: tuple[tuple[str, str, str], ...],
    gate: Gate,
) -> int:
    if key in callers:
        raise refused(f"function '{key[1][:128]}' calls itself")
    if len(callers) > gate.max_depth:
        raise refused(f"functions call each other more than {gate.max_depth} deep")
    if key not in sizes:
        size = 0
        for node in _all_nodes(bodies[key]):
            called = _call(node.domain, node.op_type, node.overload)
            size += 1 + (_function_size(called, bodies, sizes, (*callers, key), gate) if called in bodies else 0)
        sizes[key] = size
    return sizes[key]


def _all_nodes(graph: GraphProto | FunctionProto) -> Iterator[NodeProto]:
    """Of a graph and of the graphs within it, whose depth was checked."""
    for node in graph.node:
        yield node
        for inner in _subgraphs(node):
            yield from _all_nodes(inner)


def _subgraphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _call(domain: str, name: str, overload: str) -> tuple[str, str, str]:
    return domain_of(domain), name, overload
