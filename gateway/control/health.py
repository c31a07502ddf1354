"""The standard health service, grpc.health.v1: what is serving, asked once or watched. Knows neither models nor streams.

Names: "" for the server, the inference service, and `model/<name>` for each model. Watchers are as many as there are streams.
Source: github.com/grpc/grpc/blob/master/doc/health-checking.md.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from gateway.errors import Code, TidegateError, invalid
from gateway.pb.rpcs import SERVICE
from gateway.protocol.tensors import shown

OF_A_MODEL = "model/"  # in front of a model's name
CHECK = b"/grpc.health.v1.Health/Check"
WATCH = b"/grpc.health.v1.Health/Watch"

_Answer = health_pb2.HealthCheckResponse
_SERVICE_UNKNOWN: int = _Answer.SERVICE_UNKNOWN
_WORDS: dict[bool, int] = {True: _Answer.SERVING, False: _Answer.NOT_SERVING}


def statuses(*, ready: bool, models: Mapping[str, bool]) -> dict[str, bool]:
    """The table of names from the server's readiness and that of each model; no model serves where the server does not."""
    return {"": ready, SERVICE: ready} | {f"{OF_A_MODEL}{name}": ready and serving for name, serving in models.items()}


class Health:
    """What is serving. Everything is NOT_SERVING or unknown until the first `update`."""

    def __init__(self) -> None:
        self._serving = statuses(ready=False, models={})
        self._watches: set[Watch] = set()

    def update(self, serving: Mapping[str, bool]) -> None:
        """Replace the table; whoever watches a name whose status is another now is told."""
        self._serving = dict(serving)
        for watch in tuple(self._watches):  # a send may fail and end its watch
            watch.tell(self._watched(watch.service))

    def check(self, message: bytes | memoryview) -> bytes:
        """HealthCheckResponse of Check. Raises NOT_FOUND for a name that is not in the table."""
        service = service_of(message)
        serving = self._serving.get(service)
        if serving is None:
            raise TidegateError(Code.NOT_FOUND, f"unknown service '{shown(service)}'")
        return _answer(_WORDS[serving])

    def watch(self, message: bytes | memoryview, send: Callable[[bytes], None], finish: Callable[[], None] = lambda: None) -> Watch:
        """Send the status of a name now and whenever it changes, until `Watch.end`. A name not in the table is SERVICE_UNKNOWN.

        `finish()` ends the call when the server stops.
        """
        watch = Watch(service_of(message), send, finish, self._watches.discard)
        self._watches.add(watch)
        watch.tell(self._watched(watch.service))
        return watch

    def close(self) -> None:
        """The server stops: every Watch call ends, or it would hold its connection open."""
        for watch in tuple(self._watches):
            watch.end()
            watch.finish()

    def _watched(self, service: str) -> int:
        serving = self._serving.get(service)
        return _SERVICE_UNKNOWN if serving is None else _WORDS[serving]


class Watch:
    """One Watch call."""

    __slots__ = ("_forget", "_last", "_send", "finish", "service")

    def __init__(self, service: str, send: Callable[[bytes], None], finish: Callable[[], None], forget: Callable[[Watch], None]) -> None:
        self.service = service
        self.finish = finish
        self._send = send
        self._forget = forget
        self._last: int | None = None

    def tell(self, status: int) -> None:
        """Send `status` where it is news."""
        if status != self._last:
            self._last = status
            self._send(_answer(status))

    def end(self) -> None:
        """The caller went away, or the server ends the call. A second time is no matter."""
        self._forget(self)


def service_of(message: bytes | memoryview) -> str:
    """The name that a HealthCheckRequest asks about. Raises INVALID_ARGUMENT."""
    try:
        service: str = health_pb2.HealthCheckRequest.FromString(bytes(message)).service
    except DecodeError:
        raise invalid("the message is not a valid HealthCheckRequest") from None
    return service


def _answer(status: int) -> bytes:
    serialized: bytes = _Answer(status=status).SerializeToString()
    return serialized
