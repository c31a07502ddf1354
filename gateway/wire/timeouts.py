"""When an HTTP/2 connection has waited long enough: bodies, silent peers, idle and old connections."""

from __future__ import annotations

from gateway.wire import frames
from gateway.wire.frames import ErrorCode
from gateway.wire.http2 import Http2Connection
from gateway.wire.stream import Stream


class TimedHttp2(Http2Connection):
    """A connection whose waits end."""

    def tick(self, now: float) -> None:
        """Apply every time limit."""
        tick(self, now)


def tick(connection: Http2Connection, now: float) -> None:
    """Apply every time limit. Called about once a second, so a limit is kept to within a second."""
    if connection.closed:
        return
    _late_bodies(connection, now)
    limits, outbound = connection.limits, connection.outbound
    if connection.draining:
        if not connection.streams or now - connection.drained_at > limits.max_age_grace_s:
            connection.fail(ErrorCode.NO_ERROR, "")
    elif outbound.blocked and now - outbound.moved_at > limits.write_timeout_s:
        connection.fail(ErrorCode.ENHANCE_YOUR_CALM, "answers are not taken")
    elif not connection.started and now - connection.opened_at > limits.header_timeout_s:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "no preface in time")
    elif connection.header_block_open and now - connection.active_at > limits.header_timeout_s:
        connection.fail(ErrorCode.PROTOCOL_ERROR, "header block not finished in time")
    elif not connection.streams and now - connection.active_at > limits.idle_timeout_s:
        connection.fail(ErrorCode.NO_ERROR, "idle")
    elif now - connection.opened_at > connection.age_limit_s:
        connection.drain(now)
    elif connection.streams:
        _keepalive(connection, now)


def _late_bodies(connection: Http2Connection, now: float) -> None:
    limits = connection.limits
    for stream in list(connection.streams.values()):
        if (
            not stream.remote_closed
            and not stream.acceptor.streaming
            and now - stream.opened > _patience(stream, limits.min_body_rate, limits.body_timeout_s)
        ):
            stream.acceptor.timed_out(stream)


def _patience(stream: Stream, min_rate: int, base_s: float) -> float:
    """Seconds that a body may take: the base, and more for one that keeps the minimum rate."""
    return base_s + stream.received / min_rate


def _keepalive(connection: Http2Connection, now: float) -> None:
    """A peer with open streams that says nothing is asked, then given up."""
    controls, limits = connection.controls, connection.limits
    if controls.pinged_at:
        if now - controls.pinged_at > limits.keepalive_timeout_s:
            connection.fail(ErrorCode.NO_ERROR, "no answer to PING")
    elif now - connection.active_at > limits.keepalive_s:
        controls.pinged_at = now
        connection.outbound.emit(frames.frame(frames.PING, 0, 0, b"tidegate"))
