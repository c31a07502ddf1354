"""The description of the port for administrators against its routes and its answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.control.rollout_operations import ADMINISTRATION
from gateway.control.rollout_work import VERBS
from gateway.identity.access import TABLE
from gateway.identity.gate import Known
from tests.gateway.control.counter import PLAN, Counter
from tests.gateway.control.described import answer_problem, body_schema, spoiled
from tests.gateway.control.test_openapi import operations
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.rollout.world import World
from tests.naive import schema_problem

Document = dict[str, Any]


@pytest.fixture
def desk(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "r")


def described(desk: Counter) -> Document:
    answer = desk.http.ask("GET", "/v1/openapi.json")
    assert 200 == answer.status
    found: Document = json.loads(answer.body)
    return found


def asked(desk: Counter, document: Document, template: str, method: str, body: Any = None, *fields: str) -> int:
    """The status of one answer, which is described."""
    target = template.replace("{rollout}", "m-1")
    if method == "POST":
        answer = desk.post(target, {} if body is None else body, *fields)
    else:
        answer = desk.http.ask(method, target, None, *fields)
    assert "" == answer_problem(document, method, template, answer), (template, answer)
    return int(answer.status)


def test_every_route_is_described_and_no_other(desk: Counter) -> None:
    """With the methods that it takes and the parameters that it knows."""
    names = {name for route in desk.rest.routes for name in route.names.values()}
    assert names == set(ADMINISTRATION.operations)
    expected = {(name.partition(" ")[2], method) for route in desk.rest.routes for method, name in route.names.items()}
    document = described(desk)
    assert expected == {(template, method) for template, method, _ in operations(document)}
    ids = [operation["operationId"] for *_, operation in operations(document)]
    assert len(ids) == len(set(ids))


def test_answers_are_as_described_from_nothing_to_the_end(desk: Counter) -> None:
    """Before there is a rollout, while it goes on, and when it is over."""
    document, seen = described(desk), set()
    for plan in ({}, PLAN, PLAN, PLAN):
        for template, method, _operation in operations(document):
            seen.add(asked(desk, document, template, method, plan if template == "/v1/rollouts" and method == "POST" else None))
        assert desk.store is not None
        World(desk.store, clock=desk.clock).tick(10)
    assert {200, 400, 403, 404, 409} == seen
    for verb in VERBS:
        assert 415 == desk.post(f"/v1/rollouts/m-1/{verb}", b"x", kind="text/plain").status


def test_refusals_of_rights_are_as_described(tmp_path: Path) -> None:
    """401 and 403 of every route that needs something, with what it needs."""
    desk = Counter(tmp_path / "r", auth=auth())
    secret, known = api_key("narrow", "infer:other")
    desk.gate.renew(Known(keys=(known,)))
    document = described(desk)
    for template, method, operation in operations(document):
        scope = TABLE[f"{'GET' if method == 'HEAD' else method} {template}"].scope
        assert bool(scope) == ("security" in operation), template
        if scope:
            assert {"bearer": [scope]} in operation["security"]
            assert 401 == asked(desk, document, template, method)
            assert 403 == asked(desk, document, template, method, None, f"Authorization: Bearer {secret}")


@pytest.mark.parametrize("verb", VERBS)
def test_what_the_schema_of_a_verb_forbids_is_refused(desk: Counter, verb: str) -> None:
    """One thing wrong at a time; the good one is allowed."""
    desk.begin()
    document = described(desk)
    schema = body_schema(document, f"/v1/rollouts/{{rollout}}/{verb}")
    more = {"resume": {"accept_evidence": True}, "promote": {"full": True, "step": 0}}.get(verb, {})
    good = {"reason": "so", "actor": "ann", "operation_id": "x", **more}
    assert "" == schema_problem(good, schema, document)
    bad = list(spoiled(good, schema, document))
    assert len(bad) > 5
    for one in bad:
        assert 400 == asked(desk, document, f"/v1/rollouts/{{rollout}}/{verb}", "POST", json.dumps(one).encode()), one


def test_a_good_plan_is_allowed_by_its_schema(desk: Counter) -> None:
    """And one with a misspelt field is not."""
    document = described(desk)
    schema = body_schema(document, "/v1/rollouts")
    assert "application/yaml" in document["paths"]["/v1/rollouts"]["post"]["requestBody"]["content"]
    assert "" == schema_problem(PLAN, schema, document)
    assert schema_problem({**PLAN, "spce": {}}, schema, document)
