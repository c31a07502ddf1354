"""gRPC calls over HTTP/2 streams: routing by path, deadlines, unary and streaming messages, statuses. Knows no message type."""

from __future__ import annotations

import functools
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from gateway.errors import Code, TidegateError
from gateway.limits import Limits
from gateway.wire import frames
from gateway.wire.exchange import Headers
from gateway.wire.grpc_framing import MessageReader, message_frame, payload, percent_encode
from gateway.wire.head import RequestHead
from gateway.wire.hpack import encode_headers, encode_literal
from gateway.wire.status import grpc_pushback, grpc_status
from gateway.wire.stream import Acceptor, Stream, WholeBody
from kernels.layout import fill, number, place
from kernels.request_fields import MALFORMED

# Answers use static-table and literal representations only, so these bytes are the same on every connection.
RESPONSE_HEAD = encode_headers([(b":status", b"200"), (b"content-type", b"application/grpc")])
OK_TRAILERS = encode_literal(b"grpc-status", b"0")
_ACCEPTS = {False: b"identity", True: b"identity,gzip,deflate"}
_BODY_PREFIX = 5
_COPIED_MAX = 65_535  # bytes of a message that is copied out of its body rather than viewed
_log = logging.getLogger(__name__)

Message = bytes | memoryview
Buffer = bytes | bytearray | memoryview


class MessageSink(Protocol):
    """One streaming call as the application sees it: messages in order, then the half-close, or `stream.cancelled` at any time."""

    def message(self, message: Message, owed: int) -> None:
        """The next message. `stream.consume(owed)` follows when it is worked off: until then the peer's window stays smaller."""
        ...

    def half_closed(self) -> None:
        """No more messages will come; the application still answers with `finish`."""
        ...


UnaryHandler = Callable[[Stream, Message, int, int, float], None]  # (stream, data, start, end, deadline): the message is data[start:end]
StreamHandler = Callable[[Stream, float], MessageSink]


@dataclass(frozen=True, slots=True)
class Method:
    """One RPC: exactly one of the two handlers."""

    unary: UnaryHandler | None = None
    streaming: StreamHandler | None = None


class GrpcRouter:
    """Chooses who takes a gRPC request. Acceptors without a timeout are shared by all connections."""

    def __init__(self, methods: dict[bytes, Method], limits: Limits, *, compression: bool = False) -> None:
        self.methods = methods
        self.limits = limits
        self.compression = compression
        self.longest_s = limits.serving.max_deadline_s
        self.default_s = min(limits.serving.default_deadline_s, self.longest_s)

    def route(self, head: RequestHead) -> Acceptor:
        """Who takes a call that anybody may make."""
        found = self.find(head)
        return found if isinstance(found, Refusal) else self.accept(found, head)

    def find(self, head: RequestHead) -> Method | Refusal:
        """The method by exact path bytes: no decoding, no normalising (CVE-2026-33186)."""
        if head.oversized:
            return Refusal(Code.TOO_LARGE, "the metadata of the call is over the limit")
        if head.method != b"POST":
            return Refusal(Code.UNIMPLEMENTED, "gRPC calls use POST")
        method = self.methods.get(head.path)
        if method is None:
            return Refusal(Code.UNIMPLEMENTED, f"unknown method {head.path[:128].decode('ascii', 'replace')}")
        if head.timeout_s == MALFORMED:
            return Refusal(Code.INTERNAL, "malformed grpc-timeout")
        return method

    def accept(self, method: Method, head: RequestHead) -> Acceptor:
        """Who takes a call of a method."""
        if method.unary is not None:
            return UnaryAcceptor(method.unary, head.encoding, self)
        assert method.streaming is not None
        return StreamingAcceptor(method.streaming, head.encoding, self)


