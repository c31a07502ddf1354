"""The repository's index over both transports. It is written once for each route table: whoever asks often costs no more than a copy."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.control.service import Service
from gateway.errors import Code, TidegateError, invalid, too_large, unimplemented
from gateway.pb import inference_pb2 as pb
from gateway.protocol import v2_grpc
from gateway.serving.index import READY, Entry, entries
from gateway.serving.routing import Routes
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.grpc import Message

MAX_BODY_BYTES = 4096  # of a question with one flag
NO_REPOSITORY_NAMES = "repositories have no names here: leave repository_name out"


_Write = Callable[[list[Entry]], bytes]


class _Asked(msgspec.Struct):
    """The body of POST /v2/repository/index; members that it does not know are none of its business, as at its peers."""

    ready: bool = False


class RepositoryIndex:
    """What the repository has, as bytes."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._routes: Routes | None = None  # that the written ones belong to
        self._written: dict[tuple[_Write, bool], bytes] = {}

    def http(self, exchange: HttpExchange) -> None:
        """POST /v2/repository/index. Raises TidegateError."""
        exchange.respond(200, [JSON_TYPE], self._answer(msgspec.json.encode, _ready_only(exchange.body)))

    def grpc(self, message: Message) -> bytes:
        """RepositoryIndex. Raises TidegateError."""
        request = v2_grpc.parse(pb.RepositoryIndexRequest, message)
        if request.repository_name:
            raise unimplemented(NO_REPOSITORY_NAMES)
        return self._answer(_message, request.ready)

    def _answer(self, write: _Write, ready_only: bool) -> bytes:
        routes = self._service.routes
        if routes.partial:
            raise TidegateError(Code.UNAVAILABLE, "the server is starting")
        if routes is not self._routes:
            self._routes, self._written = routes, {}
        written = self._written.get((write, ready_only))
        if written is None:
            chosen = [entry for entry in entries(routes) if entry.state == READY or not ready_only]
            written = self._written[write, ready_only] = write(chosen)
        return written


def _message(listed: list[Entry]) -> bytes:
    models = [
        pb.RepositoryIndexResponse.ModelIndex(name=one.name, version=one.version, state=one.state, reason=one.reason) for one in listed
    ]
    return pb.RepositoryIndexResponse(models=models).SerializeToString()


def _ready_only(body: bytes) -> bool:
    if not body.strip():
        return False
    if len(body) > MAX_BODY_BYTES:
        raise too_large(f"the body has {len(body)} bytes, the limit is {MAX_BODY_BYTES}")
    try:
        return msgspec.json.decode(body.decode(), type=_Asked).ready
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        raise invalid('the body must be a JSON object such as {"ready": true}, or empty') from None
