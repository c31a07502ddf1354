"""The access table against the routers of the server, and every route against every kind of credential: real answers, both transports."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from gateway.control import health, reflection
from gateway.control.monitor import Monitor
from gateway.control.routes import READ, Route
from gateway.control.state import ServerState
from gateway.errors import Code, TidegateError
from gateway.identity import scopes
from gateway.identity.access import CLOSED, OF_A_MODEL, TABLE, UNIDENTIFIED, Need, decide
from gateway.identity.certificates import Certificate
from gateway.identity.gate import Known
from gateway.identity.principals import Principal
from gateway.identity.settings import Client
from gateway.limits import WireLimits
from gateway.pb import inference_pb2 as pb
from gateway.pb.tidegate_pb2 import Label, LabelsRequest
from gateway.wire.grpc import Method
from gateway.wire.status import grpc_status, http_status
from tests.gateway.control.counter import Counter
from tests.gateway.control.desk import INFER, STREAM, Desk, body, infer
from tests.gateway.drift.told import told
from tests.gateway.identity.issuing import BAD, NOW_S, api_key, auth, key_set, token
from tests.gateway.serving.mixed_models import ROWS, TEXTS
from tests.gateway.serving.serving_fakes import FakeLoop
from tests.gateway.wire import http1_wire, http2_wire

EVERYTHING = frozenset([*scopes.GENERAL, *(f"{word}:*" for word in scopes.OF_MODELS)])
SERVICE = "/inference.GRPCInferenceService/"
DENIED = {Code.UNAUTHENTICATED, Code.PERMISSION_DENIED}

# --- the table ---------------------------------------------------------------------------------------------------------------------


def monitor_routes() -> list[Route]:
    """Those of the port of metrics."""

    async def made() -> list[Route]:
        state = ServerState("m", "9.9")
        monitor = Monitor(lambda accept: (b"", ""), state, WireLimits(), clock=FakeLoop(), rng=random.Random(1))
        await monitor.listener.close()
        return monitor.routes

    return asyncio.run(made())


def is_administration(route: str) -> bool:
    """Whether a route is of the port for administrators."""
    return "/v1/rollouts" in route or route.endswith("/v1/openapi.json") or route.startswith("/tidegate.Rollouts/")


def routed(desk: Desk) -> set[str]:
    """Everything that a server routes by."""
    administration = Counter()
    assert all(map(is_administration, (name for route in administration.rest.routes for name in route.names.values())))
    calls = {path.decode() for one in (desk, administration) for path in one.calls.methods}
    of_models = {path.decode() + OF_A_MODEL for path in (health.CHECK, health.WATCH)}
    routes = [*desk.rest.routes, *administration.rest.routes, *monitor_routes()]
    return calls | of_models | {name for route in routes for name in route.names.values()}


def test_every_route_of_the_server_is_in_the_table_and_the_table_has_no_other() -> None:
    """What somebody adds to a router is closed until it is here; what is taken away leaves no right behind."""
    assert routed(Desk()) == set(TABLE)


def test_the_table_is_the_one_of_the_design() -> None:
    """Nothing for health and server metadata; scopes that exist for all else; whatever changes a server is an administrator's."""
    words = {need.scope for need in TABLE.values()}
    assert {"", "meta", "infer", "labels", "admin", "operate", "approve", "audit"} == words
    assert all(need.of_model == (need.scope in scopes.OF_MODELS) for need in TABLE.values())
    probes = {"GET /v2/health/live", "GET /v2/health/ready", "GET /v2/health/startup"}
    probes |= {"/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"}
    server = {"GET /", "GET /v2", "GET /v2/", "GET /v2/openapi.json", "GET /v1/openapi.json"}
    server |= {f"{SERVICE}{name}" for name in ("ServerLive", "ServerReady", "ServerMetadata")}
    assert probes | server == {route for route, need in TABLE.items() if not need.scope and "SharedMemory" not in route}
    inference = {"POST /v2/models/{model}/infer", "POST /v2/models/{model}/versions/{version}/infer", INFER, STREAM}
    inference |= {f"POST /v1/models/{{model}}{place}:predict" for place in ("", "/versions/{version}", "/labels/{label}")}
    assert inference == {route for route, need in TABLE.items() if need.scope == "infer"}
    assert {"POST /v1/labels", "/tidegate.Labels/Ingest"} == {route for route, need in TABLE.items() if need.scope == "labels"}
    changing = {route for route in TABLE if route.startswith("POST") and not route.endswith(("/infer", "/index", ":predict", "/labels"))}
    changing |= {route for route in TABLE if "ModelLoad" in route or "ModelUnload" in route}
    changing = {route for route in changing if not is_administration(route)}
    assert {"admin"} == {TABLE[route].scope for route in changing}
    verbs = {route.rpartition("/")[2].lower(): TABLE[route].scope for route in TABLE if is_administration(route)}
    reading = dict.fromkeys(("openapi.json",), "") | dict.fromkeys(
        ("rollouts", "{rollout}", "analysis", "gate", "list", "status", "watch"), "meta"
    )
    operating = dict.fromkeys(("apply", "pause", "resume", "promote", "abort"), "operate")
    assert reading | operating | {"approve": "approve", "history": "audit", "rollouts": "operate"} == verbs
    assert ("meta", "operate") == (TABLE["GET /v1/rollouts"].scope, TABLE["POST /v1/rollouts"].scope)


