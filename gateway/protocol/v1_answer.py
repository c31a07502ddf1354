"""Results of a batch to answers of `:predict`, in rows or in columns: what is the same for all requests of a batch is rendered once.

A model with one output answers with its value, one with several with objects by output name. Strings of an output whose name ends in
`_bytes` are `{"b64": "…"}`. Source: github.com/tensorflow/serving, g3doc/api_rest.md. Knows neither batches nor sockets nor status codes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from gateway.errors import Code, TidegateError, invalid
from gateway.protocol.json_data import FLOATING
from gateway.protocol.json_numbers import has_nonfinite, nested_rows, nested_text
from gateway.protocol.rest_answer import JSON_HEADERS, Answer, literal
from gateway.protocol.tensors import Signature, TensorSpec

_BYTES_SUFFIX = "_bytes"


class PredictEncoder:
    """Answers of one version, all of its outputs, in rows or in columns."""

    def __init__(self, signature: Signature, *, by_rows: bool, strict_json: bool = False) -> None:
        """`strict_json` makes an error of an answer that would hold NaN or Infinity."""
        self._specs = signature.outputs
        self._batched = signature.max_batch_size > 0
        self._model = signature.model
        self._by_rows = by_rows
        self._strict = strict_json
        named = _pattern(self._specs)
        self._row = named if by_rows and len(self._specs) > 1 else None  # of objects, one for each row
        self._body = b'{"predictions":%b}' if by_rows else b'{"outputs":%b}' % named

    def answers(self, ids: Sequence[bytes], starts: Sequence[int], rows: Sequence[int], arrays: Sequence[np.ndarray]) -> list[Answer]:
        """One answer per request: headers and body, or the error that takes its place.

        `arrays` are all outputs of the version; a request has `rows[i]` rows from `starts[i]` on, and there is exactly one where the
        version has no batch dimension. This protocol has no ids.
        """
        if not self._batched:
            return [self._whole(arrays)]
        spans = [slice(start, start + count) for start, count in zip(starts, rows, strict=True)]
        if len(spans) == 1 or 2 * sum(rows) < len(arrays[0]):  # rendering rows that nobody asked for costs more
            return [self._alone([array[span] for array in arrays]) for span in spans]
        columns = [_rows(spec, array) for spec, array in zip(self._specs, arrays, strict=True)]
        return [self._of_rows([column[span] for column in columns]) for span in spans]

    def _whole(self, arrays: Sequence[np.ndarray]) -> Answer:
        """The one answer of a version without a batch dimension."""
        if self._by_rows and (not arrays[0].ndim or len({array.shape[:1] for array in arrays}) > 1):
            text = f"outputs of model '{self._model}' are not rows that belong together: ask with 'inputs' instead of 'instances'"
            return invalid(text)
        return self._alone(arrays)

    def _alone(self, arrays: Sequence[np.ndarray]) -> Answer:
        """An answer that has all of these."""
        if self._row is not None:
            return self._of_rows([_rows(spec, array) for spec, array in zip(self._specs, arrays, strict=True)])
        texts = [_text(spec, array) for spec, array in zip(self._specs, arrays, strict=True)]
        return self._finished([[text] for text in texts], texts)

    def _of_rows(self, columns: list[list[bytes]]) -> Answer:
        """`columns`: the text of each row of each output."""
        if self._row is None:
            return self._finished(columns, [_listed(column) for column in columns])
        return self._finished(columns, [_listed([self._row % row for row in zip(*columns, strict=True)])])

    def _finished(self, columns: list[list[bytes]], texts: list[bytes]) -> Answer:
        """The body with these texts, unless some of the `columns` that they are made of says what JSON cannot."""
        for spec, column in zip(self._specs, columns, strict=True) if self._strict else ():
            if spec.datatype in FLOATING and any([has_nonfinite(text) for text in column]):
                text = f"output '{spec.name}' of model '{self._model}' is not finite, which JSON cannot say"
                return TidegateError(Code.INTERNAL, f"{text}; protocol v2 has it as binary data")
        return JSON_HEADERS, self._body % tuple(texts)


def _pattern(specs: tuple[TensorSpec, ...]) -> bytes:
    """`%b` for each output: as it is where there is one, else in an object."""
    if len(specs) == 1:
        return b"%b"
    return b"{%b}" % b",".join([literal(msgspec.json.encode(spec.name)) + b":%b" for spec in specs])


def _listed(rows: list[bytes]) -> bytes:
    return b"[%b]" % b",".join(rows)


def _rows(spec: TensorSpec, array: np.ndarray) -> list[bytes]:
    """The text of each row."""
    if spec.datatype == "BYTES":
        return [msgspec.json.encode(row) for row in _strings(spec, array)]
    return nested_rows(array, spec.datatype)


def _text(spec: TensorSpec, array: np.ndarray) -> bytes:
    """The text of all of an output."""
    return msgspec.json.encode(_strings(spec, array)) if spec.datatype == "BYTES" else nested_text(array, spec.datatype)


def _strings(spec: TensorSpec, array: np.ndarray) -> Any:
    """Lists nested like the shape, of strings or of what stands for their bytes."""
    if not spec.name.endswith(_BYTES_SUFFIX):
        return array.tolist()
    values = np.empty(array.size, object)
    values[:] = [{"b64": text.encode()} for text in array.ravel().tolist()]  # bytes are written as base64
    return values.reshape(array.shape).tolist()
