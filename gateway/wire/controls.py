"""HTTP/2 frames that carry no request: SETTINGS, PING, WINDOW_UPDATE, RST_STREAM, PRIORITY, GOAWAY (RFC 9113 §6)."""

from __future__ import annotations

import struct
from collections.abc import Callable

from gateway.limits import WireLimits
from gateway.wire import frames
from gateway.wire.floods import FloodGuard
from gateway.wire.frames import ConnectionFault, ErrorCode, Setting, StreamFault
from gateway.wire.stream import TURN_BYTES, Outbound

_SETTINGS_MAX = 32  # of one frame, which may be 1 MiB and then holds 170,000 (CVE-2020-11080); RFC 9113 knows six


def greeting(limits: WireLimits) -> bytes:
    """What the server says first: its SETTINGS, and a connection window larger than the default."""
    settings = {
        Setting.HEADER_TABLE_SIZE: limits.hpack_table_bytes,
        Setting.MAX_CONCURRENT_STREAMS: limits.max_streams,
        Setting.INITIAL_WINDOW_SIZE: limits.stream_window_bytes,
        Setting.MAX_FRAME_SIZE: limits.max_frame_bytes,
        Setting.MAX_HEADER_LIST_SIZE: limits.max_header_bytes,
    }
    more = limits.connection_window_bytes - frames.DEFAULT_WINDOW
    return frames.settings_frame(settings) + (frames.window_update(0, more) if more > 0 else b"")


class Controls:
    """What the peer says about the connection itself, applied to the outbound half."""

    def __init__(self, outbound: Outbound, floods: FloodGuard, *, acknowledged: Callable[[], None]) -> None:
        """`acknowledged()` is called when the peer has taken our settings."""
        self.settled = False  # the first SETTINGS is here
        self.pinged_at = 0.0  # our keepalive PING, 0: none out
        self.received = 0  # DATA bytes of this connection
        self._outbound = outbound
        self._floods = floods
        self._acknowledged = acknowledged
        self._handlers: dict[int, Callable[[int, int, bytes, float], None]] = {
            frames.SETTINGS: self._settings, frames.PING: self._ping, frames.WINDOW_UPDATE: self._window_update,
            frames.RST_STREAM: self._rst_stream, frames.PRIORITY: self._priority, frames.GOAWAY: self._goaway,
            frames.PUSH_PROMISE: self._push_promise,
        }  # fmt: skip

    def handle(self, kind: int, flags: int, number: int, payload: bytes, now: float) -> None:
        """Apply one frame. Unknown types are ignored (RFC 9113 §5.5), but counted."""
        handler = self._handlers.get(kind)
        if kind != frames.WINDOW_UPDATE:
            self.count(now)
        if handler is not None:
            handler(flags, number, payload, now)

    def count(self, now: float) -> None:
        """One more frame without work."""
        self._floods.control(now, opened=self._outbound.opened, received=self.received)

    def _settings(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS acknowledgement with a payload")
            self._acknowledged()
            return
        if len(payload) % 6:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS of a broken length")
        if len(payload) > 6 * _SETTINGS_MAX:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings in one frame")
        self.settled = True
        for key, value in struct.iter_unpack(">HI", payload):
            self._setting(key, value)
        self._outbound.emit(frames.frame(frames.SETTINGS, frames.ACK, 0))
        self._outbound.pump()

    def _setting(self, key: int, value: int) -> None:
        outbound = self._outbound
        if key == Setting.HEADER_TABLE_SIZE and value < frames.DEFAULT_HEADER_TABLE:
            outbound.shrink_header_table()
        if key == Setting.ENABLE_PUSH and value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_ENABLE_PUSH above 1")
        if key == Setting.INITIAL_WINDOW_SIZE:
            if value > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31 - 1")
            outbound.peer_window = value
            if any(stream.window + value > frames.MAX_WINDOW for stream in outbound.streams.values()):
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "SETTINGS_INITIAL_WINDOW_SIZE overflows a window")
        if key == Setting.MAX_FRAME_SIZE:
            if not frames.DEFAULT_FRAME <= value <= frames.MAX_FRAME:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS_MAX_FRAME_SIZE out of range")
            outbound.peer_frame = min(value, TURN_BYTES)

    def _ping(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING of a broken length")
        if flags & frames.ACK:
            self.pinged_at = 0.0
        else:
            self._outbound.emit(frames.frame(frames.PING, frames.ACK, 0, payload))

    def _window_update(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE of a broken length")
        outbound = self._outbound
        increment = int.from_bytes(payload, "big") & frames.MAX_WINDOW
        if number == 0:
            if not increment:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
            outbound.window += increment
            if outbound.window > frames.MAX_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "connection window overflow")
        else:
            self._stream_window(number, increment, now)
        if outbound.blocked:
            outbound.pump()

    def _stream_window(self, number: int, increment: int, now: float) -> None:
        self._not_idle(number, "WINDOW_UPDATE")
        if not increment:
            self.count(now)
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "WINDOW_UPDATE of 0")
        stream = self._outbound.streams.get(number)
        if stream is None:  # just answered: the update crossed our END_STREAM
            self.count(now)
            return
        stream.window += increment
        if stream.window + self._outbound.peer_window > frames.MAX_WINDOW:
            raise StreamFault(number, ErrorCode.FLOW_CONTROL_ERROR, "stream window overflow")

    def _rst_stream(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM of a broken length")
        self._not_idle(number, "RST_STREAM")
        stream = self._outbound.streams.get(number)
        if stream is not None:
            self._outbound.drop(stream)
        self._floods.reset(now, opened=self._outbound.opened)

    def _priority(self, flags: int, number: int, payload: bytes, now: float) -> None:
        """Priorities are ignored (RFC 9113 §5.3.2), broken ones refused."""
        if not number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY on stream 0")
        if len(payload) != 5:
            if number > self._outbound.last_id:  # an idle stream cannot be reset
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a broken length")
            raise StreamFault(number, ErrorCode.FRAME_SIZE_ERROR, "PRIORITY of a broken length")
        if int.from_bytes(payload[:4], "big") & frames.MAX_WINDOW == number:
            raise StreamFault(number, ErrorCode.PROTOCOL_ERROR, "stream depends on itself")

    def _goaway(self, flags: int, number: int, payload: bytes, now: float) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")
        if len(payload) < 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "GOAWAY of a broken length")

    def _push_promise(self, flags: int, number: int, payload: bytes, now: float) -> None:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "clients cannot push")

    def _not_idle(self, number: int, what: str) -> None:
        if number == 0 or not number & 1 or number > self._outbound.last_id:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, f"{what} on an idle stream")