def test_a_route_that_is_not_in_the_table_is_closed_to_everybody() -> None:
    """By the decision, and through both transports for a key with every scope."""
    almighty = Principal(name="x", scopes=EVERYTHING)
    for principal in (None, almighty):
        refusal = decide("/new.Service/Call", None, principal)
        assert refusal is not None
        assert Code.PERMISSION_DENIED is refusal.code
    secret, known = api_key("all", *EVERYTHING)
    desk = Desk(auth=auth())
    desk.gate.renew(Known(keys=(known,)))
    desk.calls.methods[b"/new.Service/Call"] = Method(unary=lambda *_: pytest.fail("it was called"))
    desk.calls.methods[b"/new.Service/Stream"] = Method(streaming=lambda *_: pytest.fail("it was called"))
    desk.rest._fixed[b"/v2/new"] = Route(READ, "/v2/new"), lambda _: pytest.fail("it was called")
    bearer = f"Bearer {secret}"
    for path in ("/new.Service/Call", "/new.Service/Stream"):
        assert grpc_status(Code.PERMISSION_DENIED) == desk.call(path, b"", ("authorization", bearer)).status
    assert 403 == desk.http.ask("GET", "/v2/new", None, f"Authorization: {bearer}").status


def test_the_decision_is_by_scope_and_model() -> None:
    """Missing credential, missing scope, missing model, each by its code; a model that does not exist plays no part."""
    infer_route = "POST /v2/models/{model}/infer"
    ann, nobody = Principal(name="a", scopes=frozenset({"infer:rows"})), Principal(name="n", scopes=frozenset(), anonymous=True)

    def code(model: str | None, principal: Principal | None, route: str = infer_route) -> Code:
        found = decide(route, model, principal)
        return Code.OK if found is None else found.code

    assert [Code.OK, Code.PERMISSION_DENIED, Code.PERMISSION_DENIED] == [code(model, ann) for model in ("rows", "texts", "no such model")]
    assert [Code.UNAUTHENTICATED] * 3 == [code("rows", None), code("rows", nobody), code(None, None)]
    assert Code.PERMISSION_DENIED == code(None, Principal(name="all", scopes=EVERYTHING))
    assert [Code.PERMISSION_DENIED, Code.OK] == [code(None, ann, "GET /v2/models"), code(None, None, "GET /v2")]
    texts = {decide(infer_route, model, ann).message for model in ("texts", "no such model")}  # type: ignore[union-attr]
    assert {"the credential lacks the scope infer for this model"} == texts


