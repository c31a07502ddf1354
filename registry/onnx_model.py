"""One ONNX file as the registry sees it: is it valid, which files hold its weights, what goes in and out.

The only importer of the `onnx` package, which is slow to import: reach this module through `publish` only. Reads bytes, opens no files.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import onnx
from google.protobuf.message import DecodeError, Message
from onnx import ModelProto, TensorProto, TypeProto, ValueInfoProto

from registry.contract import Contract, Port
from registry.errors import refused
from registry.names import is_plain_file_name

_EXTERNAL_KEYS = {"location", "offset", "length", "checksum"}  # onnx IR specification, "External Tensor Data"


def parse(content: bytes) -> ModelProto:
    """The model without its external data. Raises `Kind.INVALID_MODEL`."""
    model = ModelProto()
    try:
        model.ParseFromString(content)
    except DecodeError as error:
        raise refused("the file is not an ONNX model") from error
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
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            name, end = _external_end(tensor)
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
    """Every TensorProto below `root`, by the message's own structure, so that no place is forgotten."""
    waiting: list[Any] = [root]
    while waiting:
        message = waiting.pop()
        if isinstance(message, TensorProto):
            yield message
            continue
        for field, value in message.ListFields():
            if field.message_type is not None:
                waiting.extend(value if field.is_repeated else [value])


def _external_end(tensor: TensorProto) -> tuple[str, int]:
    """(file name, offset + length) of a tensor's external data."""
    entries = {entry.key: entry.value for entry in tensor.external_data}
    name = entries.get("location", "")
    subject = f"tensor '{tensor.name[:128]}'"
    if len(entries) != len(tensor.external_data) or not entries.keys() <= _EXTERNAL_KEYS:
        raise refused(f"{subject} has repeated or unknown keys in its external data")
    if not is_plain_file_name(name):
        raise refused(f"{subject} has its data in {name[:128]!r}; external data must be a file beside the model, without a path")
    values = [entries.get(key) or "0" for key in ("offset", "length")]
    if not all(value.isascii() and value.isdigit() and len(value) < 19 for value in values):
        raise refused(f"{subject} has an offset or length that is not a number of bytes")
    return name, sum(map(int, values))


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
