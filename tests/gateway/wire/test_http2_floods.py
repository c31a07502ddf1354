"""Peers that flood: what they are told, and that the bytes held for them stay within bounds however much they send (RFC 9113 §10.5)."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count, islice

import pytest

from gateway.limits import WireLimits
from gateway.wire.frames import ErrorCode
from gateway.wire.hpack import encode_headers
from gateway.wire.http2 import Http2Connection
from gateway.wire.stream import Outbound, Stream, WholeBody
from tests.gateway.wire.http2_wire import (
    CONTINUATION,
    DATA,
    GOAWAY,
    HEADERS,
    PING,
    PREFACE,
    PRIORITY,
    RST_STREAM,
    SETTINGS,
    read_frames,
    request,
    reset,
    setting,
    window,
)
from tests.gateway.wire.http2_wire import raw as frame

KIB = 1 << 10
LIMITS = WireLimits(
    max_streams=16, max_frame_bytes=16_384, stream_window_bytes=65_535, connection_window_bytes=1 << 20, max_buffered_bytes=128 * KIB,
    max_send_buffer_bytes=128 * KIB, max_resets=100, max_control_frames=200,
)  # fmt: skip
HEAD = encode_headers(request("/hold"))
ANSWER = encode_headers([(b":status", b"200")])
SENT = 4 << 20  # bytes of a flood, unless the connection ends before
HELD = 4 * LIMITS.max_header_bytes + 48 * KIB  # for a peer that has no open request: a header block in progress, a frame, small things


class Takes(WholeBody):
    """Takes whole requests and never answers."""

    streaming = False
    max_body_bytes = 1 << 30

    def complete(self, stream: Stream, body: bytes) -> None:
        """Forget it."""

    def too_large(self, stream: Stream) -> None:
        """It has no bound."""

    timed_out = too_large


class Hurries(Takes):
    """Answers a request before its body has come, so that its stream must be remembered as one that is over."""

    streaming = True

    def begin(self, stream: Stream) -> None:
        stream.outbound.send_headers(stream, ANSWER, last=True)


class Talks:
    """Answers every piece of a streaming call with a kilobyte."""

    streaming = True

    def begin(self, stream: Stream) -> None:
        stream.outbound.send_headers(stream, ANSWER)

    def data(self, stream: Stream, chunk: bytes) -> None:
        stream.outbound.send_data(stream, bytes(KIB))
        stream.consume(len(chunk))

    def end(self, stream: Stream) -> None:
        stream.outbound.send_data(stream, b"", last=True)


class Flood:
    """One connection whose output goes nowhere but for its last frames."""

    def __init__(self, acceptor: object = None, **settings: int) -> None:
        self.output = b""
        self.closes = 0
        dirty: list[Outbound] = []
        self.connection = Http2Connection(
            LIMITS, lambda head: acceptor or Takes(), now=lambda: 1_000.0, write=self._write, wake=dirty.append, close=self._close
        )  # type: ignore[arg-type]
        self.dirty = dirty
        self.connection.receive(PREFACE + setting(**settings))
        self.sent = 0

    def _write(self, parts: list[bytes]) -> None:
        self.output = b"".join(parts)

    def _close(self) -> None:
        self.closes += 1

    def held_after(self, frames: Iterator[bytes]) -> int:
        """Bytes allocated by the connection when it has taken the flood, 50 frames a read."""
        tracemalloc.start()
        before, _ = tracemalloc.get_traced_memory()
        while not self.closes and self.sent < SENT and (read := b"".join(islice(frames, 50))):
            self.connection.receive(read)
            self.sent += len(read)
            while self.dirty:
                self.dirty.pop().flush()
        del read
        held = tracemalloc.get_traced_memory()[0] - before - len(self.output)
        tracemalloc.stop()
        return held

    def told(self) -> ErrorCode | None:
        """The code of the GOAWAY that came last."""
        frames = read_frames(self.output)
        return ErrorCode(frames[-1].error_code) if frames and frames[-1].type == GOAWAY else None


def numbers() -> Iterator[int]:
    return count(1, 2)


def bomb() -> Iterator[bytes]:
    """A value of 3 KB in the dynamic table, and blocks of nothing but references to it: each would decode to 16 MB."""
    stored = HEAD + b"\x40\x01a\x7f" + (3_000 - 127 & 0x7F | 0x80).to_bytes(1, "big") + bytes([3_000 - 127 >> 7]) + b"v" * 3_000
    for number in numbers():
        yield frame(HEADERS, 5, number, stored if number == 1 else HEAD + b"\xbe" * 5_000)
        yield reset(number)


CALM, PROTOCOL = ErrorCode.ENHANCE_YOUR_CALM, ErrorCode.PROTOCOL_ERROR
FLOODS: dict[str, tuple[Callable[[], Iterator[bytes]], ErrorCode]] = {
    "6_4_rapid_reset": (lambda: (frame(HEADERS, 4, number, HEAD) + reset(number) for number in numbers()), CALM),
    "6_9_provoked_resets": (lambda: (frame(HEADERS, 4, n, HEAD) + frame(8, 0, n, bytes(4)) for n in numbers()), CALM),
    "6_5_settings": (lambda: (frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64" * 100) for _ in count()), CALM),
    "6_5_empty_settings": (lambda: (frame(SETTINGS) for _ in count()), CALM),
    "6_5_3_settings_acks": (lambda: (frame(SETTINGS, 1) for _ in count()), CALM),
    "6_7_ping": (lambda: (frame(PING, 0, 0, b"12345678") for _ in count()), CALM),
    "6_7_ping_acks": (lambda: (frame(PING, 1, 0, b"12345678") for _ in count()), CALM),
    "6_3_priority": (lambda: (frame(PRIORITY, 0, number, b"\x00\x00\x00\x00\x10") for number in numbers()), CALM),
    "5_5_unknown_frames": (lambda: (frame(77, 0, 0, b"x" * 100) for _ in count()), CALM),
    "6_1_empty_data": (lambda: (frame(HEADERS, 4, 1, HEAD) if at == 0 else frame(DATA, 0, 1) for at in count()), CALM),
    "6_1_padding_only": (
        lambda: (frame(HEADERS, 4, 1, HEAD) if at == 0 else frame(DATA, 8, 1, b"\x63" + bytes(99)) for at in count()),
        CALM,
    ),
    "6_9_updates_of_a_closed_stream": (
        lambda: (frame(HEADERS, 5, 1, HEAD) + reset(1) if at == 0 else window(1, 1) for at in count()),
        CALM,
    ),
    "6_10_continuation": (
        lambda: (frame(HEADERS, 0, 1, HEAD) if at == 0 else frame(CONTINUATION, 0, 1, b"\x00\x01a\x01b") for at in count()),
        CALM,
    ),
    "6_10_empty_continuation": (lambda: (frame(HEADERS, 0, 1, HEAD) if at == 0 else frame(CONTINUATION, 0, 1) for at in count()), CALM),
    "6_10_large_continuation": (
        lambda: (frame(HEADERS, 0, 1, HEAD) if at == 0 else frame(CONTINUATION, 0, 1, bytes(16_000)) for at in count()),
        CALM,
    ),
    "10_5_1_hpack_bomb": (bomb, CALM),
    "6_9_1_window_overflow": (lambda: (window(0, 2**31 - 1) for _ in count()), ErrorCode.FLOW_CONTROL_ERROR),
    "5_1_reset_of_streams_never_opened": (lambda: (frame(RST_STREAM, 0, number, bytes(4)) for number in numbers()), PROTOCOL),
}


@pytest.mark.parametrize("name", FLOODS)
def test_rfc9113_a_flood_ends_the_connection_and_holds_nothing(name: str) -> None:
    """GOAWAY long before the flood is over, no stream left open, and no bytes kept."""
    make, code = FLOODS[name]
    flood = Flood()
    held = flood.held_after(make())
    assert (code, 1) == (flood.told(), flood.closes)
    assert flood.sent < SENT
    assert (True, {}, 0) == (held < HELD, flood.connection.streams, flood.connection.buffered_bytes)


def test_rfc9113_5_1_2_more_streams_than_allowed_are_refused_without_being_remembered() -> None:
    """Each is reset, which counts as a reset of the peer's."""
    flood = Flood()
    held = flood.held_after(frame(HEADERS, 4, number, HEAD) for number in numbers())
    assert (CALM, True) == (flood.told(), held < HELD)


