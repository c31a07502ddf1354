"""The REST surface of the inference ports: the Open Inference Protocol v2 here, v1 in `rest_v1`. Paths to handlers."""

from __future__ import annotations

from collections.abc import Callable

from gateway.control.extensions import Extensions
from gateway.control.index import NO_REPOSITORY_NAMES
from gateway.control.openapi import Description
from gateway.control.paths import name_of, not_found
from gateway.control.probes import alive, live, ready, started
from gateway.control.replies import fail, reply, telling
from gateway.control.rest_infer import RestInference
from gateway.control.rest_v1 import RestV1
from gateway.control.routes import READ, WRITE, Action, Found, Route
from gateway.control.service import Service
from gateway.control.state import ServerState
from gateway.errors import TidegateError
from gateway.identity.settings import Auth
from gateway.protocol.tensors import TensorSpec
from gateway.protocol.v2_grpc_metadata import PLATFORM
from gateway.wire.exchange import Headers, HttpExchange, HttpHandler, HttpRefusal

_REFUSED_ACTIONS = frozenset((b"generate", b"generate_stream"))
_SHARED_MEMORY = frozenset((b"systemsharedmemory", b"cudasharedmemory"))
_MODEL, _VERSION, _REPOSITORY = b"/v2/models/{model}", b"/v2/models/{model}/versions/{version}", b"/v2/repository/models/{model}"


class Rest:
    """`HttpApplication` of the inference ports. `infer`, `load` and `unload` take POST; nearly everything else GET and HEAD."""

    def __init__(
        self,
        service: Service,
        state: ServerState,
        inference: RestInference,
        extensions: Extensions,
        v1: RestV1,
        *,
        auth: Callable[[], Auth | None] = lambda: None,
    ) -> None:
        """`auth()` is for the description only: who may call is settled before (`guard`)."""
        self._service = service
        self._state = state
        self._extensions = extensions
        self._v1 = v1
        self._description = Description(state, lambda: self.routes, auth)
        self._fixed = self._fixed_routes(extensions)
        self._of_models = self._model_routes(inference, extensions)

    def _fixed_routes(self, extensions: Extensions) -> dict[bytes, tuple[Route, HttpHandler]]:
        """Those without names in them, by their path."""
        state, instruments = self._state, extensions.instruments
        routes: list[tuple[str, tuple[str, ...], HttpHandler]] = [
            ("/v2", READ, self._server),
            ("/v2/", READ, self._server),
            ("/v2/openapi.json", READ, self._description.http),
            ("/v2/health/live", READ, live),
            ("/v2/health/ready", READ, ready(state)),
            ("/v2/health/startup", READ, started(state)),
            ("/v2/models", READ, self._models),
            ("/v2/models/stats", READ, lambda exchange: extensions.statistics.http(exchange, "", "")),
            ("/v2/logging", (*READ, *WRITE), telling(instruments.log_http)),
            ("/v2/trace/setting", (*READ, *WRITE), telling(instruments.trace_http)),
            ("/v2/repository/index", WRITE, telling(extensions.index.http)),
            ("/v1/models", READ, self._models),
            ("/v1/labels", WRITE, extensions.labels.http),
            ("/", READ, alive),
        ]
        return {path.encode(): (Route(methods, path), handler) for path, methods, handler in routes}

    def _model_routes(self, inference: RestInference, extensions: Extensions) -> dict[bytes, tuple[Route, Action]]:
        """Those of a model, by their template."""

        def trace(exchange: HttpExchange, model: str, _version: str) -> None:
            telling(lambda exchange: extensions.instruments.trace_http(exchange, model))(exchange)

        def controlled(*, load: bool) -> Action:
            return lambda exchange, model, _version: extensions.control.http(exchange, model, load=load)

        actions: list[tuple[bytes, tuple[str, ...], Action]] = [
            (b"", READ, self._metadata),
            (b"/ready", READ, self._ready),
            (b"/config", READ, self._config),
            (b"/infer", WRITE, inference.infer),
            (b"/stats", READ, extensions.statistics.http),
            (b"/drift", READ, extensions.drift.http),
            (b"/trace/setting", (*READ, *WRITE), trace),
        ]
        routes = [(prefix + rest, methods, action) for prefix in (_MODEL, _VERSION) for rest, methods, action in actions]
        routes += [(_REPOSITORY + b"/load", WRITE, controlled(load=True)), (_REPOSITORY + b"/unload", WRITE, controlled(load=False))]
        return {template: (Route(methods, template.decode()), action) for template, methods, action in routes}

    @property
    def routes(self) -> list[Route]:
        """All that is routed by."""
        return [*[route for route, _ in (*self._fixed.values(), *self._of_models.values())], *self._v1.routes]

    def open_http(self, method: str, target: bytes, headers: Headers) -> HttpHandler:
        """As `find`, for callers that need not show who they are."""
        return self.find(method, target, headers)[2]

    def find(self, method: str, target: bytes, headers: Headers) -> Found:
        """Route by the raw path: one split, then each name is decoded once. What is no name is compared as it was sent."""
        fixed = self._fixed.get(target)
        if fixed is not None:
            return fixed[0].check(method, headers), None, fixed[1]
        parts = target.split(b"/")
        if parts[:2] == [b"", b"v1"]:
            return self._v1.find(method, parts[2:], headers)
        template, model, version = _template(parts)
        found = self._of_models.get(template) if model else None
        if found is None:
            raise _absent(parts)
        route, action = found
        return route.check(method, headers), model, lambda exchange: action(exchange, model, version)

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
        answer = {"name": model, "versions": numbers, "platform": PLATFORM, "inputs": inputs, "outputs": outputs}
        properties = found.description.placement.properties
        reply(exchange, answer | ({"properties": properties} if properties else {}))

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


def _template(parts: list[bytes]) -> tuple[bytes, str, str]:
    """A path with its names taken out, the model and the version that it names; no template where it has no place for them.

    A name stands where no literal of a template can, so no caller writes a path that is taken for a template as it stands.
    """
    if parts[:3] == [b"", b"v2", b"models"]:
        model = name_of(parts[3])
        if len(parts) > 5 and parts[4] == b"versions":
            return b"/".join([_VERSION, *parts[6:]]), model, name_of(parts[5])
        return b"/".join([_MODEL, *parts[4:]]), model, ""
    if parts[:4] == [b"", b"v2", b"repository", b"models"] and len(parts) > 4:
        return b"/".join([_REPOSITORY, *parts[5:]]), name_of(parts[4]), ""
    return b"", "", ""


def _absent(parts: list[bytes]) -> HttpRefusal:
    """A path that leads nowhere, or to what this server refuses by name."""
    match parts[1:]:
        case [b"v2", b"models", _, action] | [b"v2", b"models", _, b"versions", _, action] if action in _REFUSED_ACTIONS:
            return HttpRefusal(501, "the generate extension is not supported: use infer")
        case [b"v2", kind, *_] if kind in _SHARED_MEMORY:
            return HttpRefusal(501, "shared memory is not supported: tensors travel in the request")
        case [b"v2", b"repository", _, b"index"] | [b"v2", b"repository", _, b"models", _, b"load" | b"unload"]:
            return HttpRefusal(501, NO_REPOSITORY_NAMES)
    return not_found()
