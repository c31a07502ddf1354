"""The process that turns what workers have logged into the inference log: seals, joins, retires, uploads. A program,
`python -m gateway.control.recorder`.

It gives way to everything that serves, and may be killed at any moment: what it does is done again, once. A target that does not answer
keeps only the thread waiting that copies to it.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import threading
import uuid
from pathlib import Path

import msgspec
import uvloop

from gateway.clock import SystemClock
from gateway.config import Config, decode
from gateway.control.channel import Channel
from gateway.control.chores import every
from gateway.control.recorder_messages import End, Record, RecorderInheritance, Shown, ToRecorder
from gateway.observe import logs
from registry.directory import DirectoryMedium
from registry.errors import Kind, RegistryError
from registry.log_erasing import Eraser
from registry.log_keeping import Keeper, Keeping
from registry.log_layout import make_log
from registry.log_sealing import Sealer
from registry.log_totals import families_of
from registry.log_upload import Uploader
from registry.medium import Medium
from registry.niceness import give_way
from registry.objects import object_medium

_log = logging.getLogger(__name__)
LOOK_S = 1.0  # between two passes
KEEP_S = 30.0  # between two looks at what can be joined, or goes
PAUSE_S, LONGEST_PAUSE_S = 1.0, 60.0  # after an upload that failed; doubles
_DAY_S = 86_400.0


class Archive:
    """The work on one log. Blocks."""

    def __init__(self, config: Config, clock: SystemClock) -> None:
        """Raises `RegistryError`, also where the log's directory cannot be made."""
        assert config.log is not None
        settings = config.capture
        self.medium = DirectoryMedium(Path(config.log).resolve())
        make_log(self.medium, uuid.uuid4().hex)
        self._clock = clock
        self._sealer = Sealer(self.medium, wall=clock.wall)
        age_s = None if settings.keep_days is None else settings.keep_days * _DAY_S
        self._keeper = Keeper(self._sealer, Keeping(max_age_s=age_s, max_bytes=settings.keep_bytes), wall=clock.wall)
        self._eraser = Eraser(self._sealer, wall=clock.wall)
        self._erased: set[str] = set()  # erasures that are finished, or were looked at here
        self._payload_age_s = None if settings.keep_payload_days is None else settings.keep_payload_days * _DAY_S
        self._kept_s = 0.0

    def look(self) -> dict[str, list[tuple[tuple[str, ...], float]]]:
        """One pass; what the metrics page shows then. Raises `RegistryError`."""
        try:
            with self._sealer.working():
                self._work()
        except RegistryError as error:
            if error.kind is not Kind.CONFLICT:  # another server on this directory does it
                raise
            self._sealer.catch_up()
        return families_of(self.medium, self._sealer.state)

    def _work(self) -> None:
        self._sealer.seal()
        now = self._clock.now()
        if now - self._kept_s >= KEEP_S:
            self._kept_s = now
            self._keeper.compact()
            self._keeper.retire()
            for erasure in list(self._sealer.state.erasures.values()):
                if erasure.id not in self._erased:
                    self._eraser.finish(erasure)
                    self._erased.add(erasure.id)
            self._eraser.age(self._payload_age_s)
            self._keeper.sweep()
            self._sealer.chain.keep(self._sealer.state)


class Courier(threading.Thread):
    """Copies commits to the target, for as long as the process lives."""

    def __init__(self, source: Medium, config: Config) -> None:
        super().__init__(name="upload", daemon=True)
        self.at = 0  # the last commit that is there
        self._source, self._config = source, config
        self._wake = threading.Event()

    def news(self) -> None:
        """There may be another commit."""
        self._wake.set()

    def run(self) -> None:
        """See `threading.Thread`."""
        uploader: Uploader | None = None
        pause_s = PAUSE_S
        while True:
            try:
                uploader = uploader or self._uploader()
                while uploader.step():
                    self.at, pause_s = uploader.at, PAUSE_S
                self.at = uploader.at
                self._wake.wait()
            except Exception as error:  # whatever it is, the log goes on here
                _log.error("inference log: cannot upload, and it is tried again: %s", error)
                threading.Event().wait(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)
            self._wake.clear()

    def _uploader(self) -> Uploader:
        settings = self._config.capture
        assert settings.upload is not None
        return Uploader(self._source, object_medium(settings.upload, options=settings.upload_options))


class Recorder:
    """One process, from its start to its end."""

    def __init__(self, inheritance: RecorderInheritance) -> None:
        self._inheritance = inheritance
        self._channel: Channel[ToRecorder] = Channel(ToRecorder, self._received, self._stop)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._config: Config | None = None
        self._archive: Archive | None = None
        self._courier: Courier | None = None
        self._shown: object = None
        self._task: asyncio.Task[None] | None = None
        self._busy = asyncio.Lock()

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        await self._ended.wait()
        if self._task is not None:
            self._task.cancel()
            await self._look()
        self._channel.close()

    def _received(self, message: ToRecorder) -> None:
        match message:
            case Record(config) if self._config is None:
                self._config = decode(config)
                logs.configure(self._config.logging)
                self._task = self._loop.create_task(every(LOOK_S, self._look))
            case End():
                self._stop()

    async def _look(self) -> None:
        async with self._busy:
            try:
                families = await asyncio.to_thread(self._pass)
            except RegistryError as error:
                _log.error("inference log: %s", error.message)
                return
        if families != self._shown:
            self._shown = families
            self._channel.send(Shown(families))

    def _pass(self) -> dict[str, list[tuple[tuple[str, ...], float]]]:
        assert self._config is not None
        if self._archive is None:
            self._archive = Archive(self._config, SystemClock())
            if self._config.capture.upload is not None:
                self._courier = Courier(self._archive.medium, self._config)
                self._courier.start()
        families = self._archive.look()
        if self._courier is not None:
            self._courier.news()
            families["tidegate_capture_uploaded_commits"] = [((), float(self._courier.at))]
        return families

    def _stop(self) -> None:
        self._ended.set()


async def _live(inheritance: RecorderInheritance) -> None:
    await Recorder(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    give_way()
    uvloop.run(_live(msgspec.json.decode(argument, type=RecorderInheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
