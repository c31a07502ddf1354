"""Rows of frames as the columns of a Parquet file. pyarrow is imported when it is used; one thread.

A request of n rows is n rows of the file that share its `request_id`. The columns of a file depend on what its contracts keep, so rows
whose inputs or outputs differ in name, type or fixed shape go to files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import msgspec
import numpy as np

from registry.log_accounts import ARMS
from registry.log_rows import HAS_UNIT, HTTP, PAYLOAD, PROTOCOLS, Contract, Field, Head, Rows

_GRPC_ID_HEAD = 2  # bytes before the value of an id of up to 127 bytes: its tag and length
_HTTP_ID_HEAD = len(b',"id":')

Kept = tuple[tuple[Field, ...], tuple[Field, ...]]  # inputs and outputs: what makes two contracts alike
Part = tuple[Contract, Rows]


def kept_of(contract: Contract) -> Kept:
    """What decides the columns of a file."""
    return contract.inputs, contract.outputs


def table_of(head: Head, parts: Sequence[Part]) -> Any:
    """The pyarrow table of frames that keep the same, in the order given: one row for each log row."""
    return _Table(head, parts).table()


class _Table:
    """Frames that keep the same. Arrays of requests, and of rows: `frame` and `spread` say which frame a request is of, and which request
    a row is of; `has` which rows have a payload."""

    def __init__(self, head: Head, parts: Sequence[Part]) -> None:
        import pyarrow

        self.pa: Any = pyarrow
        self.head = head
        self.contracts, self.frames = [contract for contract, _ in parts], [rows for _, rows in parts]
        self.requests = np.concatenate([rows.requests for rows in self.frames])
        self.frame = np.repeat(np.arange(len(parts)), [len(rows.requests) for rows in self.frames])
        self.counts = np.concatenate([rows.counts for rows in self.frames])
        self.spread = np.repeat(np.arange(len(self.requests)), self.counts)
        self.of_frame = np.array([int(rows.counts.sum()) for rows in self.frames])
        self.has = ((self.requests["flags"] & PAYLOAD) != 0)[self.spread]

    def table(self) -> Any:
        """The columns in the order of the documentation."""
        return self.pa.table(self._said() | self._answered() | self._measured() | self._payload())

    def _said(self) -> dict[str, Any]:
        """Who asked, when, and whom."""
        pa, spread, contracts = self.pa, self.spread, self.contracts
        by_frame = self.frame[spread]
        recorded = np.array([rows.meta.recorded_us for rows in self.frames])
        return {
            "request_id": self._fixed(self.requests["id"][spread], 16, None),
            "client_request_id": self._client_ids().take(pa.array(spread)),
            "ts": pa.array(self.requests["ts_us"][spread], pa.timestamp("us", "UTC")),
            "recorded_ts": pa.array(recorded[by_frame], pa.timestamp("us", "UTC")),
            "node": self._words(np.zeros(len(spread), np.int32), [self.head.node]),
            "worker": pa.array(np.full(len(spread), self.head.place, np.int16)),
            "protocol": self._words(self.requests["protocol"][spread], PROTOCOLS),
            "tenant": self._tenants(),
            "model": self._by_frame([contract.model for contract in contracts]),
            "version": pa.array(np.array([contract.version for contract in contracts], np.int32)[by_frame]),
            "manifest": self._by_frame([contract.manifest or None for contract in contracts]),
        }

    def _answered(self) -> dict[str, Any]:
        """By which arm, and how it ended."""
        pa, spread, requests = self.pa, self.spread, self.requests
        arms, codes = requests["arm"], requests["code"][spread]
        steps = np.array([contract.step for contract in self.contracts], np.int16)[self.frame[spread]]
        propensity = np.array([contract.propensity for contract in self.contracts], np.float32)[self.frame, arms][spread]
        propensity[propensity < 0] = np.nan
        unit = requests["unit"].astype(">u8").view("u1").reshape(-1, 8)
        return {
            "rollout_id": self._by_frame([contract.rollout or None for contract in self.contracts]),
            "step": pa.array(steps, mask=steps < 0),
            "arm": self._words(arms[spread], ARMS),
            "propensity": pa.array(propensity),
            "unit_hash": self._fixed(unit[spread], 8, (requests["flags"] & HAS_UNIT)[spread] == 0),
            "status": pa.array(np.array([number for _, number in self.head.codes], np.int16)[codes]),
            "error": self._words(codes, [name for name, _ in self.head.codes], codes == 0),
        }

    def _measured(self) -> dict[str, Any]:
        """What it took, and which row of its request each is."""
        pa, spread, requests = self.pa, self.spread, self.requests
        first = np.cumsum(self.counts) - self.counts
        found = {name: pa.array(requests[name][spread]) for name in ("queue_us", "infer_us", "total_us")}
        found["batch_rows"] = pa.array(np.minimum(requests["batch_rows"], np.iinfo(np.int16).max).astype(np.int16)[spread])
        found["row"] = pa.array((np.arange(len(spread)) - first[spread]).astype(np.int32))
        found["rows"] = pa.array(requests["rows"][spread])
        return found

    def _payload(self) -> dict[str, Any]:
        """Inputs, outputs and what is read of them; null in rows of requests that have none."""
        sampling = np.array([contract.sampling for contract in self.contracts], np.float32)
        found = {"sampling_prob": self.pa.array(np.repeat(sampling, self.of_frame)), "violations": self.pa.array(self._violations())}
        inputs, outputs = kept_of(self.contracts[0])
        if inputs:
            found["f"] = self._struct(inputs, 0)
        if outputs:
            found["y"] = self._struct(outputs, len(inputs))
        found["pred_class"] = self._read(np.zeros(len(self.has), np.int32), [one.class_of for one in self.contracts], classes_of)
        found["score"] = self._read(np.zeros(len(self.has), np.float32), [one.score_of for one in self.contracts], scores_of)
        return found

    def _violations(self) -> np.ndarray:
        found = np.zeros(len(self.has), np.uint32)
        if any(rows.violations is not None for rows in self.frames):
            said = [np.zeros(rows.meta.rows, np.uint32) if rows.violations is None else rows.violations for rows in self.frames]
            found[self.has] = np.concatenate(said)
        return found

    # --- inputs and outputs ------------------------------------------------------------------------------------------------------

    def _struct(self, fields: Sequence[Field], start: int) -> Any:
        """A struct of one column for each field, the first of which is at `start`; null where a row has no payload."""
        pa, has = self.pa, self.has
        whole = bool(has.all())
        children, types = [], []
        for at, field in enumerate(fields, start):
            child = self._child(field, at)
            if not whole:
                child = child.take(pa.array(np.maximum(np.cumsum(has) - 1, 0), mask=~has))
            children.append(child)
            said = {"datatype": field.datatype, "shape": str(list(field.dims)), "policy": field.policy}
            types.append(pa.field(field.name, child.type, metadata=said))
        return pa.StructArray.from_arrays(children, fields=types, mask=None if whole else pa.array(~has))

    def _child(self, field: Field, at: int) -> Any:
        """One field's values as a column: single ones, lists of one length, or of any where a dimension is free."""
        pa, values = self.pa, self._values(field, at)
        if is_scalar(field.dims):
            return values
        if min(field.dims) >= 0:
            return pa.FixedSizeListArray.from_arrays(values, int(np.prod(field.dims, dtype=np.int64)))
        widths = [int(np.prod(rows.meta.shapes[at], dtype=np.int64)) for rows in self.frames]
        lengths = np.repeat(np.array(widths, np.int64), [rows.meta.rows for rows in self.frames])
        return pa.ListArray.from_arrays(pa.array(np.concatenate(([0], np.cumsum(lengths))), pa.int32()), values)

    def _values(self, field: Field, at: int) -> Any:
        """All values of a column, row after row."""
        pa = self.pa
        pieces: Any = [rows.columns[at] for rows in self.frames]
        if field.datatype != "BYTES":
            return pa.array(_widened(np.concatenate([piece.reshape(-1) for piece in pieces]), field.datatype))
        lengths, texts = np.concatenate([lengths for lengths, _ in pieces]), b"".join([text for _, text in pieces])
        offsets = np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))
        return pa.Array.from_buffers(pa.large_string(), len(lengths), [None, pa.py_buffer(offsets), pa.py_buffer(texts)]).cast(pa.string())

    def _read(self, values: np.ndarray, places: Sequence[int], read: Callable[[np.ndarray], np.ndarray]) -> Any:
        """What `read` makes of one output of each frame; null in rows without a payload, and where there is no such output."""
        missing = np.ones(len(self.has), bool)
        ends = np.cumsum(self.of_frame).tolist()
        for contract, rows, place, start, end in zip(self.contracts, self.frames, places, [0, *ends], ends, strict=False):
            if place >= 0 and rows.meta.rows:
                column, has = rows.columns[len(contract.inputs) + place], self.has[start:end]
                assert isinstance(column, np.ndarray)
                values[start:end][has] = read(_widened(column.reshape(rows.meta.rows, -1), contract.outputs[place].datatype))
                missing[start:end][has] = False
        return self.pa.array(values, mask=missing)

    # --- columns of requests -----------------------------------------------------------------------------------------------------

    def _fixed(self, octets: np.ndarray, width: int, missing: np.ndarray | None) -> Any:
        """uint8 [n, width] as a column of so many bytes."""
        pa, octets = self.pa, np.ascontiguousarray(octets)
        whole = pa.Array.from_buffers(pa.binary(width), len(octets), [None, pa.py_buffer(octets)])
        if missing is None or not missing.any():
            return whole
        return whole.take(pa.array(np.arange(len(octets)), mask=missing))

    def _words(self, places: np.ndarray, words: Sequence[str | None], missing: np.ndarray | None = None) -> Any:
        indices = self.pa.array(np.ascontiguousarray(places, np.int32), mask=missing)
        return self.pa.DictionaryArray.from_arrays(indices, self.pa.array(words, self.pa.string()))

    def _by_frame(self, texts: Sequence[str | None]) -> Any:
        words = sorted({text for text in texts if text is not None})
        places = np.repeat(np.array([-1 if text is None else words.index(text) for text in texts], np.int32), self.of_frame)
        return self._words(np.maximum(places, 0), words, places < 0)

    def _tenants(self) -> Any:
        """Null where nobody had to say who they are."""
        words = sorted({tenant for rows in self.frames for tenant in rows.meta.tenants})
        places = np.full((len(self.frames), max(len(words), 1)), -1, np.int32)
        for at, rows in enumerate(self.frames):
            places[at, : len(rows.meta.tenants)] = [words.index(tenant) for tenant in rows.meta.tenants]
        found = places[self.frame, self.requests["tenant"]][self.spread]
        return self._words(np.maximum(found, 0), words, found < 0)

    def _client_ids(self) -> Any:
        """The callers' own ids, taken out of what their protocols put around them."""
        pa, requests = self.pa, self.requests
        lengths, http = requests["id_bytes"].astype(np.int64), requests["protocol"] == HTTP
        content = b"".join([rows.ids for rows in self.frames])
        if not content:
            return pa.nulls(len(requests), pa.string())
        if (lengths == lengths[0]).all() and _GRPC_ID_HEAD < lengths[0] < 128 and not http.any():
            octets = np.ascontiguousarray(np.frombuffer(content, np.uint8).reshape(len(requests), -1)[:, _GRPC_ID_HEAD:])
            offsets = np.arange(len(requests) + 1, dtype=np.int64) * octets.shape[1]
            found = pa.Array.from_buffers(pa.large_string(), len(requests), [None, pa.py_buffer(offsets), pa.py_buffer(octets)])
            return found.cast(pa.string())
        return pa.array(list(_decoded_ids(content, lengths, http)), pa.string())


