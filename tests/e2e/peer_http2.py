"""An HTTP/2 peer over a socket that sends any frames at all, with gRPC calls on top. hpack decodes, hyperframe parses."""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, field
from urllib.parse import unquote

import hpack
from hyperframe import frame as frames

from tests.e2e.peer_http1 import TIMEOUT_S

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM, END_HEADERS = 1, 4
INFER = "/inference.GRPCInferenceService/ModelInfer"
WINDOW = 1 << 30

Fields = list[tuple[str | bytes, str | bytes]]


def raw_frame(kind: int, flags: int = 0, stream: int = 0, payload: bytes = b"") -> bytes:
    """A frame, right or wrong."""
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def prefixed(message: bytes) -> bytes:
    """A gRPC message, not compressed."""
    return b"\0" + len(message).to_bytes(4, "big") + message


@dataclass(slots=True)
class Answer:
    """What came on one stream. `status` is that of gRPC, or of HTTP where the answer is none of gRPC; -1 for a reset."""

    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    reset: int | None = None
    done: bool = False

    @property
    def status(self) -> int:
        if self.reset is not None and "grpc-status" not in self.headers:
            return -1
        return int(self.headers.get("grpc-status", self.headers.get(":status", -2)))

    @property
    def text(self) -> str:
        return unquote(self.headers.get("grpc-message", ""))

    @property
    def message(self) -> bytes:
        """The one message of a unary answer."""
        assert self.body[:1] == b"\0"
        assert len(self.body) == 5 + int.from_bytes(self.body[1:5], "big")
        return self.body[5:]


class Http2Peer:
    """One connection. `call` and `request` give the bytes of a stream, so that several can be sent at once."""

    def __init__(self, port: int, *, window: int = WINDOW, greet: bool = True) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.answers: dict[int, Answer] = {}
        self.goaway: int | None = None
        self.over = False
        self.next_stream = 1
        self._decoder = hpack.Decoder()
        self._encoder = hpack.Encoder()
        self._buffer = bytearray()
        self._block: tuple[int, bytes] = 0, b""
        if greet:
            settings = frames.SettingsFrame(0, {frames.SettingsFrame.INITIAL_WINDOW_SIZE: window}).serialize()
            self.send(PREFACE + settings + (frames.WindowUpdateFrame(0, window).serialize() if window else b""))

    # --- out -------------------------------------------------------------------------------------------------------------------

    def send(self, data: bytes) -> None:
        """Send; a server that has closed meanwhile is found out by reading."""
        try:
            self.socket.sendall(data)
        except OSError:
            return

    def open(self, fields: Fields, *, end: bool = False) -> tuple[int, bytes]:
        """HEADERS of a new stream, with CONTINUATION where they are long."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        block = self._encoder.encode(fields)
        pieces = [block[at : at + 16_384] for at in range(0, len(block), 16_384)] or [b""]
        out = []
        for index, piece in enumerate(pieces):
            flags = (END_STREAM if end and not index else 0) | (END_HEADERS if index == len(pieces) - 1 else 0)
            out.append(raw_frame(CONTINUATION if index else HEADERS, flags, stream, piece))
        return stream, b"".join(out)

    def request(self, fields: Fields, body: bytes | None) -> tuple[int, bytes]:
        """A whole request."""
        stream, head = self.open(fields, end=body is None)
        if body is None:
            return stream, head
        pieces = [body[at : at + 1_000_000] for at in range(0, len(body), 1_000_000)] or [b""]
        data = [raw_frame(DATA, 0, stream, piece) for piece in pieces[:-1]]
        return stream, b"".join([head, *data, raw_frame(DATA, END_STREAM, stream, pieces[-1])])

    def call(self, message: bytes, *, path: str = INFER, metadata: Fields | None = None, framed: bool = True) -> tuple[int, bytes]:
        """A unary gRPC call. With `framed` false, `message` is the whole body."""
        return self.request(grpc_fields(path, metadata or []), prefixed(message) if framed else message)

    # --- in --------------------------------------------------------------------------------------------------------------------

    def wait(self, *streams: int) -> list[Answer]:
        """The answers of these streams. EOFError where the connection ends before."""
        while not all(self.answers.get(stream, Answer()).done for stream in streams):
            if self.over:
                raise EOFError(f"closed, GOAWAY {self.goaway}")
            self.read()
        return [self.answers.pop(stream) for stream in streams]

    def ends(self) -> int | None:
        """Read to the end of the connection; the code of its GOAWAY."""
        while not self.over:
            self.read()
        return self.goaway

    def read(self) -> None:
        """Take what has come."""
        try:
            data = self.socket.recv(1 << 20)
        except ConnectionError:
            data = b""
        self.over = not data
        self._buffer += data
        while len(self._buffer) >= 9:
            frame, length = frames.Frame.parse_frame_header(memoryview(bytes(self._buffer[:9])))
            if len(self._buffer) < 9 + length:
                return
            frame.parse_body(memoryview(bytes(self._buffer[9 : 9 + length])))
            del self._buffer[: 9 + length]
            self._take(frame)

    def _take(self, frame: frames.Frame) -> None:
        if isinstance(frame, frames.SettingsFrame) and "ACK" not in frame.flags:
            self.send(frames.SettingsFrame(0, flags=["ACK"]).serialize())
        elif isinstance(frame, frames.PingFrame) and "ACK" not in frame.flags:
            self.send(frames.PingFrame(0, frame.opaque_data, flags=["ACK"]).serialize())
        elif isinstance(frame, frames.GoAwayFrame):
            self.goaway = frame.error_code
        elif isinstance(frame, frames.RstStreamFrame):
            answer = self.answers.setdefault(frame.stream_id, Answer())
            if not answer.done:
                answer.reset, answer.done = frame.error_code, True
        elif isinstance(frame, frames.DataFrame):
            answer = self.answers.setdefault(frame.stream_id, Answer())
            answer.body += frame.data
            answer.done = answer.done or "END_STREAM" in frame.flags
        elif isinstance(frame, frames.HeadersFrame | frames.ContinuationFrame):
            self._headers(frame)

    def _headers(self, frame: frames.Frame) -> None:
        ends = self._block[0] if isinstance(frame, frames.ContinuationFrame) else "END_STREAM" in frame.flags
        block = self._block[1] + frame.data
        if "END_HEADERS" not in frame.flags:
            self._block = int(ends), block
            return
        self._block = 0, b""
        answer = self.answers.setdefault(frame.stream_id, Answer())
        answer.headers.update(self._decoder.decode(block))
        answer.done = answer.done or bool(ends)

    def close(self) -> None:
        self.socket.close()


def grpc_fields(path: str, metadata: Fields) -> Fields:
    """The request fields of a gRPC call; metadata whose name is one of them replaces it."""
    usual = {
        ":method": "POST", ":scheme": "http", ":path": path, ":authority": "localhost", "te": "trailers",
        "content-type": "application/grpc",
    }  # fmt: skip
    given = {name for name, _ in metadata}
    fields: Fields = [(name, value) for name, value in usual.items() if name not in given]
    return sorted([*fields, *metadata], key=lambda item: not item[0].startswith(":" if isinstance(item[0], str) else b":"))
