"""The process that evaluates drift, seen from the supervisor: started when there is something to evaluate, and again whenever it dies.

What it knew lies in the blocks, which outlive it, and in the state directory. Nothing that serves a request waits for it.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable

import msgspec

from gateway.clock import Clock
from gateway.config import Config, encode
from gateway.control.channel import Channel
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
from gateway.control.respawn import Respawn
from gateway.control.spawning import ended

_log = logging.getLogger(__name__)
_END_S = 10.0  # that a last look and a save may take
_REAP_S = 1.0  # from the end of its channel until a process that still lives is killed
MAX_QUESTIONS = 1_024

Answer = Callable[[str], None]
Start = Callable[[EvaluatorInheritance], tuple[subprocess.Popen[bytes], socket.socket]]


def start_evaluator(inheritance: EvaluatorInheritance) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """The process, and this end of the channel to it. Raises `OSError`."""
    ours, theirs = socket.socketpair()
    with theirs:
        given = msgspec.structs.replace(inheritance, channel=theirs.fileno())
        command = [sys.executable, "-P", "-m", "gateway.control.evaluator", msgspec.json.encode(given).decode()]
        try:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, pass_fds=(given.channel, given.blocks)), ours
        except OSError:
            ours.close()
            raise


class Evaluators:
    """One process at a time. Everything runs on the event loop."""

    def __init__(
        self, config: Config, inheritance: EvaluatorInheritance, clock: Clock,
        *, watched: Callable[[], tuple[Watched, ...]], closed: Callable[[int], None], learned: Callable[[Learned], None],
        start: Start = start_evaluator, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:  # fmt: skip
        """`watched` gives every block there is, `closed` is told of a serial whose block is kept, `learned` of a profile."""
        self.gauges = Gauges({})
        self._config, self._inheritance, self._clock = config, inheritance, clock
        self._watched, self._closed, self._learned = watched, closed, learned
        self._start, self._sleep = start, sleep
        self._respawn = Respawn()
        self._process: subprocess.Popen[bytes] | None = None
        self._started: list[subprocess.Popen[bytes]] = []  # all that nobody has seen the end of
        self._channel: Channel[FromEvaluator] | None = None
        self._started_s = 0.0
        self._beginning = False  # it is being started, or will be in a while
        self._due = False
        self._ending = False
        self._questions: dict[int, Answer] = {}
        self._asked = 0
        self._loop = asyncio.get_running_loop()
        self._starting: set[asyncio.Task[None]] = set()
        self._waiting: asyncio.Task[None] | None = None  # with the start, since processes die young

    @property
    def pid(self) -> int | None:
        """Of the process, while there is one."""
        return None if self._process is None else self._process.pid

    def changed(self) -> None:
        """There are other blocks: tell it at the end of the tick, and have it where there is something to evaluate."""
        if not self._due and not self._ending:
            self._due = True
            self._loop.call_soon(self._tell)

    def ask(self, model: str, answer: Answer, *, messages: bool = False) -> None:
        """What is known of a model's versions: JSON, of messages where those are wanted; "" where nobody knows at the moment."""
        if self._channel is None or len(self._questions) >= MAX_QUESTIONS:
            answer("")
            return
        self._asked += 1
        self._questions[self._asked] = answer
        self._channel.send(Tell(self._asked, model, messages))

    async def end(self) -> None:
        """A last look, a last save. Killed where that takes too long."""
        self._ending = True
        if self._waiting is not None:
            self._waiting.cancel()
        await asyncio.gather(*self._starting, return_exceptions=True)
        if self._channel is not None:
            self._channel.send(End())
        for process in self._started:
            if not await ended(process, _END_S):
                _log.error("the process that evaluates drift did not end in time: killed")

    def _tell(self) -> None:
        self._due = False
        watched = self._watched()
        if self._channel is not None:
            self._channel.send(Watch(watched))
        elif watched:
            self._begin(0.0)

    def _begin(self, delay_s: float, before: subprocess.Popen[bytes] | None = None) -> None:
        if self._beginning or self._ending:
            return
        self._beginning = True
        task = self._loop.create_task(self._open(delay_s, before))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    async def _open(self, delay_s: float, before: subprocess.Popen[bytes] | None) -> None:
        """Start one, when the one `before` it has ended: two would write the same files."""
        if before is not None:
            await ended(before, _REAP_S)
        self._waiting = asyncio.current_task()
        await self._sleep(delay_s)
        self._waiting = None
        self._started_s = self._clock.now()
        try:
            process, sock = await asyncio.to_thread(self._start, self._inheritance)
        except OSError as error:
            _log.error("the process that evaluates drift cannot be started: %s", error)
            self._beginning = False
            self._begin(self._respawn.after(0.0) or 1.0)
            return
        if self._ending:
            sock.close()
            await ended(process, _REAP_S)
            return
        self._started = [one for one in self._started if one.returncode is None] + [process]
        self._process, self._beginning = process, False
        channel: Channel[FromEvaluator] = Channel(FromEvaluator, self._received, self._gone)
        await channel.open(sock)
        if self._process is process:  # else it is gone already
            self._channel = channel
            channel.send(Evaluate(encode(self._config)))
            channel.send(Watch(self._watched()))

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
        """It died, or was told to end. Whoever waits for an answer gets none."""
        process, self._process, self._channel = self._process, None, None
        questions, self._questions = self._questions, {}
        for answer in questions.values():
            answer("")
        if not self._ending:
            _log.error("the process that evaluates drift is gone: another one takes its place")
            self._begin(self._respawn.after(self._clock.now() - self._started_s), process)
