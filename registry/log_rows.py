"""What frames of a segment hold: who wrote it, what the rows of a version look like, and rows as buffers of columns. Knows no file.

A batch's requests are one array of `REQUEST`; inputs and outputs one buffer for each column, row after row, of those requests that have
a payload. Numbers are little-endian; texts are uint32 lengths, then their UTF-8 bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from registry.frames import Buffer, framed

FORMAT = 1
SEGMENT, CONTRACT, ROWS = 1, 2, 3  # kinds of frames
GRPC, HTTP = range(2)
PROTOCOLS = ("grpc", "http")
PAYLOAD, HAS_UNIT = 1, 2  # flags of a request

REQUEST = np.dtype(
    [
        ("id", "u1", 16), ("ts_us", "<i8"), ("unit", "<u8"), ("queue_us", "<i4"), ("infer_us", "<i4"), ("total_us", "<i4"),
        ("batch_rows", "<i4"), ("rows", "<i4"), ("id_bytes", "<u4"), ("tenant", "<u2"), ("code", "u1"), ("arm", "u1"), ("protocol", "u1"),
        ("flags", "u1"), ("spare", "u1", 2),
    ]
)  # fmt: skip
NUMPY = {
    "BOOL": "?", "UINT8": "u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8", "INT8": "i1", "INT16": "<i2", "INT32": "<i4",
    "INT64": "<i8", "FP16": "<f2", "FP32": "<f4", "FP64": "<f8", "BF16": "<u2",
}  # fmt: skip


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """Who wrote a segment. `codes`: name and gRPC number of each code that requests have."""

    format: int = FORMAT
    segment: str
    worker: str  # the id of its ledger, too
    node: str
    place: int
    created_us: int
    codes: tuple[tuple[str, int], ...]


class Field(msgspec.Struct, frozen=True, array_like=True):
    """A column that is kept of an input or output."""

    name: str
    datatype: str  # as it is stored
    dims: tuple[int, ...]  # of a row; -1 where one is free
    policy: str  # that made it


class Contract(msgspec.Struct, frozen=True, kw_only=True):
    """What rows of one version have in common, under a number of its worker's."""

    number: int
    model: str
    version: int
    manifest: str
    rollout: str = ""
    step: int = -1
    propensity: tuple[float, ...] = (1.0, 0.0, 0.0, -1.0, -1.0)  # of each of `ARMS`; -1 where chance has no part in it
    sampling: float = 1.0
    inputs: tuple[Field, ...] = ()
    outputs: tuple[Field, ...] = ()
    class_of: int = -1  # which of `outputs` the class of a row is read from, and its score; -1: none
    score_of: int = -1


class Meta(msgspec.Struct, frozen=True, array_like=True):
    """What stands before the buffers of one frame of rows."""

    contract: int
    requests: int
    rows: int  # that have a payload
    recorded_us: int
    tenants: tuple[str, ...]
    id_bytes: int
    has_violations: bool
    shapes: tuple[tuple[int, ...], ...]  # of a row, by column
    sizes: tuple[int, ...]  # bytes, by column


@dataclass(frozen=True, slots=True)
class Rows:
    """A frame of rows. `columns`: an array [rows, *shape] of each number column, (lengths, bytes) of each text column."""

    meta: Meta
    requests: np.ndarray  # REQUEST [requests]
    ids: bytes
    violations: np.ndarray | None  # uint32 [rows]
    columns: list[np.ndarray | tuple[np.ndarray, bytes]]

    @property
    def counts(self) -> np.ndarray:
        """Log rows of each request: one of those without a payload."""
        return log_rows(self.requests)


_ENCODER = msgspec.msgpack.Encoder()
_META = msgspec.msgpack.Decoder(Meta)
_CONTRACT = msgspec.msgpack.Decoder(Contract)
_HEAD = msgspec.msgpack.Decoder(Head)


def log_rows(requests: np.ndarray) -> np.ndarray:
    """int64 [requests]: how many log rows each of `REQUEST` makes."""
    return np.where(requests["flags"] & PAYLOAD, requests["rows"], 1).astype(np.int64)


def head_frame(head: Head) -> bytes:
    """The first frame of a segment."""
    return framed(SEGMENT, _ENCODER.encode(head))


def contract_frame(contract: Contract) -> bytes:
    """Comes before the rows that name it."""
    return framed(CONTRACT, _ENCODER.encode(contract))


def rows_pieces(
    meta: Meta, requests: np.ndarray, ids: bytes, violations: np.ndarray | None, columns: Sequence[Buffer]
) -> list[Buffer]:  # fmt: skip
    """The payload of a frame of rows of one contract, to be framed by `rows_frame`. Makes no copy."""
    said = _ENCODER.encode(meta)
    pieces: list[Buffer] = [len(said).to_bytes(4, "little"), said, _bytes(requests), ids]
    if violations is not None:
        pieces.append(_bytes(violations))
    return [*pieces, *columns]


def rows_frame(pieces: Sequence[Buffer]) -> bytes:
    """Rows of one contract. Raises `ValueError` where they are too large for a frame."""
    return framed(ROWS, *pieces)


def _bytes(array: np.ndarray) -> memoryview:
    return np.ascontiguousarray(array).reshape(-1).view(np.uint8).data if array.size else memoryview(b"")


def packed_texts(texts: Sequence[str | bytes]) -> bytes:
    """A column of texts as it is stored."""
    parts = [text if isinstance(text, bytes) else text.encode(errors="surrogateescape") for text in texts]
    return np.array([len(part) for part in parts], "<u4").tobytes() + b"".join(parts)


def read_head(payload: memoryview) -> Head:
    """Raises `ValueError`."""
    head = _HEAD.decode(payload)
    if head.format != FORMAT:
        raise ValueError(f"segments of format {head.format} are not read by this release")
    return head


def read_contract(payload: memoryview) -> Contract:
    """Raises `ValueError`."""
    return _CONTRACT.decode(payload)


def contract_of(payload: memoryview) -> int:
    """The number of the contract that a frame of rows names. Raises `ValueError`."""
    return _meta(payload)[0].contract


def _meta(payload: memoryview) -> tuple[Meta, int]:
    length = int.from_bytes(payload[:4], "little")
    return _META.decode(payload[4 : 4 + length]), 4 + length


def read_rows(payload: memoryview, contract: Contract) -> Rows:
    """The rows of a frame, copied out of it. Raises `ValueError` where they do not fit the contract."""
    meta, at = _meta(payload)
    requests = np.frombuffer(payload, REQUEST, meta.requests, at).copy()
    at += requests.nbytes
    ids = bytes(payload[at : at + meta.id_bytes])
    at += meta.id_bytes
    violations = None
    if meta.has_violations:
        violations = np.frombuffer(payload, "<u4", meta.rows, at).copy()
        at += violations.nbytes
    columns = []
    for field, shape, size in zip((*contract.inputs, *contract.outputs), meta.shapes, meta.sizes, strict=True):
        columns.append(_column(payload[at : at + size], field, shape, meta.rows))
        at += size
    if at != len(payload):
        raise ValueError(f"{len(payload)} bytes of rows, of which {at} are said")
    return Rows(meta, requests, ids, violations, columns)


def _column(data: memoryview, field: Field, shape: tuple[int, ...], rows: int) -> np.ndarray | tuple[np.ndarray, bytes]:
    if field.datatype != "BYTES":
        return np.frombuffer(data, NUMPY[field.datatype]).reshape((rows, *shape)).copy()
    count = rows * int(np.prod(shape, dtype=np.int64))
    return np.frombuffer(data, "<u4", count).copy(), bytes(data[4 * count :])
