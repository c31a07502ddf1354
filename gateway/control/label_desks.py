"""The process that keeps labels, seen from the supervisor: there while labels are taken, given what workers are brought."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.attendant import Attendant, Started, start_program
from gateway.control.label_messages import DeskInheritance, End, FromDesk, Ingest, Judged, Keep, Serving
from gateway.control.matured import Matured, Wants
from gateway.control.messages import Table, ToldLabels
from gateway.errors import Code
from gateway.observe.page import Values

MAX_ASKED = 1_024

Answer = Callable[[ToldLabels], None]


def start_label_desk() -> Started:
    """The process, and this end of the channel to it. Raises `OSError`."""
    return start_program("gateway.control.label_desk", lambda channel: msgspec.json.encode(DeskInheritance(channel=channel)).decode(), [])


class LabelDesks:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, config: Config, clock: Clock, *,
        start: Callable[[], Started] = start_label_desk, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        self.matured: Callable[[Matured], None] = lambda _matured: None  # is told of answers that were wanted, as they get their labels
        self._config = config
        self._wants = Wants(())
        self._families: Mapping[str, Values] = {}
        self._serving = Serving(())
        self._asked: dict[int, tuple[Answer, int]] = {}  # by our number, with the caller's
        self._number = 0
        self._attendant: Attendant[FromDesk] = Attendant(
            "keeps labels", FromDesk, clock, End(), start=start, opened=self._opened, received=self._received, gone=self._gone, sleep=sleep,
        )  # fmt: skip

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._attendant.pid

    def serves(self, table: Table) -> None:
        """What serves from now on. The process is there from the first time, where labels are taken."""
        if not self._config.labels.enabled:
            return
        self._attendant.want()
        versions = tuple((model, version) for model, held in sorted(table.models.items()) for version in sorted(held))
        if versions != self._serving.versions:
            self._serving = Serving(versions)
            self._attendant.send(self._serving)

    def ask(self, number: int, content: bytes, message: bool, answer: Answer) -> None:
        """Keep labels; `answer` gets what became of them, with the caller's number. UNAVAILABLE where nobody is there."""
        if not self._attendant.there:
            answer(_unavailable(number))
        elif len(self._asked) >= MAX_ASKED:
            answer(ToldLabels(number, Code.OVERLOADED.value, "too many labels wait to be kept", b""))
        else:
            self._number += 1
            self._asked[self._number] = answer, number
            self._attendant.send(Ingest(self._number, content, message))

    def want(self, wants: Wants) -> None:
        """What whoever decides about rollouts asks for, instead of what it asked for before."""
        self._wants = wants
        self._attendant.send(wants)

    def gauges(self) -> Mapping[str, Values]:
        """What the metrics page shows."""
        return self._families

    async def end(self) -> None:
        """Workers are gone: what is being written is finished."""
        await self._attendant.end()

    def _opened(self) -> None:
        self._attendant.send(Keep(encode(self._config)))
        self._attendant.send(self._serving)
        self._attendant.send(self._wants)

    def _received(self, message: FromDesk) -> None:
        match message:
            case ToldLabels():
                answer, number = self._asked.pop(message.number, (None, 0))
                if answer is not None:
                    answer(msgspec.structs.replace(message, number=number))
            case Matured():
                self.matured(message)
            case Judged(families):
                self._families = {name: dict(values) for name, values in families.items()}

    def _gone(self) -> None:
        """What was under way may be stored or not: whoever sends it again finds out."""
        asked, self._asked = self._asked, {}
        for answer, number in asked.values():
            answer(_unavailable(number))


def _unavailable(number: int) -> ToldLabels:
    text = "labels cannot be kept at the moment; send the same again: what was stored is a duplicate then"
    return ToldLabels(number, Code.UNAVAILABLE.value, text, b"")
