"""A peer at the level of frames and the programs behind an `Http2Connection`: no sockets, and a clock that tests move."""

from __future__ import annotations

import itertools
import struct
from dataclasses import dataclass, field

import hpack
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    RstStreamFrame,
    SettingsFrame,
    WindowUpdateFrame,
)

from gateway.limits import WireLimits
from gateway.wire import timeouts
from gateway.wire.frames import ErrorCode
from gateway.wire.head import RequestHead
from gateway.wire.hpack import encode_headers
from gateway.wire.http2 import Http2Connection
from gateway.wire.stream import Acceptor, Outbound, Stream, WholeBody

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
HEAD = encode_headers([(b":status", b"200")])
TRAILERS = encode_headers([(b"x-end", b"yes")])
Fields = list[tuple[bytes, bytes]]


def request(path: str = "/echo", *more: tuple[str, str], method: str = "POST") -> Fields:
    """The fields of a good request."""
    fields = [(":method", method), (":scheme", "http"), (":path", path), (":authority", "localhost"), *more]
    return [(name.encode(), value.encode()) for name, value in fields]


def raw(kind: int, flags: int = 0, stream_id: int = 0, payload: bytes = b"", *, length: int | None = None) -> bytes:
    """A frame whatever its contents; `length` may lie."""
    return struct.pack(">I", len(payload) if length is None else length)[1:] + struct.pack(">BBI", kind, flags, stream_id) + payload


def setting(**values: int) -> bytes:
    """A SETTINGS frame by the names of RFC 9113 §6.5.2."""
    return SettingsFrame(0, {getattr(SettingsFrame, name): value for name, value in values.items()}).serialize()


def reset(stream_id: int, code: int = ErrorCode.CANCEL) -> bytes:
    """A RST_STREAM frame."""
    return RstStreamFrame(stream_id, code).serialize()


