"""Results of a batch to gRPC answers: what is the same for all of them is done once, each answer is then one concatenation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import numpy as np

from gateway.errors import Code
from gateway.observe.slabs import GRPC
from gateway.protocol.texts import TextPacker
from gateway.protocol.v2_grpc_answer import NAME_LEAD, AnswerPlan, ResponseEncoder, join, stream_error, stream_ok
from gateway.protocol.v2_grpc_answer import Buffer as Data
from gateway.serving.batch import Item, Names
from gateway.serving.model import Arrays
from gateway.wire import grpc
from gateway.wire.exchange import Headers
from gateway.wire.stream import Stream

_LARGE = 65_536  # bytes of one output from which an answer is sent in pieces instead of being put together

_SMALL = 4_096  # bytes of one answer's tensors up to which answers are put together by columns
_MANY = 4  # answers from which that pays (measured: 3 cost the same either way)
_SHAPES_MAX = 256  # forms of such messages that one sink remembers


class GrpcSink:
    """Answers of one version and one selection of outputs, to unary calls."""

    protocol = GRPC

    def __init__(self, encoder: ResponseEncoder, outputs: tuple[int, ...] | None, *, batched: bool, fields: Headers | None = None) -> None:
        """`fields` are said in the headers of answers, and beside errors."""
        self._head, self._more = grpc.head_with(fields or []), grpc.literals(fields or [])
        self._encoder = encoder
        self._outputs = outputs
        self._batched = batched
        self._shapes: dict[tuple[tuple[bytes, ...], int, tuple[int, ...]], tuple[bytes, tuple[int, ...]]] = {}
        self._alike = batched and all(spec.datatype != "BYTES" for spec in encoder.outputs)
        self._packers = [TextPacker() for _ in encoder.outputs]

    def answer(self, items: Sequence[Item], starts: Sequence[int], outputs: Arrays, names: Names = None) -> None:
        """One message per item. Batches of like requests, which are nearly all, are put together by columns."""
        rows = items[0].rows
        if self._alike and len(items) >= _MANY and len(items) * rows == len(outputs[0]) and self._by_columns(items, rows, outputs, names):
            return
        for item, parts in zip(items, self._messages(items, starts, outputs, heads_of(items, names)), strict=True):
            self._send(item, parts)

    def _by_columns(self, items: Sequence[Item], rows: int, outputs: Arrays, names: Names) -> bool:
        """Answer all where answers are short and every item has `rows` rows; else do nothing. Ids of one length go together."""
        if self._outputs is not None:
            outputs = [outputs[index] for index in self._outputs]
        count = len(items)
        widths = tuple([output.nbytes // count for output in outputs])
        if sum(widths) > _SMALL or (rows > 1 and any([item.rows != rows for item in items])):
            return False
        plan = self._encoder.plan(rows, tuple([output.shape[1:] for output in outputs]))
        octets = [np.frombuffer(np.ascontiguousarray(output), np.uint8) for output in outputs]
        lengths = [len(item.id) for item in items]
        if lengths.count(lengths[0]) == count:
            self._lay_out(items, plan, lengths[0], (widths, octets), names)
            return True
        for length in set(lengths):
            chosen = [index for index, own in enumerate(lengths) if own == length]
            picked = [column.reshape(count, -1)[chosen].reshape(-1) for column in octets]
            own = None if names is None else names[chosen]
            self._lay_out([items[index] for index in chosen], plan, length, (widths, picked), own)
        return True

    def _lay_out(self, items: Sequence[Item], plan: AnswerPlan, length: int, data: tuple[tuple[int, ...], Arrays], names: Names) -> None:
        """Answer items whose ids have one length. `data`: how many bytes each output has of an item, and all of them, item after item."""
        widths, octets = data
        lead = bytes(length) if names is None else bytes(length) + NAME_LEAD + bytes(36)
        message, places = self._frame_of(plan, lead, widths)
        columns = list(zip(places, octets, strict=True))
        if length:
            columns.append((0, np.frombuffer(b"".join([item.id for item in items]), np.uint8)))
        if names is not None:
            columns.append((length + len(NAME_LEAD), names.reshape(-1)))
        grpc.reply_alike([item.caller for item in items], message, columns, self._head)  # type: ignore[misc]

    def _frame_of(self, plan: AnswerPlan, lead: bytes, widths: tuple[int, ...]) -> tuple[bytes, tuple[int, ...]]:
        """The message of such answers with zeros for what differs, after `lead`, and where each output's data stands in it."""
        key = plan.leads, len(lead), widths
        known = self._shapes.get(key)
        if known is None:
            message, places = lead, []
            for before, width in zip(plan.leads, widths, strict=True):
                places.append(len(message) + len(before))
                message += before + bytes(width)
            if len(self._shapes) >= _SHAPES_MAX:
                self._shapes.clear()
            known = self._shapes[key] = message, tuple(places)
        return known

    def _send(self, item: Item, parts: list[Data]) -> None:
        stream = cast(Stream, item.caller)
        if max(map(len, parts)) < _LARGE:
            grpc.reply(stream, b"".join(parts), self._head)
        else:
            grpc.reply_parts(stream, parts, self._head)

    def fail(self, item: Item, code: Code, message: str) -> None:
        """A trailers-only answer."""
        grpc.fail(cast(Stream, item.caller), code, message, more=self._more)

    def _messages(self, items: Sequence[Item], starts: Sequence[int], outputs: Arrays, heads: Sequence[bytes]) -> list[list[Data]]:
        if self._outputs is not None:
            outputs = [outputs[index] for index in self._outputs]
        if not self._batched:
            plan = self._encoder.plan(1, tuple(output.shape for output in outputs))
            return [join(heads[0], plan, [self._whole(k, output) for k, output in enumerate(outputs)])]
        shapes = tuple([output.shape[1:] for output in outputs])
        if any(output.dtype == object for output in outputs):
            return self._with_texts(items, starts, outputs, shapes, heads)
        blobs = [_data(output) for output in outputs]
        widths = [output.nbytes // (len(output) or 1) for output in outputs]
        messages: list[list[Data]] = []
        columns = list(zip(blobs, widths, strict=True))
        for item, start, head in zip(items, starts, heads, strict=True):
            end = start + item.rows
            parts: list[Data] = [head]
            for lead, (blob, width) in zip(self._encoder.plan(item.rows, shapes).leads, columns, strict=True):
                parts.append(lead)
                parts.append(blob[start * width : end * width])
            messages.append(parts)
        return messages

    def _with_texts(
        self, items: Sequence[Item], starts: Sequence[int], outputs: Arrays, shapes: tuple[tuple[int, ...], ...], heads: Sequence[bytes]
    ) -> list[list[Data]]:
        """Strings are packed once for the batch: most are labels that were packed before."""
        columns = [(self._pieces(k, output), output.size // (len(output) or 1)) for k, output in enumerate(outputs)]
        messages = []
        for item, start, head in zip(items, starts, heads, strict=True):
            end = start + item.rows
            data: list[Data] = [
                b"".join(pieces[start * width : end * width]) if pieces is not None else _data(output[start:end])
                for (pieces, width), output in zip(columns, outputs, strict=True)
            ]
            messages.append(join(head, self._encoder.plan(item.rows, shapes), data))
        return messages

    def _pieces(self, index: int, output: np.ndarray) -> list[bytes] | None:
        """The elements of an output of strings, packed; None for other outputs."""
        return self._packers[index].pack(output.ravel().tolist()) if output.dtype == object else None

    def _whole(self, index: int, output: np.ndarray) -> Data:
        pieces = self._pieces(index, output)
        return _data(output) if pieces is None else b"".join(pieces)


class StreamSink(GrpcSink):
    """The same answers to requests of a ModelStreamInfer call; a failed request does not end the stream."""

    def __init__(
        self, encoder: ResponseEncoder, outputs: tuple[int, ...] | None, *, batched: bool, answered: Callable[[Item], None]
    ) -> None:
        super().__init__(encoder, outputs, batched=batched)
        self._alike = False
        self._answered = answered

    def _send(self, item: Item, parts: list[Data]) -> None:
        grpc.send(item.caller.stream, b"".join(stream_ok(parts)))  # type: ignore[attr-defined]
        self._answered(item)

    def fail(self, item: Item, code: Code, message: str) -> None:
        """An answer of the stream that carries the error."""
        grpc.send(item.caller.stream, stream_error(message, id_part=item.id))  # type: ignore[attr-defined]
        self._answered(item)


def heads_of(items: Sequence[Item], names: Names) -> list[bytes]:
    """What answers begin with: the caller's id, and the name in the inference log."""
    if names is None:
        return [item.id for item in items]
    texts = names.tobytes()
    width = names.shape[1]
    return [item.id + NAME_LEAD + texts[at * width : (at + 1) * width] for at, item in enumerate(items)]


def _data(output: np.ndarray) -> Data:
    """The bytes of one output of numbers as they travel."""
    if output.nbytes < _LARGE:
        return output.tobytes()
    return np.ascontiguousarray(output).data.cast("B")
