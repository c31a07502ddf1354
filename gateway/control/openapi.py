"""The OpenAPI 3.1 document of everything served over HTTP, written from the routes, the access table, and what `operations` says of each.

Source: spec.openapis.org/oas/v3.1.0.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from gateway.control.operations import METRICS, OPERATIONS, TAGS, Operation
from gateway.control.replies import json_text
from gateway.control.routes import Route
from gateway.control.schemas import ref, schemas
from gateway.control.state import ServerState
from gateway.errors import Code
from gateway.identity.access import need_of
from gateway.identity.settings import Auth
from gateway.protocol.binary import LENGTH_HEADER
from gateway.wire.exchange import JSON_TYPE, HttpExchange
from gateway.wire.status import ANSWERS, REASONS, http_status
from registry.names import ALIAS_NAME

VERSION = "3.1.0"
TRANSPORT = (400, 408, 413, 414, 415, 417, 431, 500, 501, 505)  # what the transport, or a fault of ours, may answer to any request
_BEARER, _CERTIFICATE = "bearer", "certificate"
_LENGTH = LENGTH_HEADER.decode().title()
_JSON, _BINARY, _YAML = "application/json", "application/octet-stream", "application/yaml"

_DESCRIPTION = """\
The Open Inference Protocol v2 with Triton's extensions, and TensorFlow Serving's REST API beside it, on either port, over HTTP/1.1
and HTTP/2.

