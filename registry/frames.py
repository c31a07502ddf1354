"""Frames: how content is appended to a file so that a torn end is found. Pure; knows no content.

A frame is a head of 16 bytes (magic, kind, 0, length, CRC-32 of all that and of the payload, little-endian) and its payload. Whoever reads
stops at the first that is not whole: what was torn by a crash is behind everything that was written before it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

MAGIC = int.from_bytes(b"tdf1", "little")
MAX_PAYLOAD = 256 << 20
_HEAD = struct.Struct("<IHHII")
_CHECKED = struct.Struct("<IHHI")  # the head without its checksum
HEAD_BYTES = _HEAD.size

Buffer = bytes | bytearray | memoryview


class Frame(NamedTuple):
    """One that is whole. `end`: where the next one begins."""

    kind: int
    payload: memoryview
    end: int


def framed(kind: int, *pieces: Buffer) -> bytes:
    """The bytes of a frame, whose payload is the pieces one after the other. Raises `ValueError` past `MAX_PAYLOAD`."""
    length = sum([len(piece) for piece in pieces])
    if length > MAX_PAYLOAD:
        raise ValueError(f"{length} bytes are more than a frame holds")
    checksum = zlib.crc32(_CHECKED.pack(MAGIC, kind, 0, length))
    for piece in pieces:
        checksum = zlib.crc32(piece, checksum)
    return b"".join((_HEAD.pack(MAGIC, kind, 0, length, checksum), *pieces))


def frames(content: Buffer) -> Iterator[Frame]:
    """All whole frames from the beginning on. Views into `content`: let go of them before it is closed."""
    view, at = memoryview(content), 0
    while len(view) - at >= HEAD_BYTES:
        magic, kind, zero, length, checksum = _HEAD.unpack_from(view, at)
        start, end = at + HEAD_BYTES, at + HEAD_BYTES + length
        if magic != MAGIC or zero or length > MAX_PAYLOAD or end > len(view):
            return
        payload = view[start:end]
        if zlib.crc32(payload, zlib.crc32(view[at : at + _CHECKED.size])) != checksum:
            return
        yield Frame(kind, payload, end)
        at = end


def whole_bytes(content: Buffer) -> int:
    """Up to where the content is whole."""
    end = 0
    for frame in frames(content):
        end = frame.end
    return end
