"""Header blocks of gRPC requests, encoded beforehand in the order in which a connection sends them.

A sequence is made of segments, each encoded by an encoder that knows only what the segment itself has put into the table. Dynamic
indices count from the newest entry, so a segment decodes rightly after any other, and a sequence can be repeated without end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hpack import Encoder
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH

INFER_PATH = "/inference.GRPCInferenceService/ModelInfer"
TIMEOUTS_US = (5_000_000, 10_000_000)  # grpc-timeout is drawn from here: past any answer, within eight digits
SEGMENT = 256


@dataclass(frozen=True, slots=True)
class HeaderStyle:
    """How a request's headers look on the wire. `varying` adds a timeout and a request id that differ in every request."""

    varying: bool = False
    huffman: bool = False
    indexed: bool = False  # the varying headers enter the dynamic table
    credential: str = ""  # a bearer token that every request carries


CONSTANT = HeaderStyle()


def constant_headers(authority: str, path: str = INFER_PATH) -> list[tuple[str, str]]:
    """What every gRPC call carries."""
    return [
        (":method", "POST"), (":scheme", "http"), (":path", path), (":authority", authority),
        ("te", "trailers"), ("content-type", "application/grpc"), ("user-agent", "tidegate-replayer/1"),
    ]  # fmt: skip


def encode_blocks(authority: str, *, style: HeaderStyle, count: int, seed: int, path: str = INFER_PATH) -> list[bytes]:
    """`count` header blocks in order. A constant style leaves the table as it is after the first, so only two blocks differ."""
    constant = constant_headers(authority, path)
    if style.credential:
        constant.append(("authorization", f"Bearer {style.credential}"))
    if not style.varying:
        first, again = _constant_pair(constant)
        return [first] + [again] * (count - 1)
    varying = _varying_headers(count, seed)
    encode = _encode_indexed if style.indexed else _encode_literal
    return [block for start in range(0, count, SEGMENT) for block in encode(constant, varying[start : start + SEGMENT], style.huffman)]


def _constant_pair(constant: list[tuple[str, str]]) -> tuple[bytes, bytes]:
    encoder = Encoder()
    return encoder.encode(constant, huffman=True), encoder.encode(constant, huffman=True)


def _varying_headers(count: int, seed: int) -> list[list[tuple[str, str]]]:
    random = np.random.default_rng(seed)
    timeouts = random.integers(*TIMEOUTS_US, count)
    return [[("grpc-timeout", f"{timeout}u"), ("x-request-id", random.bytes(16).hex())] for timeout in timeouts]


def _encode_indexed(constant: list[tuple[str, str]], varying: list[list[tuple[str, str]]], huffman: bool) -> list[bytes]:
    """As an encoder with incremental indexing does: names by index, old entries evicted and put back when needed again."""
    encoder = Encoder()
    return [encoder.encode(constant + headers, huffman=huffman) for headers in varying]


def _encode_literal(constant: list[tuple[str, str]], varying: list[list[tuple[str, str]]], huffman: bool) -> list[bytes]:
    """As an encoder does that keeps changing headers out of the table: constants by index, names and values in full."""
    first, again = _constant_pair(constant)
    heads = [first] + [again] * (len(varying) - 1)
    tails = [b"".join(_literal(name, value, huffman) for name, value in headers) for headers in varying]
    return [head + tail for head, tail in zip(heads, tails, strict=True)]


def _literal(name: str, value: str, huffman: bool) -> bytes:
    """A literal header field without indexing and with a new name (RFC 7541 §6.2.2)."""
    return b"\x00" + _string(name.encode(), huffman) + _string(value.encode(), huffman)


def _string(text: bytes, huffman: bool) -> bytes:
    data = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH).encode(text) if huffman else text
    assert len(data) < 127, "these headers are short"
    return bytes((len(data) | 0x80 * huffman,)) + data


def leaves_table_alone(block: bytes) -> bool:
    """Whether decoding a block changes no table, so that its bytes mean the same until another block changes it."""
    at = 0
    while at < len(block):
        first = block[at]
        if first & 0x80:
            at = _skip_integer(block, at, 7)
        elif first & 0x60:  # incremental indexing, or a new table size
            return False
        else:
            at = _skip_integer(block, at, 4)
            at = at if first & 0x0F else _skip_string(block, at)
            at = _skip_string(block, at)
    return True


def _skip_integer(block: bytes, at: int, bits: int) -> int:
    full = (1 << bits) - 1
    if block[at] & full != full:
        return at + 1
    at += 1
    while block[at] & 0x80:
        at += 1
    return at + 1


def _skip_string(block: bytes, at: int) -> int:
    after, length = _skip_integer(block, at, 7), block[at] & 0x7F
    if length == 0x7F:
        shift = 0
        for byte in block[at + 1 : after]:
            length += (byte & 0x7F) << shift
            shift += 7
    return after + length
