"""The process of the admin port, seen from the supervisor: started by a caller, told what holds, replaced, ended. Small real processes."""

from __future__ import annotations

import asyncio
import errno
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import msgspec

from gateway.clock import SystemClock
from gateway.config import Config, Repository, decode
from gateway.control import administration
from gateway.control.admin_messages import AdministratorInheritance
from gateway.control.administration import Administration
from gateway.control.messages import Renew
from gateway.identity.gate import Known
from tests.gateway.control.test_evaluators import SPEAKS

GOOD = f"""{SPEAKS}
listening, told = socket.socket(fileno=int(sys.argv[2])), []
import threading
def serve():
    while True:
        connection, _ = listening.accept()
        with connection:
            connection.recv(100)
            connection.sendall(json.dumps(told).encode())
threading.Thread(target=serve, daemon=True).start()
say(type="UnknownKey")
while True:
    message = heard()
    told.append(message)
    if message["type"] == "Finish":
        os._exit(0)
"""
DIES = "import sys; sys.exit(1)"
DEAF = f"{SPEAKS}\nwhile True: signal.pause()"


class Yard:
    """A supervisor's end, with processes that run `program`."""

    def __init__(self, program: str) -> None:
        self.program = program
        self.started: list[subprocess.Popen[bytes]] = []
        self.delays: list[float] = []
        self.asked = 0
        self.error: OSError | None = None
        self.known = Known(jwks=b"1")
        self.config = Config(repository=Repository(path=Path("r")))
        self.sock = socket.create_server(("127.0.0.1", 0))
        self.address = self.sock.getsockname()
        self.administration = Administration(
            self.config, self.sock, SystemClock(), known=lambda: self.known, ask=self._ask, start=self._start, sleep=self._sleep
        )

    def _ask(self) -> None:
        self.asked += 1

    def _start(self, given: AdministratorInheritance) -> tuple[subprocess.Popen[bytes], socket.socket]:
        if self.error is not None:
            raise self.error
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-S", "-c", self.program, str(theirs.fileno()), str(given.socket)]
            self.started.append(subprocess.Popen(command, pass_fds=[theirs.fileno(), given.socket]))
        return self.started[-1], ours

    async def _sleep(self, delay_s: float) -> None:
        self.delays.append(delay_s)
        await asyncio.sleep(0)

    async def call(self) -> list[Any]:
        """What the process has been told, asked over the port."""
        return await asyncio.to_thread(self._call)

    def _call(self) -> list[Any]:
        with socket.create_connection(self.address, timeout=20) as connection:
            connection.sendall(b"?")
            found: list[Any] = json.loads(connection.makefile("rb").read() or b"[]")
            return found

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():
                await asyncio.to_thread(threading.Event().wait, 0.002)

    async def told(self, count: int) -> list[Any]:
        async with asyncio.timeout(20):
            while len(found := await self.call()) < count:
                pass
            return found


def in_yard(program: str, story: Callable[[Yard], Coroutine[Any, Any, None]]) -> Yard:
    yards = []

    async def run() -> None:
        yards.append(Yard(program))
        await story(yards[0])
        await yards[0].administration.end()

    asyncio.run(run())
    assert all(process.wait(20) is not None for process in yards[0].started)
    return yards[0]


def test_nobody_who_comes_costs_nothing() -> None:
    """No process, and an end."""

    async def story(yard: Yard) -> None:
        yard.administration.open()
        await asyncio.sleep(0)
        assert yard.administration.pid is None

    assert [] == in_yard(GOOD, story).started


def test_the_first_caller_has_it_started_and_is_answered() -> None:
    """It is told the settings and the credentials, and then whatever changes; what it asks is passed on."""

    async def story(yard: Yard) -> None:
        yard.administration.open()
        first = await yard.told(2)
        assert ["Administer", "Known"] == [one["type"] for one in first]
        assert yard.config == decode(first[0]["config"])
        assert {"type": "Known", **json.loads(msgspec.json.encode(yard.known))} == first[1]
        yard.administration.tell(Renew())
        yard.administration.configure(yard.config)
        assert ["Renew", "Administer"] == [one["type"] for one in (await yard.told(4))[2:]]
        await yard.until(lambda: yard.asked == 1)
        assert yard.administration.pid == yard.started[0].pid

    assert 1 == len(in_yard(GOOD, story).started)


def test_one_that_dies_is_replaced_for_the_next_caller() -> None:
    """Who came meanwhile waits in the socket, and is answered by the next."""

    async def story(yard: Yard) -> None:
        yard.administration.open()
        await yard.told(2)
        yard.started[0].kill()
        await yard.until(lambda: yard.administration.pid is None)
        await yard.told(2)

    assert 2 == len(in_yard(GOOD, story).started)


def test_those_that_die_young_are_replaced_ever_later() -> None:
    """A port that nobody can serve costs little."""

    async def story(yard: Yard) -> None:
        yard.administration.open()
        with socket.create_connection(yard.address):
            await yard.until(lambda: len(yard.delays) > 4)

    delays = in_yard(DIES, story).delays
    assert delays[:2] == [0.0, 0.0]
    assert sorted(delays) == delays
    assert delays[4] > delays[2] > 0


def test_one_that_cannot_be_started_is_tried_again() -> None:
    """No process to be had, for a while."""

    async def story(yard: Yard) -> None:
        yard.error = OSError(errno.EAGAIN, "no process")
        yard.administration.open()
        with socket.create_connection(yard.address):
            await yard.until(lambda: len(yard.delays) > 1)
            yard.error = None
            await yard.until(lambda: yard.administration.pid is not None)

    in_yard(GOOD, story)


def test_one_that_does_not_end_is_killed(monkeypatch: Any) -> None:
    """After a while."""
    monkeypatch.setattr(administration, "_END_S", 0.05)

    async def story(yard: Yard) -> None:
        yard.administration.open()
        with socket.create_connection(yard.address):
            await yard.until(lambda: yard.administration.pid is not None)

    assert -9 == in_yard(DEAF, story).started[0].returncode


def test_without_a_port_there_is_nothing_to_do() -> None:
    """`server.admin_port: null`."""

    async def run() -> None:
        config = Config(repository=Repository(path=Path("r")))
        none = Administration(config, None, SystemClock(), known=Known, ask=lambda: None)
        none.open()
        none.tell(Renew())
        await none.end()

    asyncio.run(run())
