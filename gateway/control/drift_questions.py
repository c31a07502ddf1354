"""How traffic compares with its reference, on both transports. That is known to the supervisor's evaluating process, so a worker asks.

Questions about one model that come over the same transport while one is under way share its answer, as those for statistics do.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.control.replies import fail
from gateway.control.service import Service
from gateway.errors import AsleepError, Code, TidegateError
from gateway.pb import tidegate_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.protocol.drift_message import VersionMessage, drift_message
from gateway.serving.deadlines import Loop
from gateway.wire import grpc
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message
from gateway.wire.stream import Stream

PATIENCE_S = 5.0
MAX_WAITING = 1_024
LATE = TidegateError(Code.UNAVAILABLE, "the evaluation of drift does not answer")
CROWDED = TidegateError(Code.OVERLOADED, "too many callers wait for an evaluation of drift")

Answer = Callable[[bytes | TidegateError], None]
_Key = tuple[str, bool]  # model, and whether messages are wanted


class _Body(msgspec.Struct):
    """`findings` of every version that is watched, each as the evaluating process wrote it."""

    model: str
    versions: list[msgspec.Raw]


class _Version(msgspec.Struct):
    version: str


class DriftQuestions:
    """Questions of one worker and their answers."""

    def __init__(self, service: Service, loop: Loop, ask: Callable[[int, str, bool], None]) -> None:
        """`ask(number, model, messages)` sends a question to the supervisor; `told` gets the answer: for gRPC, messages."""
        self._service = service
        self._loop = loop
        self._ask = ask
        self._numbers = 0
        self._waiting: dict[_Key, tuple[int, list[tuple[str, Answer]]]] = {}  # the question's number, and who waits for which version

    def http(self, exchange: HttpExchange, model: str, version: str) -> None:
        """GET /v2/models/M[/versions/V]/drift."""

        def answer(found: bytes | TidegateError) -> None:
            if isinstance(found, TidegateError):
                fail(exchange, found.code, found.message)
            else:
                exchange.respond(200, [JSON_TYPE], found)

        self._want((model, False), version, answer)

    def grpc(self, stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
        """tidegate.Monitoring/ModelDrift."""

        def answer(found: bytes | TidegateError) -> None:
            if stream.cancelled:
                return
            if isinstance(found, TidegateError):
                grpc.fail(stream, found.code, found.message)
            else:
                grpc.reply(stream, found)

        try:
            request = v2_grpc.parse(pb.ModelDriftRequest, data[start:end])
        except TidegateError as error:
            answer(error)
            return
        self._want((request.name, True), request.version, answer)

    def told(self, number: int, content: str) -> None:
        """The supervisor's answer; empty where nobody knows at the moment."""
        for key in [key for key, (asked, _) in self._waiting.items() if asked == number]:
            found: dict[str, bytes | TidegateError] = {}
            for version, answer in self._waiting.pop(key)[1]:
                if version not in found:
                    found[version] = _body(key, version, content) if content else LATE
                answer(found[version])

    def _want(self, key: _Key, version: str, answer: Answer) -> None:
        try:
            number = self._number(key[0], version)
            if sum(len(waiting) for _, waiting in self._waiting.values()) >= MAX_WAITING:
                raise CROWDED
        except TidegateError as error:
            answer(error)
            return
        if key in self._waiting:
            self._waiting[key][1].append((number, answer))
            return
        self._numbers += 1
        entry = self._waiting[key] = (self._numbers, [(number, answer)])
        self._ask(self._numbers, *key)
        self._loop.call_later(PATIENCE_S, self._give_up, key, entry)

    def _number(self, model: str, version: str) -> str:
        """The version that was asked for, by its number; "" for all. Raises TidegateError for what there is not."""
        routes = self._service.routes
        if not version and routes.numbers(model):
            return ""
        try:
            found = routes.resolve(model, version)
        except AsleepError:
            return version
        return str(found.number) if version else ""

    def _give_up(self, key: _Key, entry: tuple[int, list[tuple[str, Answer]]]) -> None:
        if self._waiting.get(key) is entry:
            del self._waiting[key]
            for _, answer in entry[1]:
                answer(LATE)


def _body(key: _Key, version: str, content: str) -> bytes | TidegateError:
    """What was asked for of the findings of all versions."""
    model, messages = key
    if messages:
        made = [one for one in msgspec.json.decode(content, type=list[VersionMessage]) if version in ("", one.version)]
        return drift_message(model, made) if made else _unknown(model, version)
    rows = msgspec.json.decode(content, type=list[msgspec.Raw])
    if version:
        rows = [row for row in rows if msgspec.json.decode(row, type=_Version).version == version]
    return msgspec.json.encode(_Body(model, rows)) if rows else _unknown(model, version)


def _unknown(model: str, version: str) -> TidegateError:
    subject = f"version {version} of model '{model}'" if version else f"model '{model}'"
    return TidegateError(Code.FAILED_PRECONDITION, f"{subject} has no reference profile to compare its traffic with")
