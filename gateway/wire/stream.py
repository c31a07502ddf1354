"""One HTTP/2 stream, and the outbound half of a connection: windows, frames, what waits for a window.

Sans-IO: bytes leave through the `write` callable. Every answer that fits its windows is three frames in one piece of bytes; the rest
waits per stream in the order it came and is sent round robin as windows open.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from gateway.limits import WireLimits
from gateway.wire import frames
from gateway.wire.frames import ErrorCode
from gateway.wire.gathering import Gathering
from gateway.wire.hpack import field_of, unpack_fields

if TYPE_CHECKING:
    from gateway.wire.exchange import Headers
    from gateway.wire.head import RequestHead

_HEADERS_OPEN = b"\x01\x04"  # HEADERS with END_HEADERS
_HEADERS_LAST = b"\x01\x05"  # … and END_STREAM
_DATA_OPEN = b"\x00\x00"
TURN_BYTES = 262_144  # to write so much takes 50 to 100 µs
_EMPTY_TABLE = b"\x20"  # an HPACK dynamic table size update to 0


class WholeAcceptor(Protocol):
    """Takes a request when all of it is here. One acceptor serves every stream whose header block is the same."""

    streaming: Literal[False]
    max_body_bytes: int

    def expects(self, first: bytes) -> int:
        """How long a body is that begins like this, if the acceptor can tell and takes it as a view; else 0."""
        ...

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """The whole request is here."""
        ...

    def complete_at(self, stream: Stream, data: bytes, start: int, end: int) -> None:
        """The whole request is here: its body is `data[start:end]`."""
        ...

    def too_large(self, stream: Stream) -> None:
        """The body passed `max_body_bytes`: answer, the rest is discarded."""
        ...

    def timed_out(self, stream: Stream) -> None:
        """The body did not arrive in time: answer, the rest is discarded."""
        ...


class WholeBody:
    """What acceptors of whole requests have in common."""

    __slots__ = ()

    def expects(self, _first: bytes) -> int:
        """See WholeAcceptor."""
        return 0

    def complete(self, stream: Stream, body: bytes | memoryview) -> None:
        """See WholeAcceptor."""
        raise NotImplementedError

    def complete_at(self, stream: Stream, data: bytes, start: int, end: int) -> None:
        """See WholeAcceptor."""
        self.complete(stream, data[start:end])


class PieceAcceptor(Protocol):
    """Takes a request as it comes, and bounds its messages itself."""

    streaming: Literal[True]

    def begin(self, stream: Stream) -> None:
        """The head is here."""
        ...

    def data(self, stream: Stream, chunk: bytes) -> None:
        """More of the body; `stream.consume` gives the window back."""
        ...

    def end(self, stream: Stream) -> None:
        """The peer has half-closed."""
        ...


Acceptor = WholeAcceptor | PieceAcceptor


class Stream:
    """A request and its answer. The class attributes are the state of a fresh stream, so that opening one sets four fields."""

    id: int
    outbound: Outbound
    acceptor: Acceptor
    head: RequestHead  # shared by requests whose routing fields are the same
    metadata: bytes  # fields of this request that are not in its head, as kernels.hpack leaves them
    timeout_s: float  # until the caller gives up, as the acceptor reads it
    arrival: float  # clock.now() of the read that brought its last byte so far

    window = 0  # send window, relative to the peer's INITIAL_WINDOW_SIZE
    received = 0  # body bytes so far
    flowed = 0  # the same with padding, as flow control counts (RFC 9113 §6.9.1)
    uncredited = 0  # of these, not yet given back to the peer's window
    credited = 0  # windows given beyond the initial one
    body: Gathering | None = None  # what is here of one that comes in pieces
    opened = 0.0  # arrival of the head, set when the body did not come with it
    remote_closed = False
    headers_sent = False
    closed = False  # answered whole, or reset by either side
    cancelled = False  # reset by the peer, or its connection is gone
    on_cancel: Callable[[], None] | None = None
    pending: deque[tuple[memoryview, bool]] | None = None  # (payload, is the last before trailers)
    trailers: bytes | None = None
    state: Any = None  # the acceptor's own
    account: Any = None  # what the application charges it to, while it does

    @property
    def fields(self) -> Headers:
        """All regular fields of this request."""
        return self.head.fields + unpack_fields(self.metadata)

    def header(self, name: bytes) -> bytes | None:
        """The first value of a field, by its lower-case name."""
        value = self.head.field(name)
        return value if value is not None or name not in self.metadata else field_of(self.metadata, name)

    def consume(self, size: int) -> None:
        """Give `size` bytes of a streaming body back to the peer's window."""
        self.uncredited += size
        if not self.remote_closed and not self.closed and self.uncredited >= self.outbound.limits.stream_window_bytes // 2:
            self.outbound.emit(frames.window_update(self.id, self.uncredited))
            self.credited += self.uncredited
            self.uncredited = 0

    def cancel(self) -> None:
        """The peer is gone: whoever works on the request is told once."""
        self.cancelled = self.closed = True
        self.pending = None
        if self.on_cancel is not None:
            callback, self.on_cancel = self.on_cancel, None
            callback()