# --- credentials -------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shown:
    """What a caller shows, and whom it must be taken for."""

    fields: tuple[str, ...] = ()  # values of Authorization fields
    principal: Principal | None = None
    certificate: Certificate | None = None


def bearer(text: str | bytes) -> str:
    return ("Bearer " + (text if isinstance(text, str) else text.decode("latin-1"))).rstrip()


SCOPES = {
    "right": ("infer:rows", "meta"), "all models": ("infer:*",), "only meta": ("meta",), "another model": ("infer:texts",),
    "labels only": ("labels:rows", "labels:*"), "admin only": ("admin",), "none": (), "everything": tuple(EVERYTHING),
}  # fmt: skip
API_KEYS = {name: api_key(name.replace(" ", "-"), *granted) for name, granted in SCOPES.items()}
EXPIRED, CURRENT = api_key("expired", *EVERYTHING, expires_s=NOW_S), api_key("current", "meta", expires_s=NOW_S + 1)
CERTIFICATE = Certificate(("uri:spiffe://tests/caller", "cn:caller"), NOW_S + 600)
SETTINGS = auth(clients={"uri:spiffe://tests/caller": Client(scopes=("infer:rows",))})
KNOWN = Known(keys=(*(known for _, known in API_KEYS.values()), EXPIRED[1], CURRENT[1]), jwks=key_set())
UNKNOWN = api_key("unknown", *EVERYTHING)[0]
HALF = API_KEYS["right"][0][:17] + UNKNOWN[17:]  # a known id, another secret


def principal(*granted: str) -> Principal:
    return Principal(name="", scopes=frozenset(granted))


CREDENTIALS: dict[str, Shown] = {
    "nothing": Shown(),
    "empty field": Shown(("",)),
    "only the scheme": Shown(("Bearer",)),
    "basic": Shown(("Basic YWxsYWRpbjpvcGVuc2VzYW1l",)),
    "a key without scheme": Shown((API_KEYS["right"][0],)),
    "not ASCII": Shown((bearer("\xff\xfe"),)),
    "very long": Shown((bearer("x" * 9_000),)),
    "unknown key": Shown((bearer(UNKNOWN),)),
    "another secret": Shown((bearer(HALF),)),
    "expired key": Shown((bearer(EXPIRED[0]),)),
    "two fields, one good": Shown((bearer(API_KEYS["right"][0]), bearer(UNKNOWN))),
    "the same good field twice": Shown((bearer(API_KEYS["right"][0]),) * 2),
    "key that still holds": Shown((bearer(CURRENT[0]),), principal("meta")),
    **{f"key, {name}": Shown((bearer(secret),), principal(*SCOPES[name])) for name, (secret, _) in API_KEYS.items()},
    "token": Shown((bearer(token()),), principal("infer:rows", "meta")),
    "token, another model": Shown((bearer(token("rsa", scope="infer:texts")),), principal("infer:texts")),
    "token, no scopes": Shown((bearer(token("ed", scope=None)),), principal()),
    **{f"token, {what}": Shown((bearer(forge()),)) for what, forge in BAD.items()},
    "certificate": Shown((), principal("infer:rows"), CERTIFICATE),
    "certificate of a stranger": Shown((), None, Certificate(("cn:caller",), NOW_S + 600)),
    "expired certificate": Shown((), None, Certificate(CERTIFICATE.names, NOW_S)),
    "certificate and a bad field": Shown((bearer(UNKNOWN),), None, CERTIFICATE),
    "certificate and a key": Shown((bearer(API_KEYS["only meta"][0]),), principal("meta"), CERTIFICATE),
}


