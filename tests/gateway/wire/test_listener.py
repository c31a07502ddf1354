"""Connections as asyncio hands them over: who is let in, who speaks what, who waited too long, and how all of them end."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import Callable
from typing import Any

import pytest

from gateway.identity.certificates import Certificate
from gateway.limits import LONG_READ, WireLimits
from gateway.wire.listener import Behind, Listener, Peer, speaks_http2
from gateway.wire.timeouts import TimedHttp2
from tests.gateway.wire import http1_wire, http2_wire
from tests.gateway.wire.http2_wire import GOAWAY, PREFACE, Program, read_frames, setting

NO_ERROR, PROTOCOL_ERROR, CALM = 0, 1, 11


class Transport:
    """The other side of one connection."""

    def __init__(self, address: str = "10.0.0.1") -> None:
        self.address = address
        self.output = b""
        self.reading = True
        self.closed = self.aborted = False
        self.unsent = 0
        self.protocol: Any = None

    def get_extra_info(self, name: str) -> Any:
        return (self.address, 4_000) if name == "peername" else None

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_protocol(self, protocol: Any) -> None:
        self.protocol = protocol

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.output += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = True

    @property
    def gone(self) -> bool:
        return self.closed or self.aborted

    def goaway(self) -> int | None:
        """The code of the last GOAWAY."""
        codes = [frame.error_code for frame in read_frames(self.output) if frame.type == GOAWAY]
        return codes[-1] if codes else None


class Floor:
    """A listener with a clock that tests move, and its callers."""

    def __init__(self, **limits: float) -> None:
        self.now_s = 1_000.0
        self.program = Program()
        self.application = http1_wire.Application()
        behind = Behind(self.application, self.program.route, TimedHttp2)
        self.listener = Listener(WireLimits(**limits), behind, clock=self, rng=random.Random(1))  # type: ignore[arg-type]

    def now(self) -> float:
        return self.now_s

    wall = now

    def connect(self, *data: bytes, address: str = "10.0.0.1") -> tuple[Peer, Transport]:
        peer, transport = Peer(self.listener), Transport(address)
        peer.connection_made(transport)  # type: ignore[arg-type]
        for piece in data:
            peer.data_received(piece)
        return peer, transport

    def wait(self, seconds: float) -> None:
        """A sweep every second."""
        until = self.now_s + seconds
        while self.now_s < until:
            self.now_s = min(until, self.now_s + 1.0)
            self.listener.sweep()
            self.listener.flush()


def floored(deed: Callable[[Floor], None], **limits: float) -> None:
    """Run a test inside a loop, which a listener needs; every connection is closed at its end."""

    async def run() -> None:
        floor = Floor(**limits)
        deed(floor)
        await floor.listener.close()

    asyncio.run(run())


HTTP2 = PREFACE + setting()
OPEN = http2_wire.head(1, http2_wire.hpack.Encoder().encode(http2_wire.request("/hold")))  # its body never comes


# --- who is let in ---------------------------------------------------------------------------------------------------------------------


def test_max_connections_holds_over_all_peers_and_a_place_is_free_again_when_one_leaves() -> None:
    """The one past it is closed at once, and counted."""

    def deed(floor: Floor) -> None:
        peers = [floor.connect(address=f"10.0.0.{number}") for number in range(4)]
        assert [False, False, False, True] == [transport.aborted for _, transport in peers]
        assert (3, 1) == (len(floor.listener.peers), floor.listener.refused)
        peers[3][0].connection_lost(None)
        peers[0][0].connection_lost(None)
        assert 2 == len(floor.listener.peers)
        assert not floor.connect()[1].aborted

    floored(deed, max_connections=3)


def test_max_connections_per_peer_holds_by_address() -> None:
    """Another address is not affected; addresses without a connection are forgotten."""

    def deed(floor: Floor) -> None:
        mine = [floor.connect() for _ in range(3)]
        assert [False, False, True] == [transport.aborted for _, transport in mine]
        other, _ = floor.connect(address="10.0.0.2")
        for peer, _ in [*mine, (other, None)]:
            peer.connection_lost(None)
            peer.connection_lost(None)
        assert ({}, set()) == (floor.listener._by_address, floor.listener.peers)
        assert not floor.connect()[1].aborted

    floored(deed, max_connections_per_peer=2)


# --- who speaks what -------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "http2"),
    [(b"", None), (b"P", None), (b"PR", None), (b"PRI", True), (PREFACE, True), (b"PRI * HTTP/1.1\r\n", False), (b"POST", None),
     (b"POST ", False), (b"GET /", False), (b"OPTIONS *", False), (b"CONNECT a", False), (b"BREW / HTTP/1.1\r\n", False),
     (b"hello\n", True), (b"\x16\x03\x01\n", True), (b"x" * 4_095, None), (b"x" * 4_096, True)],
)  # fmt: skip
def test_the_first_bytes_tell_the_protocol(data: bytes, http2: bool | None) -> None:
    """Garbage goes to HTTP/2, which says GOAWAY (RFC 9113 §3.4); what claims to be HTTP/1.x is told in HTTP/1.1."""
    assert http2 is speaks_http2(data)


@pytest.mark.parametrize("cut", range(1, 8))
def test_either_protocol_is_served_however_its_first_bytes_come(cut: int) -> None:
    """Cut anywhere."""

    def deed(floor: Floor) -> None:
        for data in (HTTP2 + OPEN + http2_wire.data(1, b"x", last=True), http1_wire.post("/echo")):
            _, transport = floor.connect(data[:cut], data[cut:])
            floor.listener.flush()
            assert transport.output
            assert not transport.gone
        assert (["complete"], 1) == ([call[0] for call in floor.program.calls], len(floor.application.seen))

    floored(deed)


# --- who waited too long -----------------------------------------------------------------------------------------------------------------


LATE = [
    pytest.param({"header_timeout_s": 5}, [], 5, None, id="silence"),
    pytest.param({"header_timeout_s": 5}, [b"PR"], 5, None, id="too few bytes to tell"),
    pytest.param({"header_timeout_s": 5}, [PREFACE[:10]], 5, PROTOCOL_ERROR, id="half a preface"),
    pytest.param({"header_timeout_s": 5}, [HTTP2, OPEN[:3] + b"\x01\x00" + OPEN[5:]], 5, PROTOCOL_ERROR, id="half a header block"),
    pytest.param({"header_timeout_s": 5}, [b"GET /live HT"], 5, None, id="half an HTTP/1.1 head"),
    pytest.param({"body_timeout_s": 5}, [http1_wire.post("/echo", b"abc")[:-1]], 5, None, id="half an HTTP/1.1 body"),
    pytest.param({"idle_timeout_s": 5}, [http1_wire.get()], 5, None, id="idle HTTP/1.1"),
    pytest.param({"idle_timeout_s": 5}, [HTTP2], 5, NO_ERROR, id="idle HTTP/2"),
    pytest.param({"keepalive_s": 5, "keepalive_timeout_s": 3, "body_timeout_s": 99}, [HTTP2, OPEN], 9, NO_ERROR, id="no answer to PING"),
]


@pytest.mark.parametrize(("limits", "sent", "after", "code"), LATE)
def test_a_connection_is_ended_when_its_time_is_over_and_not_before(limits: dict, sent: list[bytes], after: int, code: int | None) -> None:
    """To within the second of a sweep."""

    def deed(floor: Floor) -> None:
        _, transport = floor.connect(*sent)
        floor.wait(after)
        assert not transport.gone
        floor.wait(3)
        assert transport.gone
        if code is not None:
            assert code == transport.goaway()

    floored(deed, **limits)


def test_a_body_that_does_not_come_is_answered_and_the_connection_lives_on() -> None:
    """HTTP/2: the stream is over, not its neighbours."""

    def deed(floor: Floor) -> None:
        _, transport = floor.connect(HTTP2, OPEN)
        floor.wait(5)
        assert [] == floor.program.calls
        floor.wait(2)
        assert [("timed_out", 1)] == floor.program.calls
        assert not transport.gone

    floored(deed, body_timeout_s=5)


def test_a_peer_that_takes_nothing_is_closed() -> None:
    """Write timeout; one that takes something in time is not, and is read again."""

    def deed(floor: Floor) -> None:
        for data in (HTTP2, http1_wire.get()):
            stuck, transport = floor.connect(data)
            slow, other = floor.connect(data, address="10.0.0.2")
            for peer in (stuck, slow):
                peer.pause_writing()
            assert (False, False) == (transport.reading, other.reading)
            floor.wait(8)
            slow.resume_writing()
            assert (False, True) == (transport.reading, other.reading)
            floor.wait(3)
            assert (True, False) == (transport.aborted, other.gone)

    floored(deed, write_timeout_s=10)


def test_what_a_peer_does_not_take_waits_and_leaves_when_it_does() -> None:
    """Bodies wait while the transport is full; reading goes on with the other half, not before."""

    def deed(floor: Floor) -> None:
        peer, transport = floor.connect(HTTP2, OPEN, http2_wire.data(1, b"x", last=True))
        peer.pause_writing()
        stream = floor.program.streams[1]
        stream.outbound.send_headers(stream, http2_wire.HEAD)
        stream.outbound.send_data(stream, b"body", last=True)
        peer._resume()
        floor.listener.flush()
        assert (False, True) == (transport.reading, b"body" not in transport.output)
        peer.resume_writing()
        floor.listener.flush()
        assert (True, True) == (transport.reading, b"body" in transport.output)

    floored(deed)


def test_a_peer_that_takes_less_than_it_asks_for_is_closed_past_the_send_buffer() -> None:
    """By bytes, before the time is over."""

    def deed(floor: Floor) -> None:
        _, transport = floor.connect(HTTP2)
        transport.unsent = 1_000
        floor.wait(1)
        assert not transport.gone
        transport.unsent = 1_001
        floor.wait(1)
        assert transport.aborted

    floored(deed, max_send_buffer_bytes=1_000)


def test_old_connections_end_at_different_times_and_finish_what_is_open() -> None:
    """GOAWAY after max_age ± 10 %; the open request is answered within the grace, and then the connection closes."""

    def deed(floor: Floor) -> None:
        peers = [floor.connect(HTTP2, OPEN, http2_wire.data(1, b"x", last=True), address=f"10.0.0.{number}") for number in range(20)]
        ends: dict[int, float] = {}
        for _ in range(120):
            floor.wait(1)
            for number, (_, transport) in enumerate(peers):
                if number not in ends and transport.goaway() is not None:
                    ends[number] = floor.now_s - 1_000.0
        assert 90 <= min(ends.values()) <= 101
        assert 101 <= max(ends.values()) <= 111
        assert (20, True) == (len(ends), len(set(ends.values())) > 8)
        assert not [transport for _, transport in peers if transport.gone]
        stream = floor.program.streams[1]
        stream.outbound.respond(stream, http2_wire.HEAD, b"late", None)
        floor.wait(1)
        assert 1 == sum(transport.closed for _, transport in peers)
        floor.wait(60)
        assert 20 == sum(transport.closed for _, transport in peers)

    floored(deed, max_age_s=100, max_age_grace_s=50, keepalive_s=1_000)


# --- the end -----------------------------------------------------------------------------------------------------------------------------


def test_a_drain_takes_no_one_in_and_lets_everyone_finish() -> None:
    """Those without a request go at once, the others when they are answered."""

    def deed(floor: Floor) -> None:
        _, fresh = floor.connect()
        _, idle1 = floor.connect(http1_wire.get())
        _, idle2 = floor.connect(HTTP2)
        _, busy1 = floor.connect(http1_wire.post("/later"))
        _, busy2 = floor.connect(HTTP2, OPEN, http2_wire.data(1, b"x", last=True))
        floor.listener.drain()
        floor.wait(1)
        assert [True, True, True, False, False] == [transport.closed for transport in (fresh, idle1, idle2, busy1, busy2)]
        assert floor.connect()[1].aborted
        floor.application.answer()
        floor.program.answer(1)
        floor.wait(1)
        assert [True, True] == [busy1.closed, busy2.closed]

    floored(deed)


def test_a_lost_connection_cancels_its_requests() -> None:
    """Of either protocol."""

    def deed(floor: Floor) -> None:
        first, _ = floor.connect(http1_wire.post("/later"))
        second, _ = floor.connect(HTTP2, OPEN, http2_wire.data(1, b"x", last=True))
        for peer in (first, second):
            peer.connection_lost(None)
        assert (True, [1]) == (floor.application.pending[0].cancelled, floor.program.cancelled)
        assert set() == floor.listener.peers

    floored(deed)


def test_a_half_close_ends_http_2_and_lets_http_1_1_answer() -> None:
    """What was asked before it is answered over HTTP/1.1 to callers that had announced to close."""

    def deed(floor: Floor) -> None:
        peer, transport = floor.connect(http1_wire.post("/later", b"{}", "Connection: close"))
        assert peer.eof_received()
        floor.application.answer()
        assert b"HTTP/1.1 200 OK" in transport.output
        assert not floor.connect(HTTP2)[0].eof_received()
        assert not floor.connect()[0].eof_received()

    floored(deed)


def test_the_writes_of_one_tick_leave_together() -> None:
    """One write per connection, at the flush of the batch that answered it."""

    def deed(floor: Floor) -> None:
        _, transport = floor.connect(HTTP2 + OPEN + http2_wire.data(1, b"a", last=True))
        stream = floor.program.streams[1]
        before = transport.output
        writes: list[bytes] = []
        transport.write = writes.append  # type: ignore[method-assign]
        stream.outbound.send_headers(stream, http2_wire.HEAD)
        stream.outbound.send_data(stream, b"body", last=True)
        assert ([], True) == (writes, before == transport.output)
        floor.listener.flush()
        floor.listener.flush()
        assert 1 == len(writes)

    floored(deed)


class Book:
    """A gate that lets everybody in and notes what it was told."""

    def __init__(self, expected: int) -> None:
        self.held: list[int] = []
        self.full = asyncio.Event()
        self._expected = expected

    def may_accept(self) -> bool:
        return True

    def holds(self, connections: int) -> None:
        self.held.append(connections)
        if connections >= self._expected:
            self.full.set()


def test_a_connection_counts_once_from_the_moment_it_is_taken() -> None:
    """Also between its admission and the end of what opened it: one too many for a moment lets another process take two in a row."""
    sockets = 40

    async def run() -> list[int]:
        floor, book = Floor(), Book(sockets)
        listener = Listener(floor.listener.limits, floor.listener.behind, clock=floor, rng=random.Random(1), gate=book)  # type: ignore[arg-type]
        sock = socket.create_server(("127.0.0.1", 0), backlog=sockets)
        listener.listen(sock)
        callers = [socket.create_connection(sock.getsockname(), timeout=5) for _ in range(sockets)]
        await asyncio.wait_for(book.full.wait(), 10)
        for caller in callers:
            caller.close()
        await listener.close()
        await floor.listener.close()
        return book.held

    held = asyncio.run(run())
    assert sockets == max(held)
    assert [1, 2, 3] == [count for place, count in enumerate(held) if count > max(held[:place], default=0)][:3]


def test_who_has_shown_a_certificate_meets_a_program_of_its_own() -> None:
    """Whichever protocol it speaks; who showed none, or speaks in the clear, meets the usual one."""

    class Secured(Transport):
        """A transport behind a handshake."""

        def __init__(self, shown: Any) -> None:
            super().__init__()
            self.shown = shown

        def get_extra_info(self, name: str) -> Any:
            return self if name == "ssl_object" else super().get_extra_info(name)

        def selected_alpn_protocol(self) -> str | None:
            return None

        def getpeercert(self) -> Any:
            return self.shown

    def deed(floor: Floor) -> None:
        met: list[tuple[str, ...]] = []

        def known(certificate: Certificate) -> Behind:
            met.append(certificate.names)
            return Behind(http1_wire.Application(), own.route, TimedHttp2)

        own = Program()
        floor.listener.behind = Behind(floor.application, floor.program.route, TimedHttp2, known=known)
        subject, after = ((("commonName", "ann"),),), "Jan  1 00:00:00 2031 GMT"
        for shown in ({"subject": subject, "subjectAltName": (("DNS", "a.example"), ("other", "x")), "notAfter": after}, {}, None):
            peer = Peer(floor.listener)
            peer.connection_made(Secured(shown))  # type: ignore[arg-type]
            peer.data_received(HTTP2 + OPEN)
        floor.connect(HTTP2 + OPEN)
        assert [("dns:a.example", "cn:ann")] == met
        assert (1, 3) == (len(own.heads), len(floor.program.heads))

    floored(deed)


HTTP1_BODY = http1_wire.post("/echo", bytes(LONG_READ + 1_000))


@pytest.mark.parametrize("opening", [HTTP2 + OPEN, HTTP1_BODY[:500]], ids=["HTTP/2", "HTTP/1.1"])
@pytest.mark.parametrize(("size", "reads_on"), [(LONG_READ - 1, True), (LONG_READ, False)])
def test_a_long_read_lets_other_connections_be_read_first(opening: bytes, size: int, reads_on: bool) -> None:
    """Reading goes on in the next tick; not where the peer does not take its answers, and not on a connection that is gone."""
    rest = b"".join(http2_wire.data(1, bytes(16_384)) for _ in range(9)) if opening.startswith(PREFACE) else HTTP1_BODY[500:]

    async def run() -> None:
        floor = Floor()
        _, transport = floor.connect(opening, rest[:size])
        stuck, full = floor.connect(opening, rest[:size], address="10.0.0.2")
        stuck.pause_writing()
        _, lost = floor.connect(opening, rest[:size], address="10.0.0.3")
        lost.protocol.connection_lost(None)
        assert (reads_on, False, reads_on) == (transport.reading, full.reading, lost.reading)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert (True, False, reads_on) == (transport.reading, full.reading, lost.reading)
        stuck.resume_writing()
        assert full.reading
        await floor.listener.close()

    asyncio.run(run())


def test_a_long_read_resumes_nothing_that_is_held() -> None:
    """More pipelined requests than may wait, in one long read: it is read on when enough of them are answered."""
    later = http1_wire.post("/later", bytes(30_000))

    async def run() -> None:
        floor = Floor(max_pipelined=2)
        _, transport = floor.connect(later[:100], later[100:] + later * 5)
        assert not transport.reading
        for _ in range(3):
            await asyncio.sleep(0)
        assert not transport.reading
        while not transport.reading:
            floor.application.answer()
        await floor.listener.close()

    asyncio.run(run())
