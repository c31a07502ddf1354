"""Results of a batch to REST answers, JSON or binary: once for a batch what can be, then one concatenation per answer.

Everything but the id and the tensors' data is the same for all answers of one version, selection of outputs and plan that have
the same rows and shapes. Knows neither batches nor sockets nor status codes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import msgspec
import numpy as np

from gateway.errors import Code, TidegateError
from gateway.protocol.binary import LENGTH_HEADER, ResponsePlan
from gateway.protocol.json_data import FLOATING
from gateway.protocol.json_numbers import has_nonfinite, row_texts, values_text
from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.protocol.texts import pack_texts

Data = bytes | memoryview
Headers = list[tuple[bytes, bytes]]
Answer = tuple[Headers, bytes] | TidegateError
Shapes = tuple[tuple[int, ...], ...]

JSON_HEADERS: Headers = [(b"content-type", b"application/json")]
_BINARY_TYPE = (b"content-type", b"application/octet-stream")
_LARGE = 65_536  # bytes of a batch's output from which slices are views
_MAX_HEADS = 4_096  # of one encoder; a model with free output dimensions could make any number of them


def id_part(request_id: str) -> bytes:
    """The caller's id as it stands in an answer; nothing where it named none."""
    return b',"id":' + msgspec.json.encode(request_id) if request_id else b""


class RestEncoder:
    """Answers of one version, for one selection of its outputs (`BoundRequest.outputs`; None: all) and one plan."""

    def __init__(
        self, signature: Signature, version: str, outputs: tuple[int, ...] | None, plan: ResponsePlan, *,
        strict_json: bool = False, arm: str = "",
    ) -> None:  # fmt: skip
        """`strict_json` makes an error of an answer whose JSON would hold NaN or Infinity; `arm` of a rollout, which answers then name."""
        self._selection = outputs
        self._specs = signature.outputs if outputs is None else tuple(signature.outputs[index] for index in outputs)
        self._binary = [plan.is_binary(spec.name) for spec in self._specs]
        self._batched = signature.max_batch_size > 0
        self._strict = strict_json
        self._model = signature.model
        self._start = b'{"model_name":%b,"model_version":%b' % (msgspec.json.encode(signature.model), msgspec.json.encode(version))
        if arm:
            self._start += b',"parameters":%b' % msgspec.json.encode({"arm": arm})
        self._heads: dict[tuple[int, Shapes], bytes] = {}

    def answers(self, ids: Sequence[bytes], starts: Sequence[int], rows: Sequence[int], arrays: Sequence[np.ndarray]) -> list[Answer]:
        """One answer per request: headers and body, or the error that takes its place.

        `ids` are from `id_part`. `arrays` are all outputs of the version; a request has `rows[i]` rows from `starts[i]` on, and
        there is exactly one where the version has no batch dimension.
        """
        if self._selection is not None:
            arrays = [arrays[index] for index in self._selection]
        shapes = tuple([array.shape[1:] if self._batched else array.shape for array in arrays])
        cells: list[list[bytes]] = []  # what differs within the JSON: data, or the length of strings behind it
        blobs: list[list[Data]] = []
        for spec, array, binary in zip(self._specs, arrays, self._binary, strict=True):
            if binary:
                blobs.append(self._data(spec, array, starts, rows))
                if spec.datatype == "BYTES":
                    cells.append([b"%d" % len(data) for data in blobs[-1]])
            else:
                cells.append(self._texts(spec, array, starts, rows))
        heads = {count: self._heads.get((count, shapes)) or self._make_head(count, shapes) for count in dict.fromkeys(rows)}
        each = zip(*cells, strict=True) if cells else itertools.repeat(())
        texts = [heads[count] % (request_id, *values) for request_id, count, values in zip(ids, rows, each, strict=False)]
        answers: list[Answer] = [(JSON_HEADERS, text) for text in texts]
        if blobs:
            answers = [_with_data(text, data) for text, data in zip(texts, zip(*blobs, strict=True), strict=True)]
        return self._without_nonfinite(answers, cells) if self._strict else answers

    def _make_head(self, rows: int, shapes: Shapes) -> bytes:
        """The JSON of an answer, with `%b` for the id and for each of `cells`."""
        if len(self._heads) >= _MAX_HEADS:
            self._heads.clear()
        tensors = []
        for spec, binary, shape in zip(self._specs, self._binary, shapes, strict=True):
            full = (rows, *shape) if self._batched else shape
            tensor = literal(msgspec.json.encode({"name": spec.name, "datatype": spec.datatype, "shape": full})[:-1])
            if binary:
                itemsize = DATATYPES[spec.datatype].itemsize
                size = b"%d" % (math.prod(full) * itemsize) if itemsize else b"%b"
                tensors.append(b'%b,"parameters":{"binary_data_size":%b}}' % (tensor, size))
            else:
                tensors.append(b'%b,"data":[%%b]}' % tensor)
        head = self._heads[rows, shapes] = b'%b%%b,"outputs":[%b]}' % (literal(self._start), b",".join(tensors))
        return head

    def _without_nonfinite(self, answers: list[Answer], cells: list[list[bytes]]) -> list[Answer]:
        """The same answers, but errors for those whose JSON has NaN or Infinity."""
        columns = iter(cells)
        for spec, binary in zip(self._specs, self._binary, strict=True):
            column = next(columns) if not binary or spec.datatype == "BYTES" else ()
            for index, cell in enumerate(column):
                if spec.datatype in FLOATING and has_nonfinite(cell):
                    text = f"output '{spec.name}' of model '{self._model}' is not finite, which JSON cannot say; ask for it as binary data"
                    answers[index] = TidegateError(Code.INTERNAL, text)
        return answers

    def _texts(self, spec: TensorSpec, array: np.ndarray, starts: Sequence[int], rows: Sequence[int]) -> list[bytes]:
        """The JSON of one output for each request."""
        if not self._batched or (len(rows) == 1 and rows[0] == len(array)):
            return [_text(spec, array)]
        alone = spec.datatype == "BYTES" or not array.size or len(rows) == 1
        if alone or 2 * sum(rows) < len(array):  # rendering rows that nobody asked for costs more than a call for each that was
            return [_text(spec, array[start : start + count]) for start, count in zip(starts, rows, strict=True)]
        each = row_texts(array, spec.datatype)
        if max(rows) == 1:
            return [each[start] for start in starts]
        return [b",".join(each[start : start + count]) for start, count in zip(starts, rows, strict=True)]

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


def literal(text: bytes) -> bytes:
    """As part of a pattern for `%`."""
    return text.replace(b"%", b"%%")


def _with_data(text: bytes, data: tuple[Data, ...]) -> Answer:
    """The binary form: the JSON, its length in a header, the data behind it."""
    return [_BINARY_TYPE, (LENGTH_HEADER, b"%d" % len(text))], b"".join((text, *data))
