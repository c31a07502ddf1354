"""A process beside the supervisor that does one job: started when there is something to do, and again whenever it dies, one at a time.

What it knows outlives it elsewhere. Nothing that serves a request waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar

import msgspec

from gateway.clock import Clock
from gateway.control.channel import Channel
from gateway.control.respawn import Respawn
from gateway.control.spawning import ended

_log = logging.getLogger(__name__)
_END_S = 10.0  # that a last look and a save may take
_REAP_S = 1.0  # from the end of its channel until a process that still lives is killed

M = TypeVar("M", bound=msgspec.Struct)
Started = tuple[subprocess.Popen[bytes], socket.socket]


def start_program(module: str, argument: Callable[[int], str], descriptors: Sequence[int]) -> Started:
    """A process that runs `module`, and this end of the channel to it; `argument(fd)` is told the other end. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-P", "-m", module, argument(theirs.fileno())]
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), *descriptors)), ours
        except OSError:
            ours.close()
            raise


class Attendant(Generic[M]):
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, does: str, kind: Any, clock: Clock, end: msgspec.Struct, *, start: Callable[[], Started],
        opened: Callable[[], None], received: Callable[[M], None], gone: Callable[[], None], sleep: Callable[[float], Awaitable[None]],
    ) -> None:  # fmt: skip
        """`does`: its job, for the log. `kind` of messages that it sends; `end` is the last that it gets.

        `opened` is called when it can be told things, `gone` when it cannot any more.
        """
        self._does, self._kind, self._clock, self._last = does, kind, clock, end
        self._start, self._sleep = start, sleep
        self._opened, self._received, self._left = opened, received, gone
        self._respawn = Respawn()
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []  # all that nobody has seen the end of
        self._channel: Channel[M] | None = None
        self._started_s = 0.0
        self._beginning = False  # it is being started, or will be in a while
        self._ending = False
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Task[None] | None = None  # with the start, since processes die young

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    @property
    def there(self) -> bool:
        """Whether it can be told things."""
        return self._channel is not None

    def send(self, message: msgspec.Struct) -> bool:
        """Tell it something. False where nobody is there."""
        if self._channel is None:
            return False
        self._channel.send(message)
        return True

    def want(self) -> None:
        """There is something to do from now on."""
        if self._process is None:
            self._begin(0.0)

    async def end(self) -> None:
        """A last look, a last save. Killed where that takes too long."""
        self._ending = True
        if self._waiting is not None:
            self._waiting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        self.send(self._last)
        for process in self._started:
            if not await ended(process, _END_S):
                _log.error("the process that %s did not end in time: killed", self._does)

    def _begin(self, delay_s: float, before: subprocess.Popen[bytes] | None = None) -> None:
        if self._beginning or self._ending:
            return
        self._beginning = True
        task = self._loop.create_task(self._open(delay_s, before))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _open(self, delay_s: float, before: subprocess.Popen[bytes] | None) -> None:
        """Start one, when the one `before` it has ended: two would write the same files."""
        if before is not None:
            await ended(before, _REAP_S)
        self._waiting = asyncio.current_task()
        await self._sleep(delay_s)
        self._waiting = None
        self._started_s = self._clock.now()
        try:
            process, sock = await asyncio.to_thread(self._start)
        except OSError as error:
            _log.error("the process that %s cannot be started: %s", self._does, error)
            self._beginning = False
            self._begin(self._respawn.after(0.0) or 1.0)
            return
        if self._ending:
            sock.close()
            await ended(process, _REAP_S)
            return
        self._started = [one for one in self._started if one.returncode is None] + [process]
        self._process, self._beginning = process, False
        channel: Channel[M] = Channel(self._kind, self._received, self._gone)
        await channel.open(sock)
        if self._process is process:  # else it is gone already
            self._channel = channel
            self._opened()

    def _gone(self) -> None:
        """It died, or was told to end."""
        process, self._process, self._channel = self._process, None, None
        self._left()
        if not self._ending:
            _log.error("the process that %s is gone: another one takes its place", self._does)
            self._begin(self._respawn.after(self._clock.now() - self._started_s), process)
