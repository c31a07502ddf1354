"""The process that evaluates drift: sums what workers count, and concludes from it. A program, `python -m gateway.control.evaluator`.

It gives way to everything that serves. Whatever it knows can be had again: from the blocks while the server lives, from the state directory
afterwards. It ends with the supervisor's end of the channel.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

import msgspec
import uvloop

from gateway.clock import SystemClock
from gateway.config import Config, decode
from gateway.control.channel import Channel
from gateway.control.chores import every
from gateway.control.drift_desk import Desk
from gateway.control.drift_messages import Closed, End, Evaluate, EvaluatorInheritance, Gauges, Tell, ToEvaluator, Told, Watch, Watched
from gateway.drift.blocks import Blocks
from gateway.observe import logs
from gateway.protocol.drift_message import version_messages
from registry.niceness import give_way

_log = logging.getLogger(__name__)
SAVE_S = 10.0


class Evaluator:
    """One process, from its start to its end."""

    def __init__(self, inheritance: EvaluatorInheritance) -> None:
        self._inheritance = inheritance
        self._clock = SystemClock()
        self._channel: Channel[ToEvaluator] = Channel(ToEvaluator, self._received, self._stop)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._desk: Desk | None = None
        self._shown: object = None  # what the metrics page has
        self._tasks: list[asyncio.Task[None]] = []

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        await self._ended.wait()
        for task in self._tasks:
            task.cancel()
        if self._desk is not None:
            try:
                await self._look()
            except Exception:  # a fault of ours: what was known before is saved
                _log.exception("the last look failed")
            self._desk.save()
        self._channel.close()

    def _received(self, message: ToEvaluator) -> None:
        match message:
            case Evaluate(config):
                self._begin(decode(config))
            case Watch(blocks):
                self._watch(blocks)
            case Tell(number, model, messages):
                content = "[]" if self._desk is None else self._desk.told(model)
                self._channel.send(Told(number, version_messages(content) if messages else content))
            case End():
                self._stop()

    def _begin(self, config: Config) -> None:
        logs.configure(config.logging)
        given = self._inheritance
        self._desk = Desk(config, Blocks.attach(given.blocks), run=given.run, state=Path(given.state), learned=Path(given.learned))
        self._tasks = [
            self._loop.create_task(every(config.drift.evaluate_s, self._look)),
            self._loop.create_task(every(SAVE_S, self._save)),
        ]

    def _watch(self, blocks: tuple[Watched, ...]) -> None:
        if self._desk is not None:
            for serial in self._desk.watch(blocks, self._clock.wall()):
                self._channel.send(Closed(serial))

    async def _look(self) -> None:
        assert self._desk is not None
        for learned in self._desk.look(self._clock.wall()):
            self._channel.send(learned)
        families = self._desk.gauges()
        if families != self._shown:
            self._shown = families
            self._channel.send(Gauges(families))

    async def _save(self) -> None:
        """Blocks that are closed and could not be saved are tried again."""
        assert self._desk is not None
        self._desk.save()
        self._watch(self._desk.blocks)

    def _stop(self) -> None:
        self._ended.set()


async def _live(inheritance: EvaluatorInheritance) -> None:
    await Evaluator(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    give_way()
    uvloop.run(_live(msgspec.json.decode(argument, type=EvaluatorInheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
