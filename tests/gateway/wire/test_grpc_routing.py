"""Which acceptor a gRPC call gets from its header block: first calls, repeated ones, ones that differ in a single field."""

from __future__ import annotations

from gateway.errors import Code
from gateway.limits import Limits
from gateway.wire.blocks import HeaderBlocks
from gateway.wire.grpc import GrpcRouter, Method, Refusal, UnaryAcceptor
from gateway.wire.hpack import encode_headers

PATH = b"/a.B/C"
CALL = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", PATH), (b"te", b"trailers"), (b"content-type", b"application/grpc")]


def blocks() -> HeaderBlocks:
    """A connection's blocks before a router with one unary method."""
    limits = Limits()
    return HeaderBlocks(limits.wire, GrpcRouter({PATH: Method(unary=lambda *_: None)}, limits).route)


def encoding_of(connection: HeaderBlocks, *more: tuple[bytes, bytes]) -> bytes:
    """The grpc-encoding that the acceptor of a call knows of."""
    acceptor = connection.request(1, encode_headers([*CALL, *more]))[1]
    assert isinstance(acceptor, UnaryAcceptor)
    return acceptor._encoding


def test_a_routing_field_is_never_taken_for_metadata() -> None:
    """However often, on whichever connection, behind whatever: an encoding is the call's own."""
    first, second = blocks(), blocks()
    for connection in (first, second, first):
        assert b"" == encoding_of(connection)
        assert b"" == encoding_of(connection, (b"x-id", b"1"))
        assert b"gzip" == encoding_of(connection, (b"grpc-encoding", b"gzip"))
        assert b"" == encoding_of(connection, (b"x-id", b"2"))
        assert b"brotli" == encoding_of(connection, (b"x-id", b"3"), (b"grpc-encoding", b"brotli"))


def test_metadata_over_the_limit_is_refused_as_grpc() -> None:
    """The content type is among the first fields, so the call ends with a status that a gRPC client reads."""
    connection = blocks()
    for more in ([(b"k", b"v" * 20_000)], [(b"k%d" % number, b"v") for number in range(2_000)]):
        head, acceptor, _, _ = connection.request(1, encode_headers([*CALL, *more]))
        assert head.oversized
        assert isinstance(acceptor, Refusal)
    assert b"" == encoding_of(connection)


def test_a_call_is_recognised_with_its_credential() -> None:
    """Each credential has an acceptor of its own; a call without one has another; the rest of the metadata is no matter."""
    connection = blocks()
    found = {}
    for number in range(3):
        for credential in (b"Bearer a", b"Bearer b", None):
            more = [(b"x-id", b"%d" % number)] + ([] if credential is None else [(b"authorization", credential)])
            _, acceptor, metadata, _ = connection.request(1, encode_headers([*CALL, *more]))
            assert b"Bearer" not in metadata
            assert found.setdefault(credential, acceptor) is acceptor
    assert 3 == len(set(found.values()))


def test_what_is_momentary_is_not_remembered() -> None:
    """However often the same block comes; what lasts is."""
    for momentary in (True, False):
        limits = Limits()
        connection = HeaderBlocks(limits.wire, lambda head, momentary=momentary: Refusal(Code.UNAUTHENTICATED, "no", momentary=momentary))
        block = encode_headers(CALL)
        seen = {connection.request(1, block)[1] for _ in range(4)}
        assert (4, not momentary) == (len(seen), block in connection.known)
