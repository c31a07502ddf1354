"""The process of the admin port, seen from the supervisor: started by the first connection to the port, again by the next after it died.

The supervisor holds the listening socket and looks at it only while nobody serves it, so a server that nobody administers pays nothing, and
no caller is lost to a process that dies.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.admin_messages import Administer, AdministratorInheritance, Finish, FromAdministrator
from gateway.control.channel import Channel
from gateway.control.respawn import Respawn
from gateway.control.spawning import ended
from gateway.identity.gate import Known

_log = logging.getLogger(__name__)
_END_S = 10.0  # that open requests may take
_REAP_S = 1.0  # from the end of its channel until a process that still lives is killed

Start = Callable[[AdministratorInheritance], tuple[subprocess.Popen[bytes], socket.socket]]


def start_administrator(inheritance: AdministratorInheritance) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and this end of the channel to it. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = msgspec.structs.replace(inheritance, channel=theirs.fileno())
        command = [sys.executable, "-P", "-m", "gateway.control.administrator", msgspec.json.encode(given).decode()]
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(given.channel, given.socket)), ours
        except OSError:
            ours.close()
            raise


class Administration:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self,
        config: Config,
        sock: socket.socket | None,
        clock: Clock,
        *,
        known: Callable[[], Known],
        ask: Callable[[], None],
        start: Start = start_administrator,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """`sock` listens; None: there is no such port. `known()` is what credentials are held against, `ask()` wants newer keys."""
        self._config, self._sock, self._clock = config, sock, clock
        self._known, self._ask = known, ask
        self._start, self._sleep = start, sleep
        self._respawn = Respawn()
        self._process: subprocess.Popen[bytes] | None = None
        self._channel: Channel[FromAdministrator] | None = None
        self._started_s = 0.0
        self._ending = False
        self._starting: asyncio.Task[None] | None = None
        self._waiting: asyncio.Task[None] | None = None  # before the socket is looked at again
        self._loop = asyncio.get_running_loop()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def open(self) -> None:
        """Wait for somebody to come to the port."""
        if self._sock is not None:
            self._loop.add_reader(self._sock.fileno(), self._called)

    def tell(self, message: msgspec.Struct) -> None:
        """Say something to the process, where there is one; the next one is told all that holds when it starts."""
        if self._channel is not None:
            self._channel.send(message)

    def configure(self, config: Config) -> None:
        """Other settings."""
        self._config = config
        self.tell(Administer(encode(config)))

    async def end(self) -> None:
        """No more connections. A process that does not end in time is killed."""
        self._ending = True
        if self._sock is None:
            return
        self._loop.remove_reader(self._sock.fileno())
        if self._waiting is not None:
            self._waiting.cancel()
        if self._starting is not None:
            await asyncio.gather(self._starting, return_exceptions=True)
        process = self._process
        self.tell(Finish())
        self._sock.close()
        if process is not None and not await ended(process, _END_S):
            _log.error("the process of the admin port did not end in time: killed")

    def _called(self) -> None:
        """Somebody has come, and nobody is there."""
        assert self._sock is not None
        self._loop.remove_reader(self._sock.fileno())
        self._starting = self._loop.create_task(self._begin(AdministratorInheritance(socket=self._sock.fileno())))

    async def _begin(self, inheritance: AdministratorInheritance) -> None:
        self._started_s = self._clock.now()
        try:
            process, sock = await asyncio.to_thread(self._start, inheritance)
        except OSError as error:
            _log.error("the process of the admin port cannot be started: %s", error)
            self._later(self._respawn.after(0.0) or 1.0)
            return
        self._process = process
        channel: Channel[FromAdministrator] = Channel(FromAdministrator, self._received, self._gone)
        await channel.open(sock)
        if self._process is process:  # else it is gone already
            self._channel = channel
            channel.send(Administer(encode(self._config)))
            channel.send(self._known())

    def _later(self, delay_s: float, before: subprocess.Popen[bytes] | None = None) -> None:
        if not self._ending:
            self._waiting = self._loop.create_task(self._wait(delay_s, before))

    async def _wait(self, delay_s: float, before: subprocess.Popen[bytes] | None) -> None:
        """Look at the socket again in a while."""
        if before is not None:
            await ended(before, _REAP_S)
        await self._sleep(delay_s)
        self.open()

    def _received(self, _message: FromAdministrator) -> None:
        self._ask()

    def _gone(self) -> None:
        """It died, or was told to end."""
        process, self._process, self._channel = self._process, None, None
        if not self._ending:
            _log.error("the process of the admin port is gone: another one takes its place when somebody calls")
            self._later(self._respawn.after(self._clock.now() - self._started_s), process)
