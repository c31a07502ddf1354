"""The process that seals the inference log, seen from the supervisor: there from the start, where there is a log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.attendant import Attendant, Started, start_program
from gateway.control.recorder_messages import End, FromRecorder, Record, RecorderInheritance, Shown
from gateway.observe.page import Values

Start = Callable[[RecorderInheritance], Started]


def start_recorder(inheritance: RecorderInheritance) -> Started:
    """The process, and this end of the channel to it. Raises `OSError`."""

    def argument(channel: int) -> str:
        return msgspec.json.encode(msgspec.structs.replace(inheritance, channel=channel)).decode()

    return start_program("gateway.control.recorder", argument, [])


class Recorders:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, config: Config, clock: Clock, *, start: Start = start_recorder, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        self._config = config
        self._shown = Shown({})
        self._attendant: Attendant[FromRecorder] = Attendant(
            "seals the inference log", FromRecorder, clock, End(), start=lambda: start(RecorderInheritance()),
            opened=self._opened, received=self._received, gone=lambda: None, sleep=sleep,
        )  # fmt: skip
        if config.log is not None:
            self._attendant.want()

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._attendant.pid

    def gauges(self) -> Mapping[str, Values]:
        """What the metrics page shows: as it was last told, also while there is nobody."""
        return {name: values[0][1] if values and not values[0][0] else dict(values) for name, values in self._shown.families.items()}

    async def end(self) -> None:
        """Workers are gone: what they left is sealed."""
        await self._attendant.end()

    def _opened(self) -> None:
        self._attendant.send(Record(encode(self._config)))

    def _received(self, message: FromRecorder) -> None:
        self._shown = message