def desk_of(shown: Shown) -> Desk:
    """A desk that loads and unloads what it is told to, and whose supervisor answers at once."""
    desk = Desk(auth=SETTINGS, certificate=shown.certificate, explicit=True)
    desk.gate.renew(KNOWN)
    desk.statistics._ask = lambda model: desk.loop.call_soon(desk.statistics.told, model, ())
    desk.drift._ask = lambda number, model, messages: desk.loop.call_soon(desk.drift.told, number, told(messages=messages))
    desk.control._ask = lambda number, model, load, bundle: desk.loop.call_soon(desk.control.told, number, Code.OK, "")
    desk.labels._ask = lambda number, content, message: desk.loop.call_soon(desk.labels.told, number, 0, "", b"" if message else b"{}")
    return desk


class Idle:
    """Work that is never there: a question of rights comes before it."""

    def __getattr__(self, name: str) -> Callable[..., object]:
        def refuse(*_: object, **__: object) -> object:
            raise TidegateError(Code.NOT_FOUND, "nothing is here")

        return refuse


def counter_of(shown: Shown) -> Counter:
    """The port for administrators, with nothing behind it."""
    counter = Counter(work=Idle(), auth=SETTINGS, certificate=shown.certificate)  # type: ignore[arg-type]
    counter.gate.renew(KNOWN)
    return counter


def denial(status: int, number_of: Callable[[Code], int], text: str) -> tuple[Code, str]:
    """What an answer says of rights: OK for everything else, also for what is refused to everybody by a handler."""
    of_rights = text in (UNIDENTIFIED, CLOSED) or text.startswith("the credential lacks the scope")
    found = next((code for code in DENIED if number_of(code) == status and of_rights), Code.OK)
    return found, text if found else ""


X = np.ones((1, 2), np.float32)
TEXTS_MESSAGE = infer(TEXTS, np.array([["a"]], object), np.array([[1]], np.int64))
ASKED: dict[str, Callable[[str], bytes]] = {  # a good message of calls that would stumble over an empty one
    "ModelInfer": lambda model: TEXTS_MESSAGE if model == TEXTS else infer(model, X),
    "ModelStreamInfer": lambda model: TEXTS_MESSAGE if model == TEXTS else infer(model, X),
    "Ingest": lambda model: LabelsRequest(model=model, labels=[Label()]).SerializeToString(),
    "ModelReady": lambda model: pb.ModelReadyRequest(name=model).SerializeToString(),
    "ModelMetadata": lambda model: pb.ModelMetadataRequest(name=model).SerializeToString(),
}


def over_grpc(desk: Desk, path: str, model: str, shown: Shown) -> tuple[Code, str]:
    """What a call came to as far as rights go: OK for everything that is no matter of rights."""
    fields = [("authorization", value) for value in shown.fields]
    message = ASKED.get(path.rpartition("/")[2], lambda _: b"")(model)
    if path.startswith("/grpc.health") and path.endswith(OF_A_MODEL):
        path, message = path.removesuffix(OF_A_MODEL), b"\x0a\x0amodel/rows"
    reply = desk.call(path, message, *fields)
    if path.endswith("ModelStreamInfer") and reply.status == 0:
        text = pb.ModelStreamInferResponse.FromString(reply.messages[0]).error_message
        return denial(grpc_status(Code.PERMISSION_DENIED), grpc_status, text)
    return denial(reply.status, grpc_status, reply.text)


JSON = "application/json"


def asked_over_http(template: str, model: str) -> tuple[str, bytes]:
    """A path of a route, and a good body where it needs one."""
    target = template.replace("{model}", model).replace("{version}", "3").replace("{label}", "champion").replace("{rollout}", "m-1")
    if template == "/v1/labels":
        return target, json.dumps({"model": model, "labels": [{}]}).encode()
    sent = b'{"instances":[[1.0,2.0]]}' if template.endswith(":predict") else body([[1.0, 2.0]]) if template.endswith("/infer") else b""
    return target, sent


