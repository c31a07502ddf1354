"""The OpenAPI document against the routers, the access table and the answers: nothing undescribed, and nothing described that is not."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.openapi import TRANSPORT
from gateway.control.operations import METRICS, OPERATIONS
from gateway.control.rollout_operations import ADMINISTRATION
from gateway.errors import Code
from gateway.identity.access import TABLE
from gateway.identity.gate import Known
from gateway.identity.settings import Auth, Client, Jwt
from gateway.limits import Limits, ServingLimits
from gateway.wire.status import ANSWERS, REASONS
from tests.gateway.control.described import answer_problem, body_schema, spoiled, values
from tests.gateway.control.desk import Desk, body
from tests.gateway.drift.told import told
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.serving.mixed_models import ROWS
from tests.naive import resolved, schema_problem

Document = dict[str, Any]
NAMES = {"{model}": "rows", "{version}": "3", "{label}": "champion"}
OUTPUTS = [{"name": "y", "parameters": {"binary_data": False}}]
V2 = json.loads(body([[1.0, 2.0]], id="a", outputs=OUTPUTS, parameters={"timeout": 9_000_000}))
V2["inputs"][0]["parameters"] = {"mine": 1}
SENT: dict[str, list[Any]] = {  # by the end of a route: good bodies
    "/infer": [V2],
    ":predict": [{"instances": [[1.0, 2.0]], "signature_name": ""}, {"inputs": {"x": [[1.0, 2.0]]}}],
    "/index": [{"ready": True}],
    "/v1/labels": [{"model": "rows", "labels": [{"label_id": "a", "client_request_id": "c", "value": 1.0}]}],
    "/load": [{"parameters": {}}],
    "/unload": [{"parameters": {"unload_dependents": True}}],
    "/logging": [{"log_info": True}],
    "/setting": [{"trace_rate": "1"}],
}


def desk(**more: Any) -> Desk:
    """Whose supervisor answers at once, with aliases for labels."""
    made = Desk(explicit=True, **more)
    made.statistics._ask = lambda model: made.loop.call_soon(made.statistics.told, model, ())  # type: ignore[assignment]
    made.drift._ask = lambda number, model, messages: made.loop.call_soon(  # type: ignore[assignment]
        made.drift.told, number, told(messages=messages)
    )
    kept = json.dumps({"accepted": 1, "duplicates": 0, "refused": 0, "results": [{"label_id": "a", "status": "accepted"}]}).encode()
    made.labels._ask = lambda number, content, message: made.loop.call_soon(made.labels.told, number, 0, "", kept)
    made.control._ask = lambda number, model, load, bundle: made.loop.call_soon(made.control.told, number, Code.OK, "")  # type: ignore[assignment]
    made.service.set_routes(made.aliased())
    made.state.started = True
    return made


def described(made: Desk) -> Document:
    """What the server says of itself."""
    answer = made.http.ask("GET", "/v2/openapi.json")
    assert (200, "application/json") == (answer.status, answer.headers["content-type"])
    found: Document = json.loads(answer.body)
    return found


def operations(document: Document) -> Iterator[tuple[str, str, Document]]:
    """(template, method, operation) of all."""
    for template, item in document["paths"].items():
        for method in item.keys() & {"get", "head", "post"}:
            yield template, method.upper(), item[method]


def target_of(template: str) -> str:
    for place, name in NAMES.items():
        template = template.replace(place, name)
    return template


def bodies_of(template: str) -> list[Any]:
    return next(sent for end, sent in SENT.items() if template.endswith(end))


POSTED = sorted({name.partition(" ")[2] for name in OPERATIONS if name.startswith("POST")})
SHARED = desk()  # of examples that leave nothing behind
DOCUMENT = described(SHARED)

# --- nothing is missing, nothing is too much --------------------------------------------------------------------------------------


def test_every_route_is_described_and_no_other() -> None:
    """In the table that somebody writes, and in the document with its methods; the port of metrics too."""
    routes = [*desk().rest.routes, METRICS]
    assert {name for route in routes for name in route.names.values()} == set(OPERATIONS)
    expected = {(name.partition(" ")[2], method) for route in routes for method, name in route.names.items()}
    assert expected == {(template, method) for template, method, _ in operations(DOCUMENT)}
    assert {name for name in TABLE if not name.startswith("/")} == set(OPERATIONS) | set(ADMINISTRATION.operations)


def test_references_lead_somewhere_and_nothing_lies_about() -> None:
    """Of parameters, answers, schemas and tags."""
    used = set(re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(DOCUMENT)))
    there = {f"components/{kind}/{name}" for kind, members in DOCUMENT["components"].items() for name in members}
    assert used == there
    assert {tag["name"] for tag in DOCUMENT["tags"]} == {tag for *_, operation in operations(DOCUMENT) for tag in operation["tags"]}


def test_operations_have_names_of_their_own_and_the_parameters_of_their_paths() -> None:
    """And a sentence each."""
    ids = [operation["operationId"] for *_, operation in operations(DOCUMENT)]
    assert len(ids) == len(set(ids))
    for template, item in DOCUMENT["paths"].items():
        found = [resolved(one["$ref"], DOCUMENT)["name"] for one in item.get("parameters", ())]
        assert re.findall(r"{(\w+)}", template) == found
    assert all(operation["summary"].endswith(".") for *_, operation in operations(DOCUMENT))


def test_statuses_are_those_of_the_table_of_errors() -> None:
    """Each with its error, and with when to come back where that is said."""
    statuses = {answer.http for answer in ANSWERS.values()} | set(TRANSPORT)
    for template, method, operation in operations(DOCUMENT):
        assert set(map(str, TRANSPORT)) <= set(operation["responses"]), template
        assert {int(status) for status in operation["responses"]} <= statuses, template
        for status, said in operation["responses"].items():
            if method != "HEAD" and int(status) >= 400 and "$ref" in said:
                error = resolved(said["$ref"], DOCUMENT)
                assert REASONS[int(status)].decode() == error["description"]
                waits = any(one.retry_after_s for one in ANSWERS.values() if one.http == int(status))
                assert waits == ("Retry-After" in error.get("headers", {}))


# --- who may ask ------------------------------------------------------------------------------------------------------------------


def test_without_auth_nobody_is_asked_for_anything() -> None:
    """And nothing is said of credentials."""
    assert "securitySchemes" not in DOCUMENT["components"]
    assert all("security" not in operation and "401" not in operation["responses"] for *_, operation in operations(DOCUMENT))


def test_with_auth_every_operation_says_what_the_access_table_says() -> None:
    """Any of the credentials that are configured will do; what anybody may, says so; it changes with the settings."""
    made = desk(auth=Auth(keys="keys.yaml", clients={"*": Client(scopes=("meta",))}, anonymous=("meta",)))
    document = described(made)
    assert {"bearer": "http", "certificate": "mutualTLS"} == {
        name: scheme["type"] for name, scheme in document["components"]["securitySchemes"].items()
    }
    for template, method, operation in operations(document):
        need = TABLE[f"{'GET' if method == 'HEAD' else method} {template}"]
        scope = "" if template == "/metrics" else need.scope
        expected = [{"bearer": [scope]}, {"certificate": [scope]}, *([{}] if scope == "meta" else [])] if scope else None
        assert expected == operation.get("security"), template
        assert bool(scope) == ({"401", "403"} <= set(operation["responses"])), template
    made.auth = Auth(keys="keys.yaml", metrics=True)
    document = described(made)
    assert ["bearer"] == list(document["components"]["securitySchemes"])
    assert [{"bearer": ["meta"]}] == document["paths"]["/metrics"]["get"]["security"]
    jwt = Jwt(issuer="https://issuer.example", audience=("tidegate",), keys="jwks.json")
    made.auth = Auth(jwt=jwt)
    assert "a token of the issuer (JWT)" == described(made)["components"]["securitySchemes"]["bearer"]["description"]


def test_refusals_of_rights_are_as_described() -> None:
    """401 with its challenge and 403, on every route that needs something; the document itself is open."""
    secret, known = api_key("narrow", "infer:other")
    made = desk(auth=auth())
    made.gate.renew(Known(keys=(known,)))
    document = described(made)
    for template, method, operation in operations(document):
        if "security" in operation:
            sent = b"{}" if method == "POST" else None
            for fields, status in (((), 401), ((f"Authorization: Bearer {secret}",), 403)):
                answer = made.http.ask(method, target_of(template), sent, *fields)
                assert (status, "") == (answer.status, answer_problem(document, method, template, answer)), template


# --- answers ----------------------------------------------------------------------------------------------------------------------


def test_good_requests_are_answered_as_described() -> None:
    """Every operation but those that are refused to everybody, and the port of metrics."""
    for template, method, operation in operations(DOCUMENT):
        sent = [json.dumps(one).encode() for one in bodies_of(template)] if method == "POST" else [None]
        for one in sent if template != "/metrics" else ():
            answer = desk().http.ask(method, target_of(template), one)
            assert (200 if "200" in operation["responses"] else 403) == answer.status, (template, answer.body)
            assert "" == answer_problem(DOCUMENT, method, template, answer), template


def test_bad_names_and_states_are_answered_as_described() -> None:
    """Models and versions that do not exist, failed, sleep or have no champion; a server that is starting, or full."""
    full = desk(limits=Limits(serving=ServingLimits(max_inflight_bytes=4)))
    starting = desk()
    starting.state.ready = False
    named = list(itertools.product(("rows", "nobody", "headless", "idle", "%ff", "a%2Fb"), ("3", "7", "4", "champion", "broken", "nobody")))
    seen = set()
    for template, method, _ in operations(DOCUMENT):
        path = template.replace("{model}", "{0}").replace("{version}", "{1}").replace("{label}", "{1}")
        targets = {path.format(*names) for names in named} if template != "/metrics" else ()
        sent = json.dumps(bodies_of(template)[0]).encode() if method == "POST" else None
        for made, target in itertools.product((full, starting, desk()), sorted(targets)):
            answer = made.http.ask(method, target, sent)
            seen.add(answer.status)
            assert "" == answer_problem(DOCUMENT, method, template, answer), (method, target)
    assert {200, 400, 403, 404, 429, 503} == seen


def test_binary_tensors_are_answered_as_described() -> None:
    """With the length of the JSON in front."""
    head = json.dumps({**V2, "inputs": [{**V2["inputs"][0], "parameters": {"binary_data_size": 8}}], "outputs": [{"name": "y"}]})
    head = head.replace(', "data": [[1.0, 2.0]]', "").replace('"timeout": 9000000', '"binary_data_output": true')
    fields = (f"Inference-Header-Content-Length: {len(head)}", "Content-Type: application/octet-stream")
    answer = desk().http.ask("POST", "/v2/models/rows/infer", head.encode() + bytes(8), *fields)
    assert (200, "application/octet-stream") == (answer.status, answer.headers["content-type"])
    assert "" == answer_problem(DOCUMENT, "POST", "/v2/models/{model}/infer", answer)
    bad = desk().http.ask("POST", "/v2/models/rows/infer", b"{}", "Inference-Header-Content-Length: -1")
    assert (400, "") == (bad.status, answer_problem(DOCUMENT, "POST", "/v2/models/{model}/infer", bad))


@pytest.mark.parametrize("template", POSTED)
def test_what_the_schema_of_a_body_forbids_is_refused(template: str) -> None:
    """One thing wrong at a time, at every place of a good body; and the schema allows the good one."""
    schema, made, tried = body_schema(DOCUMENT, template), desk(), 0
    for good in bodies_of(template):
        assert "" == schema_problem(good, schema, DOCUMENT)
        for bad in spoiled(good, schema, DOCUMENT):
            answer = made.http.ask("POST", target_of(template), json.dumps(bad).encode())
            assert 400 <= answer.status < 500, bad
            assert "" == answer_problem(DOCUMENT, "POST", template, answer), bad
            tried += 1
    assert tried > 5


@settings(max_examples=100, deadline=None)
@given(st.data(), st.sampled_from(POSTED))
def test_what_the_schema_of_a_body_allows_is_answered_as_described(data: st.DataObject, template: str) -> None:
    """Whatever it is; the model's own input more often than chance would have it."""
    sent = data.draw(values(body_schema(DOCUMENT, template), DOCUMENT))
    if isinstance(sent, dict) and isinstance(sent.get("inputs"), list) and template.endswith("/infer"):
        for tensor in sent["inputs"]:
            tensor.update(data.draw(st.fixed_dictionaries({}, optional={"name": st.just("x"), "datatype": st.just("FP32")})))
    answer = SHARED.http.ask("POST", target_of(template), json.dumps(sent).encode())
    assert "" == answer_problem(DOCUMENT, "POST", template, answer)
    assert 500 != answer.status
    assert 200 == SHARED.http.ask("POST", f"/v2/models/{ROWS}/infer", json.dumps(V2).encode()).status
