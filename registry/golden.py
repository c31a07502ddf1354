"""Golden requests: inputs with the outputs that a version must give for them, whatever machine or runtime it runs on. Pure data.

Tensors are written as little-endian bytes, so that every value, NaN and infinities included, comes back as it was. numpy is imported only
where arrays are turned into tensors.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal

import msgspec

from registry.errors import damaged, refused

if TYPE_CHECKING:
    import numpy as np

MAX_REQUESTS = 64
MAX_GOLDEN_BYTES = 16 << 20  # of the whole blob; it is read at every load
# ONNX's type → numpy's. bfloat16 and the smaller floats have no numpy type.
NUMPY_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64", "tensor(string)": "object", "tensor(bool)": "bool"}
NUMPY_TYPES |= {f"tensor({name})": name for name in ("float16", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))}
_ONNX_TYPES = {numpy_type: onnx_type for onnx_type, numpy_type in NUMPY_TYPES.items()}

Arrays = Mapping[str, "np.ndarray"]
Count = Annotated[int, msgspec.Meta(ge=0)]


class Tensor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """One array. `data` is row-major and little-endian, base64 in JSON; texts are in `texts` instead."""

    type: str  # a key of `NUMPY_TYPES`
    shape: tuple[Count, ...]
    data: bytes = b""
    texts: tuple[str, ...] = ()


class Tolerance(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A float may differ from the expected one by `absolute + relative · |expected|`; everything else must be equal."""

    absolute: Annotated[float, msgspec.Meta(ge=0)] = 1e-5
    relative: Annotated[float, msgspec.Meta(ge=0)] = 1e-4


USUAL = Tolerance()  # room for another order of additions, not for another model


class GoldenRequest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request and its answer, by the names of the ports."""

    inputs: dict[str, Tensor]
    outputs: dict[str, Tensor]  # the outputs that are asked for; none where the trial is to fill them in


class Golden(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The blob `golden.json` of a version."""

    format: Literal[1] = 1
    tolerance: Tolerance = USUAL
    requests: tuple[GoldenRequest, ...]


