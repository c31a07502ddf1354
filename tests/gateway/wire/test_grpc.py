"""gRPC calls on the frames of one connection: routes, deadlines, unary and streaming answers, statuses and what goes with them."""

from __future__ import annotations

import gzip
import logging
from collections.abc import Callable

import numpy as np
import pytest

from gateway.errors import Code, invalid
from gateway.limits import Limits, ServingLimits, WireLimits
from gateway.wire.frames import ErrorCode
from gateway.wire.grpc import GrpcRouter, Message, Method, fail, finish, reply, reply_alike, reply_parts, send
from gateway.wire.head import RequestHead
from gateway.wire.status import ANSWERS
from gateway.wire.stream import Acceptor, Stream
from tests.gateway.wire.http2_wire import Answer, Wire, data, head, read_answers, read_frames, request, window

LIMITS = Limits(wire=WireLimits(max_body_bytes=100_000), serving=ServingLimits(default_deadline_s=10.0, max_deadline_s=30.0))


def frame(message: bytes, flag: int = 0) -> bytes:
    return bytes((flag,)) + len(message).to_bytes(4, "big") + message


class Call:
    """A streaming call that echoes."""

    def __init__(self, server: Server, stream: Stream) -> None:
        self.server, self.stream = server, stream

    def message(self, message: Message, owed: int) -> None:
        self.server.took(bytes(message))
        if message == b"stop":
            finish(self.stream, Code.UNAVAILABLE, "stopped")
        elif message == b"bad":
            raise invalid("this message")
        else:
            send(self.stream, bytes(message).upper())
        self.stream.consume(owed)

    def half_closed(self) -> None:
        finish(self.stream)


class Server:
    """Methods that echo, hold, fail and stream, on one connection."""

    def __init__(self, *, compression: bool = False, unary: Callable[[Stream, Message], None] | None = None, **settings: int) -> None:
        self.messages: list[bytes] = []
        self.deadlines: list[float] = []
        self.held: list[Stream] = []
        self.unary = unary
        methods = {b"/t.S/Echo": Method(unary=self.echo), b"/t.S/Hold": Method(unary=self.hold), b"/t.S/Talk": Method(streaming=self.talk)}
        self.router = GrpcRouter(methods, LIMITS, compression=compression)
        self.wire = Wire(LIMITS.wire, self).start(**settings)  # type: ignore[arg-type]

    def route(self, head: RequestHead) -> Acceptor:
        assert head is not None
        return self.router.route(head)

    def took(self, message: bytes) -> None:
        self.messages.append(message)

    def echo(self, stream: Stream, data: Message, start: int, end: int, deadline: float) -> None:
        message = data[start:end]
        self.took(bytes(message))
        self.deadlines.append(deadline)
        if self.unary is None:
            reply(stream, bytes(message))
        else:
            self.unary(stream, message)

    def hold(self, stream: Stream, data: Message, start: int, end: int, deadline: float) -> None:
        self.held.append(stream)

    def talk(self, stream: Stream, deadline: float) -> Call:
        self.deadlines.append(deadline)
        return Call(self, stream)

    def ask(
        self, path: str = "/t.S/Echo", body: bytes = frame(b"hi"), *fields: tuple[str, str], stream_id: int = 1, method: str = "POST"
    ) -> Answer:
        block = self.wire.block(request(path, *fields, method=method))
        self.wire.send(head(stream_id, block), data(stream_id, body, last=True))
        return read_answers(b"".join(self.wire.writes))[stream_id]


def status(answer: Answer) -> int:
    assert answer.ended
    return int(answer.heads[-1][b"grpc-status"])


# --- unary -----------------------------------------------------------------------------------------------------------------------


def test_a_unary_answer_is_a_head_a_message_and_a_status() -> None:
    """200, the content type of gRPC, and grpc-status 0 in the trailers."""
    answer = Server().ask()
    assert {b":status": b"200", b"content-type": b"application/grpc"} == answer.heads[0]
    assert ({b"grpc-status": b"0"}, frame(b"hi"), True) == (answer.heads[1], answer.body, answer.ended)


@pytest.mark.parametrize("code", [code for code in Code if code is not Code.OK])
def test_an_error_is_a_head_alone_with_its_number_and_its_pushback(code: Code) -> None:
    """Trailers-Only: one HEADERS frame that ends the stream; the text is percent-encoded; retries are told when, or never."""
    answer = Server(unary=lambda stream, message: fail(stream, code, "ü 100%\n")).ask()
    (only,) = answer.heads
    row = ANSWERS[code]
    pushback = None if row.pushback_ms is None else b"%d" % row.pushback_ms
    assert (b"200", b"application/grpc", b"%C3%BC 100%25%0A") == (only[b":status"], only[b"content-type"], only[b"grpc-message"])
    assert (b"%d" % row.grpc, pushback) == (only[b"grpc-status"], only.get(b"grpc-retry-pushback-ms"))
    assert (b"", True, code is Code.UNIMPLEMENTED) == (answer.body, answer.ended, b"grpc-accept-encoding" in only)


