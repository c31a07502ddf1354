"""gRPC's own bytes: message frames and percent-encoding (gRPC over HTTP/2, PROTOCOL-HTTP2). No state machine."""

from __future__ import annotations

import zlib
from collections.abc import Iterator

from gateway.errors import Code, TidegateError

_UNRESERVED = frozenset(range(0x20, 0x7F)) - {0x25}
_MESSAGE_MAX = 512  # bytes of an error text on the wire
_WINDOW_BITS = {b"gzip": 31, b"deflate": 15}


def percent_encode(message: str) -> bytes:
    """A `grpc-message` value: UTF-8, all but printable ASCII escaped, cut at 512 bytes before escaping."""
    raw = message.encode("utf-8", "replace")[:_MESSAGE_MAX]
    raw = raw.decode("utf-8", "ignore").encode()
    return b"".join(bytes((byte,)) if byte in _UNRESERVED else b"%%%02X" % byte for byte in raw)


def message_frame(message: bytes) -> bytes:
    """A length-prefixed message, not compressed."""
    return b"\x00" + len(message).to_bytes(4, "big") + message


class MessageReader:
    """Cuts the bodies of one stream into messages. `limit` bounds a message before and after decompression."""

    __slots__ = ("_advanced", "_buffer", "_compression", "_encoding", "_limit", "_size")

    def __init__(self, *, limit: int, encoding: bytes, compression: bool) -> None:
        self._limit = limit
        self._encoding = encoding
        self._compression = compression
        self._buffer: list[bytes] = []
        self._size = 0
        self._advanced = 0  # bytes of the unfinished message that `advance` has told

    def feed(self, data: bytes) -> Iterator[tuple[bytes | memoryview, int]]:
        """Whole messages, each with the wire bytes it took that `advance` has not told.

        Raises TidegateError: TOO_LARGE for a declared length over the limit (before it is buffered), and what `payload` raises.
        """
        self._buffer.append(data)
        self._size += len(data)
        while self._size >= 5:
            needs = 5 + self._declared()
            if self._size < needs:
                return
            whole = b"".join(self._buffer) if len(self._buffer) > 1 else self._buffer[0]
            self._buffer = [whole[needs:]]
            self._size -= needs
            owed, self._advanced = needs - self._advanced, 0
            yield payload(whole[:needs], limit=self._limit, encoding=self._encoding, compression=self._compression), owed

    def _declared(self) -> int:
        if len(self._buffer[0]) < 5:
            self._buffer = [b"".join(self._buffer)]
        size = int.from_bytes(self._buffer[0][1:5], "big")
        if size > self._limit:
            raise TidegateError(Code.TOO_LARGE, f"message of {size} bytes is over the limit of {self._limit}")
        return size

    def advance(self) -> int:
        """Bytes of an unfinished message that came since the last call."""
        step, self._advanced = self._size - self._advanced, self._size
        return step

    @property
    def partial(self) -> bool:
        """Some bytes of an unfinished message are here."""
        return self._size > 0


def payload(body: bytes | memoryview, *, limit: int, encoding: bytes, compression: bool) -> bytes | memoryview:
    """The one message of a whole body.

    Raises TidegateError: INTERNAL for a broken prefix or a compressed message without an encoding, UNIMPLEMENTED for compression that is
    unknown or switched off, TOO_LARGE past `limit`, as declared or after decompression.
    """
    size = len(body) - 5
    declared = int.from_bytes(body[1:5], "big")
    if max(size, declared) > limit:
        raise TidegateError(Code.TOO_LARGE, f"message is over the limit of {limit} bytes")
    if size < 0 or declared > size:
        raise TidegateError(Code.INTERNAL, "message shorter than its length prefix")
    message = body[5:] if size < 65_536 else memoryview(body)[5:]
    if declared < size:  # a second message on a unary call is ignored, as gRPC's own servers do
        message = message[:declared]
    if body[0] == 0:
        return message
    if body[0] != 1 or encoding in (b"", b"identity"):
        raise TidegateError(Code.INTERNAL, "compressed message without grpc-encoding")
    return _decompress(message, limit=limit, encoding=encoding, compression=compression)


def _decompress(message: bytes | memoryview, *, limit: int, encoding: bytes, compression: bool) -> bytes:
    bits = _WINDOW_BITS.get(encoding)
    if bits is None or not compression:
        shown = encoding[:32].decode("ascii", "replace")
        raise TidegateError(Code.UNIMPLEMENTED, f"message compression '{shown}' is not enabled on this server")
    inflater = zlib.decompressobj(bits)
    try:
        data = inflater.decompress(message, limit + 1)
    except zlib.error:
        raise TidegateError(Code.INTERNAL, "compressed message is corrupt") from None
    if len(data) > limit:
        raise TidegateError(Code.TOO_LARGE, f"message is over the limit of {limit} bytes after decompression")
    if not inflater.eof:
        raise TidegateError(Code.INTERNAL, "compressed message is truncated")
    return data
