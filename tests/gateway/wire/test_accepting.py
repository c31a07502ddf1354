"""Connections taken from real sockets, as the gate decides."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable

import pytest

from gateway.wire import accepting as module
from gateway.wire.accepting import Accepting, Open


class Gate:
    """Lets so many connections in, and notes what is held."""

    def __init__(self, room: int) -> None:
        self.room = room
        self.held: list[int] = []

    def may_accept(self) -> bool:
        return max(self.held, default=0) < self.room

    def holds(self, connections: int) -> None:
        self.held.append(connections)


class Hall:
    """A listening socket and the connections that were taken from it."""

    def __init__(self, gate: Gate | Open) -> None:
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.peers: list[asyncio.Protocol] = []
        self.changed = asyncio.Event()
        self.gate = gate
        self.accepting = Accepting(self._connect, gate, handshake_timeout_s=1.0)
        self.accepting.add(self.sock, None, lambda: gate.holds(len(self.peers)))
        self.callers: list[socket.socket] = []

    def _connect(self) -> asyncio.Protocol:
        self.peers.append(asyncio.Protocol())
        self.changed.set()
        return self.peers[-1]

    def call(self, count: int = 1) -> None:
        address = self.sock.getsockname() if self.sock.fileno() >= 0 else self.address
        self.address = address
        self.callers += [socket.create_connection(address, timeout=5) for _ in range(count)]

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.peers) < count:
                self.changed.clear()
                await self.changed.wait()

    def close(self) -> None:
        self.accepting.close()
        for caller in self.callers:
            caller.close()


def halled(deed: Callable[[Hall], Awaitable[None]], gate: Gate | Open | None = None) -> None:
    async def run() -> None:
        hall = Hall(gate or Open())
        await deed(hall)
        hall.close()
        await asyncio.sleep(0)

    asyncio.run(run())


def test_an_open_gate_takes_all_that_come() -> None:
    """Without delay of small writes."""

    async def deed(hall: Hall) -> None:
        hall.call(40)
        await hall.until(40)

    halled(deed)


def test_what_the_gate_does_not_let_in_waits_in_the_sockets_queue() -> None:
    """Nothing is lost; when there is room again and somebody says so, they are taken."""
    gate = Gate(1)

    async def deed(hall: Hall) -> None:
        hall.call(3)
        await hall.until(1)
        await asyncio.sleep(0.01)
        assert 1 == len(hall.peers)
        assert not hall.accepting._looking
        gate.room = 3
        hall.accepting.resume()
        await hall.until(3)
        assert 3 == gate.held[-1]

    halled(deed, gate)


def test_another_process_may_take_it_first() -> None:
    """The socket was readable, and is not any more."""

    async def deed(hall: Hall) -> None:
        hall.call()
        taken, _ = hall.sock.accept()
        taken.close()
        hall.accepting._take(hall.sock)
        assert [] == hall.peers

    halled(deed, Gate(1))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
def test_without_descriptors_it_rests_and_goes_on(monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A socket that stays readable would keep the loop busy."""
    monkeypatch.setattr(module, "_REST_S", 0.01)

    class UsedUp:
        def __init__(self, sock: socket.socket) -> None:
            self.sock, self.calls = sock, 0

        def accept(self) -> object:
            self.calls += 1
            raise OSError(code, "no")

    async def deed(hall: Hall) -> None:
        hall.accepting.pause()
        hall.accepting._looking = True
        empty = UsedUp(hall.sock)
        hall.accepting._take(empty)  # type: ignore[arg-type]
        assert (1, False) == (empty.calls, hall.accepting._looking)
        hall.call()
        await hall.until(1)

    halled(deed)


def test_a_caller_that_is_gone_already_costs_nothing() -> None:
    """The next one is taken in the same turn."""

    class Hasty:
        def __init__(self) -> None:
            self.errors: list[OSError] = [ConnectionAbortedError(), OSError(errno.EPROTO, "x"), BlockingIOError()]

        def accept(self) -> object:
            raise self.errors.pop(0)

    async def deed(hall: Hall) -> None:
        hasty = Hasty()
        hall.accepting._take(hasty)  # type: ignore[arg-type]
        assert [] == hasty.errors

    halled(deed)


def test_a_closed_hall_takes_nobody() -> None:
    """Its sockets are closed here; the listening itself may go on elsewhere."""

    async def deed(hall: Hall) -> None:
        other = hall.sock.dup()
        address = hall.sock.getsockname()
        hall.accepting.close()
        caller = socket.create_connection(address, timeout=5)
        taken, _ = other.accept()
        for sock in (caller, taken, other):
            sock.close()
        assert [] == hall.peers

    halled(deed)
