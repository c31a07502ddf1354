"""The server's half of one HTTP/2 connection (RFC 9113): frames in, streams out. Sans-IO; knows no gRPC and no tensor.

Rule 1: everything that the peer can break is checked and becomes a ConnectionFault (GOAWAY, close) or a StreamFault (RST_STREAM).
Rule 2: a request that arrives whole in one HEADERS and one DATA frame, as small unary calls do, passes `_read` only and makes one object.
Rule 3: nothing grows without a bound of `WireLimits`: streams, header blocks, bodies, resets, control frames, answers nobody takes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from gateway.limits import LONG_READ, WireLimits
from gateway.wire import frames
from gateway.wire.blocks import Entry, HeaderBlocks, Router
from gateway.wire.controls import Controls, greeting
from gateway.wire.floods import FloodGuard
from gateway.wire.frames import ConnectionFault, ErrorCode, StreamFault
from gateway.wire.gathering import Gathering
from gateway.wire.stream import Outbound, Stream, WholeAcceptor

_SKIPPED_MAX = 64


class Http2Connection:
    """One connection. The owner feeds bytes to `receive` and calls `tick` about once a second."""

    def __init__(
        self,
        limits: WireLimits,
        router: Router,
        *,
        now: Callable[[], float],
        write: Callable[[list[bytes]], None],
        wake: Callable[[Outbound], None],
        close: Callable[[], None],
        rest: Callable[[], None] = lambda: None,
    ) -> None:
        """`rest` is called after a large read: others shall have their turn."""
        self.limits = limits
        self.outbound = Outbound(limits, now=now, write=write, wake=wake)
        self.streams = self.outbound.streams
        self.draining = self.closed = False
        self.opened_at = self.active_at = now()
        self.drained_at = 0.0
        self.age_limit_s = limits.max_age_s  # the owner spreads it, so that connections do not end together
        self._now = now
        self._close, self._rest = close, rest
        self._floods = FloodGuard(limits)
        self._blocks = HeaderBlocks(limits, router)
        self._known = self._blocks.known
        self.controls = Controls(self.outbound, self._floods, acknowledged=self._blocks.acknowledged)
        self.started = False  # preface seen
        self._skipped: deque[range] = deque(maxlen=_SKIPPED_MAX)  # ids that the peer passed over: closed without having been opened
        self._whole = False  # nothing of a frame is kept from the last read
        self._quick = False  # a HEADERS frame that ends its block may open a stream without further questions
        self._tail: list[bytes] = []  # an incomplete frame
        self._tail_size = 0
        self._tail_needs = 0
        self._data_left = 0  # of a large DATA frame whose payload is taken as it comes
        self._data_stream = 0
        self._data_last = False
        self._uncredited = 0
        self._credit_at = limits.connection_window_bytes >> 2
        self.outbound.emit(greeting(limits))

    @property
    def buffered_bytes(self) -> int:
        """Bytes of incomplete bodies."""
        return self.outbound.buffered_bytes

    @property
    def header_block_open(self) -> bool:
        """A header block has begun and not ended."""
        return bool(self._blocks.stream_id)

    def receive(self, data: bytes) -> None:
        """Take what arrived, in any chunking. Never raises for what a peer sends."""
        if self.closed:
            return
        if len(data) >= LONG_READ:
            self._rest()
        outbound = self.outbound
        outbound.awake = True  # the flush below
        self.active_at = now = self._now()
        try:
            if self._whole:
                self._read(data, now)
            else:
                self._feed(data, now)
        except ConnectionFault as fault:
            self.fail(fault.code, fault.reason)
        if self._uncredited >= self._credit_at and not self.closed:
            outbound.parts.append(frames.window_update(0, self._uncredited))
            self._uncredited = 0
        if outbound.parts:
            outbound.flush()
        else:
            outbound.awake = False

    def _feed(self, data: bytes, now: float) -> None:
        if self._data_left:
            data = self._continue_data(data, now)
        if self._tail:
            self._tail.append(data)
            self._tail_size += len(data)
            if self._tail_size < self._tail_needs:
                return
            data = b"".join(self._tail)
            self._tail = []
        if not self.started:
            data = self._preface(data)
        self._whole = self.started and not self._data_left
        self._read(data, now)

    def _preface(self, data: bytes) -> bytes:
        size = len(frames.PREFACE)
        if data[:size] != frames.PREFACE[: len(data)]:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "not an HTTP/2 preface")
        if len(data) < size:
            self._keep(data, size)
            return b""
        self.started = True
        return data[size:]

    def _keep(self, data: bytes, needs: int) -> None:
        """Hold an incomplete frame until `needs` bytes are here; joined once, so that small chunks cost linear time."""
        self._whole = False
        self._tail = [data]
        self._tail_size = len(data)
        self._tail_needs = needs

    def _read(self, data: bytes, now: float) -> None:
        """Work through whole frames and keep the rest."""
        unpack, largest, room = frames.FRAME_WORDS.unpack_from, self.limits.max_frame_bytes, self.limits.max_streams
        streams, outbound, blocks, known = self.streams, self.outbound, self._blocks, self._known
        position, size, last, quick = 0, len(data), outbound.last_id, self._quick
        while size - position >= 9:
            word, flags, number = unpack(data, position)
            start = position + 9
            end = start + (word >> 8)
            if end > size or end - start > largest:
                break
            position = end
            try:
                if quick and word & 0xFF == 1 and flags == 4 and last < number < 0x80000000 and number & 1 and len(streams) < room:
                    if number - last > 2:
                        self._skipped.append(range((last + 1) | 1, number, 2))
                    outbound.last_id = last = number
                    block = data[start:end]
                    head, acceptor, metadata, timeout_s = known.get(block) or blocks.request(number, block)
                    streams[number] = stream = Stream()
                    stream.id = number
                    stream.outbound = outbound
                    stream.head = head
                    stream.acceptor = acceptor
                    stream.metadata = metadata
                    stream.timeout_s = timeout_s
                    stream.arrival = now
                    if acceptor.streaming:
                        stream.opened = now
                        acceptor.begin(stream)
                        continue
                    if size - position >= 9 and head.content_length < 0:
                        word, flags, follows = unpack(data, position)
                        end = position + 9 + (word >> 8)
                        if not word & 0xFF and flags == 1 and follows == number and end <= size and end - position <= largest:
                            # The hot path: the whole body stands right behind its head.
                            start, position = position + 9, end
                            self._uncredited += end - start
                            stream.remote_closed = True
                            acceptor.complete_at(stream, data, start, end)
                            continue
                    stream.opened = now  # from now on the arrival of the body is timed
                    continue
                self._frame(word & 0xFF, flags, number & 0x7FFFFFFF, data[start:end], now)
            except StreamFault as fault:
                self._stream_fault(fault, now)
            last = outbound.last_id
            quick = self._quick = self.controls.settled and not blocks.stream_id and not self.draining
        if position < size:
            self._incomplete(data[position:], now)

    def _incomplete(self, data: bytes, now: float) -> None:
        """The last frame is not whole. A large DATA frame is taken as it comes; anything else waits."""
        if len(data) < 9:
            self._keep(data, 9)
            return
        high, low, kind, flags, number = frames.FRAME_HEADER.unpack_from(data)
        length = high << 8 | low
        if length > self.limits.max_frame_bytes:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "frame larger than SETTINGS_MAX_FRAME_SIZE")
        stream = self.streams.get(number)
        takes = stream is not None and not stream.remote_closed and not self._blocks.stream_id
        if kind == frames.DATA and length > frames.DEFAULT_FRAME and not flags & frames.PADDED and takes:
            self._data_stream, self._data_left, self._data_last = number, length, bool(flags & frames.END_STREAM)
            self._whole = False
            self._continue_data(data[9:], now)
            return
        self._keep(data, 9 + length)

    def _continue_data(self, data: bytes, now: float) -> bytes:
        """More of a DATA frame that is taken as it comes. Returns what follows the frame."""
        chunk = data if len(data) <= self._data_left else data[: self._data_left]
        self._data_left -= len(chunk)
        try:
            self._data(self._data_stream, chunk, last=self._data_last and not self._data_left, padding=0, now=now)
        except StreamFault as fault:
            self._stream_fault(fault, now)
        return data[len(chunk) :]

    def _frame(self, kind: int, flags: int, number: int, payload: bytes, now: float) -> None:
        """Any frame that is not on the hot path."""
        if not self.controls.settled and (kind != frames.SETTINGS or flags & frames.ACK):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the first frame is not SETTINGS")
        if self._blocks.stream_id and (kind != frames.CONTINUATION or number != self._blocks.stream_id):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "another frame inside a header block")
        if kind == frames.DATA:
            body = frames.unpad(payload, number) if flags & frames.PADDED else payload
            last = bool(flags & frames.END_STREAM)
            if not body and not last:
                self.controls.count(now)
            self._data(number, body, last=last, padding=len(payload) - len(body), now=now)
        elif kind == frames.HEADERS:
            self._headers(flags, number, payload, now)
        elif kind == frames.CONTINUATION:
            self._continuation(flags, number, payload, now)
        else:
            self.controls.handle(kind, flags, number, payload, now)

    def _data(self, number: int, body: bytes, *, last: bool, padding: int, now: float) -> None:
        """DATA on any stream; flow control counts padding too (RFC 9113 §6.9.1)."""
        size = len(body)
        self._uncredited += size + padding
        self.controls.received += size
        stream = self.streams.get(number)
        if stream is None or stream.remote_closed:
            self._stray(number, stream)
            return
        stream.received += size
        stream.flowed += size + padding
        stream.arrival = now
        if stream.flowed > self.limits.stream_window_bytes + stream.credited:
            raise StreamFault(number, ErrorCode.FLOW_CONTROL_ERROR, "more than the stream's window")
        length = stream.head.content_length
        if length >= 0 and (stream.received > length or (last and stream.received != length)):
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "content-length differs from the body")
        if padding:
            stream.consume(padding)
        acceptor = stream.acceptor
        if not acceptor.streaming:
            self._collect(stream, acceptor, body, last=last)
            return
        stream.remote_closed = last
        if body:
            acceptor.data(stream, body)
        if last and not stream.closed:
            acceptor.end(stream)

    def _collect(self, stream: Stream, acceptor: WholeAcceptor, body: bytes, *, last: bool) -> None:
        """A whole body, piece by piece."""
        if stream.received > acceptor.max_body_bytes:
            self.outbound.release(stream)
            stream.remote_closed = last
            acceptor.too_large(stream)
        elif last:
            before = stream.body
            self.outbound.release(stream)
            stream.remote_closed = True
            acceptor.complete(stream, body if before is None else before.whole(body))
        else:
            stream.body = stream.body or Gathering(acceptor.expects(body))
            stream.body.add(body)
            self.outbound.buffered_bytes += len(body)
            if self.outbound.buffered_bytes > self.limits.max_buffered_bytes:
                raise StreamFault(stream.id, ErrorCode.ENHANCE_YOUR_CALM, "too many incomplete bodies")
            stream.consume(len(body))

    def _stray(self, number: int, stream: Stream | None) -> None:
        """DATA where no request is open (RFC 9113 §5.1). What crossed our own end of the stream is let go."""
        if number == 0 or not number & 1 or number > self.outbound.last_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if stream is not None or number not in self.outbound.refused:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED, "DATA on a closed stream")

    def _headers(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if number == 0 or not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "HEADERS on a stream that clients cannot open")
        payload, depends_on_itself = frames.header_fragment(flags, number, payload)
        if not flags & frames.END_HEADERS:
            self._blocks.begin(number, flags, payload)
            return
        self._whole_block(flags, number, payload, now)
        if depends_on_itself:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "stream depends on itself")

    def _continuation(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if not self._blocks.stream_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION without HEADERS")
        self._blocks.extend(payload)
        if flags & frames.END_HEADERS:
            self._whole_block(self._blocks.flags, number, self._blocks.finish(), now)

    def _whole_block(self, flags: int, number: int, block: bytes, now: float) -> None:
        """A complete header block: a new request, or trailers of one that is open."""
        last = bool(flags & frames.END_STREAM)
        if number <= self.outbound.last_id:
            self._trailers(number, block, last=last, now=now)
            return
        if number - self.outbound.last_id > 2:
            self._skipped.append(range((self.outbound.last_id + 1) | 1, number, 2))
        self.outbound.last_id = number
        if self.draining or len(self.streams) >= self.limits.max_streams:
            self._blocks.decode(block)  # keeps the dynamic table in step
            raise StreamFault(number, ErrorCode.REFUSED_STREAM, "too many streams")
        self._open(number, self._blocks.request(number, block), now, last=last)

    def _open(self, number: int, entry: Entry, now: float, *, last: bool) -> None:
        stream = Stream()
        stream.id = number
        stream.outbound = self.outbound
        stream.head, stream.acceptor, stream.metadata, stream.timeout_s = entry
        stream.arrival = stream.opened = now
        self.streams[number] = stream
        if last and stream.head.content_length > 0:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "content-length without a body")
        if stream.acceptor.streaming:
            stream.acceptor.begin(stream)
        if last:
            self._half_close(stream)

    def _closed(self, number: int, stream: Stream | None) -> None:
        """HEADERS where the request has ended (RFC 9113 §5.1) or never began (§5.1.1); what crossed our own end is let go."""
        if stream is not None:
            raise StreamFault(number, ErrorCode.STREAM_CLOSED, "HEADERS behind the end of the request")
        if any(number in ids for ids in self._skipped):
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a stream below one that is open already")
        if number not in self.outbound.refused:
            raise ConnectionFault(ErrorCode.STREAM_CLOSED, "HEADERS on a closed stream")

    def _half_close(self, stream: Stream) -> None:
        """END_STREAM outside a DATA frame."""
        stream.remote_closed = True
        if stream.closed:
            return
        acceptor = stream.acceptor
        if acceptor.streaming:
            acceptor.end(stream)
            return
        before = stream.body
        self.outbound.release(stream)
        acceptor.complete(stream, b"" if before is None else before.whole())

    def _trailers(self, number: int, block: bytes, *, last: bool, now: float) -> None:
        stream = self.streams.get(number)
        if stream is None or stream.remote_closed:
            self._blocks.decode(block)
            self._closed(number, stream)
            return
        self._blocks.trailers(number, block)
        if not last:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "a second header block that does not end the stream")
        if stream.head.content_length not in (-1, stream.received):
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "content-length differs from the body")
        self._half_close(stream)

    def _stream_fault(self, fault: StreamFault, now: float) -> None:
        """Reset the stream. That counts as a reset of the peer's, who provoked it (MadeYouReset, CVE-2025-8671)."""
        self._floods.reset(now, opened=self.outbound.opened)
        stream = self.streams.get(fault.stream_id)
        if stream is None:
            self.outbound.refuse(fault.stream_id)
            self.outbound.emit(frames.rst_stream(fault.stream_id, fault.code))
            return
        self.outbound.release(stream)
        self.outbound.reset(stream, fault.code)
        stream.cancel()

    def fail(self, code: ErrorCode, reason: str) -> None:
        """End the connection: GOAWAY, close, and every open request is cancelled."""
        self.outbound.emit(frames.goaway(self.outbound.last_id, code, reason))
        self.outbound.flush()
        self.lost()
        self._close()

    def lost(self) -> None:
        """The transport is gone."""
        self.closed = True
        for stream in list(self.streams.values()):
            self.outbound.drop(stream)

    def drain(self, now: float) -> None:
        """Take no new streams (GOAWAY, NO_ERROR); close when the open ones are answered."""
        if not self.draining:
            self.draining, self.drained_at, self._quick = True, now, False
            self.outbound.emit(frames.goaway(self.outbound.last_id, ErrorCode.NO_ERROR))
