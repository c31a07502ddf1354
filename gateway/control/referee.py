"""The process that decides about rollouts: reads what workers record, concludes, and appends to journals. A program,
`python -m gateway.control.referee`.

It gives way to everything that serves. What it decided stands in the registry, what it counted is saved with each decision. It ends with
the supervisor's end of the channel; another server, or the next one here, goes on from the journal.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import uvloop

from gateway.clock import SystemClock, thread_cpu_s
from gateway.config import Config, decode
from gateway.control.benches import Benches
from gateway.control.channel import Channel
from gateway.control.chores import every
from gateway.control.matured import Matured, Wants
from gateway.control.queries import asking
from gateway.control.rollout_messages import Appended, End, Held, Referee, RefereeInheritance, Shown, ToReferee
from gateway.control.rollout_page import families_of
from gateway.control.rounds import Rounds
from gateway.observe import logs
from gateway.rollout.controller import Controller
from gateway.rollout.ring import Rings
from gateway.rollout.standing import Pin
from gateway.serving.sources import open_repository
from registry.errors import RegistryError
from registry.niceness import give_way
from registry.rollout_entries import RolloutJournal

_log = logging.getLogger(__name__)
TICK_S = 0.25  # far less than a ring holds
DECIDE_S = 1.0  # between two looks at all evidence, at most
REST = 20.0  # times the processor time of a look until the next one: few rollouts are looked at in every tick, many once a second
DIRECTORY_LOOK_S, STORE_LOOK_S = 0.5, 3.0  # between two looks at the registry, where nobody here has written to it


class Holdings:
    """`controller.Readiness`, as the supervisor last told it."""

    def __init__(self) -> None:
        self.told = Held((), {}, {}, 0)

    def ready(self, model: str, pin: Pin) -> bool:
        """See `controller.Readiness`."""
        return any(
            (one.model, one.version, one.content, one.failure) == (model, pin.version, pin.manifest, "") for one in self.told.versions
        )

    def failure(self, model: str, pin: Pin) -> str | None:
        """See `controller.Readiness`."""
        return next((one.failure for one in self.told.versions if one.failure and (one.model, one.version) == (model, pin.version)), None)


class Court:
    """One process, from its start to its end."""

    def __init__(self, inheritance: RefereeInheritance) -> None:
        self._inheritance = inheritance
        self._clock = SystemClock()
        self._channel: Channel[ToReferee] = Channel(ToReferee, self._received, self._stop)
        self._ended = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        rings = Rings.attach(inheritance.rings)
        self._threads = ThreadPoolExecutor(2, "queries")
        every_ring = [rings.ring(number) for number in range(len(rings))]
        self._benches = Benches(every_ring, self._threads, ask=asking(self._clock.now), run=uuid.uuid4().hex)
        self._holdings = Holdings()
        self._controller: Controller | None = None
        self._rounds: Rounds | None = None
        self._problems: dict[str, str] = {}
        self._shown: object = None  # what the metrics page has
        self._wants = Wants(())  # what was asked for
        self._task: asyncio.Task[None] | None = None
        self._due_s = 0.0  # the next look

    async def live(self) -> None:
        """Until the supervisor says so, or is gone."""
        await self._channel.open(socket.socket(fileno=self._inheritance.channel))
        await self._ended.wait()
        if self._task is not None:
            self._task.cancel()
        if self._rounds is not None:
            self._rounds.end()
        if self._controller is not None:
            self._controller.close(self._clock.wall())
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._channel.close()

    def _received(self, message: ToReferee) -> None:
        match message:
            case Referee(config):
                self._begin(decode(config))
            case Held():
                self._holdings.told = message
                self._benches.slots, self._benches.inline = message.slots, message.inline
            case Matured():
                self._benches.matured(message)
            case End():
                self._stop()

    def _begin(self, config: Config) -> None:
        logs.configure(config.logging)
        self._benches.no_labels = no_labels(config)
        try:
            store = open_repository(config.repository).registry()
        except RegistryError as error:
            _log.error("rollouts: %s", error.message)
            self._stop()
            return
        holder = f"{config.server.name}@{socket.gethostname()}"[:48] + f"/{self._inheritance.run[:8]}"
        look_s = DIRECTORY_LOOK_S if isinstance(store.medium.root, Path) else STORE_LOOK_S
        self._controller = Controller(
            store, holder=holder, evidences=self._benches, readiness=self._holdings, applied=self._applied, look_s=look_s
        )  # fmt: skip
        self._task = self._loop.create_task(every(TICK_S, self._tick))
        self._rounds = Rounds.of(config.webhooks, store, self._controller, holder, self._clock)
        self._rounds.begin()

    def _applied(self, journal: RolloutJournal) -> None:
        last = journal.entries[-1]
        _log.info("rollout %s: %s, step %d: %s", journal.id, last.to_phase, last.step, last.reason or last.event)
        self._channel.send(Appended())

    async def _tick(self) -> None:
        now, before_s = self._clock.now(), thread_cpu_s()
        if now < self._due_s:
            self._benches.gather()
            return
        self._due_s = now + DECIDE_S
        self._decide()
        self._due_s = now + pause_s(thread_cpu_s() - before_s)

    def _decide(self) -> None:
        assert self._controller is not None
        self._benches.feed(self._holdings.told.deaths, self._clock.now())
        self._controller.tick(self._clock.wall())
        for rollout, problem in self._controller.problems.items():
            if self._problems.get(rollout) != problem:
                _log.error("rollout %s: %s", rollout or "registry", problem)
        self._problems = dict(self._controller.problems)
        wants = Wants(self._benches.wants)
        if wants != self._wants:
            self._wants = wants
            self._channel.send(wants)
        families = families_of(self._controller.standings, self._benches)
        if families != self._shown:
            self._shown = families
            self._channel.send(Shown(families))

    def _stop(self) -> None:
        self._ended.set()


def pause_s(cost_s: float) -> float:
    """From one look to the next, where it took so much processor time. Evidence may be looked at as often as one likes."""
    return min(REST * cost_s, DECIDE_S)


def no_labels(config: Config) -> str:
    """Why no label of an answer can come on this server; "" where one can."""
    if not config.labels.enabled:
        return "the server that decides keeps no labels: set labels.enabled, or dryRun: true"
    if not config.capture.enabled:
        return "the server that decides keeps no log of its answers, so no label is of one: set capture.enabled, or dryRun: true"
    return ""


async def _live(inheritance: RefereeInheritance) -> None:
    await Court(inheritance).live()


def main(argument: str) -> None:
    """The program."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    give_way()
    uvloop.run(_live(msgspec.json.decode(argument, type=RefereeInheritance)))


if __name__ == "__main__":
    main(sys.argv[1])