class Outbound:
    """What this end sends on one connection."""

    def __init__(
        self,
        limits: WireLimits,
        *,
        now: Callable[[], float],
        write: Callable[[list[bytes]], None],
        wake: Callable[[Outbound], None],
    ) -> None:
        """`wake(outbound)` is called when the first bytes wait outside a read, so that the owner flushes once a tick."""
        self.limits = limits
        self.streams: dict[int, Stream] = {}
        self.last_id = 0  # the highest stream that the peer opened
        self.refused: dict[int, None] = {}  # ids that we ended before the peer did; its frames in flight are ignored
        self.parts: list[bytes] = []
        self.awake = False  # a flush is already sure to come
        self.window = frames.DEFAULT_WINDOW
        self.peer_window = frames.DEFAULT_WINDOW
        self.peer_frame = frames.DEFAULT_FRAME
        self.writable = True  # False while the transport's buffer is full
        self.blocked: dict[int, Stream] = {}
        self.blocked_bytes = 0
        self.buffered_bytes = 0  # incomplete bodies of requests
        self.moved_bytes = 0  # of bodies that waited, since the last flush
        self.moved_at = 0.0  # when a waiting body last moved, by `now`
        self._resized = False  # the peer's header table was made empty
        self._prelude = b""  # what the next header block must begin with
        self._write = write
        self._wake = wake
        self._now = now

    @property
    def opened(self) -> int:
        """Streams that the peer opened since the connection began."""
        return (self.last_id + 1) // 2

    # --- bytes out -------------------------------------------------------------------------------------------------------------

    def emit(self, data: bytes) -> None:
        """Queue bytes for the next flush."""
        self.parts.append(data)
        if not self.awake:
            self.awake = True
            self._wake(self)

    def flush(self) -> None:
        """Hand everything queued to the transport in one write."""
        self.awake = False
        parts = self.parts
        if parts:
            self.parts = []
            self._write(parts)
        turned, self.moved_bytes = self.moved_bytes, 0
        if turned >= TURN_BYTES and self.blocked:
            self.pump()

    def shrink_header_table(self) -> None:
        """The peer's table is smaller than the default: the next block says so, once and for all with size 0 (RFC 7541 §4.2)."""
        if not self._resized:
            self._resized, self._prelude = True, _EMPTY_TABLE

    def _block(self, block: bytes) -> bytes:
        block, self._prelude = self._prelude + block, b""
        return block

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def respond(self, stream: Stream, head: bytes, body: bytes, trailers: bytes | None) -> None:
        """A whole answer: a HEADERS block, a body, and a block of trailers (None: the body ends the stream)."""
        if stream.closed:
            return
        size = len(body)
        fits = size <= self.window and size <= stream.window + self.peer_window and size <= self.peer_frame
        if not fits or not size or self.blocked or self._prelude:
            self.send_headers(stream, head)
            self.send_data(stream, body, last=True, trailers=trailers)
            return
        self.window -= size
        number = stream.id.to_bytes(4, "big")
        if trailers is None:
            piece = (len(head).to_bytes(3, "big"), _HEADERS_OPEN, number, head, size.to_bytes(3, "big"), b"\x00\x01", number, body)
        else:
            piece = (  # type: ignore[assignment]
                len(head).to_bytes(3, "big"), _HEADERS_OPEN, number, head, size.to_bytes(3, "big"), _DATA_OPEN, number, body,
                len(trailers).to_bytes(3, "big"), _HEADERS_LAST, number, trailers)  # fmt: skip
        self.emit(b"".join(piece))
        self._finish(stream)

    def respond_alike(self, streams: Sequence[Stream], data: bytes, size: int) -> bool:
        """Whole answers to several streams of this connection, framed already, each with `size` bytes of DATA.

        The requests are whole (their peers have closed) and nothing was sent yet, so a stream's window is the peer's initial one or
        more. False, and nothing done, where a window is too small or a stream is gone.
        """
        total = size * len(streams)
        if total > self.window or size > self.peer_window or size > self.peer_frame or self.blocked or self._prelude:
            return False
        if any([stream.closed for stream in streams]):
            return False
        mine = self.streams
        for stream in streams:
            stream.closed = True
            del mine[stream.id]
        self.window -= total
        self.emit(data)
        return True

    def send_headers(self, stream: Stream, head: bytes, *, last: bool = False) -> None:
        """A HEADERS frame; with `last` it is the whole answer (trailers-only)."""
        if stream.closed:
            return
        stream.headers_sent = True
        self.emit(frames.headers(stream.id, self._block(head), last=last))
        if last:
            self._finish(stream)

    def send_data(self, stream: Stream, body: bytes | bytearray | memoryview, *, last: bool = False, trailers: bytes | None = None) -> None:
        """Body bytes, as far as windows allow now, the rest later. `last` ends the body, with trailers where given.

        Where more than `max_send_buffer_bytes` wait already, the stream is reset: a peer that takes no answers gets no more of them.
        """
        if stream.closed:
            return
        if self.blocked_bytes > self.limits.max_send_buffer_bytes:
            self.reset(stream, ErrorCode.ENHANCE_YOUR_CALM)
            stream.cancel()
            return
        if last:
            stream.trailers = trailers
        if stream.pending is None:
            stream.pending = deque()
        stream.pending.append((memoryview(body), last))
        if not self.blocked:
            self.moved_at = self._now()
        self.blocked[stream.id] = stream
        self.blocked_bytes += len(body)
        self.pump()

    def reset(self, stream: Stream, code: int) -> None:
        """End a stream without an answer."""
        if not stream.closed:
            self.emit(frames.rst_stream(stream.id, code))
            self._forget(stream)

    # --- windows ---------------------------------------------------------------------------------------------------------------

    def pump(self) -> None:
        """Send what the windows and the transport take, one frame per stream and turn, and not so much that others wait for it: the rest
        goes with later flushes."""
        moved = False
        while self.blocked and self.writable and self._pump_round():
            moved = True
        if moved and self.blocked:
            self.moved_at = self._now()

    def _pump_round(self) -> bool:
        """One frame of each stream, until it is the turn of others. Whether anything moved."""
        moved = False
        for stream in list(self.blocked.values()):
            if self.moved_bytes >= TURN_BYTES:
                break
            moved |= self._pump_stream(stream)
        return moved

    def _pump_stream(self, stream: Stream) -> bool:
        """One frame of one stream; False when it must wait."""
        pending = stream.pending
        if stream.closed or not pending:
            self._unblock(stream)
            return False
        payload, last = pending[0]
        size = min(len(payload), self.window, stream.window + self.peer_window, self.peer_frame)
        if size <= 0 and len(payload):
            return False
        rest = len(payload) - size
        end = last and not rest
        self.window -= size
        stream.window -= size
        self.blocked_bytes -= size
        self.moved_bytes += size
        self._emit_data(stream, payload[:size], end=end and stream.trailers is None)
        if rest:
            pending[0] = (payload[size:], last)
        else:
            pending.popleft()
        if end:
            self._end(stream)
        elif not pending:
            self._unblock(stream)
        else:
            self.blocked[stream.id] = self.blocked.pop(stream.id)  # behind those whose turn is to come
        return True

    def _emit_data(self, stream: Stream, payload: memoryview, *, end: bool) -> None:
        size = len(payload)
        if size or end:
            self.emit(frames.FRAME_HEADER.pack(size >> 8, size & 0xFF, frames.DATA, int(end), stream.id))
            self.parts.append(payload)  # type: ignore[arg-type]  # join takes any buffer, so no copy here

    def _end(self, stream: Stream) -> None:
        self._unblock(stream)
        if stream.trailers is not None:
            self.emit(frames.headers(stream.id, self._block(stream.trailers), last=True))
        self._finish(stream)

    def _unblock(self, stream: Stream) -> None:
        if self.blocked.pop(stream.id, None) is not None and stream.pending:
            self.blocked_bytes -= sum(len(payload) for payload, _ in stream.pending)

    # --- ends ------------------------------------------------------------------------------------------------------------------

    def _finish(self, stream: Stream) -> None:
        """The answer is whole. A peer that still sends its request is told to stop (RFC 9113 §8.1)."""
        if stream.remote_closed:
            stream.closed = True
            self.streams.pop(stream.id, None)
        else:
            self.emit(frames.rst_stream(stream.id, ErrorCode.NO_ERROR))
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        self.release(stream)
        self._unblock(stream)
        stream.closed = True
        self.streams.pop(stream.id, None)
        self.refuse(stream.id)

    def refuse(self, stream_id: int) -> None:
        """Remember, boundedly, that frames of this stream may still be on their way."""
        if len(self.refused) >= 4 * self.limits.max_streams:
            self.refused.pop(next(iter(self.refused)))
        self.refused[stream_id] = None

    def release(self, stream: Stream) -> None:
        """The pieces of a body are used, or not wanted any more."""
        if stream.body is not None:
            self.buffered_bytes -= stream.body.size
        stream.body = None

    def drop(self, stream: Stream) -> None:
        """The peer reset this stream."""
        self.release(stream)
        self._unblock(stream)
        self.streams.pop(stream.id, None)
        stream.cancel()
