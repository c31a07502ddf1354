"""Taking connections from listening sockets that several processes may share. Whether to take one is somebody else's decision.

A process that may not take a connection stops looking at the sockets, so that the kernel wakes only those that may; the connection
stays in the queue, which belongs to the socket and not to a process, and nothing is lost when one of them dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable
from typing import Protocol

from gateway.wire.secured import Secured

_AT_ONCE = 16  # connections taken before other events of the loop have their turn
_REST_S = 0.25  # without descriptors or memory; a socket that stays readable would keep the loop busy
_USED_UP = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

Connect = Callable[[], asyncio.Protocol]


class Gate(Protocol):
    """Who decides."""

    def may_accept(self) -> bool:
        """Whether to take one more connection now. After False, somebody calls `Accepting.resume` when that may have changed."""
        ...

    def holds(self, connections: int) -> None:
        """So many are held from now on."""
        ...


class Open:
    """A gate for sockets that are not shared."""

    def may_accept(self) -> bool:
        """Always."""
        return True

    def holds(self, connections: int) -> None:
        """Nobody asks."""


class Accepting:
    """The listening sockets of one event loop."""

    def __init__(self, connect: Connect, gate: Gate, *, handshake_timeout_s: float) -> None:
        self.gate = gate
        self.opening: set[asyncio.Protocol] = set()  # taken from a socket; a connection at last, when TLS is done
        self._connect = connect
        self._handshake_timeout_s = handshake_timeout_s
        self._loop = asyncio.get_running_loop()
        self._sockets: dict[socket.socket, ssl.SSLContext | None] = {}
        self._looking = False
        self._tasks: set[asyncio.Task[None]] = set()
        self._counted: Callable[[], None] = lambda: None

    def add(self, sock: socket.socket, context: ssl.SSLContext | None, counted: Callable[[], None]) -> None:
        """Take connections from a socket that listens. `counted()` is called when `opening` has changed."""
        sock.setblocking(False)
        self._sockets[sock] = context
        self._counted = counted
        self.pause()
        self.resume()

    def resume(self) -> None:
        """Look at the sockets again, if the gate lets one in."""
        if not self._looking and self._sockets and self.gate.may_accept():
            self._looking = True
            for sock in self._sockets:
                self._loop.add_reader(sock, self._take, sock)

    def pause(self) -> None:
        """Look away."""
        if self._looking:
            self._looking = False
            for sock in self._sockets:
                self._loop.remove_reader(sock)

    def close(self) -> None:
        """Take no more. The sockets are closed here; another process that has them goes on."""
        self.pause()
        for sock in self._sockets:
            sock.close()
        self._sockets.clear()

    def _take(self, listening: socket.socket) -> None:
        for _ in range(_AT_ONCE):
            if not self.gate.may_accept():
                self.pause()
                return
            try:
                sock, _ = listening.accept()
            except (BlockingIOError, InterruptedError):  # another process was quicker
                return
            except OSError as error:
                if error.errno in _USED_UP:
                    self.pause()
                    self._loop.call_later(_REST_S, self.resume)
                    return
                continue  # that one is gone already
            self._open(sock, self._sockets[listening])

    def _open(self, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        peer = self._connect()
        self.opening.add(peer)
        self._counted()
        task = self._loop.create_task(self._opened(peer, sock, context))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _secure(self, secured: Secured, sock: socket.socket) -> None:
        """Until the handshake is over, well or not."""
        await self._loop.connect_accepted_socket(lambda: secured, sock)
        try:
            async with asyncio.timeout(self._handshake_timeout_s):
                await secured.opened
        except TimeoutError:
            secured.abort()
        except (OSError, ssl.SSLError):  # the caller has been told why, or is gone
            pass

    async def _opened(self, peer: asyncio.Protocol, sock: socket.socket, context: ssl.SSLContext | None) -> None:
        try:
            sock.setblocking(False)
            with contextlib.suppress(OSError):  # not TCP, or gone
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is None:
                await self._loop.connect_accepted_socket(lambda: peer, sock)
            else:
                await self._secure(Secured(context, peer, self._loop), sock)
        except OSError:  # the peer's departure
            sock.close()
        finally:
            self.opening.discard(peer)
            self._counted()
