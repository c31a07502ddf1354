"""Load and unload of the repository extension on both transports: passed on to the supervisor, answered when all workers have followed.

Source: github.com/triton-inference-server/server/blob/main/docs/protocol/extension_model_repository.md.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from gateway.config import Repository
from gateway.control.index import NO_REPOSITORY_NAMES
from gateway.control.load_parameters import Brought, brought_by, check_unload
from gateway.control.replies import fail
from gateway.errors import Code, TidegateError, invalid, unimplemented
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.wire import grpc
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message
from gateway.wire.stream import Stream
from registry.overlay import bundled

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


@dataclass(frozen=True, slots=True)
class _Waiting:
    """One load or unload. The bundle is of what came with it."""

    done: Done
    size_bytes: int
    bundle: io.FileIO | None


class ModelControl:
    """Loads and unloads that callers of one worker ask for."""

    def __init__(self, ask: Callable[[int, str, bool, int], None], settings: Repository) -> None:
        """`ask(number, model, load, descriptor)` sends a request to the supervisor; `told` gets the answer. The descriptor is of what came
        with a load, for `Overlay.received`, or -1; it is closed once the answer is there. Without explicit control all are denied."""
        self._ask = ask
        self._settings = settings
        self._closed = False
        self._numbers = 0
        self._waiting: dict[int, _Waiting] = {}
        self._bytes = 0  # that came with loads which wait

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
        waiting = self._waiting.pop(number, None)
        if waiting is not None:
            self._end(waiting, None if code == Code.OK else TidegateError(Code(code), message))

    def close(self) -> None:
        """The server stops: nobody waits any more."""
        self._closed = True
        waiting, self._waiting = self._waiting, {}
        for one in waiting.values():
            self._end(one, ENDING)

    def _end(self, waiting: _Waiting, error: TidegateError | None) -> None:
        self._bytes -= waiting.size_bytes
        if waiting.bundle is not None:
            waiting.bundle.close()
        waiting.done(error)

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
            return request.model_name, {name: _value(one) for name, one in request.parameters.items()}

        self._want(parsed, done, load=load)

    def _want(self, parsed: Callable[[], tuple[str, Mapping[str, object]]], done: Done, *, load: bool) -> None:
        try:
            if self._settings.model_control != "explicit":
                raise DENIED
            if self._closed:
                raise ENDING
            model, parameters = parsed()
            if not load:
                check_unload(parameters)
            brought = brought_by(parameters, files=self._settings.load_files) if load else Brought()
            if len(self._waiting) >= MAX_WAITING or self._bytes + brought.size_bytes > self._settings.load_bytes:
                raise CROWDED
            waiting = _Waiting(done, brought.size_bytes, _bundle(model, brought))
        except TidegateError as error:
            done(error)
            return
        self._numbers += 1
        self._waiting[self._numbers] = waiting
        self._bytes += waiting.size_bytes
        self._ask(self._numbers, model, load, -1 if waiting.bundle is None else waiting.bundle.fileno())


def _bundle(model: str, brought: Brought) -> io.FileIO | None:
    if brought.configuration is None:
        return None
    try:
        return bundled(model, brought.configuration, brought.files)
    except OSError:  # no descriptor, or no memory
        raise CROWDED from None


def _value(parameter: Any) -> object:
    kind = parameter.WhichOneof("parameter_choice")
    return None if kind is None else getattr(parameter, kind)


def _parameters(body: bytes) -> Mapping[str, object]:
    if not body.strip():
        return {}
    try:
        return msgspec.json.decode(body.decode(), type=_Body).parameters
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid('the body must be a JSON object such as {"parameters": {}}, or empty') from None
