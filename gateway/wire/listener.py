"""Sockets: accepts connections, finds out which protocol each speaks, and moves bytes. The only asyncio in the wire.

Writes of one tick leave together: connections that have something to say are collected in `dirty` and flushed once, at the end of the
batch that answered them or of the tick, whichever is first.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import Clock
from gateway.identity.certificates import Certificate
from gateway.limits import LONG_READ, WireLimits
from gateway.wire import frames
from gateway.wire.accepting import Accepting, Gate, Open
from gateway.wire.exchange import HttpApplication
from gateway.wire.http1 import Http1Connection
from gateway.wire.tls import certificate_of

if TYPE_CHECKING:  # a process that speaks HTTP/1.1 only does without HTTP/2 and its kernels
    from gateway.wire.blocks import Router
    from gateway.wire.stream import Outbound
    from gateway.wire.timeouts import TimedHttp2

_TICK_S = 1.0
_DECIDED = 3  # bytes after which "PRI" and every HTTP/1.1 method differ
_METHODS = frozenset((b"GET", b"HEAD", b"POST", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"CONNECT"))
_LONGEST_METHOD = 7
_FIRST_LINE_MAX = 4_096


@dataclass(frozen=True, slots=True)
class Behind:
    """What stands behind the wire: requests over HTTP/2 are routed by head, HTTP/1.1 by the application itself."""

    application: HttpApplication
    route: Router | None = None
    http2: type[TimedHttp2] | None = None  # None: HTTP/2 is not spoken
    known: Callable[[Certificate], Behind] | None = None  # who stands behind for a caller that has shown a certificate; None: the same


def speaks_http2(data: bytes) -> bool | None:
    """What a connection's first bytes are: HTTP/2, HTTP/1.1 (False), or too few to tell (None).

    What is neither goes to the HTTP/2 machine, which says GOAWAY and closes (RFC 9113 §3.4).
    """
    if frames.PREFACE.startswith(data[: len(frames.PREFACE)]):
        return True if len(data) >= _DECIDED else None
    word, space, _ = data[: _LONGEST_METHOD + 1].partition(b" ")
    if space and word in _METHODS:
        return False
    line, end, _ = data.partition(b"\n")
    if not end and len(data) < _FIRST_LINE_MAX:
        return None
    return b" HTTP/1." not in line


class Listener:
    """All connections of one event loop."""

    def __init__(self, limits: WireLimits, behind: Behind, *, clock: Clock, rng: random.Random, gate: Gate | None = None) -> None:
        """`gate` decides about connections where other processes take them from the same sockets."""
        self.limits = limits
        self.behind = behind
        self.clock = clock
        self.rng = rng
        self.peers: set[Peer] = set()
        self.refused = 0  # connections closed at once: over a limit
        self.draining = False
        self._by_address: dict[str, int] = {}
        self._dirty: list[Outbound] = []
        self._flush_due = False
        self._loop = asyncio.get_running_loop()
        self.accepting = Accepting(lambda: Peer(self), gate or Open(), handshake_timeout_s=limits.handshake_timeout_s)
        self._timer = self._loop.call_later(_TICK_S, self._tick)

    def listen(self, sock: socket.socket, context: ssl.SSLContext | None = None) -> None:
        """Serve on a socket that listens."""
        self.accepting.add(sock, context, self._count)

    def _count(self) -> None:
        """Each once: who was just admitted may still be opening, and one too many makes another process take two in a row."""
        self.accepting.gate.holds(len(self.peers) + len(self.accepting.opening - self.peers))

    # --- output of one tick ----------------------------------------------------------------------------------------------------

    def wake(self, outbound: Outbound) -> None:
        """Bytes wait on a connection; they leave at the end of this tick at the latest."""
        self._dirty.append(outbound)
        if not self._flush_due:
            self._flush_due = True
            self._loop.call_soon(self.flush)

    def soon(self, deed: Callable[[], None]) -> None:
        """Do something before the sockets are looked at again."""
        self._loop.call_soon(deed)

    def flush(self) -> None:
        """One write per connection that has something to say."""
        self._flush_due = False
        dirty, self._dirty = self._dirty, []
        for outbound in dirty:
            outbound.flush()

    # --- bounds ----------------------------------------------------------------------------------------------------------------

    def admit(self, peer: Peer) -> bool:
        """Count a new connection, or refuse it."""
        count = self._by_address.get(peer.address, 0)
        if self.draining or len(self.peers) >= self.limits.max_connections or count >= self.limits.max_connections_per_peer:
            self.refused += 1
            return False
        self._by_address[peer.address] = count + 1
        self.peers.add(peer)
        return True

    def leave(self, peer: Peer) -> None:
        """A counted connection is gone."""
        if peer in self.peers:
            self.peers.remove(peer)
            self._count()
            left = self._by_address[peer.address] - 1
            if left:
                self._by_address[peer.address] = left
            else:
                del self._by_address[peer.address]

    def _tick(self) -> None:
        self._timer = self._loop.call_later(_TICK_S, self._tick)
        self.sweep()

    # --- end -------------------------------------------------------------------------------------------------------------------

    def drain(self) -> None:
        """Stop accepting; tell every connection to finish what it has."""
        self.draining = True
        self.accepting.close()
        now = self.clock.now()
        for peer in list(self.peers):
            peer.drain(now)

    def sweep(self) -> None:
        """Apply time limits and ends now: called more often than the tick while draining."""
        now = self.clock.now()
        for peer in list(self.peers):
            peer.tick(now)

    async def close(self) -> None:
        """Close everything at once."""
        self._timer.cancel()
        self.flush()
        self.accepting.close()
        for peer in list(self.peers):
            peer.close()
        await asyncio.sleep(0)


class Peer(asyncio.Protocol):
    """One accepted connection."""

    def __init__(self, listener: Listener) -> None:
        self.address = ""
        self._listener = listener
        self._behind = listener.behind
        self._transport: asyncio.Transport | None = None
        self._http2: TimedHttp2 | None = None
        self._http1: Http1Connection | None = None
        self._first = b""  # bytes before the protocol is known
        self._chose_http2 = False
        self._opened_at = listener.clock.now()
        self._stuck_at = 0.0  # since when the transport takes no more
        self._held = False  # HTTP/1.1 has enough for now
        self._receive: Callable[[bytes], None] = self._detect

    # --- asyncio ---------------------------------------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept or refuse."""
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # type: ignore[assignment]
        name = transport.get_extra_info("peername")
        self.address = str(name[0]) if isinstance(name, tuple) else ""
        secured = transport.get_extra_info("ssl_object")
        if secured is not None:
            self._chose_http2 = secured.selected_alpn_protocol() == "h2"
            self._meet(certificate_of(secured))
        if not self._listener.admit(self):
            transport.abort()  # type: ignore[attr-defined]

    def _meet(self, certificate: Certificate | None) -> None:
        if certificate is not None and self._behind.known is not None:
            self._behind = self._behind.known(certificate)

    def data_received(self, data: bytes) -> None:
        """Bytes in."""
        self._receive(data)

    def eof_received(self) -> bool:
        """Half-close: HTTP/1.1 may still want its answers; HTTP/2 is over."""
        return self._http1 is not None and self._http1.eof()

    def connection_lost(self, exc: Exception | None) -> None:
        """The transport is gone: open requests are cancelled."""
        self._listener.leave(self)
        if self._http2 is not None:
            self._http2.lost()
        if self._http1 is not None:
            self._http1.connection_lost()
        self._transport = None

    def pause_writing(self) -> None:
        """The peer takes no more: send nothing, read nothing."""
        self._stuck_at = self._listener.clock.now()
        if self._http2 is not None:
            self._http2.outbound.writable = False
        if self._http1 is not None:
            self._http1.writable = False
        self._pause()

    def resume_writing(self) -> None:
        """The peer takes more."""
        self._stuck_at = 0.0
        if self._http2 is not None:
            self._http2.outbound.writable = True
            self._http2.outbound.pump()
        self._resume()
        if self._http1 is not None:
            self._http1.writable = True
            self._http1.proceed()

    # --- protocol --------------------------------------------------------------------------------------------------------------

    def _detect(self, data: bytes) -> None:
        """Either port speaks either protocol: the first bytes tell, unless TLS has told (ALPN)."""
        self._first = data = self._first + data
        is_http2 = True if self._chose_http2 else speaks_http2(data)
        if is_http2 is None:
            return
        if is_http2:
            if self._behind.http2 is None:
                self.abort()
                return
            self._start_http2(self._behind.http2)
        else:
            self._start_http1()
        self._first = b""
        self.data_received = self._receive  # type: ignore[method-assign,assignment]  # one call less for every read from now on
        if self._transport is not None:
            self._transport.set_protocol(self)  # transports keep the bound method
        self._receive(data)

    def _start_http2(self, machine: type[TimedHttp2]) -> None:
        listener = self._listener
        assert self._behind.route is not None
        self._http2 = machine(
            listener.limits, self._behind.route, now=listener.clock.now, write=self._write, wake=listener.wake, close=self.close,
            rest=self._rest,
        )  # fmt: skip
        self._http2.age_limit_s *= listener.rng.uniform(0.9, 1.1)
        self._receive = self._http2.receive

    def _start_http1(self) -> None:
        listener = self._listener
        self._http1 = Http1Connection(
            listener.limits, self._behind.application, now=listener.clock.now, write=self._write_one, close=self.close,
            pause=self._hold, resume=self._go_on,
        )  # fmt: skip
        self._receive = self._receive_http1

    def _receive_http1(self, data: bytes) -> None:
        assert self._http1 is not None
        if len(data) >= LONG_READ:
            self._rest()
        self._http1.receive(data)

    def tick(self, now: float) -> None:
        """Time limits, about once a second."""
        limits = self._listener.limits
        unsent = 0 if self._transport is None else self._transport.get_write_buffer_size()
        if (self._stuck_at and now - self._stuck_at > limits.write_timeout_s) or unsent > limits.max_send_buffer_bytes:
            self.abort()
        elif self._http2 is not None:
            self._http2.tick(now)
        elif self._http1 is not None:
            self._http1.tick(now)
        elif now - self._opened_at > limits.header_timeout_s:
            self.abort()

    def drain(self, now: float) -> None:
        """Finish what is open, then close."""
        if self._http2 is not None:
            self._http2.drain(now)
        elif self._http1 is not None:
            self._http1.drain()
        else:
            self.close()

    # --- bytes out -------------------------------------------------------------------------------------------------------------

    def _write(self, parts: list[bytes]) -> None:
        if self._transport is not None:
            self._transport.write(parts[0] if len(parts) == 1 else b"".join(parts))

    def _write_one(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _rest(self) -> None:
        """Read on in the next tick."""
        self._pause()
        self._listener.soon(self._rested)

    def _rested(self) -> None:
        if not self._held:
            self._resume()

    def _hold(self) -> None:
        self._held = True
        self._pause()

    def _go_on(self) -> None:
        self._held = False
        self._resume()

    def _pause(self) -> None:
        if self._transport is not None:
            self._transport.pause_reading()

    def _resume(self) -> None:
        if self._transport is not None and not self._stuck_at:
            self._transport.resume_reading()

    def close(self) -> None:
        """Close when everything written has left."""
        if self._transport is not None:
            with contextlib.suppress(RuntimeError):
                self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()
