"""Bad inputs 71 to 75 and 82 to 85 of the catalogue: bodies, their framing and their codings.

Every case ends in an answer with an error body or in the end of the connection, with nothing kept; then a fresh connection still serves.
"""

from __future__ import annotations

import gzip
import tracemalloc
import zlib

import pytest

from gateway.limits import KIB, MIB, WireLimits
from tests.gateway.wire.http1_wire import Caller, chunked, get, post, refused

SMALL = WireLimits(max_body_bytes=1_000, max_chunks=8)


def test_case_71_content_length_over_the_limit_is_refused_before_reading() -> None:
    """413 on the head alone, and an announced end."""
    caller = refused(post(body=b"x" * 100_000)[:200], 413, SMALL)
    assert not caller.closed  # what the caller still sends is discarded for a moment, so that it gets to see the answer


def test_case_71_the_rest_of_a_refused_body_is_discarded_then_the_connection_closed() -> None:
    """No byte of it is taken for a request; the end comes with its last byte, or when the peer or patience ends."""
    request = post(body=b"GET /live HTTP/1.1\r\n\r\n" * 6_000)
    assert refused(request, 413, SMALL).closed
    cut = Caller(SMALL).send(request[:300])
    assert (False, True) == (cut.closed, cut.send(request[300:]).closed)
    gone = Caller(SMALL).send(request[:300])
    gone.connection.eof()
    assert gone.closed
    assert Caller(SMALL).send(request[:300]).tick(WireLimits().linger_timeout_s + 2.0).closed


def test_case_71_a_small_refused_body_keeps_the_connection() -> None:
    """A wrong route costs the caller no new connection."""
    caller = Caller().send(post("/unknown", b"GET /live HTTP/1.1\r\n\r\n" * 9) + get(), get())
    assert [404, 200, 200] == caller.statuses()
    assert not caller.closed


def test_case_72_a_chunked_body_is_refused_at_the_limit() -> None:
    """Bytes are counted as they come; the rest is discarded."""
    caller = refused(chunked([b"x" * 400] * 3), 413, SMALL)
    assert 1 == len(caller.application.opened)
    assert [200] == Caller(SMALL).send(chunked([b"x" * 500] * 2)).statuses()


def test_case_72_a_peer_that_never_stops_is_closed() -> None:
    """Discarding is bounded in time."""
    caller = Caller(SMALL).send(chunked([b"x" * 1_200])[:-5])
    assert not caller.closed
    for _ in range(4):
        caller.send(b"x" * 1_000).tick(1.0)
    assert ([413], True) == (caller.statuses(), caller.closed)


def test_case_73_chunks_are_counted_and_cost_little() -> None:
    """One-byte chunks up to the bound are served, one more is refused; memory stays near the wire size."""
    chunks = [b"x"] * WireLimits().max_chunks
    assert [b"x" * len(chunks)] == [answer.body for answer in Caller().send(chunked(chunks)).answers()]
    request = chunked([*chunks, b"x"])
    tracemalloc.start()
    refused(request, 413)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 * len(request) + 1 * MIB


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (("Content-Length: 5", "Transfer-Encoding: chunked"), 400),
        (("Transfer-Encoding: chunked", "Content-Length: 5"), 400),
        (("Content-Length: 5", "Content-Length: 6"), 400),
        (("Content-Length: 5", "Content-Length: 5"), 400),
        (("Content-Length: 5, 5",), 400),
        (("Content-Length: +5",), 400),
        (("Content-Length: -5",), 400),
        (("Content-Length: 0x5",), 400),
        (("Content-Length: 5 5",), 400),
        (("Content-Length: 5.0",), 400),
        (("Content-Length: \u00b2",), 400),
        (("Content-Length:",), 400),
        (("Content-Length: 99999999999999999999999",), 413),
        (("Content-Length : 5",), 400),
        ((" Content-Length: 5",), 400),
        (("X: y", " Content-Length: 5"), 400),
        (("X: y\n Content-Length: 5",), 400),
        (("X: y\nContent-Length: 5",), 400),
        (("X: y\rContent-Length: 5",), 400),
        (("X\x00: y",), 400),
        (("X: a\x00b",), 400),
        (("X: a\x1bb",), 400),
        (("X: a\x7fb",), 400),
        (("X y: z",), 400),
        ((": z",), 400),
        (("no colon",), 400),
        (("X\u00e9: z",), 400),
        (("Transfer-Encoding : chunked",), 400),
        (("Transfer-Encoding: gzip, chunked",), 501),
        (("Transfer-Encoding: chunked, gzip",), 501),
        (("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), 501),
        (("Transfer-Encoding: xchunked",), 501),
        (("Transfer-Encoding: identity",), 501),
        (("Transfer-Encoding: \x0bchunked",), 400),
        (("Transfer-Encoding:",), 501),
    ],
)
def test_case_74_what_two_parsers_could_frame_differently_is_refused(fields: tuple[str, ...], status: int) -> None:
    """Smuggling: 400 or 501, then the end at once, so that the bytes behind are never a request."""
    request = "\r\n".join(["POST /echo HTTP/1.1", "Host: x", *fields, "", ""]).encode("latin-1")
    caller = refused(request + b"helloGET /live HTTP/1.1\r\nHost: x\r\n\r\n", status)
    assert 1 == len(caller.answers())
    assert [] == caller.application.opened
    assert caller.closed


