"""Content codings: what is accepted, what comes out, what is answered."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.limits import KIB, WireLimits
from gateway.wire.body import Body
from gateway.wire.coding import RATIO_FLOOR_BYTES, answer_coding, compress, decode_body, request_coding
from gateway.wire.exchange import HttpRefusal

LIMITS = WireLimits(max_body_bytes=256 * KIB, max_decompression_ratio=10)


def outcome(coding: str, pieces: list[bytes], length: int) -> bytes | tuple[int, str]:
    """The plain bytes, or what the refusal says."""
    body = Body(LIMITS, coding, length)
    try:
        for piece in pieces:
            body.add(piece)
        return body.finish()
    except HttpRefusal as refusal:
        return refusal.status, refusal.message


packers = st.sampled_from([("gzip", 31, 6), ("deflate", 15, 1), ("deflate", -15, 9)])
plains = st.one_of(st.binary(max_size=3_000), st.integers(0, 400 * KIB).map(bytes))


@settings(max_examples=200)
@given(plains, packers, st.binary(max_size=3), st.booleans(), st.lists(st.integers(0, 4_000), max_size=5), st.booleans())
def test_the_outcome_does_not_depend_on_the_cut(
    plain: bytes, packer: tuple[str, int, int], tail: bytes, damage: bool, cuts: list[int], knows_length: bool
) -> None:
    """Good, damaged, trailed and too large bodies: the same bytes or the same refusal for any pieces."""
    coding, wbits, level = packer
    machine = zlib.compressobj(level, wbits=wbits)
    packed = machine.compress(plain) + machine.flush()
    packed = packed[: len(packed) // 2] + b"\xff" + packed[len(packed) // 2 + 1 :] if damage else packed
    wire = packed + tail
    length = len(wire) if knows_length else -1
    edges = sorted({min(cut, len(wire)) for cut in cuts})
    pieces = [wire[start:end] for start, end in zip([0, *edges], [*edges, len(wire)], strict=True)]
    expected = outcome(coding, [wire], length)
    assert expected == outcome(coding, pieces, length)
    if not damage and not tail:
        fits = len(plain) <= min(LIMITS.max_body_bytes, max(RATIO_FLOOR_BYTES, 10 * len(wire)))
        assert (plain == expected) if fits else (isinstance(expected, tuple) and expected[0] == 413)


def test_a_bomb_of_unknown_length_is_not_inflated() -> None:
    """The ratio is held before the bytes exist: what has come is all that is held."""
    limits = WireLimits(max_decompression_ratio=10)
    bomb = gzip.compress(bytes(30 << 20))
    body = Body(limits, "gzip", -1)
    tracemalloc.start()
    body.add(bomb)
    with pytest.raises(HttpRefusal, match="more than 10 times"):
        body.finish()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1 << 20  # 10 times the body, twice while it grows


def test_a_whole_body_is_decoded_by_its_headers() -> None:
    """Both transports share it: none, one, several codings, an empty body."""
    packed = gzip.compress(b"plain")
    assert b"plain" == decode_body([(b"content-encoding", b"gzip")], packed, LIMITS)
    assert b"plain" == decode_body([(b"content-encoding", b"identity")], b"plain", LIMITS)
    assert b"" == decode_body([(b"content-encoding", b"gzip")], b"", LIMITS)
    with pytest.raises(HttpRefusal, match="not supported"):
        decode_body([(b"content-encoding", b"gzip"), (b"content-encoding", b"gzip")], packed, LIMITS)


@pytest.mark.parametrize(
    ("field", "coding"), [(b"", ""), (b"Identity", ""), (b" gzip ", "gzip"), (b"X-GZIP", "gzip"), (b"Deflate", "deflate")]
)
def test_accepted_codings(field: bytes, coding: str) -> None:
    """Case and blanks do not matter."""
    assert coding == request_coding(field)


@pytest.mark.parametrize(
    ("accept", "coding"),
    [
        (b"", b""),
        (b"gzip", b"gzip"),
        (b"deflate, gzip;q=0.5", b"deflate"),
        (b"gzip;q=0, deflate;q=0.000", b""),
        (b"br, *", b""),
        (b"GZIP ; Q=1.0", b"gzip"),
        (b"gzip;q=2", b"gzip"),
        (b"gzip;q=0.12345", b""),
        (b"gzip;q=nan", b""),
        (b"gzip;q=1e3", b""),
        (b"gzip;q=.5.5", b""),
        (b"gzip;level=9", b""),
        (b"," * 10_000 + b"gzip", b""),
    ],
)
def test_the_answer_is_compressed_as_the_caller_prefers(accept: bytes, coding: bytes) -> None:
    """Weights decide, zero forbids, what cannot be read is passed over, and only a few entries are looked at."""
    assert coding == answer_coding(accept)


@pytest.mark.parametrize("coding", [b"gzip", b"deflate"])
def test_compressed_answers_can_be_read(coding: bytes) -> None:
    """gzip and zlib as RFC 9110 names them."""
    unpack = gzip.decompress if coding == b"gzip" else zlib.decompress
    assert b"0.125," * 1_000 == unpack(compress(b"0.125," * 1_000, coding))
