"""What is kept of a batch that stable answered until its shadow has run: references to its arrays, which nobody writes any more.

Requests themselves are not kept: of each, the hash of its unit, its rows, and what became of it. Before they run again, copies of one shape
are put one below the other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain

import numpy as np

from gateway.protocol.tensors import Signature
from gateway.rollout.recorder import flag_of
from gateway.rollout.records import RECORD, Kind
from gateway.serving.batch import Batch, Item, assembled
from gateway.serving.model import Arrays

_NOTHING: Arrays = []
Chosen = Callable[[np.ndarray], np.ndarray | None]  # units [n] → which of them, bool [n]; None is all


class Copy:
    """Requests that ran together in stable, or one that failed there."""

    __slots__ = ("batch_rows", "ended", "flag", "inputs", "outputs", "rows", "seconds", "size", "units")

    def __init__(self, batch: Batch, items: Sequence[Item], inputs: Arrays, outputs: Arrays, *, size: int, flag: int = 0) -> None:
        """`flag`: of stable, where it failed; there are no outputs then. `size`: bytes that are held."""
        self.units = [item.whose.unit(item.caller) if item.whose is not None else 0 for item in items]  # 0: takes no part in the rollout
        self.rows = None if len(items) == (len(inputs[0]) if inputs else 1) else [item.rows for item in items]  # None: one each
        self.inputs, self.outputs = inputs, outputs
        self.flag, self.size = flag, size
        self.seconds = batch.ended - batch.started - batch.assembling  # of stable's run
        self.batch_rows, self.ended = batch.rows, batch.ended


def copies_of(batch: Batch, signature: Signature) -> Iterator[Copy]:
    """All requests of a batch whose bytes are still there."""
    size = size_of(batch)
    for (items, outputs), inputs in zip(batch.groups, batch.inputs, strict=True):
        copy = Copy(batch, items, inputs, outputs, size=size)
        if len(batch.groups) > 1 or batch.failed:
            copy.seconds = np.nan  # of several runs
        yield copy
        size = 0
    for item, fault in batch.failed:
        if item.data:
            inputs = assembled(signature, batch.shapes, [item], item.rows)
            copy = Copy(batch, [item], inputs, _NOTHING, size=size, flag=flag_of(fault.code))
            copy.seconds = np.nan
            yield copy
            size = 0


def size_of(batch: Batch) -> int:
    """Bytes that copies of a batch hold."""
    return batch.size + sum([output.nbytes for _, outputs in batch.groups for output in outputs])


class Stack:
    """Copies of one shape, one below the other: `inputs` and `outputs` [rows, …], `starts` [requests + 1], `seams` between copies.

    `records` [requests] say of each what is known before the shadow has run; `seconds` [requests] what stable's run took, NaN of several.
    """

    def __init__(self, copies: Sequence[Copy], chosen: Chosen, age_of: Callable[[float], float]) -> None:
        """`age_of(clock seconds)`: as Unix seconds."""
        requests = np.array([len(copy.units) for copy in copies])
        counts = _counts(copies, int(requests.sum()))
        self.records = _records(copies, requests, age_of)
        self.seconds = np.repeat(np.array([copy.seconds for copy in copies]), requests)
        self.inputs, self.outputs = _joined([copy.inputs for copy in copies]), _joined([copy.outputs for copy in copies])
        units = self.records["unit"]
        taking, among = units != 0, chosen(units)
        keep = taking if among is None else taking & among
        self.left_out = int(np.count_nonzero(taking)) - int(np.count_nonzero(keep))  # of those that take part
        if not keep.all():
            rows = np.repeat(keep, counts)
            self.inputs, self.outputs = [array[rows] for array in self.inputs], [array[rows] for array in self.outputs]
            self.records, self.seconds, counts = self.records[keep], self.seconds[keep], counts[keep]
        self.starts = np.concatenate(([0], np.cumsum(counts)))
        self.seams = np.unique(np.concatenate(([0], np.cumsum(keep)[np.cumsum(requests) - 1]))).tolist()

    def __len__(self) -> int:
        return len(self.records)


def stacked(copies: Sequence[Copy], chosen: Chosen, age_of: Callable[[float], float], *, join: bool) -> Iterator[Stack]:
    """All copies, those of one shape together if they may be joined, else each by itself."""
    shapes: dict[object, list[Copy]] = {}
    for copy in copies:
        key = tuple([(array.shape[1:], array.dtype.str) for array in (*copy.inputs, *copy.outputs)]), len(copy.outputs)
        shapes.setdefault(key if join else id(copy), []).append(copy)
    for alike in shapes.values():
        yield Stack(alike, chosen, age_of)


def _joined(arrays: Sequence[Arrays]) -> Arrays:
    return arrays[0] if len(arrays) == 1 else [np.concatenate(of) for of in zip(*arrays, strict=True)]


def _counts(copies: Sequence[Copy], requests: int) -> np.ndarray:
    """Rows of each request, int64 [requests]."""
    if all([copy.rows is None for copy in copies]):
        return np.ones(requests, np.int64)
    return np.array([*chain.from_iterable([copy.rows or [1] * len(copy.units) for copy in copies])], np.int64)


def _records(copies: Sequence[Copy], requests: np.ndarray, age_of: Callable[[float], float]) -> np.ndarray:
    records = np.zeros(int(requests.sum()), RECORD)
    records["unit"] = np.fromiter(chain.from_iterable([copy.units for copy in copies]), np.uint64, len(records))
    records["kind"] = Kind.PAIR
    for name in ("latency_s", "other_latency_s", "value", "other_value"):
        records[name] = np.nan
    for name, values in (
        ("batch_rows", [copy.batch_rows for copy in copies]),
        ("time_s", [age_of(copy.ended) for copy in copies]),
        ("other_flags", [copy.flag for copy in copies]),
    ):
        records[name] = np.repeat(np.array(values), requests)
    return records
