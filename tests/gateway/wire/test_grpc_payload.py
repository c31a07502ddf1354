"""gRPC's length prefix and compression flag on a unary body: what is taken, what is refused with which code."""

from __future__ import annotations

import gzip

import pytest

from gateway.errors import Code, TidegateError
from gateway.wire.grpc_framing import message_frame, payload

LIMIT = 1_000


def taken(body: bytes, *, encoding: bytes = b"", compression: bool = False) -> bytes | Code:
    """The message, or the code of the refusal."""
    try:
        return bytes(payload(body, limit=LIMIT, encoding=encoding, compression=compression))
    except TidegateError as error:
        return error.code


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (message_frame(b"abc"), b"abc"),
        (message_frame(b""), b""),
        (message_frame(b"abc") + message_frame(b"second"), b"abc"),
        (message_frame(bytes(LIMIT)), bytes(LIMIT)),
        (message_frame(bytes(LIMIT + 1)), Code.TOO_LARGE),
        (b"\0\x40\0\0\0a", Code.TOO_LARGE),  # says 1 GiB
        (b"\0" + LIMIT.to_bytes(4, "big") + b"a", Code.INTERNAL),
        (b"\0\0\0", Code.INTERNAL),
        (b"\1\0\0\0\3abc", Code.INTERNAL),
        (b"\2\0\0\0\3abc", Code.INTERNAL),
    ],
)
def test_a_body_holds_one_message(body: bytes, expected: bytes | Code) -> None:
    """A declared length over the limit is refused as such, whatever came of it."""
    assert expected == taken(body)


@pytest.mark.parametrize(
    ("plain", "expected"),
    [(b"abc", b"abc"), *((bytes(size), bytes(size) if size <= LIMIT else Code.TOO_LARGE) for size in (LIMIT, LIMIT + 1, 100_000))],
)
def test_compressed_messages_where_they_are_enabled(plain: bytes, expected: bytes | Code) -> None:
    """The limit holds after decompression; without the setting, nothing is inflated."""
    body = b"\1" + message_frame(gzip.compress(plain))[1:]
    assert Code.UNIMPLEMENTED == taken(body, encoding=b"gzip")
    assert expected == taken(body, encoding=b"gzip", compression=True)
