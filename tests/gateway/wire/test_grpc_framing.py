"""gRPC's own bytes: messages cut anywhere, timeouts, texts of a status, compression and its bombs."""

from __future__ import annotations

import gzip
import itertools
import tracemalloc
import urllib.parse
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code, TidegateError
from gateway.wire.grpc_framing import MessageReader, message_frame, payload, percent_encode

LIMIT = 1_000


def reader(encoding: bytes = b"", *, compression: bool = False) -> MessageReader:
    return MessageReader(limit=LIMIT, encoding=encoding, compression=compression)


def frame(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


def raw_deflate(message: bytes) -> bytes:
    machine = zlib.compressobj(wbits=-15)
    return machine.compress(message) + machine.flush()


@settings(max_examples=500)
@given(st.lists(st.binary(max_size=300), max_size=8), st.lists(st.integers(0, 2_500), max_size=12))
def test_messages_are_the_same_however_the_body_is_cut(messages: list[bytes], cuts: list[int]) -> None:
    """And every wire byte is told once: with its message, or before as part of one that is not finished."""
    body = b"".join([message_frame(message) for message in messages])
    edges = sorted({0, len(body), *[min(cut, len(body)) for cut in cuts]})
    made, found, told = reader(), [], 0
    for start, end in itertools.pairwise(edges):
        for message, owed in made.feed(body[start:end]):
            found.append(bytes(message))
            told += owed
        told += made.advance()
        assert end == told
    assert (messages, False) == (found, made.partial)


def test_an_unfinished_message_is_partial() -> None:
    """From its first byte on."""
    made = reader()
    for octet in frame(b"abc")[:-1]:
        assert [] == list(made.feed(bytes((octet,))))
        assert made.partial
    assert [b"abc"] == [bytes(message) for message, _ in made.feed(b"c")]
    assert not made.partial


def test_a_length_over_the_limit_is_refused_before_its_bytes_come() -> None:
    """At the fifth byte; the limit itself is served."""
    with pytest.raises(TidegateError) as caught:
        list(reader().feed(b"\x00" + (LIMIT + 1).to_bytes(4, "big")))
    assert Code.TOO_LARGE == caught.value.code
    assert [bytes(LIMIT)] == [bytes(message) for message, _ in reader().feed(frame(bytes(LIMIT)))]


def refused(body: bytes, encoding: bytes = b"gzip", *, compression: bool = True) -> Code:
    with pytest.raises(TidegateError) as caught:
        payload(body, limit=LIMIT, encoding=encoding, compression=compression)
    return caught.value.code


@pytest.mark.parametrize(
    ("body", "encoding", "code"),
    [
        (b"", b"", Code.INTERNAL), (b"\x00\x00\x00\x00", b"", Code.INTERNAL), (b"\x00\x00\x00\x00\x05abcd", b"", Code.INTERNAL),
        (frame(b"abc", 2), b"gzip", Code.INTERNAL), (frame(b"abc", 1), b"", Code.INTERNAL), (frame(b"abc", 1), b"identity", Code.INTERNAL),
        (frame(b"abc", 1), b"zstd", Code.UNIMPLEMENTED), (frame(b"abc", 1), b"gzip", Code.INTERNAL),
        (frame(gzip.compress(b"abc", mtime=0)[:-9], 1), b"gzip", Code.INTERNAL), (frame(raw_deflate(b"abc"), 1), b"deflate", Code.INTERNAL),
        (frame(gzip.compress(bytes(LIMIT + 1), mtime=0), 1), b"gzip", Code.TOO_LARGE), (frame(bytes(LIMIT + 1)), b"", Code.TOO_LARGE),
    ],
)  # fmt: skip
def test_a_broken_message_has_a_code(body: bytes, encoding: bytes, code: Code) -> None:
    """Prefix, flag, coding, contents, size before and after."""
    assert code is refused(body, encoding)


def test_compression_that_is_off_is_refused_by_name() -> None:
    """UNIMPLEMENTED, as gRPC's compression.md asks, with the name cut."""
    with pytest.raises(TidegateError, match="message compression 'gzip' is not enabled") as caught:
        payload(frame(gzip.compress(b"abc"), 1), limit=LIMIT, encoding=b"gzip", compression=False)
    assert Code.UNIMPLEMENTED == caught.value.code
    with pytest.raises(TidegateError) as caught:
        payload(frame(b"", 1), limit=LIMIT, encoding=b"x" * 900, compression=True)
    assert len(caught.value.message) < 100


@pytest.mark.parametrize(("encoding", "pack"), [(b"gzip", gzip.compress), (b"deflate", zlib.compress)])
@pytest.mark.parametrize("message", [b"", b"abc", bytes(LIMIT)])
def test_compressed_messages_are_inflated_up_to_the_limit(encoding: bytes, pack, message: bytes) -> None:
    """In the codings that gRPC names, `deflate` being zlib's format."""
    assert message == payload(frame(pack(message), 1), limit=LIMIT, encoding=encoding, compression=True)


def test_a_bomb_is_not_inflated() -> None:
    """A thousand bytes that would become a million; nothing near that is held on the way."""
    bomb = frame(gzip.compress(bytes(900_000)), 1)
    tracemalloc.start()
    code = refused(bomb)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (Code.TOO_LARGE, True) == (code, most < 200_000)


@settings(max_examples=500)
@given(st.binary(max_size=1_200), st.binary(max_size=30))
def test_a_unary_body_gives_its_first_message(message: bytes, rest: bytes) -> None:
    """What follows is ignored, as gRPC's own servers do; large ones are views."""
    assert message == bytes(payload(frame(message) + rest, limit=4_096, encoding=b"", compression=False))


@settings(max_examples=500)
@given(st.text(max_size=120))
def test_a_status_text_can_be_read_back(text: str) -> None:
    """Printable ASCII only on the wire, no stray percent signs; what is no Unicode scalar becomes a question mark."""
    value = percent_encode(text)
    assert not [octet for octet in value if not 0x20 <= octet <= 0x7E]
    assert text.encode("utf-8", "replace").decode() == urllib.parse.unquote(value.decode("ascii"))


def test_a_status_text_is_cut_between_characters() -> None:
    """At 512 bytes before escaping, at most 1,536 after."""
    value = percent_encode("x" + "ü" * 1_000)
    assert ("x" + "ü" * 255, True) == (urllib.parse.unquote(value.decode()), len(value) <= 1_536)
