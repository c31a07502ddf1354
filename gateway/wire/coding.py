"""Content codings: request bodies are inflated as they arrive, answers compressed where asked. Knows gzip and deflate, no framing.

Bounds: a body after decompression is at most `max_body_bytes` and at most `max_decompression_ratio` times its wire size.
"""

from __future__ import annotations

import zlib

from gateway.limits import KIB, MIB, WireLimits
from gateway.wire.exchange import Headers, HttpRefusal

RATIO_FLOOR_BYTES = 64 * KIB  # below it the ratio is not held: a small tensor of zeros is no bomb
MAX_COMPRESSED_ANSWER_BYTES = 4 * MIB  # compressing happens on the event loop, about 15 ms a MiB
_GZIP, _RAW, _ZLIB = 31, -15, 15  # zlib's names for the three formats (wbits)
_MAX_CODINGS = 16  # of one Accept-Encoding that are looked at


def request_coding(content_encoding: bytes) -> str:
    """`Content-Encoding` to "", "gzip" or "deflate". Raises HttpRefusal 415 for any other coding, and for several."""
    name = content_encoding.strip().lower()
    if name in (b"", b"identity"):
        return ""
    if name in (b"gzip", b"x-gzip"):
        return "gzip"
    if name == b"deflate":
        return "deflate"
    raise HttpRefusal(415, "content-encoding is not supported; use gzip, deflate or none", [(b"accept-encoding", b"gzip, deflate")])


def decode_body(headers: Headers, body: bytes, limits: WireLimits) -> bytes:
    """A whole body with its coding undone. Raises HttpRefusal as `request_coding` and `Inflater` do."""
    coding = request_coding(b", ".join([value for name, value in headers if name == b"content-encoding"]))
    if not coding or not body:
        return body
    inflater = Inflater(coding, limits, len(body))
    plain = inflater.feed(body)
    inflater.finish()
    return plain


class Inflater:
    """Undoes the coding of one body, piece by piece; what it decides does not depend on how the body was cut."""

    __slots__ = ("_bound", "_coding", "_head", "_limits", "_machine", "_size")

    def __init__(self, coding: str, limits: WireLimits, length: int) -> None:
        """`length`: bytes on the wire."""
        self._coding = coding
        self._limits = limits
        self._machine = zlib.decompressobj(_GZIP) if coding == "gzip" else None
        self._head = b""  # first byte of a deflate body whose format is not known yet
        self._size = 0
        self._bound = min(limits.max_body_bytes, max(RATIO_FLOOR_BYTES, length * limits.max_decompression_ratio))

    def feed(self, piece: bytes) -> bytes:
        """What the piece adds. Raises HttpRefusal: 400 for corrupt bytes and bytes past the end, 413 past either bound."""
        if self._machine is None:
            piece = self._head + piece
            if len(piece) < 2:
                self._head = piece
                return b""
            self._machine = zlib.decompressobj(_deflate_format(piece))
        room = self._bound - self._size
        try:
            out = self._machine.decompress(piece, room + 1)
        except zlib.error:
            raise HttpRefusal(400, f"corrupt {self._coding} body") from None
        if len(out) > room:
            raise self._too_large(self._bound)
        if self._machine.unused_data:
            raise HttpRefusal(400, f"bytes after the end of the {self._coding} body")
        self._size += len(out)
        return out

    def finish(self) -> None:
        """The body has ended. Raises HttpRefusal 400 when the compressed stream has not."""
        if self._machine is None or not self._machine.eof:
            raise HttpRefusal(400, f"truncated {self._coding} body")

    def _too_large(self, bound: int) -> HttpRefusal:
        limits = self._limits
        if bound >= limits.max_body_bytes:
            return HttpRefusal(413, f"body is over the limit of {limits.max_body_bytes} bytes after decompression")
        return HttpRefusal(413, f"body expands more than {limits.max_decompression_ratio} times")


def _deflate_format(start: bytes) -> int:
    """RFC 9110 means zlib by "deflate"; some clients send the raw stream. A zlib header is told by its method and check bits."""
    is_zlib = start[0] & 0x0F == 8 and (start[0] << 8 | start[1]) % 31 == 0
    return _ZLIB if is_zlib else _RAW


def answer_coding(accept_encoding: bytes) -> bytes:
    """The coding to answer with, b"gzip" or b"deflate", or b"" for none. Looks at no more than 16 entries."""
    best, best_quality = b"", 0.0
    for entry in accept_encoding.split(b",", _MAX_CODINGS)[:_MAX_CODINGS]:
        name, _, parameters = entry.partition(b";")
        name = name.strip().lower()
        quality = _quality(parameters)
        if name in (b"gzip", b"deflate") and quality > best_quality:
            best, best_quality = name, quality
    return best


def _quality(parameters: bytes) -> float:
    """The weight of one entry, 0 to 1; anything unreadable is 0, so that a strange entry is passed over."""
    key, _, value = parameters.strip().partition(b"=")
    if not key:
        return 1.0
    value = value.strip()
    if key.strip().lower() != b"q" or len(value) > 5 or not value.replace(b".", b"", 1).isdigit():
        return 0.0
    return min(1.0, float(value))


def compress(body: bytes, coding: bytes) -> bytes:
    """The body in a coding of `answer_coding`, at the fastest level."""
    machine = zlib.compressobj(1, zlib.DEFLATED, _GZIP if coding == b"gzip" else _ZLIB)
    return machine.compress(body) + machine.flush()
