"""The time limits of one HTTP/2 connection, on a clock that is moved by the second."""

from __future__ import annotations

import pytest

from gateway.limits import WireLimits
from gateway.wire.frames import ErrorCode
from tests.gateway.wire.http2_wire import PING, Wire, data, raw, read_answers, read_frames, request, window
from tests.gateway.wire.http2_wire import head as head_of

SLOW = WireLimits(body_timeout_s=10.0, min_body_rate=100, stream_window_bytes=65_535, keepalive_s=1_000.0)


def pings(wire: Wire) -> list[bytes]:
    """Payloads of the PING frames that are questions."""
    return [frame.opaque_data for frame in read_frames(wire.take()) if frame.type == PING and "ACK" not in frame.flags]


def test_a_body_may_take_as_long_as_it_keeps_the_rate() -> None:
    """10 s, and a second more for every 100 bytes; then 408 and no more, the neighbours living on."""
    wire = Wire(SLOW).start()
    wire.open(1, "/echo", last=False).open(3, "/echo", last=False)
    for _ in range(30):
        wire.send(data(1, bytes(100)), data(3, bytes(50))).tick(1.0)
    assert [("timed_out", 3)] == wire.program.calls
    wire.send(data(1, b"", last=True))
    assert ("complete", 1, bytes(3_000)) == wire.program.calls[-1]
    assert 0 == wire.closes


def test_a_streaming_call_has_no_time_for_its_body() -> None:
    """Its deadline is its own matter."""
    wire = Wire(SLOW).start()
    wire.open(1, "/stream", last=False).tick(500.0)
    assert ([("begin", 1)], 0) == (wire.program.calls, wire.closes)


def test_a_request_that_is_whole_is_not_timed() -> None:
    """However long its answer takes."""
    wire = Wire(SLOW).start()
    wire.open(1, "/hold").tick(500.0)
    assert [("complete", 1, b"")] == wire.program.calls
    wire.program.answer(1, b"late")
    assert b"late" == read_answers(wire.take())[1].body


def test_answers_that_are_not_taken_end_the_connection() -> None:
    """RFC 9113 §5.2.2 lets a peer give no window; it may not hold our memory for ever. A window in time starts the clock again."""
    wire = Wire(WireLimits(write_timeout_s=10.0)).start(INITIAL_WINDOW_SIZE=5)
    wire.open(1, "/hold")
    wire.program.answer(1, b"0123456789abcdef")
    wire.tick(9.0).send(window(1, 5)).tick(9.0)
    assert 0 == wire.closes
    wire.tick(2.0)
    assert (ErrorCode.ENHANCE_YOUR_CALM, 1) == (wire.goaway(), wire.closes)
    assert {} == wire.connection.streams


def test_a_silent_peer_is_asked_and_lives_on_when_it_answers() -> None:
    """A PING after keepalive_s of silence, one at a time, only while a request is open."""
    wire = Wire(WireLimits(keepalive_s=10.0, keepalive_timeout_s=5.0, idle_timeout_s=1_000.0)).start()
    wire.tick(50.0)
    assert [] == pings(wire)
    wire.open(1, "/hold").tick(10.0)
    assert [] == pings(wire)
    wire.tick(1.0)
    assert [b"tidegate"] == pings(wire)
    wire.tick(3.0)
    assert [] == pings(wire)
    wire.send(raw(PING, 1, 0, b"tidegate")).tick(11.0)
    assert ([b"tidegate"], 0) == (pings(wire), wire.closes)


def test_a_peer_that_does_not_answer_the_ping_is_given_up() -> None:
    """Whatever else it sends: the answer is what shows that it reads."""
    wire = Wire(WireLimits(keepalive_s=10.0, keepalive_timeout_s=5.0)).start()
    wire.open(1, "/hold").tick(11.0)
    wire.send(raw(PING, 0, 0, bytes(8))).tick(5.0)
    assert 0 == wire.closes
    wire.tick(1.0)
    assert (ErrorCode.NO_ERROR, 1, [1]) == (wire.goaway(), wire.closes, wire.program.cancelled)


@pytest.mark.parametrize(("age", "grace"), [(100.0, 20.0), (30.0, 60.0)])
def test_an_old_connection_says_goaway_takes_no_new_request_and_closes_in_its_grace(age: float, grace: float) -> None:
    """RFC 9113 §6.8: the open request goes on, a new one is refused, and the grace ends all."""
    wire = Wire(WireLimits(max_age_s=age, max_age_grace_s=grace, keepalive_s=1_000.0)).start()
    wire.open(1, "/hold").tick(age)
    assert wire.goaway() is None
    wire.tick(1.0)
    assert (ErrorCode.NO_ERROR, 0) == (wire.goaway(), wire.closes)
    wire.send(head_of(3, wire.block(request("/echo")), last=True))
    assert ErrorCode.REFUSED_STREAM == read_answers(wire.take())[3].reset
    wire.tick(grace)
    assert (0, []) == (wire.closes, wire.program.cancelled)
    wire.tick(1.0)
    assert (1, [1]) == (wire.closes, wire.program.cancelled)


def test_a_closed_connection_has_no_time_limits() -> None:
    """It says nothing more."""
    wire = Wire().start()
    wire.send(raw(99, 0, 0, bytes(3)), raw(PING, 0, 1, bytes(8)))
    assert 1 == wire.closes
    wire.take()
    assert (b"", 1) == (wire.tick(10_000.0).take(), wire.closes)
