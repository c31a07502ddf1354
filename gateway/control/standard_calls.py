"""The gRPC services that every server is expected to have: grpc.health.v1 and server reflection, on the transport's streams."""

from __future__ import annotations

import math
from collections.abc import Callable

from gateway.control import health, reflection
from gateway.control.guarded_calls import Personal
from gateway.control.health import Health, Watch, service_of
from gateway.control.reflection import Reflection
from gateway.errors import Code, TidegateError
from gateway.identity.access import OF_A_MODEL
from gateway.identity.callers import Caller
from gateway.wire import grpc
from gateway.wire.grpc import Message, MessageSink, Method
from gateway.wire.stream import Stream


def standard_methods(checks: Health) -> dict[bytes, Method]:
    """Health (Check, Watch) and reflection (v1, v1alpha) by path."""
    methods = {
        health.CHECK: Method(unary=unary(checks.check)),
        health.WATCH: Method(streaming=lambda stream, _deadline: WatchCall(checks, stream)),
    }
    return methods | reflection_methods(Reflection())


def reflection_methods(mirror: Reflection) -> dict[bytes, Method]:
    """Both versions of reflection by path."""
    return dict.fromkeys(reflection.PATHS, Method(streaming=lambda stream, _deadline: AnswerCall(mirror.answer, stream)))


def personal_health(checks: Health) -> dict[bytes, Personal]:
    """Health for one caller: of the server to everybody, of a model to who may ask for its readiness."""

    def check_for(caller: Caller) -> Method:
        def handle(stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
            demand(health.CHECK, data[start:end], caller, stream.arrival)
            grpc.reply(stream, checks.check(data[start:end]))

        return Method(unary=handle)

    def watch_for(caller: Caller) -> Method:
        return Method(streaming=lambda stream, _deadline: GuardedWatch(checks, stream, caller))

    return {health.CHECK: check_for, health.WATCH: watch_for}


def demand(path: bytes, message: Message, caller: Caller, now: float) -> None:
    """Raises TidegateError where a caller may not ask a question of the health service."""
    if service_of(message).startswith(health.OF_A_MODEL):
        caller.demand(path.decode() + OF_A_MODEL, None, now)


def unary(answer: Callable[[Message], bytes]) -> grpc.UnaryHandler:
    """A handler that answers at once."""

    def handle(stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
        try:
            grpc.reply(stream, answer(data[start:end]))
        except TidegateError as error:
            grpc.fail(stream, error.code, error.message)

    return handle


class AnswerCall(MessageSink):
    """A bidirectional call where every message has one answer."""

    def __init__(self, answer: Callable[[Message], bytes], stream: Stream) -> None:
        self._answer = answer
        self._stream = stream

    def message(self, message: Message, owed: int) -> None:
        """Answer one message."""
        grpc.send(self._stream, self._answer(message))
        self._stream.consume(owed)

    def half_closed(self) -> None:
        """No more questions."""
        grpc.finish(self._stream)


class WatchCall(MessageSink):
    """A server-streaming call: one question, answers until the caller goes."""

    def __init__(self, checks: Health, stream: Stream) -> None:
        self._checks = checks
        self._stream = stream
        self._watch: Watch | None = None

    def message(self, message: Message, owed: int) -> None:
        """The one question; a second is ignored, as on unary calls."""
        self._stream.consume(owed)
        if self._watch is None:
            self._watch = self._checks.watch(message, self._send, self._finish)
            self._stream.on_cancel = self._watch.end

    def _send(self, answer: bytes) -> None:
        grpc.send(self._stream, answer)

    def _finish(self) -> None:
        grpc.finish(self._stream, Code.UNAVAILABLE, "the server is stopping")

    def half_closed(self) -> None:
        """The question is complete; the call goes on."""


class GuardedWatch(WatchCall):
    """As `WatchCall`, for a caller who may lose the right to it while it goes on."""

    def __init__(self, checks: Health, stream: Stream, caller: Caller) -> None:
        super().__init__(checks, stream)
        self._caller = caller
        self._question: Message = b""

    def message(self, message: Message, owed: int) -> None:
        """The one question. Raises TidegateError."""
        if self._watch is None:
            demand(health.WATCH, message, self._caller, self._stream.arrival)
            self._question = bytes(message)
        super().message(message, owed)

    def _send(self, answer: bytes) -> None:
        try:
            demand(health.WATCH, self._question, self._caller, math.inf)  # its caller may have been silent for hours: look again
        except TidegateError as error:
            if self._watch is not None:
                self._watch.end()
            grpc.finish(self._stream, error.code, error.message)
            return
        super()._send(answer)
