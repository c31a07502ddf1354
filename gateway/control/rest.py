"""The REST surface of the Open Inference Protocol v2: paths to handlers, requests to the service, results to JSON or binary."""

from __future__ import annotations

import json
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

from gateway.control.configuration import ModelConfiguration
from gateway.control.index import NO_REPOSITORY_NAMES, RepositoryIndex
from gateway.control.probes import live, ready, started
from gateway.control.rest_infer import RestInference, fail
from gateway.control.service import Service
from gateway.control.state import ServerState
from gateway.errors import TidegateError
from gateway.protocol.tensors import TensorSpec
from gateway.protocol.v2_grpc_metadata import PLATFORM
from gateway.wire.exchange import JSON_TYPE, Headers, HttpExchange, HttpHandler, HttpRefusal

_ACCEPTED_TYPES = frozenset((b"", b"application/json", b"application/octet-stream", b"application/x-www-form-urlencoded", b"text/json"))
_REFUSED_ACTIONS = {
    "generate": "the generate extension is not supported: use infer",
    "generate_stream": "the generate extension is not supported: use infer",
}
_SHARED_MEMORY = frozenset(("systemsharedmemory", "cudasharedmemory"))

Action = Callable[[HttpExchange, str, str], None]  # (exchange, model, version)


class Rest:
    """`HttpApplication` of the inference ports. `infer` takes POST; everything else GET and HEAD."""

    def __init__(
        self, service: Service, state: ServerState, inference: RestInference, index: RepositoryIndex, configuration: ModelConfiguration
    ) -> None:
        self._service = service
        self._configuration = configuration
        self._index = index
        self._state = state
        self._infer: Action = inference.infer
        self._fixed: dict[bytes, HttpHandler] = {
            b"/v2": self._server, b"/v2/": self._server, b"/v2/health/live": live, b"/v2/health/ready": ready(state),
            b"/v2/health/startup": started(state),
            b"/v2/models": self._models,
        }  # fmt: skip

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """Route by the raw path: one split, then each name is decoded once."""
        fixed = self._fixed.get(target)
        if fixed is not None:
            _allow(method, "GET", "HEAD")
            return fixed
        parts = target.split(b"/")
        if parts[:2] != [b"", b"v2"]:
            raise HttpRefusal(404, "Not Found")
        if parts[2:3] == [b"models"]:
            return self._model_route(method, [_name(part) for part in parts[3:]], headers)
        if parts[2:3] == [b"repository"]:
            return self._repository_route(method, parts[3:], headers)
        if len(parts) > 2 and parts[2].decode("latin-1") in _SHARED_MEMORY:
            raise HttpRefusal(501, "shared memory is not supported: tensors travel in the request")
        raise HttpRefusal(404, "Not Found")

    def _model_route(self, method: str, names: list[str], headers: Headers) -> HttpHandler:
        """`models/M[/versions/V][/ready|/config|/infer]`."""
        model, version = names[0], ""
        rest = names[1:]
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        if len(rest) > 1 or not model:
            raise HttpRefusal(404, "Not Found")
        action = rest[0] if rest else "metadata"
        if action == "infer":
            _allow(method, "POST")
            _check_type(headers)
            return lambda exchange: self._infer(exchange, model, version)
        if action in _REFUSED_ACTIONS:
            raise HttpRefusal(501, _REFUSED_ACTIONS[action])
        answer = {"metadata": self._metadata, "ready": self._ready, "config": self._config}.get(action)
        if answer is None:
            raise HttpRefusal(404, "Not Found")
        _allow(method, "GET", "HEAD")
        return lambda exchange: answer(exchange, model, version)

    def _repository_route(self, method: str, parts: list[bytes], headers: Headers) -> HttpHandler:
        """`repository[/NAME]/index`."""
        if parts[-1:] != [b"index"] or len(parts) > 2:
            raise HttpRefusal(404, "Not Found")
        if len(parts) == 2:
            raise HttpRefusal(501, NO_REPOSITORY_NAMES)
        _allow(method, "POST")
        _check_type(headers)
        return self._listed

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def _server(self, exchange: HttpExchange) -> None:
        state = self._state
        _json(exchange, {"name": state.name, "version": state.version, "extensions": list(state.extensions)})

    def _models(self, exchange: HttpExchange) -> None:
        _json(exchange, {"models": sorted(self._service.routes.versions)})

    def _listed(self, exchange: HttpExchange) -> None:
        try:
            self._index.http(exchange)
        except TidegateError as error:
            fail(exchange, error.code, error.message)

    def _metadata(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            found = self._service.version(model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)
            return
        numbers = [str(found.number)] if version else [str(number) for number in self._service.routes.numbers(model)]
        inputs, outputs = map(_specs, (found.signature.inputs, found.signature.outputs))
        _json(exchange, {"name": model, "versions": numbers, "platform": PLATFORM, "inputs": inputs, "outputs": outputs})

    def _config(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            self._configuration.http(exchange, model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)

    def _ready(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            is_ready = self._service.routes.ready(model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)
            return
        _json(exchange, {"name": model, "ready": is_ready}, status=200 if is_ready else 503)


def _json(exchange: HttpExchange, value: object, *, status: int = 200) -> None:
    exchange.respond(status, [JSON_TYPE], json.dumps(value, separators=(",", ":")).encode())


def _specs(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs]


def _name(part: bytes) -> str:
    """A path segment, decoded once. What is not UTF-8 names nothing."""
    try:
        return unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise HttpRefusal(404, "Not Found") from None


def _allow(method: str, *allowed: str) -> None:
    if method not in allowed:
        raise HttpRefusal(405, "Method Not Allowed", [(b"allow", ", ".join(allowed).encode())])


def _check_type(headers: Headers) -> None:
    """JSON and binary bodies only; curl's default type passes, forms with parts and pickles do not (CVE-2024-47874, CVE-2024-2912)."""
    kind = next((value for name, value in headers if name == b"content-type"), b"")
    if kind.partition(b";")[0].strip().lower() not in _ACCEPTED_TYPES:
        raise HttpRefusal(415, "content-type is not supported; use application/json or application/octet-stream")