Request bodies may be compressed (`Content-Encoding: gzip` or `deflate`). HEAD is answered as GET, without the body. A path that is
here with another method is 405 with `Allow`; one that is not here is 404, or 501 where it belongs to an extension that this server
refuses by name.
"""
_TEXT = {"type": "string"}
_PLACES = {  # component: its name in a path, what it is, its schema
    "model": ("model", "A model's name, percent-encoded.", _TEXT),
    "version": ("version", "A version's number, or an alias.", _TEXT),
    "number": ("version", "A version's number.", {**_TEXT, "pattern": "^[0-9]+$"}),
    "label": ("label", "An alias.", {**_TEXT, "pattern": f"^{ALIAS_NAME.pattern}$"}),
    "rollout": ("rollout", "A rollout by what it is called, `<model>-<number>`.", _TEXT),
}
_REFERENCE = re.compile(r'"#/components/(\w+)/([^"]+)"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Described:
    """What is said of a surface beside its routes."""

    operations: Mapping[str, Operation]
    tags: Mapping[str, str]
    text: str
    schemas: Callable[[], dict[str, Any]]
    more: tuple[Route, ...] = ()  # of other ports


INFERENCE = Described(operations=OPERATIONS, tags=TAGS, text=_DESCRIPTION, schemas=schemas, more=(METRICS,))


class Description:
    """The document of one server, written when somebody asks for it and again where other credentials are good."""

    def __init__(
        self, state: ServerState, routes: Callable[[], Iterable[Route]], auth: Callable[[], Auth | None], described: Described = INFERENCE
    ) -> None:
        """`auth()` None: everybody may call everything."""
        self._described = described
        self._state = state
        self._routes = routes
        self._auth = auth
        self._written: tuple[Auth | None, bytes] | None = None

    def http(self, exchange: HttpExchange) -> None:
        """The document."""
        auth = self._auth()
        if self._written is None or self._written[0] is not auth:
            self._written = auth, json_text(document(self._routes(), self._state, auth, self._described))
        exchange.respond(200, [JSON_TYPE], self._written[1])


def document(routes: Iterable[Route], state: ServerState, auth: Auth | None, described: Described = INFERENCE) -> dict[str, Any]:
    """The document of a server with these routes, and of what is said beside them."""
    paths = {_template(route): _path(route, auth, described) for route in (*routes, *described.more)}
    return {
        "openapi": VERSION,
        "info": {"title": state.name, "version": state.version, "description": described.text},
        "servers": [{"url": "/"}],
        "tags": [{"name": name, "description": text} for name, text in described.tags.items()],
        "paths": paths,
        "components": _components(paths, auth, described),
    }


def _template(route: Route) -> str:
    return next(iter(route.names.values())).partition(" ")[2]


def _path(route: Route, auth: Auth | None, described: Described) -> dict[str, Any]:
    """One path with its methods."""
    template = _template(route)
    names = re.findall(r"{(\w+)}", template)
    item: dict[str, Any] = {}
    if names:
        places = ["number" if name == "version" and template.startswith("/v1/") else name for name in names]
        item["parameters"] = [{"$ref": f"#/components/parameters/{place}"} for place in places]
    if route is METRICS:
        host, port = ({"default": default} for default in ("127.0.0.1", "8002"))
        item["servers"] = [{"url": "http://{host}:{port}", "variables": {"host": host, "port": port}}]
    for method, name in route.names.items():
        item[method.lower()] = _operation(method, name, described.operations[name], auth)
    return item


def _operation(method: str, name: str, operation: Operation, auth: Auth | None) -> dict[str, Any]:
    scope = "" if auth is None else _scope(name, auth)
    is_head = method == "HEAD"
    written: dict[str, Any] = {
        "operationId": f"head{operation.id[0].upper()}{operation.id[1:]}" if is_head else operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
    }
    if operation.body:
        written["requestBody"] = _body(operation)
    if operation.binary:
        written["parameters"] = [{"$ref": "#/components/parameters/binaryHeader"}]
    if operation.query:
        written["parameters"] = [{"name": name, "in": "query", "required": False, "schema": _TEXT} for name in operation.query]
    answers = _answers(operation, guarded=bool(scope))
    if is_head:
        answers = {status: {"description": f"{REASONS[int(status)].decode()}, without a body."} for status in answers}
    written["responses"] = answers
    if auth is not None and scope:
        written["security"] = _security(scope, auth)
    return written


def _body(operation: Operation) -> dict[str, Any]:
    content: dict[str, Any] = {_JSON: {"schema": ref(operation.body)}}
    if operation.binary:
        content[_BINARY] = {"schema": {"type": "string", "contentMediaType": _BINARY}}
    if operation.yaml:
        content[_YAML] = {"schema": ref(operation.body)}
    return {"required": operation.body_needed, "content": content}


def _answers(operation: Operation, *, guarded: bool) -> dict[str, Any]:
    """By status, ascending."""
    codes = [*operation.codes, *([Code.UNAUTHENTICATED, Code.PERMISSION_DENIED] if guarded else [])]
    statuses = {*TRANSPORT, *map(http_status, codes)}
    answers: dict[int, Any] = {status: {"$ref": f"#/components/responses/{_response_name(status)}"} for status in statuses}
    if operation.answer is not None:
        answers[200] = _good(operation)
    if operation.unavailable:
        answers[503] = {"description": "Not so.", "content": {_JSON: {"schema": ref(operation.unavailable)}}}
    if operation.closed:
        answers[403] = {"description": "Not so.", "content": {_JSON: {"schema": {"anyOf": [ref(operation.closed), ref("Error")]}}}}
    return {str(status): answers[status] for status in sorted(answers)}


def _good(operation: Operation) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "OK"}
    if operation.answer:
        good["content"] = {_JSON: {"schema": ref(operation.answer)}}
    if operation.text:
        good["content"] = {kind: {"schema": {"type": "string"}} for kind in operation.text}
    if operation.binary:
        good["content"][_BINARY] = {"schema": {"type": "string", "contentMediaType": _BINARY}}
        good["headers"] = {_LENGTH: {"description": "Bytes of JSON before the tensors.", "schema": {"type": "integer", "minimum": 1}}}
    return good


def _scope(name: str, auth: Auth) -> str:
    """What a route needs; "" for nothing. Of a route that nobody may call there is no description."""
    need = need_of(name)
    assert need is not None
    return need.scope if name != "GET /metrics" or auth.metrics else ""


def _security(scope: str, auth: Auth) -> list[dict[str, list[str]]]:
    """Any of them will do."""
    anybody = any(held.partition(":")[0] == scope for held in auth.anonymous)
    return [{name: [scope]} for name in _schemes(auth)] + ([{}] if anybody else [])


def _schemes(auth: Auth) -> dict[str, dict[str, str]]:
    """As the settings have them."""
    schemes = {}
    if auth.keys is not None or auth.jwt is not None:
        kinds = [kind for kind, wanted in (("an API key", auth.keys), ("a token of the issuer (JWT)", auth.jwt)) if wanted is not None]
        schemes[_BEARER] = {"type": "http", "scheme": "bearer", "description": " or ".join(kinds)}
    if auth.clients:
        schemes[_CERTIFICATE] = {"type": "mutualTLS", "description": "a client certificate"}
    return schemes


def _components(paths: dict[str, Any], auth: Auth | None, described: Described) -> dict[str, Any]:
    """What the paths refer to, and what that refers to."""
    parameters = {component: _parameter(name, "path", text, schema) for component, (name, text, schema) in _PLACES.items()}
    text = "Bytes of JSON before the tensors, which follow in the order of the inputs; 0: the body is the data of the only input."
    parameters["binaryHeader"] = _parameter(_LENGTH, "header", text, {"type": "integer", "minimum": 0})
    methods = [one for item in paths.values() for method, one in item.items() if method.upper() in ("GET", "POST")]
    failures = sorted({int(status) for one in methods for status, answer in one["responses"].items() if "$ref" in answer})
    responses = {_response_name(status): _failure(status) for status in failures}
    components = _referred(paths, {"schemas": described.schemas(), "parameters": parameters, "responses": responses})
    return components if auth is None else components | {"securitySchemes": _schemes(auth)}


def _referred(paths: dict[str, Any], known: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of the components that are known, those that are referred to, in their order."""
    used: set[tuple[str, str]] = set()
    new = set(_REFERENCE.findall(json.dumps(paths)))
    while new:
        used |= new
        new = {found for kind, name in new for found in _REFERENCE.findall(json.dumps(known[kind][name]))} - used
    return {kind: {name: one for name, one in members.items() if (kind, name) in used} for kind, members in known.items()}


def _parameter(name: str, place: str, text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "description": text, "schema": schema}


def _response_name(status: int) -> str:
    return REASONS[status].decode().title().replace(" ", "")


def _failure(status: int) -> dict[str, Any]:
    """An error of one status."""
    answer: dict[str, Any] = {"description": REASONS[status].decode(), "content": {_JSON: {"schema": ref("Error")}}}
    if status == http_status(Code.UNAUTHENTICATED):
        answer["headers"] = {"WWW-Authenticate": {"required": True, "schema": {"type": "string"}}}
    waits = [one.retry_after_s for one in ANSWERS.values() if one.http == status and one.retry_after_s is not None]
    if waits:
        answer["headers"] = {"Retry-After": {"required": True, "schema": {"type": "integer"}}}
    return answer
