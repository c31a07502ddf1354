"""Requests that a version is asked before it serves, as Triton's `model_warmup` describes them, and the arrays they are made of.

Random values have a fixed seed and stay where models take them: floats in [0, 1), integers and booleans 0 or 1, texts empty. numpy is
imported only where arrays are made.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

from registry.errors import refused
from registry.golden import NUMPY_TYPES
from registry.ports import Ports
from registry.schema import OIP_TYPES

if TYPE_CHECKING:
    import numpy as np

MAX_SAMPLES = 64
MAX_RUNS = 1_000  # of one sample
MAX_ROWS = 1 << 20  # of one run, where the model does not say how many it takes
MAX_VALUES_BYTES = 256 << 20  # the inputs of one sample in memory
MAX_FILES_BYTES = 16 << 20  # all data files of a model; they travel to the child that tries it
_SEED = 0
_LENGTH_BYTES = 4  # before each text of a data file


class Filling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One input of a sample."""

    datatype: str  # of the Open Inference Protocol
    dims: tuple[int, ...]  # of one row, where there is a batch dimension
    values: Literal["zero", "random", "file"]
    file: str = ""  # its name in the model's directory `warmup`
    data: bytes = b""  # its content, of one row: row-major, little-endian; texts with their lengths


class Sample(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One request, asked `runs` times with `rows` equal rows."""

    name: str
    rows: int
    runs: int
    batched: bool | None  # whether `dims` stand behind a batch dimension; None: where the model has one more than they have
    inputs: dict[str, Filling]


def numpy_type(datatype: str) -> str:
    """numpy's name of a datatype: "float32"; bfloat16 travels as "uint16"."""
    return "uint16" if datatype == "BF16" else NUMPY_TYPES[f"tensor({OIP_TYPES[datatype]})"]


def check_filling(filling: Filling, *, rows: int, subject: str) -> None:
    """Raises `Kind.INVALID_MODEL` for what holds too much, or a data file that is not of the input's size."""
    elements = math.prod(filling.dims)
    if elements * max(rows, 1) * 8 > MAX_VALUES_BYTES:  # 8: the widest datatype
        raise refused(f"{subject} holds more than {MAX_VALUES_BYTES} bytes")
    if filling.values == "file":
        _check_data(filling, elements, subject)


def _check_data(filling: Filling, elements: int, subject: str) -> None:
    if filling.datatype == "BYTES":
        found = len(_texts(filling.data, subject))
        if found != elements:
            raise refused(f"{subject} has {found} texts in its file, where {elements} are expected")
        return
    expected = elements * _itemsize(filling.datatype)
    if len(filling.data) != expected:
        raise refused(f"{subject} has {len(filling.data)} bytes in its file, where {expected} are expected")


def _itemsize(datatype: str) -> int:
    bits = numpy_type(datatype).strip("abcdefghijklmnopqrstuvwxyz")  # "uint8" → "8", "bool" → ""
    return int(bits or 8) // 8


def _texts(data: bytes, subject: str) -> list[str]:
    """The texts of a file, each behind its length. Raises `Kind.INVALID_MODEL`."""
    found, at = [], 0
    while at < len(data):
        start = at + _LENGTH_BYTES
        at = start + int.from_bytes(data[at:start], "little")
        if start > len(data) or at > len(data):
            raise refused(f"{subject} has a file that ends within a text")
        try:
            found.append(data[start:at].decode())
        except UnicodeDecodeError:
            raise refused(f"{subject} has a file with a text that is not UTF-8") from None
    return found


def in_graph(sample: Sample, ports: Ports | None) -> Sample:
    """The sample with the shapes of the graph, where callers see others."""
    views = ports.inputs if ports else {}
    seen = {name: _in_graph(filling, views[name].to_graph, sample) for name, filling in sample.inputs.items() if name in views}
    return msgspec.structs.replace(sample, inputs=sample.inputs | seen)


def arrays_of(sample: Sample, ranks: Mapping[str, int]) -> dict[str, np.ndarray]:
    """The inputs by name. `ranks`: dimensions of each input of the model. Raises `Kind.INVALID_MODEL` where the two do not fit."""
    if ranks.keys() != sample.inputs.keys():
        raise refused(f"warm-up sample '{sample.name[:128]}' does not have the model's inputs")
    return {name: _array(sample, sample.inputs[name], rank) for name, rank in ranks.items()}


def _in_graph(filling: Filling, to_graph: Callable[[Sequence[int]], tuple[int, ...]], sample: Sample) -> Filling:
    batch = (1,) if sample.batched else ()
    try:
        return msgspec.structs.replace(filling, dims=to_graph((*batch, *filling.dims))[len(batch) :])
    except ValueError:
        raise refused(f"warm-up sample '{sample.name[:128]}' has an input that is not of the model's shape") from None


def _array(sample: Sample, filling: Filling, rank: int) -> np.ndarray:
    import numpy as np

    batched = len(filling.dims) < rank if sample.batched is None else sample.batched
    row = _row(filling)
    return np.ascontiguousarray(np.broadcast_to(row, (sample.rows, *filling.dims))) if batched else row


def _row(filling: Filling) -> np.ndarray:
    """The values of one row."""
    import numpy as np

    if filling.datatype == "BYTES":
        texts = _texts(filling.data, "") if filling.values == "file" else [""] * math.prod(filling.dims)
        return np.array([*texts, None], object)[:-1].reshape(filling.dims)  # None keeps numpy from guessing a text type
    dtype = np.dtype(numpy_type(filling.datatype))
    if filling.values == "file":
        return np.frombuffer(filling.data, dtype.newbyteorder("<")).astype(dtype).reshape(filling.dims)
    return np.zeros(filling.dims, dtype) if filling.values == "zero" else _random(filling, dtype)


def _random(filling: Filling, dtype: np.dtype) -> np.ndarray:
    import numpy as np

    rng = np.random.default_rng(_SEED)
    if filling.datatype == "BF16":
        return (np.asarray(rng.random(filling.dims), np.float32).view(np.uint32) >> 16).astype(dtype)
    return np.asarray(rng.random(filling.dims) if dtype.kind == "f" else rng.integers(0, 2, filling.dims)).astype(dtype)
