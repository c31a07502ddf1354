"""A request body on its way in: collected piece by piece, inflated, bounded; and the chunked framing of HTTP/1.1. Knows no head.

Bounds: `max_body_bytes` after decompression, `max_chunks`, 256 bytes for the line before a chunk. Cost is linear in the bytes.
"""

from __future__ import annotations

import re

from gateway.limits import WireLimits
from gateway.wire.coding import Inflater
from gateway.wire.exchange import HttpRefusal

_LINE_BOUND = 256  # size and extensions of one chunk
_SIZES_MAX = 16
_BATCH_MAX = 1_024  # chunks joined at a time: `bytes.join` takes 80 bytes of its own for each
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[\t\x20-\x7e\x80-\xff]*)?\r\n")


class Body:
    """Collects one body. One in a coding whose length is not known is inflated when it has ended: before, no ratio could bound it."""

    __slots__ = ("_coding", "_inflater", "_limits", "_parts", "size", "wire_size")

    def __init__(self, limits: WireLimits, coding: str, length: int) -> None:
        """`coding` as `coding.request_coding` gives it; `length` in bytes on the wire, negative where it is not known."""
        self.size = 0  # bytes held
        self.wire_size = 0  # bytes taken
        self._limits = limits
        self._coding = coding
        self._inflater = Inflater(coding, limits, length) if coding and length >= 0 else None
        self._parts: list[bytes] = []

    def add(self, piece: bytes) -> None:
        """Take more. Raises HttpRefusal 413 past the bound and what `Inflater.feed` raises."""
        self.wire_size += len(piece)
        if self._inflater is not None:
            piece = self._inflater.feed(piece)
        self.size += len(piece)
        if self.size > self._limits.max_body_bytes:
            raise too_large_body(self._limits.max_body_bytes)
        self._parts.append(piece)

    def finish(self) -> bytes:
        """The whole body; one copy, none where it came in one piece. Raises what `Inflater` raises."""
        inflater, body = self._inflater, b"".join(self._parts)
        if inflater is None and self._coding:
            inflater = Inflater(self._coding, self._limits, len(body))
            body = inflater.feed(body)
        if inflater is not None:
            inflater.finish()
        return body


class ChunkReader:
    """Undoes the chunked coding of one body (RFC 9112 §7.1). Extensions are passed over, trailers refused."""

    __slots__ = ("_chunks", "_left", "_line", "_max_chunks", "_sizes", "_step", "done")

    def __init__(self, limits: WireLimits) -> None:
        self.done = False
        self._max_chunks = limits.max_chunks
        self._chunks = 0
        self._left = 0  # bytes of the chunk that are still to come
        self._line = b""  # the cut start of a line
        self._step = _READ_SIZE
        self._sizes: dict[bytes, int] = {}  # size lines of earlier chunks

    def feed(self, data: bytes, start: int, body: Body) -> int:
        """Move what follows `start` into the body. Returns the position after what was used, the end of the body at most.

        Raises HttpRefusal: 400 for broken framing, 413 past the number of chunks, and what `Body.add` raises.
        """
        position, size = start, len(data)
        while position < size and not self.done:
            if self._left:
                end = min(size, position + self._left)
                body.add(data[position:end])
                self._left -= end - position
                position = end
            elif self._step is _READ_SIZE and not self._line:
                position = self._take_line(data, self._take_whole(data, position, body))
            else:
                position = self._take_line(data, position)
        return position

    def _take_whole(self, data: bytes, start: int, body: Body) -> int:
        """As many chunks as are here whole and have a size seen before: many small ones cost little that way."""
        sizes, position, room = self._sizes, start, min(_BATCH_MAX, self._max_chunks - self._chunks)
        pieces: list[bytes] = []
        while len(pieces) < room:
            line_end = data.find(b"\n", position, position + _LINE_BOUND) + 1
            size = sizes.get(data[position:line_end])
            if size is None:
                break
            end = line_end + size
            if data[end : end + 2] != b"\r\n":
                break
            pieces.append(data[line_end:end])
            position = end + 2
        if pieces:
            self._chunks += len(pieces)
            body.add(b"".join(pieces))
        return position

    def _take_line(self, data: bytes, start: int) -> int:
        """A line between chunks, which may come in several pieces."""
        held = len(self._line)
        newline = data.find(b"\n", start, start + _LINE_BOUND - held)
        end = newline + 1 if newline >= 0 else len(data)
        line = self._line + data[start : min(end, start + _LINE_BOUND)]
        if newline >= 0:
            self._line = b""
            self._step(self, line)
        elif len(line) >= _LINE_BOUND:
            raise _broken()
        else:
            self._line = line
        return end

    def _read_size(self, line: bytes) -> None:
        match = _SIZE.fullmatch(line)
        if match is None:
            raise _broken()
        self._left = int(match[1], 16)
        self._step = _READ_GAP if self._left else _READ_END
        if not self._left:
            return
        self._chunks += 1
        if self._chunks > self._max_chunks:
            raise HttpRefusal(413, f"body has more than {self._max_chunks} chunks")
        if len(self._sizes) < _SIZES_MAX:
            self._sizes[line] = self._left

    def _read_gap(self, line: bytes) -> None:
        """The line end after a chunk's bytes."""
        if line != b"\r\n":
            raise _broken()
        self._step = _READ_SIZE

    def _read_end(self, line: bytes) -> None:
        """The empty line after the last chunk."""
        if line != b"\r\n":
            raise HttpRefusal(400, "trailer fields are not accepted")
        self.done = True


_READ_SIZE, _READ_GAP, _READ_END = ChunkReader._read_size, ChunkReader._read_gap, ChunkReader._read_end


def too_large_body(max_bytes: int) -> HttpRefusal:
    """The refusal of a body over its bound."""
    return HttpRefusal(413, f"request body is over the limit of {max_bytes} bytes")


def _broken() -> HttpRefusal:
    return HttpRefusal(400, "malformed chunk")
