"""The process that keeps labels: writes what callers bring, and judges versions by it. A program, `python -m gateway.control.label_desk`.

Everything that it knows lies in the inference log, so it may die at any time: whoever was not answered sends again. It ends with the
supervisor's end of the channel. Callers wait for what it writes, so it gives way to nobody.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys

import msgspec
import uvloop

from gateway.clock import SystemClock
from gateway.config import Config, decode
from gateway.control.channel import Channel
from gateway.control.chores import every
from gateway.control.label_intake import Intake
from gateway.control.label_messages import DeskInheritance, End, Ingest, Judged, Keep, Serving, ToDesk
from gateway.control.label_quality import Quality
from gateway.control.label_wants import Wanted
from gateway.control.matured import Matured, Want, Wants
from gateway.observe import logs

_log = logging.getLogger(__name__)
TIDY_S = 60.0
_AT_ONCE = 1 << 16  # labelled answers in one message


class LabelDesk:
    """One process, from its start to its end."""

    def __init__(self, inheritance: DeskInheritance) -> None:
        self._inheritance = inheritance
        self._clock = SystemClock()
        self._channel: Channel[ToDesk] = Channel(ToDesk, self._received, self._stop)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._lock = asyncio.Lock()  # of the log, for writing
        self._intake: Intake | None = None
        self._quality: Quality | None = None
        self._config: Config | None = None
        self._wanted: dict[Want, Wanted] = {}
        self._asked: list[Ingest] = []
        self._writing: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._shown: object = None  # what the metrics page has

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        await self._ended.wait()
        for task in self._tasks:
            task.cancel()
        if self._writing is not None:
            await self._writing
        if self._intake is not None:
            async with self._lock:
                self._intake.close()
        self._channel.close()

    def _received(self, message: ToDesk) -> None:
        match message:
            case Keep(config):
                self._begin(decode(config))
            case Ingest():
                self._asked.append(message)
                if self._writing is None and self._intake is not None:
                    self._writing = self._loop.create_task(self._write(self._intake))
            case Serving(versions) if self._quality is not None:
                self._quality.serving = frozenset(versions)
            case Wants(wants) if self._config is not None:
                self._want(self._config, wants)
            case End():
                self._stop()

    def _begin(self, config: Config) -> None:
        logs.configure(config.logging)
        assert config.label_log is not None
        self._config = config
        self._intake = Intake(config.label_log, lambda: int(self._clock.wall() * 1e6))
        self._quality = Quality(config, config.label_log)
        self._tasks = [
            self._loop.create_task(every(TIDY_S, self._tidy)),
            self._loop.create_task(every(config.labels.evaluate_s, self._judge)),
        ]

    def _want(self, config: Config, wants: tuple[Want, ...]) -> None:
        """Whoever asks under a new name is told everything again; nobody else is."""
        labels, root = config.labels, config.label_log
        assert root is not None
        self._wanted = {
            want: self._wanted.get(want) or Wanted(want, root, wait_s=config.model(want.model).labels.wait_s, most=labels.max_waiting)
            for want in wants
        }

    async def _write(self, intake: Intake) -> None:
        """Until nothing waits."""
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                async with self._lock:
                    answers = await asyncio.to_thread(intake.keep, asked)
                for told in answers:
                    self._channel.send(told)
        except Exception:  # a fault of ours: whoever waits is told by the end of this process
            _log.exception("labels could not be kept")
            self._stop()
        finally:
            self._writing = None

    async def _tidy(self) -> None:
        assert self._intake is not None
        async with self._lock:
            await asyncio.to_thread(self._intake.tidy)

    async def _judge(self) -> None:
        assert self._quality is not None
        assert self._intake is not None
        families = await asyncio.to_thread(self._quality.look, int(self._clock.wall() * 1e6))
        families |= self._intake.families({model for model, _ in self._quality.serving})
        if families != self._shown:
            self._shown = families
            self._channel.send(Judged(families))
        for want, wanted in list(self._wanted.items()):
            answers = await asyncio.to_thread(wanted.look, int(self._clock.wall() * 1e6))
            for start in range(0, len(answers), _AT_ONCE):
                self._channel.send(Matured(want.reader, want.metric, answers[start : start + _AT_ONCE].tobytes()))

    def _stop(self) -> None:
        self._ended.set()


async def _live(inheritance: DeskInheritance) -> None:
    await LabelDesk(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    uvloop.run(_live(msgspec.json.decode(argument, type=DeskInheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
