"""Golden requests as people write them: bodies of the Open Inference Protocol v2 in YAML or JSON, each with the outputs to expect, if any.

    tolerance: {absolute: 1.0e-5, relative: 0}
    requests:
    - inputs: [{name: x, datatype: FP32, shape: [1, 2], data: [0.5, 1]}]
      outputs: [{name: y, datatype: INT64, shape: [1], data: [3]}]

A request without outputs gets the model's own answers when it is published.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec

from registry.errors import refused
from registry.golden import USUAL, Count, Golden, GoldenRequest, Tensor, Tolerance, check, tensor_of
from registry.schema import OIP_TYPES

_INTEGERS = {name for name in OIP_TYPES if "INT" in name}
_FLOATS = {"FP16", "FP32", "FP64"}


class _Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """`data` may be flat or nested, row by row."""

    name: str
    datatype: str
    shape: tuple[Count, ...]
    data: list[Any]


class _Request(msgspec.Struct, forbid_unknown_fields=True):
    inputs: list[_Tensor]
    outputs: list[_Tensor] = []


class _File(msgspec.Struct, forbid_unknown_fields=True):
    requests: list[_Request]
    format: Literal[1] = 1
    tolerance: Tolerance = USUAL


def golden_file(plain: object) -> Golden:
    """The requests from what YAML or JSON gave. Raises `Kind.INVALID_MODEL` naming request and tensor."""
    try:
        file = msgspec.convert(plain, _File)
    except msgspec.ValidationError as error:
        raise refused(f"the file of golden requests is not one: {error}") from error
    requests = (
        GoldenRequest(inputs=_tensors(request.inputs, number), outputs=_tensors(request.outputs, number))
        for number, request in enumerate(file.requests, 1)
    )
    return check(Golden(tolerance=file.tolerance, requests=tuple(requests)))


def _tensors(tensors: list[_Tensor], number: int) -> dict[str, Tensor]:
    found = {tensor.name: _tensor(tensor, f"golden request {number}: '{tensor.name[:128]}'") for tensor in tensors}
    if len(found) != len(tensors):
        raise refused(f"golden request {number} has a tensor twice")
    return found


def _tensor(tensor: _Tensor, subject: str) -> Tensor:
    import numpy as np

    values = _flat(tensor.data, subject)
    if len(values) != math.prod(tensor.shape):
        raise refused(f"{subject} has {len(values)} values, which are not of its shape")
    wrong = next((value for value in values if not _fits(value, tensor.datatype)), None)
    if wrong is not None or None in values or tensor.datatype not in {*_INTEGERS, *_FLOATS, "BOOL", "BYTES"}:
        raise refused(f"{subject} is {tensor.datatype[:16]}, which is unknown or cannot hold {wrong!r:.64}")
    dtype = object if tensor.datatype == "BYTES" else OIP_TYPES[tensor.datatype].replace("double", "float64")
    with np.errstate(over="ignore"):
        array = np.array(values, "float32" if dtype == "float" else dtype).reshape(tensor.shape)
    if tensor.datatype in _FLOATS and not np.array_equal(np.isfinite(array).ravel(), [math.isfinite(value) for value in values]):
        raise refused(f"{subject} is {tensor.datatype}, which does not reach to its values")
    return tensor_of(array)


def _flat(data: list[Any], subject: str) -> list[Any]:
    """The values of nested lists, in their order. Depth is bounded by what read them."""
    found: list[Any] = []
    waiting: list[Any] = [data]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting.extend(reversed(value))
        elif isinstance(value, dict):
            raise refused(f"{subject} has a mapping among its values")
        else:
            found.append(math.nan if isinstance(value, float) and math.isnan(value) else value)  # YAML gives one with a sign
    return found


def _fits(value: Any, datatype: str) -> bool:
    """Whether a value of YAML or JSON is one of this type, without rounding or guessing; floats round as floats do."""
    if datatype == "BYTES":
        return isinstance(value, str)
    if datatype == "BOOL" or isinstance(value, bool):
        return datatype == "BOOL" and isinstance(value, bool)
    if datatype in _FLOATS:
        return isinstance(value, float) or (isinstance(value, int) and abs(value) < 1 << 1000)
    if datatype not in _INTEGERS or not isinstance(value, int):
        return False
    bits = int(datatype.removeprefix("U").removeprefix("INT"))
    least, most = (0, (1 << bits) - 1) if datatype.startswith("U") else (-(1 << bits - 1), (1 << bits - 1) - 1)
    return least <= value <= most
