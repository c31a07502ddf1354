"""HTTP/2 frames as bytes (RFC 9113 §4 and §6): names, layouts, error codes. No state."""

from __future__ import annotations

import enum
import struct

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)

END_STREAM = ACK = 0x1
END_HEADERS = 0x4
PADDED = 0x8
PRIORITIZED = 0x20

MAX_WINDOW = (1 << 31) - 1
DEFAULT_WINDOW = 65_535
DEFAULT_FRAME = 16_384
DEFAULT_HEADER_TABLE = 4_096
MAX_FRAME = (1 << 24) - 1

# One frame header: the 24-bit length as 16 + 8 bits, type, flags, stream id (its reserved bit is masked by the reader).
FRAME_HEADER = struct.Struct(">HBBBI")
FRAME_WORDS = struct.Struct(">IBI")  # the same nine octets for the hot path: length and type, flags, stream


class Setting(enum.IntEnum):
    """SETTINGS identifiers, RFC 9113 §6.5.2."""

    HEADER_TABLE_SIZE = 1
    ENABLE_PUSH = 2
    MAX_CONCURRENT_STREAMS = 3
    INITIAL_WINDOW_SIZE = 4
    MAX_FRAME_SIZE = 5
    MAX_HEADER_LIST_SIZE = 6


class ErrorCode(enum.IntEnum):
    """Error codes, RFC 9113 §7."""

    NO_ERROR = 0
    PROTOCOL_ERROR = 1
    INTERNAL_ERROR = 2
    FLOW_CONTROL_ERROR = 3
    SETTINGS_TIMEOUT = 4
    STREAM_CLOSED = 5
    FRAME_SIZE_ERROR = 6
    REFUSED_STREAM = 7
    CANCEL = 8
    COMPRESSION_ERROR = 9
    CONNECT_ERROR = 10
    ENHANCE_YOUR_CALM = 11
    INADEQUATE_SECURITY = 12
    HTTP_1_1_REQUIRED = 13


class ConnectionFault(Exception):
    """The peer broke the connection's rules: GOAWAY with `code`, then close (RFC 9113 §5.4.1)."""

    def __init__(self, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class StreamFault(Exception):
    """The peer broke one stream's rules: RST_STREAM with `code`; the others go on (RFC 9113 §5.4.2)."""

    def __init__(self, stream_id: int, code: ErrorCode, reason: str) -> None:
        super().__init__(reason)
        self.stream_id = stream_id
        self.code = code


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    """One whole frame."""
    size = len(payload)
    return FRAME_HEADER.pack(size >> 8, size & 0xFF, kind, flags, stream_id) + payload


def headers(stream_id: int, block: bytes, *, last: bool) -> bytes:
    """A header block as HEADERS and, past 16 KiB, CONTINUATION frames."""
    flag = END_STREAM if last else 0
    if len(block) <= DEFAULT_FRAME:
        return frame(HEADERS, flag | END_HEADERS, stream_id, block)
    pieces = [block[at : at + DEFAULT_FRAME] for at in range(0, len(block), DEFAULT_FRAME)]
    out = [frame(HEADERS, flag, stream_id, pieces[0])]
    out += [frame(CONTINUATION, 0, stream_id, piece) for piece in pieces[1:-1]]
    out.append(frame(CONTINUATION, END_HEADERS, stream_id, pieces[-1]))
    return b"".join(out)


def settings_frame(values: dict[Setting, int]) -> bytes:
    """A SETTINGS frame."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", key, value) for key, value in values.items()))


def window_update(stream_id: int, increment: int) -> bytes:
    """A WINDOW_UPDATE frame; `increment` is 1 … 2^31 - 1."""
    return b"\x00\x00\x04\x08\x00" + stream_id.to_bytes(4, "big") + increment.to_bytes(4, "big")


def rst_stream(stream_id: int, code: int) -> bytes:
    """A RST_STREAM frame."""
    return b"\x00\x00\x04\x03\x00" + stream_id.to_bytes(4, "big") + code.to_bytes(4, "big")


def goaway(last_stream_id: int, code: int, reason: str = "") -> bytes:
    """A GOAWAY frame; `reason` is debug text of at most 200 bytes."""
    return frame(GOAWAY, 0, 0, last_stream_id.to_bytes(4, "big") + code.to_bytes(4, "big") + reason.encode()[:200])


def unpad(payload: bytes, stream_id: int) -> bytes:
    """Take the padding off a PADDED payload (RFC 9113 §6.1)."""
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padded frame without a pad length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"padding longer than the frame on stream {stream_id}")
    return payload[1 : len(payload) - padding]


def header_fragment(flags: int, stream_id: int, payload: bytes) -> tuple[bytes, bool]:
    """The block fragment of a HEADERS payload, without padding and priority, and whether the stream depends on itself."""
    if flags & PADDED:
        payload = unpad(payload, stream_id)
    if not flags & PRIORITIZED:
        return payload, False
    if len(payload) < 5:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "HEADERS too short for its priority")
    return payload[5:], int.from_bytes(payload[:4], "big") & MAX_WINDOW == stream_id
