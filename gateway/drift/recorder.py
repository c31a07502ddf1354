"""One served batch into the block of its version: every tensor that the profile knows, whatever its datatype. Nothing is sampled.

Bounds: never raises for what a model made: a tensor whose rows do not come out even is passed over, as is a feature beyond its width.
Not for several threads at once, since counts are added in place.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import NamedTuple

import numpy as np

from gateway.drift.layout import BATCHES, ROWS, Layout, Views
from gateway.drift.tables import NumberTables, PortTables, TextTables
from kernels import binning, categories, predictions
from kernels.jit import direct

INLINE_VALUES = 8_192  # up to here a batch is counted in about 10 µs: handing the GIL over would cost as much
_KINDS = {np.dtype(np.float32): 0, np.dtype(np.float64): 1}  # signatures of kernels that take either
_INLINE = {np.dtype(np.float32): direct(binning.count_float32), np.dtype(np.float64): direct(binning.count_float64)}
_MARGINS = {kind: direct(predictions.margins, number) for kind, number in _KINDS.items()}
_ENTROPIES = {kind: direct(predictions.entropies, number) for kind, number in _KINDS.items()}
_SCORES = {kind: direct(predictions.count_scores, number) for kind, number in _KINDS.items()}
_count_integers, _count_texts = direct(categories.count_integers), direct(categories.count_texts)
_count_slots = direct(categories.count_slots)
_UNDIVIDED = np.empty(0, np.int64)  # the segments of a batch where there is one


class _TextColumn(NamedTuple):
    """A feature whose texts come as Python's."""

    column: int
    other: int  # the slot of unknown texts
    lookup: Mapping[str | bytes | None, int]
    counts: np.ndarray  # [segments, slots]


class Recorder:
    """What writes one block. `record` is called once for each batch."""

    __slots__ = ("_columns", "_ports", "_segments", "_views")

    def __init__(self, ports: Sequence[PortTables], layout: Layout, views: Views) -> None:
        """`ports` as `tables.tables_of` makes them; `views` of a block that is in use."""
        self._ports = tuple(ports)
        self._segments = layout.segments
        self._views = views
        self._columns = {(port.side, port.position): _columns(port, views) for port in ports}

    def record(
        self, inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], segments: np.ndarray | None = None, *, rows: int | None = None
    ) -> None:
        """Count one batch.

        inputs, outputs: in the order of the signature, [rows, ...] each; outputs of a model without a batch dimension as they are. Strings
        are an object array of str or bytes, or the uint8 bytes of the wire. segments: [rows] integers; all that the layout does not have,
        and rows that have none, go to the last one. rows: of the batch, where the first input is bytes of the wire.
        """
        rows = (inputs[0].shape[0] if inputs else 1) if rows is None else rows
        if rows < 1:
            return
        divided = self._divide(segments, rows)
        for port in self._ports:
            array = (inputs if port.side == "input" else outputs)[port.position]
            if port.texts is not None:
                self._count_texts(port, port.texts, array, rows, divided)
            elif array.dtype != object and array.size and array.size % rows == 0:
                self._count_numbers(port, array.reshape(rows, -1), divided)
        self._views.head[ROWS] += rows
        self._views.head[BATCHES] += 1

    def _divide(self, segments: np.ndarray | None, rows: int) -> np.ndarray:
        """The segment of each row, counted."""
        last = self._segments - 1
        if not last:
            self._views.segment_rows[0] += rows
            return _UNDIVIDED
        if segments is None or len(segments) != rows:
            self._views.segment_rows[last] += rows
            return np.full(rows, last)
        unsigned = np.ascontiguousarray(segments, np.int64).view(np.uint64)  # so that a negative one is none
        divided = np.minimum(unsigned, np.uint64(last)).view(np.int64)
        self._views.segment_rows[...] += np.bincount(divided, minlength=last + 1)
        return divided

    def _count_numbers(self, port: PortTables, array: np.ndarray, divided: np.ndarray) -> None:
        if port.integers is not None:
            known = port.integers
            whole = array.astype(np.int64, copy=False)
            _count_integers(whole, known.features, known.keys, known.slots, divided, self._views.block)
        if not port.numbers and port.score is None:
            return
        values = as_floats(array, port.datatype)
        for tables in port.numbers:
            self._count_group(tables, values if tables.kind == "value" else _computed(tables.kind, values), divided)
        if port.score is not None and port.score < values.shape[1]:
            _SCORES[values.dtype](values, port.score, self._views.scores)

    def _count_group(self, tables: NumberTables, values: np.ndarray, divided: np.ndarray) -> None:
        at, views = tables.group, self._views
        inline = values.shape[0] * len(tables.places) <= INLINE_VALUES
        count = _INLINE[values.dtype] if inline else binning.count
        count(values, tables.places, tables.thresholds, tables.means, divided, views.counts[at], views.sums[at], views.extremes[at])

    def _count_texts(self, port: PortTables, tables: TextTables, array: np.ndarray, rows: int, divided: np.ndarray) -> None:
        if array.dtype == np.uint8:
            self._count_bytes(port, tables, np.ascontiguousarray(array).reshape(-1), rows, divided)
            return
        if not array.size or array.size % rows:
            return
        table = array.reshape(rows, -1)
        for feature in self._columns[port.side, port.position]:
            if feature.column < table.shape[1]:
                texts = table[:, feature.column].tolist()
                slots = np.fromiter(map(feature.lookup.get, texts, repeat(feature.other)), np.int64, rows)
                _count_slots(slots, divided, feature.counts)

    def _count_bytes(self, port: PortTables, tables: TextTables, data: np.ndarray, rows: int, divided: np.ndarray) -> None:
        width = max(port.width or categories.texts_in(data) // rows, 1)
        _count_texts(data, width, tables.owners, tables.features, *tables.arrays, divided, self._views.block)


def as_floats(array: np.ndarray, datatype: str) -> np.ndarray:
    """A tensor of any datatype but BYTES as float32 or float64; the same array where it is one. Integers above 2^53 are rounded."""
    if datatype == "BF16":
        return (array.astype(np.uint32) << 16).view(np.float32)
    kind = np.float32 if datatype in {"FP32", "FP16"} else np.float64
    return array if array.dtype == kind else array.astype(kind)


def _computed(kind: str, values: np.ndarray) -> np.ndarray:
    """One number of each row, as a column."""
    column = np.empty(values.shape[0])
    (_MARGINS if kind == "margin" else _ENTROPIES)[values.dtype](values, column)
    return column.reshape(-1, 1)


def _columns(port: PortTables, views: Views) -> list[_TextColumn]:
    if port.texts is None:
        return []
    columns = []
    for row, lookup, place in zip(port.texts.features.tolist(), port.texts.lookups, port.text_places, strict=True):
        other = row[categories.OTHER]
        slots: dict[str | bytes | None, int] = {None: other + 1, **dict(lookup.items())}
        columns.append(_TextColumn(row[categories.COLUMN], other, slots, views.categories[place]))
    return columns
