"""The worker processes of one server: as many as the settings say, a spare that has imported everything, others in place of the dead.

Knows processes and channels; what workers hold and serve is decided elsewhere and passed on to them, and again to whoever comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode, with_spare
from gateway.control.board import Board
from gateway.control.channel import Channel
from gateway.control.inheritance import Inheritance
from gateway.control.messages import Begin, Drain, FromWorker, Hello
from gateway.control.respawn import Respawn
from gateway.control.spawning import Spawned, spawn
from gateway.control.watchdog import Watchdog

_log = logging.getLogger(__name__)
_WATCH_S = 0.5
_IMPORT_S = 60.0  # from the start of a process to its first beat, on a machine that compiles everything anew
_REAP_S = 1.0  # from the end of its channel until a process that still lives is killed


@dataclass(eq=False)
class Member:
    """One process."""

    number: int  # never used again
    place: int
    process: subprocess.Popen[bytes]
    started_s: float
    channel: Channel[FromWorker] = field(init=False)
    awake: bool = False  # it has said hello
    begun: bool = False  # a worker, no spare
    core: int | None = None  # that it is bound to
    served_s: float | None = None  # since when it serves by a table


class Fleet:
    """All processes. Callbacks run on the event loop."""

    def __init__(
        self,
        config: Config,
        board: Board,
        inheritance: Inheritance,
        *,
        workers: int,
        cores: tuple[int, ...] = (),
        clock: Clock,
        joined: Callable[[Member], None],
        said: Callable[[Member, FromWorker], None],
        left: Callable[[Member], None],
        start: Callable[[Inheritance], Spawned] = spawn,
    ) -> None:
        """Workers are bound to one of `cores` each, if there are any.

        `joined` is told of a process that has become a worker and is up, `said` what it says, `left` of any process that is gone.
        """
        self.members: dict[int, Member] = {}
        self.exits: dict[str, int] = {}  # processes that ended, by how
        self._config = config
        self._board = board
        self._inheritance = inheritance
        self._workers = workers
        self._cores = cores
        self._clock = clock
        self._joined, self._said, self._left = joined, said, left
        self._start = start
        self._respawn = Respawn()
        self._watchdog = Watchdog(_WATCH_S)
        self._numbers = 0
        self._ending = False
        self._empty = asyncio.Event()  # ending, and nobody is left
        self._loop = asyncio.get_running_loop()
        self._adding = asyncio.Lock()  # who counts, promotes or ends processes waits for one that is being added
        self._reaping: set[asyncio.Task[None]] = set()

    @property
    def workers(self) -> list[Member]:
        """Those that are no spare."""
        return [member for member in self.members.values() if member.begun]

    async def begin(self) -> None:
        """Start all; the spare last, once the workers serve."""
        async with self._adding:
            for _ in range(self._workers):
                await self._add(begin=True)
        self._loop.call_later(_WATCH_S, self._watch)

    async def keep_spare(self) -> None:
        """Have one process in reserve, where the settings want one."""
        async with self._adding:
            await self._keep_spare()

    async def _keep_spare(self) -> None:
        if with_spare(self._config.processes, self._workers) and not self._ending and all(member.begun for member in self.members.values()):
            await self._add(begin=False)

    def tell(self, message: msgspec.Struct) -> None:
        """Send a message to every worker."""
        for member in self.workers:
            if member.awake:
                member.channel.send(message)

    def configure(self, config: Config) -> None:
        """New settings for everybody who is there and who will come."""
        self._config = config
        for member in self.workers:
            member.channel.send(Begin(encode(config), member.core))

    async def drain(self, grace_s: float) -> bool:
        """End all; whether they ended by themselves. Those that do not within the time are killed."""
        self._ending = True
        self._settle()
        async with self._adding:
            for member in self.members.values():
                member.channel.send(Drain(grace_s if member.begun else 0.0))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), grace_s + _REAP_S)
        late = list(self.members.values())
        for member in late:
            _log.error("worker %d did not end in time: killed", member.number)
            member.process.kill()
        await self._empty.wait()
        return not late

    # --- one process -----------------------------------------------------------------------------------------------------------

    async def _add(self, *, begin: bool) -> None:
        taken = {member.place for member in self.members.values()}
        place = next(place for place in range(len(self._board.bells)) if place not in taken)
        process = self._start(msgspec.structs.replace(self._inheritance, place=place))
        self._numbers += 1
        member = Member(self._numbers, place, process.child, self._clock.now())
        self.members[member.number] = member
        member.channel = Channel(FromWorker, lambda message: self._heard(member, message), lambda: self._ended(member))
        await member.channel.open(process.channel)
        if begin:
            self._make_worker(member)

    def _make_worker(self, member: Member) -> None:
        taken = {other.core for other in self.workers}
        member.core = next((core for core in self._cores if core not in taken), None)
        member.begun = True
        member.channel.send(Begin(encode(self._config), member.core))
        if member.awake:
            self._joined(member)

    def _heard(self, member: Member, message: FromWorker) -> None:
        if not isinstance(message, Hello):
            self._said(member, message)
            return
        member.awake = True
        if member.begun:
            self._joined(member)

    def _ended(self, member: Member) -> None:
        """Its channel is closed: it is dead, or about to be."""
        self._board.leave(member.place)
        task = self._loop.create_task(self._reap(member))
        self._reaping.add(task)
        task.add_done_callback(self._reaping.discard)

    async def _reap(self, member: Member) -> None:
        try:
            status = await asyncio.to_thread(member.process.wait, _REAP_S)
        except subprocess.TimeoutExpired:
            member.process.kill()
            status = await asyncio.to_thread(member.process.wait)
        self._board.leave(member.place)  # what it wrote last no longer counts
        self._left(member)  # before its place is free
        del self.members[member.number]
        self._settle()
        if not self._ending:
            await self._replace(member, status)

    async def _replace(self, member: Member, status: int) -> None:
        lived_s = self._clock.now() - member.started_s
        what = "worker" if member.begun else "spare"
        _log.error("%s %d ended after %.1f s: %s", what, member.number, lived_s, fate(status))
        self.exits[fate(status)] = self.exits.get(fate(status), 0) + 1
        delay_s = self._respawn.after(0.0 if member.served_s is None else self._clock.now() - member.served_s)
        if member.begun:
            await self._promote()
        if delay_s:
            _log.warning("processes die young: the next one starts in %.1f s", delay_s)
            await asyncio.sleep(delay_s)
        async with self._adding:
            if len(self.workers) < self._workers and not self._ending:
                await self._add(begin=True)
            await self._keep_spare()

    async def _promote(self) -> None:
        async with self._adding:
            spare = next((other for other in self.members.values() if not other.begun), None)
            if spare is not None and not self._ending:
                self._make_worker(spare)

    def _settle(self) -> None:
        if self._ending and not self.members:
            self._empty.set()

    def _watch(self) -> None:
        """Kill whose event loop does not turn."""
        patience = self._config.processes.watchdog_s
        beats = {member.number: self._board.heartbeat(member.place) for member in self.members.values()}
        silent = self._watchdog.look(self._clock.now(), beats)
        for number, member in self.members.items():
            limit = patience if beats[number] > member.started_s else max(patience, _IMPORT_S)
            if silent[number] > limit and member.process.poll() is None:
                _log.error("worker %d has not answered for %.0f s: killed", number, silent[number])
                member.process.kill()
        self._loop.call_later(_WATCH_S, self._watch)


def fate(status: int) -> str:
    """How a process ended."""
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"killed by signal {-status}"