def window(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame."""
    return WindowUpdateFrame(stream_id, increment).serialize()


def data(stream_id: int, body: bytes = b"", *, last: bool = False, padding: int | None = None) -> bytes:
    """A DATA frame; `padding` 0 is a pad length of 0, None is no PADDED flag."""
    frame = DataFrame(stream_id, body, flags=["END_STREAM"] if last else [])
    if padding is not None:
        frame.flags.add("PADDED")
        frame.pad_length = padding
    return frame.serialize()


def head(stream_id: int, block: bytes, *, last: bool = False, cuts: tuple[int, ...] = ()) -> bytes:
    """A header block in a HEADERS frame, and a CONTINUATION frame behind each cut."""
    edges = [0, *cuts, len(block)]
    pieces = [block[start:end] for start, end in itertools.pairwise(edges)]
    frames: list[Frame] = [HeadersFrame(stream_id, pieces[0], flags=["END_STREAM"] if last else [])]
    frames += [ContinuationFrame(stream_id, piece) for piece in pieces[1:]]
    frames[-1].flags.add("END_HEADERS")
    return b"".join([frame.serialize() for frame in frames])


def read_frames(stream: bytes) -> list[Frame]:
    """Whole frames, as hyperframe reads them."""
    frames, at = [], 0
    while at < len(stream):
        frame, length = Frame.parse_frame_header(memoryview(stream)[at : at + 9])
        assert at + 9 + length <= len(stream), "the server cut a frame"
        frame.parse_body(memoryview(stream)[at + 9 : at + 9 + length])
        frames.append(frame)
        at += 9 + length
    return frames


@dataclass
class Answer:
    """What came back on one stream."""

    heads: list[dict[bytes, bytes]] = field(default_factory=list)  # response head, trailers
    body: bytes = b""
    ended: bool = False
    reset: int | None = None


def read_answers(stream: bytes) -> dict[int, Answer]:
    """Every stream's answer. The order of its frames is held: a head, a body, trailers, nothing behind END_STREAM."""
    answers: dict[int, Answer] = {}
    decoder, block = hpack.Decoder(), b""
    for frame in read_frames(stream):
        if not frame.stream_id or isinstance(frame, WindowUpdateFrame):
            continue
        answer = answers.setdefault(frame.stream_id, Answer())
        assert answer.reset is None
        if isinstance(frame, RstStreamFrame):
            answer.reset = frame.error_code
            continue
        assert not answer.ended
        if isinstance(frame, DataFrame):
            assert 1 == len(answer.heads)
            answer.body += frame.data
            answer.ended = "END_STREAM" in frame.flags
            continue
        assert isinstance(frame, HeadersFrame | ContinuationFrame)
        block = frame.data if isinstance(frame, HeadersFrame) else block + frame.data
        answer.ended |= "END_STREAM" in frame.flags
        if "END_HEADERS" in frame.flags:
            answer.heads.append(dict(decoder.decode(block, raw=True)))
    return answers


class Program:
    """Acceptors by path, and all that they were told.

    /echo answers with the body; /hold answers when the test says so; /small takes 100 bytes; /stream sends every piece back as it comes;
    /sip keeps what it was given until the test consumes it.
    """

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []
        self.heads: list[RequestHead] = []
        self.streams: dict[int, Stream] = {}
        self.bodies: dict[int, bytes] = {}
        self.cancelled: list[int] = []

    def route(self, head: RequestHead) -> Acceptor:
        self.heads.append(head)
        if head.oversized:
            return Whole(self, refuses=True)
        acceptors: dict[bytes, Acceptor] = {
            b"/hold": Whole(self, holds=True), b"/small": Whole(self, max_body_bytes=100), b"/stream": Pieces(self),
            b"/sip": Pieces(self, sips=True),
        }  # fmt: skip
        return acceptors.get(head.path) or Whole(self)

    def took(self, stream: Stream, call: str, *values: object) -> None:
        self.calls.append((call, stream.id, *values))

    def opened(self, stream: Stream) -> None:
        self.streams[stream.id] = stream
        stream.on_cancel = lambda: self.cancelled.append(stream.id)

    def answer(self, stream_id: int, body: bytes | None = None, trailers: bytes | None = TRAILERS) -> None:
        """Answer a stream of /hold, with its own body where none is given."""
        stream, own = self.streams.pop(stream_id), self.bodies.pop(stream_id)
        stream.on_cancel = None
        stream.outbound.respond(stream, HEAD, own if body is None else body, trailers)


class Whole(WholeBody):
    """A `WholeAcceptor`."""

    streaming = False

    def __init__(self, program: Program, *, max_body_bytes: int = 1 << 30, holds: bool = False, refuses: bool = False) -> None:
        self.program = program
        self.max_body_bytes = max_body_bytes
        self.holds = holds
        self.refuses = refuses

    def complete(self, stream: Stream, body: bytes) -> None:
        assert isinstance(body, bytes)
        self.program.took(stream, "complete", body)
        if self.refuses:
            self.refuse(stream, b"431")
        elif self.holds:
            self.program.opened(stream)
            self.program.bodies[stream.id] = body
        else:
            stream.outbound.respond(stream, HEAD, body, TRAILERS)

    def too_large(self, stream: Stream) -> None:
        self.program.took(stream, "too_large")
        self.refuse(stream, b"413")

    def timed_out(self, stream: Stream) -> None:
        self.program.took(stream, "timed_out")
        self.refuse(stream, b"408")

    @staticmethod
    def refuse(stream: Stream, status: bytes) -> None:
        stream.outbound.send_headers(stream, encode_headers([(b":status", status)]), last=True)


class Pieces:
    """A `PieceAcceptor`."""

    streaming = True

    def __init__(self, program: Program, *, sips: bool = False) -> None:
        self.program = program
        self.sips = sips

    def begin(self, stream: Stream) -> None:
        self.program.took(stream, "begin")
        self.program.opened(stream)
        stream.outbound.send_headers(stream, HEAD)

    def data(self, stream: Stream, chunk: bytes) -> None:
        assert chunk
        self.program.took(stream, "data", chunk)
        if not self.sips:
            stream.outbound.send_data(stream, chunk)
            stream.consume(len(chunk))

    def end(self, stream: Stream) -> None:
        self.program.took(stream, "end")
        stream.outbound.send_data(stream, b"", last=True, trailers=TRAILERS)


class Wire:
    """One connection, the peer's hand on one end."""

    def __init__(self, limits: WireLimits | None = None, program: Program | None = None, *, now: float = 1_000.0) -> None:
        self.program = program or Program()
        self.now = now
        self.writes: list[bytes] = []
        self.closes = 0
        self.dirty: list[Outbound] = []
        self.encoder = hpack.Encoder()
        self.connection = Http2Connection(
            limits or WireLimits(), self.program.route, now=lambda: self.now, write=self._write, wake=self.dirty.append, close=self._close
        )

    def start(self, **settings: int) -> Wire:
        """Preface and SETTINGS, and what the server says to them taken off."""
        self.send(PREFACE + setting(**settings))
        self.take()
        return self

    def send(self, *pieces: bytes) -> Wire:
        for piece in pieces:
            self.connection.receive(piece)
        self.flush()
        return self

    def block(self, fields: Fields) -> bytes:
        """A header block, by the `hpack` library with its dynamic table."""
        return self.encoder.encode(fields)

    def open(self, stream_id: int, path: str = "/hold", *more: tuple[str, str], last: bool = True) -> Wire:
        """A request without a body, or its head."""
        return self.send(head(stream_id, self.block(request(path, *more)), last=last))

    def flush(self) -> None:
        """The end of a tick of the event loop."""
        while self.dirty:
            self.dirty.pop().flush()

    def tick(self, seconds: float) -> Wire:
        """Let time pass, a second a tick."""
        until = self.now + seconds
        while self.now < until:
            self.now = min(until, self.now + 1.0)
            timeouts.tick(self.connection, self.now)
            self.flush()
        return self

    def take(self) -> bytes:
        """What the server wrote since the last call."""
        self.flush()
        output, self.writes = b"".join(self.writes), []
        return output

    def frames(self) -> list[Frame]:
        return read_frames(self.take())

    def goaway(self) -> ErrorCode | None:
        """The error of the last frame written, where that is a GOAWAY; frames before it stay unread."""
        self.flush()
        frames = read_frames(b"".join(self.writes))
        return ErrorCode(frames[-1].error_code) if frames and isinstance(frames[-1], GoAwayFrame) else None

    def _write(self, parts: list[bytes]) -> None:
        assert not self.closes, "bytes after the connection was closed"
        self.writes.append(b"".join(parts))

    def _close(self) -> None:
        self.closes += 1