@pytest.mark.parametrize(
    ("path", "fields", "body", "number"),
    [
        ("/t.S/None", (), frame(b"hi"), 12), ("/t.S/Echo/", (), frame(b"hi"), 12), ("/t.S/%45cho", (), frame(b"hi"), 12),
        ("//t.S/Echo", (), frame(b"hi"), 12), ("/t.S/Echo", (("grpc-timeout", "1x"),), frame(b"hi"), 13), ("/t.S/Echo", (), b"", 12),
        ("/t.S/Echo", (), b"\x00\x00\x00\x00\x09hi", 13), ("/t.S/Echo", (), frame(b"hi", 1), 13),
        ("/t.S/Echo", (), frame(bytes(100_001)), 8),
    ],
)  # fmt: skip
def test_a_call_that_cannot_be_made_has_a_status_and_reaches_no_one(path: str, fields: tuple, body: bytes, number: int) -> None:
    """Paths are compared as bytes; the next call is served."""
    server = Server()
    assert (number, []) == (status(server.ask(path, body, *fields)), server.messages)
    assert 0 == status(server.ask(stream_id=3))


def test_only_post_is_grpc() -> None:
    """UNIMPLEMENTED."""
    assert 12 == status(Server().ask(method="PUT"))


def test_a_message_over_the_limit_is_refused_while_it_comes() -> None:
    """RESOURCE_EXHAUSTED before its end, with a pushback that forbids another try; nothing of it is kept."""
    server = Server()
    wire = server.wire
    wire.send(head(1, wire.block(request("/t.S/Echo"))), *[data(1, bytes(16_384)) for _ in range(7)])
    answer = read_answers(b"".join(wire.writes))[1]
    assert (b"8", b"-1", ErrorCode.NO_ERROR) == (answer.heads[0][b"grpc-status"], answer.heads[0][b"grpc-retry-pushback-ms"], answer.reset)
    assert 0 == wire.connection.buffered_bytes


@pytest.mark.parametrize(
    ("fields", "after"),
    [((), 10.0), ((("grpc-timeout", "250m"),), 0.25), ((("grpc-timeout", "1H"),), 30.0), ((("grpc-timeout", "0S"),), 0.0)],
)
def test_a_unary_deadline_is_the_callers_up_to_the_servers(fields: tuple, after: float) -> None:
    """From the arrival of the call."""
    server = Server()
    server.ask("/t.S/Echo", frame(b"hi"), *fields)
    assert [1_000.0 + after] == pytest.approx(server.deadlines)


def test_a_streaming_call_has_a_deadline_only_if_its_caller_says_so() -> None:
    """For ever, or as said."""
    server = Server()
    server.ask("/t.S/Talk", b"")
    server.ask("/t.S/Talk", b"", ("grpc-timeout", "1H"), stream_id=3)
    assert [float("inf"), 4_600.0] == server.deadlines


def test_compression_is_off_unless_it_is_on() -> None:
    """Off: UNIMPLEMENTED, with what is accepted; on: inflated. The answer names the same list in both."""
    body, coding = frame(gzip.compress(b"hi"), 1), ("grpc-encoding", "gzip")
    off = Server().ask("/t.S/Echo", body, coding)
    assert (12, b"identity") == (status(off), off.heads[0][b"grpc-accept-encoding"])
    server = Server(compression=True)
    assert (0, [b"hi"]) == (status(server.ask("/t.S/Echo", body, coding)), server.messages)
    unknown = server.ask("/t.S/Echo", body, ("grpc-encoding", "zstd"), stream_id=3)
    assert (12, b"identity,gzip,deflate") == (status(unknown), unknown.heads[0][b"grpc-accept-encoding"])


def test_an_exception_costs_its_own_call_and_tells_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """INTERNAL; the neighbour is served."""

    def crash(stream: Stream, message: Message) -> None:
        if message == b"hi":
            raise RuntimeError("/srv/secret")
        reply(stream, b"ok")

    server = Server(unary=crash)
    with caplog.at_level(logging.ERROR):
        answer = server.ask()
    assert (13, b"internal error") == (status(answer), answer.heads[0][b"grpc-message"])
    assert 0 == status(server.ask(body=frame(b"ho"), stream_id=3))


# --- streaming ---------------------------------------------------------------------------------------------------------------------