@pytest.mark.parametrize("flags", [4, 5])
def test_rfc9113_5_1_what_is_remembered_of_closed_streams_is_bounded(flags: int) -> None:
    """10,000 requests, each answered before its end and each leaving numbers out."""
    flood = Flood(Hurries())
    held = flood.held_after(frame(HEADERS, flags, number, HEAD) for number in range(1, 40_000, 4))
    assert (0, {}, True) == (flood.closes, flood.connection.streams, held < HELD)
    assert flood.connection.outbound.last_id > 39_000


def test_rfc9113_5_2_bodies_that_never_end_are_held_up_to_their_bound() -> None:
    """16 streams that together send 4 MB: past max_buffered_bytes a stream is reset, and its bytes are given back."""
    flood = Flood()
    most = 0

    def bodies() -> Iterator[bytes]:
        nonlocal most
        for number in range(1, 33, 2):
            yield frame(HEADERS, 4, number, HEAD)
        for at in range(SENT // 1_000):
            most = max(most, flood.connection.buffered_bytes)
            yield frame(DATA, 0, at % 16 * 2 + 1, bytes(1_000))

    held = flood.held_after(bodies())
    assert LIMITS.max_buffered_bytes // 2 < most <= LIMITS.max_buffered_bytes
    assert (0, 0, True) == (flood.connection.buffered_bytes, flood.closes, held < HELD)


def test_rfc9113_6_9_answers_that_are_not_taken_are_held_up_to_their_bound() -> None:
    """A peer with windows of 0 that asks on and on: its streams are reset and what waited for them is freed."""
    flood = Flood(Talks(), INITIAL_WINDOW_SIZE=0)
    most = 0

    def questions() -> Iterator[bytes]:
        nonlocal most
        for number in islice(numbers(), 20):
            yield frame(HEADERS, 4, number, HEAD)
            for _ in range(400):
                most = max(most, flood.connection.outbound.blocked_bytes)
                yield frame(DATA, 0, number, b"x")

    held = flood.held_after(questions())
    assert LIMITS.max_send_buffer_bytes - 50 * KIB < most <= LIMITS.max_send_buffer_bytes + KIB
    assert ({}, 0) == (flood.connection.streams, flood.connection.outbound.blocked_bytes)
    assert held < LIMITS.max_send_buffer_bytes + HELD


def test_rfc9113_6_9_an_answer_of_any_size_is_sent_where_little_waits() -> None:
    """The bound is on what waits, not on one answer; what comes behind it is reset, and its caller cancelled."""
    flood = Flood(INITIAL_WINDOW_SIZE=0)
    outbound = flood.connection.outbound
    flood.connection.receive(frame(HEADERS, 5, 1, HEAD) + frame(HEADERS, 5, 3, HEAD))
    first, second = (flood.connection.streams[number] for number in (1, 3))
    outbound.respond(first, ANSWER, bytes(300 * KIB), None)
    outbound.respond(second, ANSWER, b"late", None)
    assert ((False, False), (True, True)) == ((first.closed, first.cancelled), (second.closed, second.cancelled))
    for _ in range(300):
        flood.connection.receive(window(1, KIB) + window(0, KIB))
    assert (True, 0, {}) == (first.closed, outbound.blocked_bytes, flood.connection.streams)


def test_rfc9113_6_7_answers_to_control_frames_do_not_pile_up_in_us() -> None:
    """They are handed to the transport with the read that asked for them."""
    flood = Flood()
    flood.connection.receive(frame(PING, 0, 0, b"12345678") * 100)
    assert [] == flood.connection.outbound.parts
    assert 100 == len([each for each in read_frames(flood.output) if each.type == PING])
