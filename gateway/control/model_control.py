"""Load and unload of the repository extension on both transports: passed on to the supervisor, answered when all workers have followed.

Source: github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from gateway.control.index import NO_REPOSITORY_NAMES
from gateway.control.replies import fail
from gateway.errors import Code, TidegateError, invalid, unimplemented
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.protocol.tensors import shown
from gateway.wire import grpc
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message
from gateway.wire.stream import Stream

MAX_WAITING = 64
DENIED = TidegateError(
    Code.PERMISSION_DENIED,
    "explicit model load / unload is not allowed: the repository says what is loaded (repository.model_control)",
)
CROWDED = TidegateError(Code.OVERLOADED, "too many loads and unloads are under way")
ENDING = TidegateError(Code.UNAVAILABLE, "the server is shutting down")

Done = Callable[[TidegateError | None], None]


class _Body(msgspec.Struct):
    parameters: dict[str, object] = {}


class ModelControl:
    """Loads and unloads that callers of one worker ask for."""

    def __init__(self, ask: Callable[[int, str, bool], None], *, explicit: bool) -> None:
        """`ask(number, model, load)` sends a request to the supervisor; `told` gets the answer. Without `explicit` all are denied."""
        self._ask = ask
        self._explicit = explicit
        self._closed = False
        self._numbers = 0
        self._waiting: dict[int, Done] = {}

    def http(self, exchange: HttpExchange, model: str, *, load: bool) -> None:
        """POST /v2/repository/models/M/load and unload."""

        def done(error: TidegateError | None) -> None:
            if error is None:
                exchange.respond(200, [JSON_TYPE], b"")
            else:
                fail(exchange, error.code, error.message)

        self._want(lambda: (model, _parameters(exchange.body)), done, load=load)

    def grpc_load(self, stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
        """RepositoryModelLoad."""
        self._grpc(stream, data[start:end], pb.RepositoryModelLoadRequest, pb.RepositoryModelLoadResponse, load=True)

    def grpc_unload(self, stream: Stream, data: Message, start: int, end: int, _deadline: float) -> None:
        """RepositoryModelUnload."""
        self._grpc(stream, data[start:end], pb.RepositoryModelUnloadRequest, pb.RepositoryModelUnloadResponse, load=False)

    def told(self, number: int, code: int, message: str) -> None:
        """The supervisor's answer: `Code.OK`, or what went wrong."""
        done = self._waiting.pop(number, None)
        if done is not None:
            done(None if code == Code.OK else TidegateError(Code(code), message))

    def close(self) -> None:
        """The server stops: nobody waits any more."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(ENDING)

    def _grpc(self, stream: Stream, message: Message, kind: type[Any], answer: type[Any], *, load: bool) -> None:
        def done(error: TidegateError | None) -> None:
            if stream.cancelled:
                return
            if error is None:
                grpc.reply(stream, answer().SerializeToString())
            else:
                grpc.fail(stream, error.code, error.message)

        def parsed() -> tuple[str, Mapping[str, object]]:
            request = v2_grpc.parse(kind, message)
            if request.repository_name:
                raise unimplemented(NO_REPOSITORY_NAMES)
            return request.model_name, {name: _value(given) for name, given in request.parameters.items()}

        self._want(parsed, done, load=load)

    def _want(self, parsed: Callable[[], tuple[str, Mapping[str, object]]], done: Done, *, load: bool) -> None:
        try:
            if not self._explicit:
                raise DENIED
            if self._closed:
                raise ENDING
            model, parameters = parsed()
            _check(parameters, load=load)
            if len(self._waiting) >= MAX_WAITING:
                raise CROWDED
        except TidegateError as error:
            done(error)
            return
        self._numbers += 1
        self._waiting[self._numbers] = done
        self._ask(self._numbers, model, load)


def _parameters(body: bytes) -> Mapping[str, object]:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body.decode(), type=_Body).parameters
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid('the body must be a JSON object such as {"parameters": {}}, or empty') from None


def _value(given: Any) -> object:
    """Of a parameter in a message; None where it has none."""
    kind = given.WhichOneof("parameter_choice")
    return None if kind is None else getattr(given, kind)


def _check(parameters: Mapping[str, object], *, load: bool) -> None:
    """Each by its name: what is not honoured is refused. No model depends on another here, so one that is honoured changes nothing."""
    for name, value in parameters.items():
        if load and (name == "config" or name.startswith("file:")):
            raise unimplemented("a configuration or files in a load are not supported: publish them as a version")
        if load or name != "unload_dependents":
            raise invalid(f"unknown parameter '{shown(name)}'")
        if not isinstance(value, bool):
            raise invalid("parameter 'unload_dependents' must be true or false")
