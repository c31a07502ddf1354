"""Processes that start, speak, die and are replaced: real ones, small ones, in the place of workers."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from gateway.clock import SystemClock
from gateway.config import Config, Processes, Repository
from gateway.control import fleet as fleets
from gateway.control.board import Board
from gateway.control.fleet import Fleet, Member
from gateway.control.inheritance import Inheritance
from gateway.control.messages import FromWorker
from gateway.control.spawning import Spawned

OBEYS = """
import socket, sys
peer = socket.socket(fileno=int(sys.argv[1]))
hello = b'{"type":"Hello"}'
peer.sendall(len(hello).to_bytes(4, "big") + hello)
while True:
    size = peer.recv(4, socket.MSG_WAITALL)
    if len(size) < 4 or b'"Drain"' in peer.recv(int.from_bytes(size, "big"), socket.MSG_WAITALL):
        break
"""
ANSWERS = OBEYS.replace(
    "while True:",
    """
begun = b'{"type":"Routed","generation":1}'
peer.recv(int.from_bytes(peer.recv(4, socket.MSG_WAITALL), "big"), socket.MSG_WAITALL)
peer.sendall(len(begun).to_bytes(4, "big") + begun)
while True:""",
)  # to the first message, whatever it is
DEAF = "import signal, sys, socket\npeer = socket.socket(fileno=int(sys.argv[1]))\nwhile True: signal.pause()"


class Yard:
    """A fleet whose processes run `program`."""

    def __init__(self, program: str = OBEYS, **settings: object) -> None:
        self.program = program
        self.events: list[tuple[str, int]] = []
        self.changed = asyncio.Event()
        config = Config(repository=Repository(path=Path("r")), processes=Processes(**{"spare": False} | settings))  # type: ignore[arg-type]
        self.board = Board.create(4)
        fd = self.board.fd
        given = Inheritance(place=0, workers=2, board=fd, bells=self.board.bells, arena=fd, blocks=fd, rings=fd, sockets={})
        self.fleet = Fleet(
            config, self.board, given, workers=2, cores=(5, 7), clock=SystemClock(),
            joined=lambda member: self._note("joined", member), said=self._said, left=lambda member: self._note("left", member),
            start=self._start,
        )  # fmt: skip

    def _start(self, inheritance: Inheritance) -> Spawned:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-c", self.program, str(theirs.fileno())]
            return Spawned(subprocess.Popen(command, pass_fds=[theirs.fileno()]), ours)

    def _said(self, member: Member, message: FromWorker) -> None:
        self._note("said", member)

    def _note(self, what: str, member: Member) -> None:
        self.events.append((what, member.number))
        self.changed.set()

    async def until(self, reached: Callable[[], bool]) -> None:
        """Something has happened."""
        async with asyncio.timeout(20):
            while not reached():
                self.changed.clear()
                await self.changed.wait()

    def numbers(self) -> list[int]:
        return sorted(member.number for member in self.fleet.workers)


def yarded(deed: Callable[[Yard], Awaitable[None]], program: str = OBEYS, **settings: object) -> None:
    async def run() -> None:
        yard = Yard(program, **settings)
        await yard.fleet.begin()
        await deed(yard)
        await yard.fleet.drain(5.0)
        yard.board.close()

    asyncio.run(run())


def test_as_many_start_as_are_wanted_and_all_end_when_they_are_told() -> None:
    """By themselves; the fleet says so."""

    async def deed(yard: Yard) -> None:
        await yard.until(lambda: {("joined", 1), ("joined", 2)} == set(yard.events))
        pids = [member.process.pid for member in yard.fleet.workers]
        assert await yard.fleet.drain(10.0)
        assert {} == yard.fleet.members
        assert [] == [pid for pid in pids if os.path.exists(f"/proc/{pid}")]  # noqa: ASYNC240

    yarded(deed)


def test_one_that_dies_is_replaced_under_a_new_number_once_it_is_folded() -> None:
    """Whoever counts is told before its place is somebody else's."""

    async def deed(yard: Yard) -> None:
        dead = yard.fleet.workers[0]
        dead.process.kill()
        await yard.until(lambda: ("joined", 3) in yard.events)
        assert yard.events.index(("left", 1)) < yard.events.index(("joined", 3))
        assert ([2, 3], {"killed by SIGKILL": 1}) == (yard.numbers(), yard.fleet.exits)
        assert dead.place == yard.fleet.members[3].place

    yarded(deed)


