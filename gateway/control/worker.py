"""A process that serves. Does what the supervisor says, and ends when that is gone.

Run as a program, `python -m gateway.control.worker`, with what it inherits as its one argument. It waits for its settings, so that a
spare has imported everything when it is needed. Signals are the supervisor's business: who stops a whole group of processes stops it once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys

import msgspec
import uvloop

from gateway.clock import SystemClock
from gateway.config import Config, decode
from gateway.control.balance import Balance
from gateway.control.board import Board, answer
from gateway.control.captures import Captures
from gateway.control.channel import Channel
from gateway.control.inheritance import Inheritance
from gateway.control.messages import (
    Begin,
    Changed,
    Counted,
    Drain,
    Hello,
    Hold,
    Renew,
    Report,
    Reports,
    Route,
    Routed,
    ToldDrift,
    ToldLabels,
    ToWorker,
    Wake,
)
from gateway.control.quotas import quotas_of
from gateway.control.serving import Serving
from gateway.control.watches import Watches
from gateway.drift.blocks import Blocks
from gateway.identity.gate import Known
from gateway.observe import logs
from gateway.observe.arena import Arena
from gateway.observe.metrics import Metrics
from gateway.observe.totals import OVERFLOW_SLOT
from gateway.rollout.ring import Rings
from gateway.serving.model import bound_memory

_log = logging.getLogger(__name__)
_SWITCH_S = 0.0005  # that a thread may keep the event loop from the interpreter; 5 ms by default, which callers of a shadowed model saw
_BEAT_S = 0.25
_ORPHAN_GRACE_S = 20.0


class Worker:
    """One process, from its start to its end."""

    def __init__(self, inheritance: Inheritance) -> None:
        self._inheritance = inheritance
        self._clock = SystemClock()
        board = Board(inheritance.board, inheritance.bells)
        self._balance = Balance(board, inheritance.place, self._clock.now)
        arena = Arena.attach(inheritance.arena)
        self._region = arena.region(inheritance.place)
        self._balance.counted = self._counted
        self._slots: dict[tuple[str, str], int] = {}
        self._metrics = Metrics(self._region, lambda key: self._slots.get(key, OVERFLOW_SLOT), self._clock.wall)
        self._channel: Channel[ToWorker] = Channel(ToWorker, self._received, self._orphaned)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._watches = Watches(Blocks.attach(inheritance.blocks), inheritance.place, self._clock.now, self._loop.call_later)
        self._captures = Captures(inheritance.place, self._clock, self._loop.call_soon_threadsafe, self._loop.call_later)
        ledgers = [arena.region(place).ledger for place in range(arena.workers)]
        self._quotas = quotas_of(ledgers, inheritance.place, self._loop.call_soon)
        self._ring = Rings.attach(inheritance.rings).ring(inheritance.place)
        self._serving: Serving | None = None
        self._held = 0  # the number of the last list
        self._draining: asyncio.Task[None] | None = None

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        bell = self._inheritance.bells[self._inheritance.place]
        self._loop.add_reader(bell, self._rung, bell)
        self._region["pid"] = os.getpid()
        self._channel.send(Hello())
        self._beat()
        await self._ended.wait()
        self._channel.close()

    def _received(self, message: ToWorker) -> None:
        match message:
            case Begin():
                self._begin(decode(message.config), message.core)
            case Known() if self._serving is not None:
                self._serving.know(message)
            case Hold():
                self._hold(message)
            case Route() if self._serving is not None:
                self._serving.route(message.table)
                self._channel.send(Routed(message.table.generation))
            case ToldDrift(number, content) if self._serving is not None:
                self._serving.drift.told(number, content)
            case ToldLabels(number, code, text, content) if self._serving is not None:
                self._serving.labels.told(number, code, text, content)
            case Counted(model, versions) if self._serving is not None:
                self._serving.statistics.told(model, versions)
            case Changed(number, code, text) if self._serving is not None:
                self._serving.control.told(number, code, text)
            case Renew() if self._serving is not None:
                self._serving.renew_certificate()
            case Drain():
                self._drain(message.grace_s)

    def _begin(self, config: Config, core: int | None) -> None:
        """The first time, become a worker; later, take over what may change while serving."""
        logs.configure(config.logging)
        if self._serving is not None:
            self._serving.configure(config)
            return
        cores = os.sched_getaffinity(0)
        if core is not None:
            os.sched_setaffinity(0, {core})
        bound_memory(config.limits.serving.max_arena_bytes)
        self._serving = Serving(
            config,
            metrics=self._metrics,
            quotas=self._quotas,
            watches=self._watches,
            captures=self._captures,
            ring=self._ring,
            balance=self._balance,
            clock=self._clock,
            sockets=self._inheritance.sockets,
            workers=self._inheritance.workers,
            cores=cores,
            report=self._report,
            wake=lambda model: self._channel.send(Wake(model)),
            ask=self._channel.send,
        )

    def _hold(self, message: Hold) -> None:
        assert self._serving is not None
        self._held = message.number
        self._slots = {(held.model, str(held.version)): held.slot for held in message.versions}
        self._serving.holding.hold(message.versions)

    def _report(self, versions: tuple[Report, ...]) -> None:
        self._channel.send(Reports(self._held, versions))

    def _rung(self, bell: int) -> None:
        answer(bell)
        self._balance.turn()

    def _counted(self, connections: int) -> None:
        """A connection came or went: what the metrics page shows of it is told at once, the rest with every beat."""
        self._region["connections"] = connections
        if self._serving is not None:
            self._serving.gauge(self._region)

    def _beat(self) -> None:
        self._balance.beat()
        if self._serving is not None:
            self._serving.gauge(self._region)
        self._loop.call_later(_BEAT_S, self._beat)

    def _orphaned(self) -> None:
        """The supervisor is gone. Somebody will start it again, on the same ports: listeners first."""
        if self._draining is None and not self._ended.is_set():
            _log.error("the supervisor is gone: this worker finishes what is open and ends")
            self._drain(_ORPHAN_GRACE_S)

    def _drain(self, grace_s: float) -> None:
        if self._draining is None:
            self._draining = self._loop.create_task(self._end(grace_s))

    async def _end(self, grace_s: float) -> None:
        if self._serving is not None:
            await self._serving.drain(grace_s)
            self._serving.gauge(self._region)
        self._ended.set()


async def _live(inheritance: Inheritance) -> None:
    await Worker(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.setswitchinterval(_SWITCH_S)
    uvloop.run(_live(msgspec.json.decode(argument, type=Inheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