class UnaryAcceptor(WholeBody):
    """A unary call: one message in, one out."""

    streaming: Literal[False] = False
    __slots__ = (
        "_compression", "_encoding", "_handler", "_limit", "_plain_max", "_prefix", "_size", "default_s", "longest_s", "max_body_bytes",
    )  # fmt: skip

    def __init__(self, handler: UnaryHandler, encoding: bytes, router: GrpcRouter) -> None:
        self._handler = handler
        self._encoding = encoding
        self._compression = router.compression
        self._limit = router.limits.wire.max_body_bytes
        self._plain_max = min(self._limit, _COPIED_MAX)
        self.max_body_bytes = self._limit + _BODY_PREFIX
        self._size, self._prefix = -1, b""  # of the last plain body
        self.default_s, self.longest_s = router.default_s, router.longest_s

    def expects(self, first: bytes) -> int:
        """The prefix of a message tells its length. A short one is joined more cheaply than looked at."""
        size = int.from_bytes(first[1:5], "big") if len(first) >= _BODY_PREFIX else 0
        return size + _BODY_PREFIX if _COPIED_MAX < size <= self._limit else 0

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """A body that came in pieces."""
        if isinstance(body, bytes):
            self.complete_at(stream, body, 0, len(body))
            return
        try:
            self._hand_on(stream, payload(body, limit=self._limit, encoding=self._encoding, compression=self._compression))
        except TidegateError as error:
            fail(stream, error.code, error.message, compression=self._compression)
        except Exception:
            _failed(stream)

    def complete_at(self, stream: Stream, data: bytes, start: int, end: int) -> None:
        """The hot path: one uncompressed message is handed on where it stands in what was read."""
        try:
            if end - start == self._size and data.startswith(self._prefix, start):  # as the call before
                self._handler(stream, data, start + 5, end, stream.arrival + stream.timeout_s)
            elif int.from_bytes(data[start : start + 5], "big") == end - start - 5 <= self._plain_max:  # not compressed, and one message
                self._size, self._prefix = end - start, data[start : start + 5]
                self._handler(stream, data, start + 5, end, stream.arrival + stream.timeout_s)
            elif start == end:
                fail(stream, Code.UNIMPLEMENTED, "a unary call without a message")
            else:
                body = data if end - start == len(data) else data[start:end]
                self._hand_on(stream, payload(body, limit=self._limit, encoding=self._encoding, compression=self._compression))
        except TidegateError as error:
            fail(stream, error.code, error.message, compression=self._compression)
        except Exception:
            _failed(stream)

    def _hand_on(self, stream: Stream, message: Message) -> None:
        self._handler(stream, message, 0, len(message), stream.arrival + stream.timeout_s)

    def too_large(self, stream: Stream) -> None:
        """The message passed the limit while it arrived."""
        fail(stream, Code.TOO_LARGE, f"message is over the limit of {self._limit} bytes")

    def timed_out(self, stream: Stream) -> None:
        """The message did not arrive in time."""
        fail(stream, Code.DEADLINE_EXCEEDED, "the request did not arrive in time")


class StreamingAcceptor:
    """A call with a stream of messages in."""

    streaming: Literal[True] = True
    default_s = longest_s = math.inf  # a stream may live for ever, unless its caller says otherwise
    __slots__ = ("_encoding", "_handler", "_router")

    def __init__(self, handler: StreamHandler, encoding: bytes, router: GrpcRouter) -> None:
        self._handler = handler
        self._encoding = encoding
        self._router = router

    def begin(self, stream: Stream) -> None:
        """Start the application's half."""
        router = self._router
        reader = MessageReader(limit=router.limits.wire.max_body_bytes, encoding=self._encoding, compression=router.compression)
        stream.state = reader, self._handler(stream, stream.arrival + stream.timeout_s)

    def data(self, stream: Stream, chunk: bytes) -> None:
        """Cut into messages. Bytes of an unfinished message are credited at once, or a message above the window could never end."""
        reader, sink = self._state(stream)
        try:
            for message, owed in reader.feed(chunk):
                sink.message(message, owed)
                if stream.closed:
                    return
        except TidegateError as error:
            finish(stream, error.code, error.message)
            return
        except Exception:
            _failed(stream)
            return
        stream.consume(reader.advance())

    @staticmethod
    def _state(stream: Stream) -> tuple[MessageReader, MessageSink]:
        state: tuple[MessageReader, MessageSink] = stream.state
        return state

    def end(self, stream: Stream) -> None:
        """Half-close."""
        reader, sink = self._state(stream)
        if reader.partial:
            finish(stream, Code.INTERNAL, "the stream ended inside a message")
        else:
            sink.half_closed()


class Refusal(WholeBody):
    """Answers every request with one status, after its body or at once where it is large."""

    streaming: Literal[False] = False
    max_body_bytes = 65_536
    __slots__ = ("_code", "_message", "momentary")

    def __init__(self, code: Code, message: str, *, momentary: bool = False) -> None:
        """`momentary`: the next call may be answered otherwise, so that this answer is not remembered (see `blocks`)."""
        self._code = code
        self._message = message
        self.momentary = momentary

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """Answer."""
        fail(stream, self._code, self._message)

    def too_large(self, stream: Stream) -> None:
        """Answer before the end."""
        fail(stream, self._code, self._message)

    timed_out = too_large


class StreamRefusal:
    """Answers a call with a stream of messages as soon as its head is here: its caller may wait for a word before it sends one."""

    streaming: Literal[True] = True
    __slots__ = ("_code", "_message", "momentary")

    def __init__(self, code: Code, message: str, *, momentary: bool = False) -> None:
        """As for `Refusal`."""
        self._code = code
        self._message = message
        self.momentary = momentary

    def begin(self, stream: Stream) -> None:
        """Answer."""
        fail(stream, self._code, self._message)

    def data(self, stream: Stream, chunk: bytes) -> None:
        """It is answered."""

    def end(self, stream: Stream) -> None:
        """It is answered."""


def head_with(fields: Headers) -> bytes:
    """The header block of answers that say more in their headers."""
    return RESPONSE_HEAD + literals(fields)


def literals(fields: Headers) -> bytes:
    """These fields as they stand in a block, of headers or of trailers."""
    return b"".join([encode_literal(*field) for field in fields])


def reply(stream: Stream, message: bytes, head: bytes = RESPONSE_HEAD) -> None:
    """The whole answer of a unary call."""
    stream.outbound.respond(stream, head, b"\x00" + len(message).to_bytes(4, "big") + message, OK_TRAILERS)


