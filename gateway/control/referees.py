"""The process that decides about rollouts, seen from the supervisor: there is one while the registry has a rollout that is not over."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.attendant import Attendant, Started, start_program
from gateway.control.matured import Matured, Wants
from gateway.control.messages import Table
from gateway.control.rollout_messages import Appended, End, FromReferee, Held, Referee, RefereeInheritance, Serves, Shown
from gateway.observe.page import Values
from gateway.serving.sources import content_of, is_isolated

Start = Callable[[RefereeInheritance], Started]


def start_referee(inheritance: RefereeInheritance) -> Started:
    """The process, and this end of the channel to it. Raises `OSError`."""

    def argument(channel: int) -> str:
        return msgspec.json.encode(msgspec.structs.replace(inheritance, channel=channel)).decode()

    return start_program("gateway.control.referee", argument, [inheritance.rings])


class Referees:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, config: Config, inheritance: RefereeInheritance, clock: Clock, *, appended: Callable[[], object],
        wanted: Callable[[Wants], None], start: Start = start_referee, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """`appended` is called when a rollout has gone on, `wanted` with the labelled answers that are asked for."""
        self._config, self._appended, self._wanted = config, appended, wanted
        self._held = Held((), {}, {}, 0)
        self._shown = Shown({})
        self._ending = False
        self._attendant: Attendant[FromReferee] = Attendant(
            "decides about rollouts", FromReferee, clock, End(), start=lambda: start(inheritance),
            opened=self._opened, received=self._received, gone=self._gone, sleep=sleep,
        )  # fmt: skip

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._attendant.pid

    def follow(self, table: Table, *, open_: bool, deaths: int) -> None:
        """What serves now, whether any rollout is open, and how many workers have died unasked."""
        if self._ending:
            return
        held = held_of(table, deaths)
        if held != self._held:
            self._held = held
            self._attendant.send(held)
        if open_:
            self._attendant.want()

    def matured(self, matured: Matured) -> None:
        """What was wanted. Where nobody is there it is lost, and whoever comes asks for all of it."""
        self._attendant.send(matured)

    def gauges(self) -> Mapping[str, Values]:
        """What the metrics page shows."""
        return {name: dict(values) for name, values in self._shown.families.items()}

    async def end(self) -> None:
        """Claims are let go of, so that another server need not wait."""
        self._ending = True
        await self._attendant.end()

    def _opened(self) -> None:
        self._attendant.send(Referee(encode(self._config)))
        self._attendant.send(self._held)

    def _received(self, message: FromReferee) -> None:
        match message:
            case Appended():
                self._appended()
            case Shown():
                self._shown = message
            case Wants():
                self._wanted(message)

    def _gone(self) -> None:
        self._shown = Shown({})
        self._wanted(Wants(()))


def held_of(table: Table, deaths: int) -> Held:
    """What a table says to who decides about rollouts."""
    ready = [Serves(model, number, content_of(identity)) for model, numbers in table.models.items() for number, identity in numbers.items()]
    failed = [Serves(model, number, "", reason) for model, numbers in table.failed.items() for number, reason in numbers.items()]
    inline = {split.rollout: not any(is_isolated(table.models[split.model][arm.version]) for arm in split.arms) for split in table.splits}
    return Held((*ready, *failed), {split.rollout: split.slot for split in table.splits}, inline, deaths)