def test_messages_of_a_stream_are_answered_as_they_come() -> None:
    """Several in a frame, one over several frames; the status behind the half-close."""
    server = Server()
    wire = server.wire
    whole = frame(b"a") + frame(b"b") + frame(b"long" * 10)
    wire.send(head(1, wire.block(request("/t.S/Talk"))), data(1, whole[:20]))
    assert frame(b"A") + frame(b"B") == read_answers(b"".join(wire.writes))[1].body
    wire.send(data(1, whole[20:]), data(1, last=True))
    answer = read_answers(b"".join(wire.writes))[1]
    assert (whole.upper(), 0) == (answer.body, status(answer))


@pytest.mark.parametrize(
    ("body", "number", "messages"),
    [
        (frame(b"a") + frame(b"stop") + frame(b"b"), 14, [b"a", b"stop"]), (frame(b"a") + frame(b"bad") + frame(b"b"), 3, [b"a", b"bad"]),
        (frame(b"a") + b"\x00\x00", 13, [b"a"]), (frame(b"a") + frame(b"b", 1), 13, [b"a"]), (frame(b"a") + frame(b"", 7), 13, [b"a"]),
        (frame(b"a") + b"\x00\xff\xff\xff\xff", 8, [b"a"]),
    ],
)  # fmt: skip
def test_a_stream_that_breaks_ends_with_a_status_behind_what_was_answered(body: bytes, number: int, messages: list[bytes]) -> None:
    """And nothing behind the fault is looked at."""
    server = Server()
    answer = server.ask("/t.S/Talk", body)
    assert (number, messages, frame(b"A")) == (status(answer), server.messages, answer.body)


def test_a_stream_that_fails_before_its_first_answer_is_trailers_only() -> None:
    """One head with the status."""
    answer = Server().ask("/t.S/Talk", frame(b"bad"))
    assert (1, 3) == (len(answer.heads), status(answer))


# --- large and many answers --------------------------------------------------------------------------------------------------------


def test_a_large_answer_in_pieces_is_the_same_message() -> None:
    """Through windows that open little by little."""
    parts = [bytes([number]) * 30_000 for number in range(4)]
    server = Server(unary=lambda stream, message: reply_parts(stream, parts))
    server.ask()
    for _ in range(4):
        server.wire.send(window(0, 40_000), window(1, 40_000))
    answer = read_answers(b"".join(server.wire.writes))[1]
    assert (frame(b"".join(parts)), 0) == (answer.body, status(answer))


@pytest.mark.parametrize(("narrow", "gone"), [(False, False), (False, True), (True, True)])
def test_answers_laid_out_together_are_each_its_own(narrow: bool, gone: bool) -> None:
    """Of two connections that alternate; where a window is too narrow or a stream is gone, one by one."""
    first, second = (Server(**({"INITIAL_WINDOW_SIZE": 10} if narrow else {})) for _ in range(2))
    for server in (first, second):
        for stream_id in (1, 3, 5):
            server.wire.send(head(stream_id, server.wire.block(request("/t.S/Hold"))), data(stream_id, frame(b""), last=True))
    if gone:
        first.held[1].outbound.reset(first.held[1], ErrorCode.CANCEL)
    streams = [*first.held, *second.held]
    ids = np.frombuffer(b"".join([b"id-%d" % number for number in range(6)]), np.uint8)
    reply_alike(streams, b"<____:__>", [(1, ids), (6, np.frombuffer(bytes(range(65, 77)), np.uint8))])
    expected = [b"<id-%d:%c%c>" % (number, 65 + 2 * number, 66 + 2 * number) for number in range(6)]
    for server, own in ((first, expected[:3]), (second, expected[3:])):
        server.wire.send(*[window(stream_id, 100) for stream_id in (1, 3, 5)])
        answers = read_answers(b"".join(server.wire.writes))
        for stream_id, message in zip((1, 3, 5), own, strict=True):
            if gone and (server, stream_id) == (first, 3):
                assert (ErrorCode.CANCEL, b"") == (answers[3].reset, answers[3].body)
            else:
                assert (frame(message), 0) == (answers[stream_id].body, status(answers[stream_id]))
        assert {} == server.wire.connection.streams


def test_a_stream_that_is_gone_takes_no_answer() -> None:
    """Nothing is written for it."""
    server = Server()
    server.wire.send(head(1, server.wire.block(request("/t.S/Hold"))), data(1, frame(b""), last=True))
    (stream,) = server.held
    stream.outbound.reset(stream, ErrorCode.CANCEL)
    server.wire.take()
    for answer in (
        lambda: reply(stream, b"x"),
        lambda: fail(stream, Code.INTERNAL, "x"),
        lambda: send(stream, b"x"),
        lambda: finish(stream),
    ):
        answer()
    assert [] == read_frames(server.wire.take())
