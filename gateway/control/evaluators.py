"""The process that evaluates drift, seen from the supervisor: told of the blocks there are, asked what is known of versions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.attendant import Attendant, Started, start_program
from gateway.control.drift_messages import (
    Closed,
    End,
    Evaluate,
    EvaluatorInheritance,
    FromEvaluator,
    Gauges,
    Learned,
    Tell,
    Told,
    Watch,
    Watched,
)

MAX_QUESTIONS = 1_024

Answer = Callable[[str], None]
Start = Callable[[EvaluatorInheritance], Started]


def start_evaluator(inheritance: EvaluatorInheritance) -> Started:
    """The process, and this end of the channel to it. Raises `OSError`."""

    def argument(channel: int) -> str:
        return msgspec.json.encode(msgspec.structs.replace(inheritance, channel=channel)).decode()

    return start_program("gateway.control.evaluator", argument, [inheritance.blocks])


class Evaluators:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, config: Config, inheritance: EvaluatorInheritance, clock: Clock,
        *, watched: Callable[[], tuple[Watched, ...]], closed: Callable[[int], None], learned: Callable[[Learned], None],
        start: Start = start_evaluator, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """`watched` gives every block there is, `closed` is told of a serial whose block is kept, `learned` of a profile."""
        self.gauges = Gauges({})
        self._config = config
        self._watched, self._closed, self._learned = watched, closed, learned
        self._due = False
        self._ending = False
        self._questions: dict[int, Answer] = {}
        self._asked = 0
        self._loop = asyncio.get_running_loop()
        self._attendant: Attendant[FromEvaluator] = Attendant(
            "evaluates drift", FromEvaluator, clock, End(), start=lambda: start(inheritance),
            opened=self._opened, received=self._received, gone=self._gone, sleep=sleep,
        )  # fmt: skip

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return self._attendant.pid

    def changed(self) -> None:
        """There are other blocks: tell it at the end of the tick, and have it where there is something to evaluate."""
        if not self._due and not self._ending:
            self._due = True
            self._loop.call_soon(self._tell)

    def ask(self, model: str, answer: Answer, *, messages: bool = False) -> None:
        """What is known of a model's versions: JSON, of messages where those are wanted; "" where nobody knows at the moment."""
        if not self._attendant.there or len(self._questions) >= MAX_QUESTIONS:
            answer("")
            return
        self._asked += 1
        self._questions[self._asked] = answer
        self._attendant.send(Tell(self._asked, model, messages))

    async def end(self) -> None:
        """A last look, a last save."""
        self._ending = True
        await self._attendant.end()

    def _tell(self) -> None:
        self._due = False
        watched = self._watched()
        if not self._attendant.send(Watch(watched)) and watched:
            self._attendant.want()

    def _opened(self) -> None:
        self._attendant.send(Evaluate(encode(self._config)))
        self._attendant.send(Watch(self._watched()))

    def _received(self, message: FromEvaluator) -> None:
        match message:
            case Gauges():
                self.gauges = message
            case Told(number, content):
                answer = self._questions.pop(number, None)
                if answer is not None:
                    answer(content)
            case Closed(serial):
                self._closed(serial)
            case Learned():
                self._learned(message)

    def _gone(self) -> None:
        """Whoever waits for an answer gets none."""
        questions, self._questions = self._questions, {}
        for answer in questions.values():
            answer("")
