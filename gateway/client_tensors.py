"""Python values to protobuf tensors and back, for a caller. Knows messages and numpy, no channel.

numpy arrays are sent as they are, so their dtype must be the model's; lists take the datatype that the model declares.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.errors import Code, TidegateError, invalid
from gateway.pb import inference_pb2 as pb
from gateway.protocol.tensors import DATATYPES, TensorSpec

_NAMES = {datatype.numpy: name for name, datatype in DATATYPES.items() if name not in ("BF16", "BYTES")}
_CONTENTS = {
    "BOOL": "bool_contents", "INT8": "int_contents", "INT16": "int_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "UINT8": "uint_contents", "UINT16": "uint_contents", "UINT32": "uint_contents", "UINT64": "uint64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents", "BYTES": "bytes_contents",
}  # fmt: skip


def needs_metadata(inputs: Mapping[str, Any]) -> bool:
    """Whether a value among the inputs takes its datatype from the model: everything but arrays and (array, datatype) pairs."""
    return any(not isinstance(value, np.ndarray | tuple) for value in inputs.values())


def arrays_of(model: str, inputs: Mapping[str, Any], specs: Mapping[str, TensorSpec]) -> dict[str, tuple[np.ndarray, str]]:
    """Every input as (array, datatype); `specs` are the model's inputs, or empty where nothing needs them. Raises INVALID_ARGUMENT."""
    if unknown := next((name for name in inputs if specs and name not in specs), None):
        raise invalid(f"unexpected inference input '{unknown}' for model '{model}'; it has {', '.join(specs)}")
    return {name: as_array(value, specs.get(name)) for name, value in inputs.items()}


def as_array(value: Any, spec: TensorSpec | None) -> tuple[np.ndarray, str]:
    """One input as (array, datatype); such a pair stays as it is, a list or a number needs the model's `spec`."""
    if isinstance(value, tuple):
        return value
    if isinstance(value, np.ndarray):
        return value, name_of(value)
    if spec is None:
        raise invalid("a list needs the model's metadata to know its datatype; send a numpy array")
    try:
        return _listed(value, spec), spec.datatype
    except (ValueError, TypeError, ArithmeticError) as error:
        raise invalid(f"input '{spec.name}' is no {spec.datatype} tensor: {error}") from None


def encode(array: np.ndarray, datatype: str) -> bytes:
    """The raw bytes of a tensor: little-endian, row-major; BYTES elements each behind their length."""
    if datatype != "BYTES":
        return np.ascontiguousarray(array, DATATYPES[datatype].numpy).tobytes()
    parts: list[bytes] = []
    for item in array.ravel().tolist():
        data = item if isinstance(item, bytes) else str(item).encode("utf-8", "surrogateescape")
        parts += (len(data).to_bytes(4, "little"), data)
    return b"".join(parts)


def request(
    model: str,
    inputs: Mapping[str, tuple[np.ndarray, str]],
    *,
    version: str = "",
    request_id: str = "",
    outputs: Sequence[str] = (),
    parameters: Mapping[str, bool | int | float | str] | None = None,
) -> pb.ModelInferRequest:
    """A ModelInfer request with raw contents."""
    message = pb.ModelInferRequest(model_name=model, model_version=version, id=request_id)
    for name, (array, datatype) in inputs.items():
        message.inputs.add(name=name, datatype=datatype, shape=array.shape)
        message.raw_input_contents.append(encode(array, datatype))
    for name in outputs:
        message.outputs.add(name=name)
    for key, value in (parameters or {}).items():
        _set_parameter(message.parameters[key], value)
    return message


def decode(message: pb.ModelInferResponse) -> dict[str, np.ndarray]:
    """The outputs of an answer by name. Fixed-width arrays are read-only views, BF16 becomes float32, BYTES an array of `str`.

    Raises INTERNAL for an answer that contradicts itself.
    """
    raw = message.raw_output_contents
    if raw and len(raw) != len(message.outputs):
        raise TidegateError(Code.INTERNAL, f"the answer has {len(message.outputs)} outputs and {len(raw)} raw contents")
    return {output.name: _output(output, raw[index] if raw else None) for index, output in enumerate(message.outputs)}


def name_of(array: np.ndarray) -> str:
    """The datatype of an array. Raises INVALID_ARGUMENT for a dtype that the protocol does not have."""
    name = "BYTES" if array.dtype.kind in "OUS" else _NAMES.get(array.dtype.newbyteorder("<"))
    if name is None:
        raise invalid(f"numpy's {array.dtype} has no datatype in the protocol")
    return name


def from_bfloat16(bits: np.ndarray) -> np.ndarray:
    """The float32 values of bfloat16 bits."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _listed(value: Any, spec: TensorSpec) -> np.ndarray:
    if spec.datatype == "BYTES":
        return np.array(value, dtype=object)
    if spec.datatype == "BF16":
        return _to_bfloat16(np.array(value, np.float32))
    array = np.array(value)
    if array.dtype.kind in "OUS":
        raise ValueError("it is ragged or holds text")
    wanted = DATATYPES[spec.datatype].numpy
    if wanted.kind == "b" and array.size and array.dtype.kind != "b":
        raise ValueError("it holds numbers; write true and false")
    if wanted.kind in "iu" and array.dtype.kind == "f" and not (array == np.trunc(array)).all():
        raise ValueError("it holds fractions")
    if wanted.kind in "iu" and array.size and not (np.iinfo(wanted).min <= array.min() and array.max() <= np.iinfo(wanted).max):
        raise ValueError("a number is out of range")
    with np.errstate(over="raise"):
        return array.astype(wanted)


def _to_bfloat16(array: np.ndarray) -> np.ndarray:
    """float32 to the bits of bfloat16, to nearest even; NaN stays NaN."""
    bits = array.view(np.uint32).astype(np.uint64)
    rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")
    return np.where(np.isnan(array), 0x7FC0, rounded).astype("<u2")


def _set_parameter(parameter: pb.InferParameter, value: bool | int | float | str) -> None:
    if isinstance(value, bool):
        parameter.bool_param = value
    elif isinstance(value, int):
        parameter.int64_param = value
    elif isinstance(value, float):
        parameter.double_param = value
    else:
        parameter.string_param = value


def _output(output: pb.ModelInferResponse.InferOutputTensor, raw: bytes | None) -> np.ndarray:
    try:
        datatype = DATATYPES[output.datatype]
        if raw is None:
            values = getattr(output.contents, _CONTENTS[output.datatype])
            array = _texts(list(values)) if datatype.name == "BYTES" else np.array(values, datatype.numpy)
        elif datatype.name == "BYTES":
            array = _texts(_elements(raw, math.prod(output.shape)))
        else:
            array = np.frombuffer(raw, datatype.numpy)
        array = array.reshape(output.shape)
    except (KeyError, ValueError) as error:
        raise TidegateError(Code.INTERNAL, f"output '{output.name}' of the answer cannot be read: {error}") from None
    return from_bfloat16(array) if datatype.name == "BF16" else array


def _elements(raw: bytes, count: int) -> list[bytes]:
    found: list[bytes] = []
    at = 0
    while at + 4 <= len(raw) and len(found) < count:
        end = at + 4 + int.from_bytes(raw[at : at + 4], "little")
        found.append(raw[at + 4 : end])
        at = end
    if at != len(raw):
        raise ValueError("lengths of its elements do not add up")
    return found


def _texts(values: list[bytes]) -> np.ndarray:
    array = np.empty(len(values), object)
    array[:] = [value.decode("utf-8", "surrogateescape") for value in values]
    return array
