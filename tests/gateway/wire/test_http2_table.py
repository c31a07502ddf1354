"""A header table smaller than the default (RFC 7541 §4.2): the default serves until ours is acknowledged, then the peer must say."""

from __future__ import annotations

import pytest

from gateway.limits import WireLimits
from gateway.wire.frames import ErrorCode
from tests.gateway.wire.http2_wire import GOAWAY, SETTINGS, Wire, head, raw, read_answers, request

SMALL = WireLimits(hpack_table_bytes=256)
ACK = raw(SETTINGS, 1, 0, b"")
TO_256 = b"\x3f\xe1\x01"  # a size update


def asked(wire: Wire, stream_id: int, before: bytes = b"") -> bytes:
    return head(stream_id, before + wire.block(request("/echo")), last=True)


def test_rfc7541_4_2_the_default_table_serves_until_ours_is_acknowledged() -> None:
    """Blocks that were on their way are no fault of the peer's."""
    wire = Wire(SMALL).start()
    wire.send(asked(wire, 1), asked(wire, 3))
    assert [b"200", b"200"] == [answer.heads[0][b":status"] for answer in read_answers(b"".join(wire.writes)).values()]


@pytest.mark.parametrize(("update", "served"), [(TO_256, True), (b"\x20", True), (b"", False), (b"\x3f\xe2\x01", False)])
def test_rfc7541_4_2_behind_the_acknowledgement_the_next_block_says_its_size(update: bytes, served: bool) -> None:
    """A size of ours or less; no word of it, or one byte more, is a compression error."""
    wire = Wire(SMALL).start().send(ACK)
    wire.encoder.header_table_size = 256
    wire.encoder.encode([])  # takes the library's own update out of the next block
    wire.send(asked(wire, 1, update))
    written = b"".join(wire.writes)
    if served:
        assert b"200" == read_answers(written)[1].heads[0][b":status"]
    else:
        assert bytes((GOAWAY,)) == written[3:4]
        assert ErrorCode.COMPRESSION_ERROR == int.from_bytes(written[13:17], "big")
    assert served == (wire.closes == 0)