def over_http(desk: Desk, route: str, model: str, shown: Shown) -> tuple[Code, str]:
    """The same for HTTP/1.1; a 401 has its challenge."""
    method, _, template = route.partition(" ")
    target, sent = asked_over_http(template, model)
    sent = None if method == "GET" else sent
    kind = [f"Content-Type: {JSON}"] if sent is not None else []
    answer = desk.http.ask(method, target, sent, *kind, *[f"Authorization: {value}" for value in shown.fields])
    assert (401 == answer.status) == ("www-authenticate" in answer.headers)
    return denial(answer.status, http_status, json.loads(answer.body).get("error", "") if answer.status >= 400 else "")


def over_http2(desk: Desk, route: str, model: str, shown: Shown) -> tuple[Code, str]:
    """The same for HTTP/2."""
    method, _, template = route.partition(" ")
    target, sent = asked_over_http(template, model)
    fields = [("content-type", JSON), *(("authorization", value) for value in shown.fields)]
    stream_id, desk._next = desk._next, desk._next + 2
    block = desk.wire.block(http2_wire.request(target, *fields, method=method))
    desk.wire.send(http2_wire.head(stream_id, block) + http2_wire.data(stream_id, sent, last=True))
    desk.loop.settle()
    desk.wire.flush()
    answer = http2_wire.read_answers(b"".join(desk.wire.writes))[stream_id]
    status = int(answer.heads[0][b":status"])
    return denial(status, http_status, json.loads(answer.body).get("error", "") if status >= 400 else "")


@pytest.mark.parametrize("what", CREDENTIALS)
def test_case_107_108_every_route_with_this_credential_answers_as_the_table_says(what: str) -> None:
    """Twice each, because the second answer may come from what was remembered of the first; models with and without a right, and none."""
    shown = CREDENTIALS[what]
    inference, administration = desk_of(shown), counter_of(shown)
    for route in sorted(set(TABLE) - {"GET /metrics"}):
        desk = administration if is_administration(route) else inference
        ways = [over_grpc] if route.startswith("/") else [over_http, over_http2]
        for model in (ROWS, TEXTS, "nobody") if "odel" in route or "abels" in route else (ROWS,):
            refusal = decide(route, model, shown.principal)
            expected = (Code.OK, "") if refusal is None else (refusal.code, refusal.message)
            for way in ways * 2:
                desk.wire.writes.clear()
                code, text = way(desk, route, model, shown)
                assert expected == (code, text), (route, model, way.__name__)


@pytest.mark.parametrize(
    "target", ["/v2/models/%72ows/infer", "/v2/models/%72%6f%77%73/infer", "/v2/models/rows/versions/3/infer?x=/v2/health/live"]
)
def test_a_path_in_another_spelling_needs_the_same(target: str) -> None:
    """CVE-2026-24207, CVE-2026-33186: what was routed is judged, never what was written."""
    for what, status in (("key, right", 200), ("key, another model", 403), ("nothing", 401)):
        fields = [f"Authorization: {value}" for value in CREDENTIALS[what].fields]
        assert status == desk_of(CREDENTIALS[what]).http.ask("POST", target, body([[1.0]]), *fields).status


@pytest.mark.parametrize("target", ["/v1/models/%72ows:predict", "/v1/models/rows%3Apredict", "/v1/models/rows/versions/3%3apredict"])
def test_a_path_of_v1_in_another_spelling_needs_the_same(target: str) -> None:
    """Its verb may be encoded too, and is judged as the verb that it is."""
    for what, status in (("key, right", 200), ("key, another model", 403), ("nothing", 401)):
        fields = [f"Authorization: {value}" for value in CREDENTIALS[what].fields]
        assert status == desk_of(CREDENTIALS[what]).http.ask("POST", target, b'{"instances":[[1.0]]}', *fields).status


NOT_ROUTES = [
    "/v2/models/rows/%69nfer",
    "/v2//models",
    "//v2/models",
    "/v2/models/",
    "/v2/./models",
    "/V2/models",
    "/v2/models;x",
    "/v2/models%2Frows",
]