def golden_of(rows: Arrays, *, requests: int = 8, tolerance: Tolerance = USUAL) -> Golden:
    """Requests without answers from sample rows, arrays of shape (rows, …): one row each, and one with all of the rows that were taken.

    The trial fills the answers in. Raises `Kind.INVALID_MODEL` for arrays that are not rows, or of a type that ONNX lacks.
    """
    lengths = {len(array) if array.ndim else -1 for array in rows.values()}
    if len(lengths) != 1 or min(lengths) < 1:
        raise refused("the sample rows are none, or their arrays are not equally long")
    taken = min(requests, MAX_REQUESTS - 1, *lengths)
    slices = [slice(row, row + 1) for row in range(taken)] + ([slice(0, taken)] if taken > 1 else [])
    asked = (GoldenRequest(inputs={name: tensor_of(array[part]) for name, array in rows.items()}, outputs={}) for part in slices)
    return check(Golden(tolerance=tolerance, requests=tuple(asked)))


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a tensor. Raises `Kind.INVALID_MODEL` for types that ONNX lacks."""
    shape = tuple(array.shape)
    if array.dtype.kind in "OU":
        texts = array.ravel().tolist()
        if not all(isinstance(text, str) for text in texts):
            raise refused("an array of objects holds something that is no text")
        return Tensor(type="tensor(string)", shape=shape, texts=tuple(texts))
    if array.dtype.name not in _ONNX_TYPES:
        raise refused(f"an array of {array.dtype.name} is no tensor of a golden request")
    return Tensor(type=_ONNX_TYPES[array.dtype.name], shape=shape, data=array.astype(array.dtype.newbyteorder("<")).tobytes())


def array_of(tensor: Tensor) -> np.ndarray:
    """The inverse of `tensor_of`."""
    import numpy as np

    if tensor.type == "tensor(string)":
        return np.array([*tensor.texts, None], object)[:-1].reshape(tensor.shape)  # None keeps numpy from guessing a text type
    dtype = np.dtype(NUMPY_TYPES[tensor.type])
    return np.frombuffer(tensor.data, dtype.newbyteorder("<")).astype(dtype).reshape(tensor.shape)


def difference(expected: Tensor, found: Tensor, tolerance: Tolerance) -> str | None:
    """None where `found` is as expected, else what is different, in a few words."""
    import numpy as np

    if (expected.type, expected.shape) != (found.type, found.shape):
        return f"{found.type} of shape {list(found.shape)} instead of {expected.type} of shape {list(expected.shape)}"
    ours, theirs = array_of(expected), array_of(found)
    if ours.dtype.kind != "f":
        differ = int(np.sum(ours != theirs))
        return f"{differ} of {ours.size} values differ" if differ else None
    close = np.isclose(theirs.astype(np.float64), ours.astype(np.float64), atol=tolerance.absolute, rtol=tolerance.relative, equal_nan=True)
    if close.all():
        return None
    with np.errstate(invalid="ignore"):
        worst = np.abs(theirs.astype(np.float64) - ours.astype(np.float64))[~close]
    return f"{worst.size} of {ours.size} values differ, by up to {np.max(worst):.3g}"


def otherwise(golden: Golden, number: int, found: Mapping[str, Tensor]) -> str | None:
    """What of the answer `found` to request `number`, from 1, is not as it was when the version was published; None where all is."""
    for name, expected in golden.requests[number - 1].outputs.items():
        different = difference(expected, found[name], golden.tolerance) if name in found else "no such output"
        if different is not None:
            return f"golden request {number} is answered otherwise: output '{name}' has {different}"
    return None


def check(golden: Golden) -> Golden:
    """`golden` itself. Raises `Kind.INVALID_MODEL` where it holds nothing, too much, or tensors that are not what they declare."""
    problem = _problem(golden)
    if problem is not None:
        raise refused(f"the golden requests are refused: {problem}")
    return golden


def encode(golden: Golden) -> bytes:
    """Deterministic JSON."""
    return msgspec.json.encode(golden, order="deterministic")


def decode(content: bytes, *, key: str) -> Golden:
    """The inverse of `encode`. Raises `Kind.DAMAGED` naming `key`."""
    try:
        golden = msgspec.json.decode(content, type=Golden)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise damaged(f"{key} is no set of golden requests: {error}") from error
    problem = _problem(golden)
    if problem is not None:
        raise damaged(f"{key} is no set of golden requests: {problem}")
    return golden


def _problem(golden: Golden) -> str | None:
    if not 0 < len(golden.requests) <= MAX_REQUESTS:
        return f"there are {len(golden.requests)}, where 1 to {MAX_REQUESTS} are allowed"
    if not all(map(math.isfinite, (golden.tolerance.absolute, golden.tolerance.relative))):
        return "a tolerance is not finite"
    tensors = [tensor for request in golden.requests for part in (request.inputs, request.outputs) for tensor in part.values()]
    size = sum(len(tensor.data) + sum(map(len, tensor.texts)) for tensor in tensors)
    if size > MAX_GOLDEN_BYTES // 2:
        return f"they hold {size} bytes of values, more than {MAX_GOLDEN_BYTES // 2}"
    return next((problem for tensor in tensors if (problem := _tensor_problem(tensor))), None)


def _tensor_problem(tensor: Tensor) -> str | None:
    if tensor.type not in NUMPY_TYPES:
        return f"{tensor.type[:64]} is no type of a golden tensor"
    elements = math.prod(tensor.shape)
    if tensor.type == "tensor(string)":
        return None if len(tensor.texts) == elements and not tensor.data else "a tensor of texts is not of its shape"
    bits = NUMPY_TYPES[tensor.type].strip("abcdefghijklmnopqrstuvwxyz")  # "uint8" → "8", "bool" → ""
    width = int(bits or 8) // 8
    return None if len(tensor.data) == elements * width and not tensor.texts else f"a {tensor.type} is not of its shape"