def reply_alike(streams: Sequence[Stream], message: bytes, columns: Sequence[tuple[int, np.ndarray]], head: bytes = RESPONSE_HEAD) -> None:
    """Answer unary calls whose messages differ in fixed places only: all frames of a batch are laid out by a few passes of copies.

    `columns` are laid over the constant `message`: where in it, and the bytes of all answers one after the other (uint8).
    """
    layout = _layout(message, head)
    block = np.empty((len(streams), layout.size), np.uint8)
    fill(block, layout.constant)  # type: ignore[no-untyped-call]
    number(block, np.array([stream.id for stream in streams]), *layout.numbers)  # type: ignore[no-untyped-call]
    for at, column in columns:
        place(block, layout.message + at, column)  # type: ignore[no-untyped-call]
    _hand_out(streams, block.tobytes(), layout, len(message), head)


def _hand_out(streams: Sequence[Stream], data: bytes, layout: _Layout, size: int, head: bytes) -> None:
    """Whole runs of answers to the connections that they belong to."""
    first, count, width = 0, len(streams), layout.size
    while first < count:
        outbound = streams[first].outbound
        end = first + 1
        while end < count and streams[end].outbound is outbound:
            end += 1
        if not outbound.respond_alike(streams[first:end], data[first * width : end * width], size + _BODY_PREFIX):
            for index in range(first, end):
                start = index * width + layout.message
                reply(streams[index], data[start : start + size], head)
        first = end


@dataclass(frozen=True, slots=True)
class _Layout:
    """The frames of a unary answer, where only the stream's number and places in the message differ."""

    constant: np.ndarray
    size: int
    message: int
    numbers: tuple[int, int, int]


@functools.lru_cache(maxsize=256)
def _layout(message: bytes, block: bytes) -> _Layout:
    head = frames.frame(frames.HEADERS, frames.END_HEADERS, 0, block)
    data = frames.frame(frames.DATA, 0, 0, message_frame(message))
    trailers = frames.frame(frames.HEADERS, frames.END_HEADERS | frames.END_STREAM, 0, OK_TRAILERS)
    whole = np.frombuffer(head + data + trailers, np.uint8)
    second, third = len(head), len(head) + len(data)
    return _Layout(whole, len(whole), second + 9 + _BODY_PREFIX, (5, second + 5, third + 5))


def reply_parts(stream: Stream, parts: Sequence[Buffer], head: bytes = RESPONSE_HEAD) -> None:
    """As `reply`, for a large message in pieces that should not be copied together."""
    outbound = stream.outbound
    outbound.send_headers(stream, head)
    outbound.send_data(stream, b"\x00" + sum(map(len, parts)).to_bytes(4, "big"))
    for part in parts[:-1]:
        outbound.send_data(stream, part)
    outbound.send_data(stream, parts[-1], last=True, trailers=OK_TRAILERS)


def send(stream: Stream, message: bytes) -> None:
    """One message of a streaming answer."""
    if not stream.headers_sent:
        stream.outbound.send_headers(stream, RESPONSE_HEAD)
    stream.outbound.send_data(stream, message_frame(message))


def finish(stream: Stream, code: Code = Code.OK, message: str = "") -> None:
    """End a streaming answer with its status."""
    if not stream.headers_sent:
        if code != Code.OK:
            fail(stream, code, message)
            return
        stream.outbound.send_headers(stream, RESPONSE_HEAD)
    stream.outbound.send_data(stream, b"", last=True, trailers=_trailers(code, message))


def fail(
    stream: Stream, code: Code, message: str, *, compression: bool = False, wait_s: float | None = None, more: bytes = b""
) -> None:  # fmt: skip
    """A trailers-only answer with an error. `wait_s`: when to come again, where that is known better than by the code; `more`: fields
    beside it, as `literals` gives them."""
    stream.outbound.send_headers(stream, _failure(code, message, compression, wait_s) + more, last=True)


@functools.lru_cache(maxsize=256)
def _failure(code: Code, message: str, compression: bool, wait_s: float | None) -> bytes:
    """Overload must be cheap: what is refused is mostly refused with the same words."""
    block = RESPONSE_HEAD + _trailers(code, message, wait_s)
    return block + encode_literal(b"grpc-accept-encoding", _ACCEPTS[compression]) if code == Code.UNIMPLEMENTED else block


def _failed(stream: Stream) -> None:
    """A fault of ours costs its own call, not the connection; the caller learns nothing of it."""
    _log.exception("call failed: %s", stream.head.path[:128].decode("ascii", "replace"))
    finish(stream, Code.INTERNAL, "internal error")


def _trailers(code: Code, message: str, wait_s: float | None = None) -> bytes:
    if code == Code.OK:
        return OK_TRAILERS
    block = encode_literal(b"grpc-status", b"%d" % grpc_status(code)) + encode_literal(b"grpc-message", percent_encode(message))
    pushback = grpc_pushback(code, wait_s)
    return block if pushback is None else block + encode_literal(b"grpc-retry-pushback-ms", b"%d" % pushback)
