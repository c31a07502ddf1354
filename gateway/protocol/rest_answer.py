"""Results of a batch to REST answers, JSON or binary: once for a batch what can be, then one concatenation per answer.

Everything but the id and the tensors' data is the same for all answers of one version, selection of outputs and plan that have
the same rows and shapes. Knows neither batches nor sockets nor status codes.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from gateway.errors import Code, TidegateError
from gateway.protocol.binary import LENGTH_HEADER, ResponsePlan
from gateway.protocol.json_data import FLOATING
from gateway.protocol.json_numbers import has_nonfinite, row_texts, values_text
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.texts import pack_texts

Data = bytes | memoryview
Headers = list[tuple[bytes, bytes]]
Answer = tuple[Headers, bytes] | TidegateError
Shapes = tuple[tuple[int, ...], ...]

_JSON_HEADERS: Headers = [(b"content-type", b"application/json")]
_BINARY_TYPE = (b"content-type", b"application/octet-stream")
_LARGE = 65_536  # bytes of a batch's output from which slices are views
_MAX_HEADS = 4_096  # of one encoder; a model with free output dimensions could make any number of them


def id_part(request_id: str) -> bytes:
    """The caller's id as it stands in an answer; nothing where it named none."""
    return b',"id":' + msgspec.json.encode(request_id) if request_id else b""


class RestEncoder:
    """Answers of one version, for one selection of its outputs (`BoundRequest.outputs`; None: all) and one plan."""

    def __init__(
        self, signature: Signature, version: str, outputs: tuple[int, ...] | None, plan: ResponsePlan, *, strict_json: bool = False
    ) -> None:
        """`strict_json` makes an error of an answer whose JSON would hold NaN or Infinity."""
        self._selection = range(len(signature.outputs)) if outputs is None else outputs
        self._specs = [signature.outputs[index] for index in self._selection]
        self._binary = [plan.is_binary(spec.name) for spec in self._specs]
        self._batched = signature.max_batch_size > 0
        self._strict = strict_json
        self._model = signature.model
        self._start = b'{"model_name":%b,"model_version":%b' % (msgspec.json.encode(signature.model), msgspec.json.encode(version))
        self._heads: dict[tuple[int, Shapes], tuple[bytes, ...]] = {}

    def answers(self, ids: Sequence[bytes], starts: Sequence[int], rows: Sequence[int], arrays: Sequence[np.ndarray]) -> list[Answer]:
        """One answer per request: headers and body, or the error that takes its place.

        `ids` are from `id_part`. `arrays` are all outputs of the version; a request has `rows[i]` rows from `starts[i]` on, and
        there is exactly one where the version has no batch dimension.
        """
        arrays = [arrays[index] for index in self._selection]
        shapes = tuple([array.shape[1:] if self._batched else array.shape for array in arrays])
        texts: list[list[bytes]] = []
        blobs: list[list[Data]] = []
        for spec, array, binary in zip(self._specs, arrays, self._binary, strict=True):
            if binary:
                blobs.append(self._data(spec, array, starts, rows))
                texts.append([b"%d" % len(data) for data in blobs[-1]])
            else:
                texts.append(self._texts(spec, array, starts, rows))
        answers: list[Answer] = []
        for index, request_id in enumerate(ids):
            head = self._heads.get((rows[index], shapes)) or self._make_head(rows[index], shapes)
            cells = [column[index] for column in texts]
            if self._strict and (fault := self._nonfinite(cells)):
                answers.append(fault)
                continue
            parts = [self._start, request_id]
            for lead, cell in zip(head, cells, strict=False):
                parts += (lead, cell)
            parts.append(head[-1])
            text = b"".join(parts)
            answers.append(_with_data(text, [column[index] for column in blobs]) if blobs else (_JSON_HEADERS, text))
        return answers

    def _make_head(self, rows: int, shapes: Shapes) -> tuple[bytes, ...]:
        """The JSON between the cells of an answer: its data, or the length of its data behind the JSON."""
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        pieces, before = [], b',"outputs":['
        for spec, binary, shape in zip(self._specs, self._binary, shapes, strict=True):
            full = (rows, *shape) if self._batched else shape
            tensor = msgspec.json.encode({"name": spec.name, "datatype": spec.datatype, "shape": full})[:-1]
            pieces.append(before + tensor + (b',"parameters":{"binary_data_size":' if binary else b',"data":['))
            before = b"}}," if binary else b"]},"
        head = self._heads[rows, shapes] = (*pieces, before[:-1] + b"]}")
        return head

    def _nonfinite(self, cells: list[bytes]) -> TidegateError | None:
        for spec, binary, cell in zip(self._specs, self._binary, cells, strict=True):
            if not binary and spec.datatype in FLOATING and has_nonfinite(cell):
                text = f"output '{spec.name}' of model '{self._model}' is not finite, which JSON cannot say; ask for it as binary data"
                return TidegateError(Code.INTERNAL, text)
        return None

    def _texts(self, spec: TensorSpec, array: np.ndarray, starts: Sequence[int], rows: Sequence[int]) -> list[bytes]:
        """The JSON of one output for each request."""
        if not self._batched:
            return [_text(spec, array)]
        alone = spec.datatype == "BYTES" or not array.size or len(rows) == 1
        if alone or 2 * sum(rows) < len(array):  # rendering rows that nobody asked for costs more than a call for each that was
            return [_text(spec, array[start : start + count]) for start, count in zip(starts, rows, strict=True)]
        each = row_texts(array, spec.datatype)
        return [each[start] if count == 1 else b",".join(each[start : start + count]) for start, count in zip(starts, rows, strict=True)]

    def _data(self, spec: TensorSpec, array: np.ndarray, starts: Sequence[int], rows: Sequence[int]) -> list[Data]:
        """The bytes of one output for each request."""
        if spec.datatype == "BYTES":
            if not self._batched:
                return [pack_texts(array.ravel().tolist())]
            return [pack_texts(array[start : start + count].ravel().tolist()) for start, count in zip(starts, rows, strict=True)]
        data: Data = array.tobytes()
        if not self._batched:
            return [data]
        width = len(data) // len(array) if len(array) else 0
        if len(data) > _LARGE:
            data = memoryview(data)
        return [data[start * width : (start + count) * width] for start, count in zip(starts, rows, strict=True)]


def _text(spec: TensorSpec, array: np.ndarray) -> bytes:
    if spec.datatype == "BYTES":
        return msgspec.json.encode(array.ravel().tolist())[1:-1]
    return values_text(array, spec.datatype)


def _with_data(text: bytes, data: list[Data]) -> Answer:
    """The binary form: the JSON, its length in a header, the data behind it."""
    return [_BINARY_TYPE, (LENGTH_HEADER, b"%d" % len(text))], b"".join((text, *data))