def is_scalar(dims: Sequence[int]) -> bool:
    """Whether a row of these dimensions is one value of a column rather than a list."""
    return not dims or tuple(dims) == (1,)


def classes_of(values: np.ndarray) -> np.ndarray:
    """int32 [rows] of an output [rows, width]: the class itself, or the likeliest one."""
    found = values.argmax(axis=1) if values.dtype.kind == "f" and values.shape[1] > 1 else values[:, 0]
    classes: np.ndarray = np.nan_to_num(found).astype(np.int32)
    return classes


def scores_of(values: np.ndarray) -> np.ndarray:
    """float32 [rows] of an output [rows, width]: the value itself, the second one of two classes, or that of the likeliest of many."""
    chosen = values[:, 0] if values.shape[1] == 1 else values[:, 1] if values.shape[1] == 2 else values.max(axis=1)
    return chosen.astype(np.float32)


def _widened(values: np.ndarray, datatype: str) -> np.ndarray:
    """bfloat16, which Parquet has not, as float32."""
    return (values.astype(np.uint32) << 16).view(np.float32) if datatype == "BF16" else values


def _decoded_ids(content: bytes, lengths: np.ndarray, http: np.ndarray) -> Iterator[str | None]:
    at = 0
    for length, is_http in zip(lengths.tolist(), http.tolist(), strict=True):
        piece = content[at : at + length]
        at += length
        yield client_id(piece, http=is_http) if piece else None


def client_id(piece: bytes, *, http: bool) -> str:
    """A caller's id as its answer carries it: `,"id":` and a JSON text, or the field of a protobuf message."""
    if http:
        return msgspec.json.decode(piece[_HTTP_ID_HEAD:], type=str)
    start = 1
    while piece[start] & 0x80:
        start += 1
    return piece[start + 1 :].decode(errors="replace")
