"""A blocking gRPC client for people, scripts and the demo: numpy or lists in, numpy out.

Owns a channel and its retry policy. Every call has a deadline; a failed one raises `CallError` with the code that the server's
documentation uses. Not imported by `tidegate serve`.
"""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import grpc
import numpy as np

from gateway import client_tensors as tensors
from gateway.clock import Clock, SystemClock
from gateway.errors import Code, TidegateError
from gateway.pb import inference_pb2 as pb
from gateway.pb.rpcs import RPCS, SERVICE
from gateway.protocol.tensors import TensorSpec

DEFAULT_TIMEOUT_S = 10.0
MAX_INFLIGHT = 64  # calls of `infer_many` under way at once; the server's limit of streams on one connection is 128
_POLL_S = 0.05

Metadata = Sequence[tuple[str, str]]

# A server that drains or restarts answers UNAVAILABLE before it has started a request, so sending it again is safe.
_SERVICE_CONFIG = json.dumps(
    {
        "methodConfig": [
            {
                "name": [{"service": SERVICE}],
                "retryPolicy": {
                    "maxAttempts": 4,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "1s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
        "retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1},
    }
)
_OPTIONS = [
    ("grpc.service_config", _SERVICE_CONFIG),
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),  # gRPC's own 1 s would make a restart look long
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.primary_user_agent", "tidegate-client"),
]
_CODES = {
    "CANCELLED": Code.CANCELLED, "INVALID_ARGUMENT": Code.INVALID_ARGUMENT, "DEADLINE_EXCEEDED": Code.DEADLINE_EXCEEDED,
    "NOT_FOUND": Code.NOT_FOUND, "ALREADY_EXISTS": Code.ALREADY_EXISTS, "PERMISSION_DENIED": Code.PERMISSION_DENIED,
    "RESOURCE_EXHAUSTED": Code.OVERLOADED, "FAILED_PRECONDITION": Code.FAILED_PRECONDITION, "UNIMPLEMENTED": Code.UNIMPLEMENTED,
    "UNAVAILABLE": Code.UNAVAILABLE, "UNAUTHENTICATED": Code.UNAUTHENTICATED,
}  # fmt: skip
_NO_RETRY = "-1"  # of `grpc-retry-pushback-ms`: sending it again cannot help


class CallError(TidegateError):
    """A call that was not answered. `status` is gRPC's name for it, `code` ours."""

    def __init__(self, code: Code, message: str, *, status: str) -> None:
        super().__init__(code, message)
        self.status = status

    def __str__(self) -> str:
        return f"{self.status}: {self.message}"


@dataclass(frozen=True, slots=True)
class ModelMetadata:
    """What a server says about a model."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]


@dataclass(frozen=True, slots=True)
class Answer:
    """The outputs of one request by name, and which version made them. Fixed-width arrays are read-only."""

    model: str
    version: str
    id: str
    outputs: dict[str, np.ndarray]


class Client:
    """A connection to one server, safe to share between threads. Close it, or use it as a context manager."""

    def __init__(
        self,
        target: str,
        *,
        credentials: grpc.ChannelCredentials | None = None,
        token: str = "",
        timeout_s: float = DEFAULT_TIMEOUT_S,
    ) -> None:
        """`target` is `host:port`; with `credentials` the channel is encrypted. `timeout_s` holds for calls that name no other.

        `token` is an API key or a bearer token, sent with every call: over a channel without encryption others can read it.
        """
        self.target = target
        self._metadata: Metadata = (("authorization", f"Bearer {token}"),) if token else ()
        self._timeout_s = timeout_s
        if credentials is None:
            self._channel = grpc.insecure_channel(target, options=_OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, credentials, options=_OPTIONS)
        self._infer = self._callable("ModelInfer")
        self._specs: dict[tuple[str, str], dict[str, TensorSpec]] = {}

    def infer(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        request_id: str = "",
        parameters: Mapping[str, bool | int | float | str] | None = None,
        timeout_s: float | None = None,
        metadata: Metadata = (),
    ) -> Answer:
        """One request; all `outputs` where none are named. Raises `CallError`.

        Arrays keep their dtype, (array, datatype) pairs say it, lists take the model's.
        """
        message = self.request(model, inputs, version=version, outputs=outputs, request_id=request_id, parameters=parameters)
        return self.send(message, timeout_s=timeout_s, metadata=metadata)

    def send(self, message: pb.ModelInferRequest, *, timeout_s: float | None = None, metadata: Metadata = ()) -> Answer:
        """Send what `request` made. Raises `CallError`."""
        return _answer(self._call(self._infer, message, timeout_s, metadata))

    def infer_many(
        self,
        model: str,
        batches: Iterable[Mapping[str, Any]],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        timeout_s: float | None = None,
        metadata: Metadata = (),
        max_inflight: int = MAX_INFLIGHT,
    ) -> Iterator[Answer]:
        """Answers in the order of `batches`, up to `max_inflight` requests under way. The first failure raises and cancels the rest."""
        waiting: deque[Any] = deque()
        try:
            for inputs in batches:
                if len(waiting) >= max_inflight:
                    yield _result(waiting.popleft())
                message = self.request(model, inputs, version=version, outputs=outputs)
                waiting.append(self._infer.future(message, timeout=timeout_s or self._timeout_s, metadata=(*self._metadata, *metadata)))
            while waiting:
                yield _result(waiting.popleft())
        finally:
            for call in waiting:
                call.cancel()

    def request(
        self,
        model: str,
        inputs: Mapping[str, Any],
        *,
        version: str = "",
        outputs: Sequence[str] = (),
        request_id: str = "",
        parameters: Mapping[str, bool | int | float | str] | None = None,
    ) -> pb.ModelInferRequest:
        """The message that `infer` sends. Asks the server for the model's metadata, once, when an input is not an array."""
        specs = self._inputs_of(model, version) if tensors.needs_metadata(inputs) else {}
        arrays = tensors.arrays_of(model, inputs, specs)
        return tensors.request(model, arrays, version=version, request_id=request_id, outputs=outputs, parameters=parameters)

    def live(self, *, timeout_s: float | None = None) -> bool:
        """Whether the server's process answers. Raises `CallError` where there is none."""
        return bool(self._call(self._callable("ServerLive"), pb.ServerLiveRequest(), timeout_s).live)

    def ready(self, model: str = "", version: str = "", *, timeout_s: float | None = None) -> bool:
        """Whether the server, or one model, takes requests."""
        if model:
            return bool(self._call(self._callable("ModelReady"), pb.ModelReadyRequest(name=model, version=version), timeout_s).ready)
        return bool(self._call(self._callable("ServerReady"), pb.ServerReadyRequest(), timeout_s).ready)

    def wait_ready(self, timeout_s: float, *, clock: Clock | None = None) -> bool:
        """Wait until the server takes requests; false if it does not within `timeout_s`."""
        now = (clock or SystemClock()).now
        end = now() + timeout_s
        pause = threading.Event()
        while (left := end - now()) > 0:
            try:
                if self.ready(timeout_s=left):
                    return True
            except CallError as error:
                if error.code not in (Code.UNAVAILABLE, Code.DEADLINE_EXCEEDED):
                    raise
            pause.wait(_POLL_S)
        return False

    def metadata(self, model: str, version: str = "", *, timeout_s: float | None = None) -> ModelMetadata:
        """Inputs, outputs and versions of a model."""
        message = self._call(self._callable("ModelMetadata"), pb.ModelMetadataRequest(name=model, version=version), timeout_s)
        return ModelMetadata(message.name, tuple(message.versions), message.platform, _specs(message.inputs), _specs(message.outputs))

    def server_metadata(self, *, timeout_s: float | None = None) -> tuple[str, str, tuple[str, ...]]:
        """Name, version and extensions of the server."""
        message = self._call(self._callable("ServerMetadata"), pb.ServerMetadataRequest(), timeout_s)
        return message.name, message.version, tuple(message.extensions)

    def close(self) -> None:
        """Cancel what is under way and close the connection."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _inputs_of(self, model: str, version: str) -> dict[str, TensorSpec]:
        key = (model, version)
        if key not in self._specs:
            self._specs[key] = {spec.name: spec for spec in self.metadata(model, version).inputs}
        return self._specs[key]

    def _callable(self, name: str) -> Any:
        rpc = RPCS[name]
        return self._channel.unary_unary(
            rpc.path, request_serializer=rpc.request.SerializeToString, response_deserializer=rpc.response.FromString
        )

    def _call(self, call: Any, message: Any, timeout_s: float | None, metadata: Metadata = ()) -> Any:
        try:
            return call(message, timeout=timeout_s or self._timeout_s, metadata=(*self._metadata, *metadata))
        except grpc.RpcError as error:
            raise _call_error(error) from None


def _result(call: Any) -> Answer:
    try:
        return _answer(call.result())
    except grpc.RpcError as error:
        raise _call_error(error) from None


def _answer(message: pb.ModelInferResponse) -> Answer:
    return Answer(message.model_name, message.model_version, message.id, tensors.decode(message))


def _specs(messages: Iterable[Any]) -> tuple[TensorSpec, ...]:
    return tuple(TensorSpec(message.name, message.datatype, tuple(message.shape)) for message in messages)


def _call_error(error: Any) -> CallError:
    status = error.code().name
    pushback = dict(error.trailing_metadata() or ()).get("grpc-retry-pushback-ms")
    code = _CODES.get(status, Code.INTERNAL)
    if code is Code.OVERLOADED and pushback == _NO_RETRY:
        code = Code.TOO_LARGE
    return CallError(code, error.details() or "", status=status)