def test_case_74_transfer_coding_in_http_1_0_is_refused() -> None:
    """RFC 9112 §6.1: such a message has faulty framing."""
    assert refused(chunked([b"abc"]).replace(b"HTTP/1.1", b"HTTP/1.0"), 400).closed


@pytest.mark.parametrize("line_end", [b"\n", b"\r", b"\r\r\n", b"\n\r"])
def test_case_74_bare_line_ends_are_refused(line_end: bytes) -> None:
    """Only CRLF ends a line; a refusal comes as soon as a line end does, a head without any is timed out."""
    caller = Caller().send(get().replace(b"\r\n", line_end)).tick(WireLimits().header_timeout_s + 2)
    assert [400 if b"\n" in line_end else 408] == caller.statuses()
    assert caller.closed


@pytest.mark.parametrize(
    "body",
    [
        b"g\r\nabc\r\n0\r\n\r\n",
        b"-1\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n0\r\n\r\n",
        b"\r\nabc\r\n0\r\n\r\n",
        b"3\nabc\r\n0\r\n\r\n",
        b"3\rabc\r\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabc0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"ffffffffffffffffff\r\nabc\r\n0\r\n\r\n",
        b"3;" + b"x" * MIB,
        b"3" * 300,
        b"3\r\nabc\r\n0\r\nX-Trailer: 1\r\n\r\n",
        b"3\r\nabc\r\n0\r\n\n",
    ],
    ids=repr,
)
def test_case_75_broken_chunks_are_refused(body: bytes) -> None:
    """Sizes, extensions, line ends, trailers: 400 and the end, the handler never called."""
    caller = refused(chunked([]).removesuffix(b"0\r\n\r\n") + body, 400)
    assert caller.closed
    assert [] == caller.application.seen


@pytest.mark.parametrize("kind", ["multipart/form-data; boundary=x", "application/vnd.bentoml+pickle", "text/plain"])
def test_case_82_a_refused_content_type_leaves_the_body_unread(kind: str) -> None:
    """The application decides on the head; a large body is not waited for."""
    caller = Caller().send(post("/echo", b"x" * MIB, f"Content-Type: {kind}")[:300])
    assert [415] == caller.statuses()
    assert [] == caller.application.seen


@pytest.mark.parametrize("coding", ["br", "zstd", "gzip, gzip", "gzip,deflate", "compress", "x", "gzip;q=1"])
def test_case_83_other_codings_are_refused(coding: str) -> None:
    """415 names what is accepted; two fields are two codings."""
    for request in (
        post("/echo", b"{}", f"Content-Encoding: {coding}"),
        post("/echo", b"{}", "Content-Encoding: gzip", f"content-encoding: {coding}"),
    ):
        answer = Caller().send(request).answers()[0]
        assert (415, "gzip, deflate") == (answer.status, answer.headers["accept-encoding"])


def test_case_83_a_bomb_is_refused_while_it_is_inflated() -> None:
    """Over the body limit, or over the ratio: 413, with memory near the limit and not near the promise."""
    bomb = gzip.compress(bytes(64 * MIB))
    request = post("/echo", bomb, "Content-Encoding: gzip")
    tracemalloc.start()
    caller = Caller(WireLimits(max_body_bytes=1 * MIB, max_decompression_ratio=10_000)).send(request)
    by_ratio = Caller().send(request)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert ([413], [413]) == (caller.statuses(), by_ratio.statuses())
    assert b"limit of 1048576 bytes after decompression" in caller.output
    assert b"more than 100 times" in by_ratio.output
    assert peak < 20 * MIB


def test_case_83_a_small_body_of_zeros_is_no_bomb() -> None:
    """The ratio is held above 64 KiB only."""
    body = bytes(60 * KIB)
    assert body == Caller().send(post("/echo", gzip.compress(body), "Content-Encoding: gzip")).answers()[0].body


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_case_84_corrupt_bodies_are_refused_and_freed(coding: str) -> None:
    """Cut, flipped, followed by garbage or by a second stream, empty, not compressed at all."""
    good = (gzip.compress if coding == "gzip" else zlib.compress)(b"plain text " * 50)
    flipped = good[:20] + bytes([good[20] ^ 0xFF]) + good[21:]
    for body in (good[:-1], good[:5], flipped, good + b"x", good + good, b"x", b"{}not compressed"):
        assert refused(post("/echo", body, f"Content-Encoding: {coding}"), 400).closed


def test_case_85_expect_with_too_large_a_length_gets_no_100() -> None:
    """413 at once and the end: whether the body still comes is not known."""
    caller = refused(post("/echo", b"x" * 5_000, "Expect: 100-continue")[:-5_000], 413, SMALL)
    assert b"100 Continue" not in caller.output


def test_case_85_a_refused_route_with_expect_gets_no_100() -> None:
    """As above, for any refusal, however small the body."""
    caller = refused(post("/unknown", b"abc", "Expect: 100-continue")[:-3], 404)
    assert b"100 Continue" not in caller.output


def test_case_85_other_expectations_are_refused() -> None:
    """417."""
    refused(post("/echo", b"abc", "Expect: 200-ok"), 417)
    refused(post("/echo", b"abc", "Expect: 100-continue", "Expect: 100-continue"), 417)
