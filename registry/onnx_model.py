"""One ONNX file as the registry sees it: is it valid, which files hold its weights, what goes in and out.

Slow to import, because `onnx` is: reach this module through `trial` only. Reads bytes, opens no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

from registry.constants import external_end, is_external
from registry.contract import Contract, Port
from registry.errors import refused
from registry.gate import Gate
from registry.scanner import messages, scan

_SMALL_BYTES = 1 << 20  # never short of memory


@dataclass(frozen=True, slots=True)
class Examined:
    """An ONNX file that may become a version, as far as its bytes tell."""

    contract: Contract
    needs: dict[str, int]  # external files, and how many bytes of each at least


def examine(content: bytes, gate: Gate) -> Examined:
    """Parse, scan and check one file. Raises `Kind.INVALID_MODEL` with the first reason found."""
    model = parse(content)
    scan(model, gate)
    needs = external_sizes(model)
    check(model, content)
    return Examined(contract_of(model), needs)


def parse(content: bytes) -> ModelProto:
    """The model without its external data. Raises `Kind.INVALID_MODEL`."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        # The parser does not say which of the two it was.
        memory = ", or takes more memory to read than there is" if len(content) > _SMALL_BYTES else ""
        raise refused(f"the file is not an ONNX model{memory}") from error
    if not model.HasField("graph") or model.ir_version <= 0:
        raise refused("the file is not an ONNX model: it has no graph or no IR version")
    return model


def external_sizes(model: ModelProto) -> dict[str, int]:
    """Each external file that a tensor refers to, and how many bytes of it are needed at least.

    Looks at every tensor of the file: initialisers, sparse ones, attributes, subgraphs, functions. Raises `Kind.INVALID_MODEL` for a
    location that is not a plain file name.
    """
    sizes: dict[str, int] = {}
    for tensor in _tensors(model):
        if is_external(tensor):
            name, end = external_end(tensor)
            sizes[name] = max(end, sizes.get(name, 0))
    return sizes


def check(model: ModelProto, content: bytes) -> None:
    """Run ONNX's own checker. Raises `Kind.INVALID_MODEL` with its reason."""
    try:
        onnx.checker.check_model(_without_external_data(model) if external_sizes(model) else content)
    except onnx.checker.ValidationError as error:
        raise refused(f"the ONNX checker refuses the model: {' '.join(str(error).split())[:600]}") from error


def contract_of(model: ModelProto) -> Contract:
    """Format, operator sets, inputs and outputs."""
    initialised = {tensor.name for tensor in model.graph.initializer}
    return Contract(
        ir_version=model.ir_version,
        opsets={opset.domain: opset.version for opset in model.opset_import},
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs=tuple(_port(value) for value in model.graph.input if value.name not in initialised),
        outputs=tuple(_port(value) for value in model.graph.output),
    )


def _tensors(root: Message) -> Iterator[TensorProto]:
    return (message for message in messages(root) if isinstance(message, TensorProto))


def _without_external_data(model: ModelProto) -> bytes:
    """The model with empty tensors in the place of external ones: the checker looks for the files, and they are checked here."""
    copy = ModelProto()
    copy.CopyFrom(model)
    for tensor in _tensors(copy):
        if tensor.data_location == TensorProto.EXTERNAL:
            tensor.ClearField("data_location")
            tensor.ClearField("external_data")
            tensor.dims[:] = [0]
    return copy.SerializeToString()


def _port(value: ValueInfoProto) -> Port:
    return Port(name=value.name, type=_type_name(value.type), shape=_shape(value.type))


def _type_name(kind: TypeProto) -> str:
    """ONNX's type string, as `onnx.defs` and ONNX Runtime write it."""
    match kind.WhichOneof("value"):
        case "tensor_type":
            return f"tensor({_element(kind.tensor_type.elem_type)})"
        case "sparse_tensor_type":
            return f"sparse_tensor({_element(kind.sparse_tensor_type.elem_type)})"
        case "sequence_type":
            return f"seq({_type_name(kind.sequence_type.elem_type)})"
        case "optional_type":
            return f"optional({_type_name(kind.optional_type.elem_type)})"
        case "map_type":
            return f"map({_element(kind.map_type.key_type)},{_type_name(kind.map_type.value_type)})"
        case _:
            return "unknown"


def _element(element_type: int) -> str:
    return TensorProto.DataType.Name(element_type).lower() if element_type in TensorProto.DataType.values() else "unknown"


def _shape(kind: TypeProto) -> tuple[int | str | None, ...] | None:
    if kind.WhichOneof("value") != "tensor_type" or not kind.tensor_type.HasField("shape"):
        return None
    return tuple(
        dimension.dim_value if dimension.HasField("dim_value") else dimension.dim_param or None for dimension in kind.tensor_type.shape.dim
    )
