"""The REST surface of the inference ports: the Open Inference Protocol v2 here, v1 in `rest_v1`. Paths to handlers."""

from __future__ import annotations

from collections.abc import Callable

from gateway.control.extensions import Extensions
from gateway.control.index import NO_REPOSITORY_NAMES
from gateway.control.paths import allow, check_type, name_of, not_found
from gateway.control.probes import alive, live, ready, started
from gateway.control.replies import fail, reply, telling
from gateway.control.rest_infer import RestInference
from gateway.control.rest_v1 import RestV1
from gateway.control.service import Service
from gateway.control.state import ServerState
from gateway.errors import TidegateError
from gateway.protocol.tensors import TensorSpec
from gateway.protocol.v2_grpc_metadata import PLATFORM
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal

_REFUSED_ACTIONS = {
    "generate": "the generate extension is not supported: use infer",
    "generate_stream": "the generate extension is not supported: use infer",
}
_SHARED_MEMORY = frozenset(("systemsharedmemory", "cudasharedmemory"))

Action = Callable[[HttpExchange, str, str], None]  # (exchange, model, version)


class Rest:
    """`HttpApplication` of the inference ports. `infer` takes POST; everything else GET and HEAD."""

    def __init__(self, service: Service, state: ServerState, inference: RestInference, extensions: Extensions, v1: RestV1) -> None:
        self._v1 = v1
        self._service = service
        self._extensions = extensions
        self._answers: dict[str, Action] = {
            "metadata": self._metadata, "ready": self._ready, "config": self._config, "stats": extensions.statistics.http,
        }  # fmt: skip
        self._state = state
        self._infer: Action = inference.infer
        self._fixed: dict[bytes, HttpHandler] = {
            b"/v2": self._server, b"/v2/": self._server, b"/v2/health/live": live, b"/v2/health/ready": ready(state),
            b"/v2/health/startup": started(state),
            b"/v2/models": self._models, b"/v2/models/stats": lambda exchange: extensions.statistics.http(exchange, "", ""),
            b"/v1/models": self._models, b"/": alive,
        }  # fmt: skip

        instruments = extensions.instruments
        self._settings = {b"/v2/logging": telling(instruments.log_http), b"/v2/trace/setting": telling(instruments.trace_http)}

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """Route by the raw path: one split, then each name is decoded once."""
        fixed = self._fixed.get(target)
        if fixed is not None:
            allow(method, "GET", "HEAD")
            return fixed
        settings = self._settings.get(target)
        if settings is not None:
            allow(method, "GET", "HEAD", "POST")
            return settings
        parts = target.split(b"/")
        if parts[:2] != [b"", b"v2"]:
            if parts[:2] == [b"", b"v1"]:
                return self._v1.open(method, parts[2:], headers)
            raise not_found()
        if parts[2:3] == [b"models"]:
            return self._model_route(method, [name_of(part) for part in parts[3:]], headers)
        if parts[2:3] == [b"repository"]:
            return self._repository_route(method, parts[3:], headers)
        if len(parts) > 2 and parts[2].decode("latin-1") in _SHARED_MEMORY:
            raise HttpRefusal(501, "shared memory is not supported: tensors travel in the request")
        raise not_found()

    def _model_route(self, method: str, names: list[str], headers: Headers) -> HttpHandler:
        """`models/M[/versions/V][/ready|/config|/infer|/stats|/trace/setting]`."""
        model, version = names[0], ""
        rest = names[1:]
        if rest[:1] == ["versions"] and len(rest) > 1:
            version, rest = rest[1], rest[2:]
        if rest == ["trace", "setting"] and model:
            allow(method, "GET", "HEAD", "POST")
            return telling(lambda exchange: self._extensions.instruments.trace_http(exchange, model))
        if len(rest) > 1 or not model:
            raise not_found()
        action = rest[0] if rest else "metadata"
        if action == "infer":
            allow(method, "POST")
            check_type(headers)
            return lambda exchange: self._infer(exchange, model, version)
        if action in _REFUSED_ACTIONS:
            raise HttpRefusal(501, _REFUSED_ACTIONS[action])
        answer = self._answers.get(action)
        if answer is None:
            raise not_found()
        allow(method, "GET", "HEAD")
        return lambda exchange: answer(exchange, model, version)

    def _repository_route(self, method: str, parts: list[bytes], headers: Headers) -> HttpHandler:
        """`repository[/NAME]/index` and `repository[/NAME]/models/M/load|unload`."""
        handler = self._repository_action(parts)
        if handler is None:
            if self._repository_action(parts[1:]) is not None:
                raise HttpRefusal(501, NO_REPOSITORY_NAMES)
            raise not_found()
        allow(method, "POST")
        check_type(headers)
        return handler

    def _repository_action(self, parts: list[bytes]) -> HttpHandler | None:
        extensions = self._extensions
        match parts:
            case [b"index"]:
                return telling(extensions.index.http)
            case [b"models", name, b"load" | b"unload" as action] if name:
                model, load = name_of(name), action == b"load"
                return lambda exchange: extensions.control.http(exchange, model, load=load)
        return None

    # --- answers ---------------------------------------------------------------------------------------------------------------

    def _server(self, exchange: HttpExchange) -> None:
        state = self._state
        reply(exchange, {"name": state.name, "version": state.version, "extensions": list(state.extensions)})

    def _models(self, exchange: HttpExchange) -> None:
        reply(exchange, {"models": sorted(self._service.routes.versions)})

    def _metadata(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            found = self._service.version(model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)
            return
        numbers = [str(found.number)] if version else [str(number) for number in self._service.routes.numbers(model)]
        inputs, outputs = map(_specs, (found.signature.inputs, found.signature.outputs))
        reply(exchange, {"name": model, "versions": numbers, "platform": PLATFORM, "inputs": inputs, "outputs": outputs})

    def _config(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            self._extensions.configuration.http(exchange, model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)

    def _ready(self, exchange: HttpExchange, model: str, version: str) -> None:
        try:
            is_ready = self._service.routes.ready(model, version)
        except TidegateError as error:
            fail(exchange, error.code, error.message)
            return
        reply(exchange, {"name": model, "ready": is_ready}, status=200 if is_ready else 503)


def _specs(specs: tuple[TensorSpec, ...]) -> list[dict[str, object]]:
    return [{"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)} for spec in specs]
