"""Labels that callers bring, on both transports. They are kept by a process beside the supervisor, so a worker passes them on.

A worker knows only whose labels they are; the answer comes when they are durable. Where it does not come, any part of them may be stored:
whoever sends the same again finds out.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gateway.control.label_bodies import models_in
from gateway.control.replies import fail
from gateway.errors import Code, TidegateError
from gateway.identity.callers import Caller
from gateway.serving.deadlines import Loop
from gateway.wire import grpc
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message, Method
from gateway.wire.stream import Stream

ROUTE, PATH = "POST /v1/labels", b"/tidegate.Labels/Ingest"
PATIENCE_S = 30.0
MAX_BYTES, MAX_WAITING, MAX_WAITING_BYTES = 4 << 20, 256, 32 << 20
DISABLED = TidegateError(Code.UNAVAILABLE, "labels are not taken here: set labels.enabled")
LATE = TidegateError(Code.UNAVAILABLE, "labels cannot be kept at the moment; send the same again: what was stored is a duplicate then")
CROWDED = TidegateError(Code.OVERLOADED, "too many labels wait to be kept")

Answer = Callable[[bytes | TidegateError], None]


class LabelQuestions:
    """Those of one worker."""

    def __init__(self, loop: Loop, ask: Callable[[int, bytes, bool], None], *, enabled: Callable[[], bool]) -> None:
        """`ask(number, content, message)` sends labels to the supervisor; `told` gets the answer."""
        self._loop, self._ask, self._enabled = loop, ask, enabled
        self._number = 0
        self._waiting: dict[int, tuple[Answer, int]] = {}  # by number, with how many bytes wait

    def http(self, exchange: HttpExchange) -> None:
        """POST /v1/labels."""

        def answer(found: bytes | TidegateError) -> None:
            if isinstance(found, TidegateError):
                fail(exchange, found.code, found.message)
            else:
                exchange.respond(200, [JSON_TYPE], found)

        caller = exchange.credential
        self._want(bytes(exchange.body), answer, message=False, demand=_demands(caller, ROUTE, exchange.arrival))

    def grpc(self, stream: Stream, data: Message, start: int, end: int, _deadline: float, caller: Caller | None = None) -> None:
        """tidegate.Labels/Ingest."""

        def answer(found: bytes | TidegateError) -> None:
            if stream.cancelled:
                return
            if isinstance(found, TidegateError):
                grpc.fail(stream, found.code, found.message)
            else:
                grpc.reply(stream, found)

        self._want(bytes(data[start:end]), answer, message=True, demand=_demands(caller, PATH.decode(), stream.arrival))

    def personal(self, caller: Caller) -> Method:
        """`grpc` for one caller, whose right to each model is asked."""
        return Method(unary=partial(self.grpc, caller=caller))

    def told(self, number: int, code: int, text: str, content: bytes) -> None:
        """The supervisor's answer: `content` as it goes out, or an error."""
        answer, _ = self._waiting.pop(number, (None, 0))
        if answer is not None:
            answer(content if code == Code.OK else TidegateError(Code(code), text))

    def _want(self, content: bytes, answer: Answer, *, message: bool, demand: Callable[[str], None]) -> None:
        try:
            self._check(content)
            for model in sorted(models_in(content, message=message)):
                demand(model)
            if not self._enabled():
                raise DISABLED
        except TidegateError as error:
            answer(error)
            return
        self._number += 1
        self._waiting[self._number] = answer, len(content)
        self._loop.call_later(PATIENCE_S, self._give_up, self._number)
        self._ask(self._number, content, message)

    def _check(self, content: bytes) -> None:
        if len(content) > MAX_BYTES:
            raise TidegateError(Code.TOO_LARGE, f"labels of {len(content)} bytes, more than the {MAX_BYTES} that are taken at a time")
        if len(self._waiting) >= MAX_WAITING or sum(size for _, size in self._waiting.values()) + len(content) > MAX_WAITING_BYTES:
            raise CROWDED

    def _give_up(self, number: int) -> None:
        answer, _ = self._waiting.pop(number, (None, 0))
        if answer is not None:
            answer(LATE)


def _demands(caller: Caller | None, route: str, arrival: float) -> Callable[[str], None]:
    """What asks for a caller's right to a model, where callers must show who they are."""
    return (lambda _model: None) if caller is None else lambda model: caller.demand(route, model, arrival)