@pytest.mark.parametrize("target", NOT_ROUTES)
def test_a_path_that_is_almost_a_route_is_none_for_everybody(target: str) -> None:
    """404 with and without a credential: who may not call learns as much as who may."""
    for what in ("nothing", "key, everything", "unknown key"):
        fields = [f"Authorization: {value}" for value in CREDENTIALS[what].fields]
        assert 404 == desk_of(CREDENTIALS[what]).http.ask("GET", target, None, *fields).status


@pytest.mark.parametrize("path", ["inference.GRPCInferenceService/ModelInfer", "//inference.GRPCInferenceService/ModelInfer", "/x.Y/Z"])
def test_case_49_a_method_that_does_not_exist_is_unimplemented_for_everybody(path: str) -> None:
    """Before any right is asked about."""
    for what in ("nothing", "key, everything"):
        desk = desk_of(CREDENTIALS[what])
        if path.startswith("/"):
            fields = [("authorization", value) for value in CREDENTIALS[what].fields]
            assert grpc_status(Code.UNIMPLEMENTED) == desk.call(path, infer(ROWS, X), *fields).status


def test_case_107_a_credential_in_the_query_is_none() -> None:
    """It would stand in every log on the way."""
    secret = API_KEYS["right"][0]
    desk = desk_of(Shown())
    for query in (f"access_token={secret}", f"authorization=Bearer%20{secret}", f"key={secret}"):
        assert 401 == desk.http.ask("GET", f"/v2/models?{query}", None).status


def test_case_107_every_reason_has_the_same_text() -> None:
    """Missing, unknown, expired or forged: who guesses learns nothing. The challenge says only whether something was shown."""
    answers = set()
    for shown in CREDENTIALS.values():
        if shown.principal is None and shown.certificate is None:
            answer = desk_of(shown).http.ask("GET", "/v2/models", None, *[f"Authorization: {value}" for value in shown.fields])
            answers.add((answer.status, answer.body, answer.headers["www-authenticate"]))
    body_of = json.dumps({"error": UNIDENTIFIED}).encode()
    plain = 'Bearer realm="tidegate"'
    assert {(401, body_of, plain), (401, body_of, f'{plain}, error="invalid_token"')} == answers


def test_the_port_of_metrics_asks_only_where_it_is_told_to() -> None:
    """Metrics need the scope meta then, health nothing ever."""
    secret, known = api_key("scraper", "meta")
    other = api_key("caller", "infer:*")

    async def statuses(guarded: bool) -> list[int]:
        clock = FakeLoop()
        desk = Desk(auth=auth())
        desk.gate.renew(Known(keys=(known, other[1])))
        state = ServerState("m", "9.9", ready=True, started=True)
        monitor = Monitor(
            lambda accept: (b"page", "text/plain"),
            state,
            WireLimits(),
            clock=clock,
            rng=random.Random(1),
            gate=desk.gate if guarded else None,
        )
        caller = http1_wire.Caller(application=monitor.listener.behind.application)  # type: ignore[arg-type]
        for field in ("X: y", f"Authorization: Bearer {other[0]}", f"Authorization: Bearer {secret}"):
            caller.send(http1_wire.get("/metrics", field), http1_wire.get("/v2/health/ready", field))
        await monitor.listener.close()
        return caller.statuses()

    assert [200] * 6 == asyncio.run(statuses(guarded=False))
    assert [401, 200, 403, 200, 200, 200] == asyncio.run(statuses(guarded=True))


def test_needs_are_data() -> None:
    """And a refusal is an error that transports know."""
    assert Need("infer", of_model=True) == TABLE["/inference.GRPCInferenceService/ModelInfer"]
    assert isinstance(decide("GET /v2/models", None, None), TidegateError)
    assert all(path.decode() in TABLE for path in reflection.PATHS)