def test_a_spare_takes_the_place_of_a_worker_at_once_and_another_spare_is_kept() -> None:
    """It was started long before."""

    async def deed(yard: Yard) -> None:
        await yard.fleet.keep_spare()
        assert ([1, 2], 3) == (yard.numbers(), len(yard.fleet.members))
        yard.fleet.workers[0].process.kill()
        await yard.until(lambda: ("joined", 3) in yard.events)
        await yard.until(lambda: 4 in yard.fleet.members or bool(yard.changed.clear()))  # type: ignore[func-returns-value]
        assert [2, 3] == yard.numbers()

    yarded(deed, spare=True)


def test_a_spare_that_is_only_being_added_becomes_a_worker_when_it_can_be_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that dies at that moment is replaced by it, and what it is told is not lost."""
    opened, gate = fleets.Channel.open, asyncio.Event()

    async def slow(channel: fleets.Channel[FromWorker], sock: socket.socket) -> None:
        await gate.wait()
        await opened(channel, sock)

    async def deed(yard: Yard) -> None:
        monkeypatch.setattr(fleets.Channel, "open", slow)
        adding = asyncio.create_task(yard.fleet.keep_spare())
        await yard.until(lambda: 3 in yard.fleet.members or bool(yard.changed.set()))  # type: ignore[func-returns-value]
        yard.fleet.workers[0].process.kill()
        await yard.until(lambda: ("left", 1) in yard.events)
        gate.set()
        await adding
        await yard.until(lambda: ("said", 3) in yard.events)
        assert [2, 3] == yard.numbers()

    yarded(deed, ANSWERS, spare=True)


def test_each_worker_is_bound_to_a_core_that_no_other_has() -> None:
    """Also the one that takes a dead one's place; more workers than cores share what is left."""

    async def deed(yard: Yard) -> None:
        cores = {member.number: member.core for member in yard.fleet.workers}
        assert {1: 5, 2: 7} == cores
        yard.fleet.members[1].process.kill()
        await yard.until(lambda: ("joined", 3) in yard.events)
        assert (7, 5) == (yard.fleet.members[2].core, yard.fleet.members[3].core)

    yarded(deed)


def test_one_that_does_not_end_is_killed_and_the_fleet_says_so() -> None:
    """After the grace and a moment."""

    async def deed(yard: Yard) -> None:
        assert not await yard.fleet.drain(0.05)
        assert {} == yard.fleet.members

    yarded(deed, DEAF)


def test_one_whose_loop_stands_still_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """It beat once and no more; one that is still importing has longer."""
    monkeypatch.setattr(fleets, "_WATCH_S", 0.02)

    async def deed(yard: Yard) -> None:
        first = yard.fleet.workers[0]
        yard.board.beat(first.place, SystemClock().now())
        await yard.until(lambda: ("left", first.number) in yard.events)
        assert ("left", 2) not in yard.events

    yarded(deed, watchdog_s=1.0)


def test_one_that_closes_its_channel_and_lives_on_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker without a supervisor must not go on serving."""
    monkeypatch.setattr(fleets, "_REAP_S", 0.1)

    async def deed(yard: Yard) -> None:
        pid = yard.fleet.workers[0].process.pid
        yard.program = OBEYS
        await yard.until(lambda: ("left", 1) in yard.events)
        with pytest.raises(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    yarded(deed, DEAF.replace("while True", "peer.close()\nwhile True"))
