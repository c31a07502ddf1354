"""Rollouts over HTTP: each route, its answers, and every way to ask wrongly."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.config import Repository
from gateway.control.errands import MAX_WAITING
from gateway.control.rollout_registry import RolloutRegistry, store_of
from gateway.control.rollout_work import BODIES, VERBS
from gateway.identity.gate import Known
from gateway.rollout.observation import Overall
from gateway.wire.exchange import MAX_MESSAGE_BYTES
from tests.gateway.control.counter import PLAN, YAML, Counter
from tests.gateway.control.desk import Line
from tests.gateway.control.test_errands import Later
from tests.gateway.identity.issuing import api_key, auth
from tests.gateway.rollout.world import Said, World


@pytest.fixture
def desk(tmp_path: Path) -> Counter:
    return Counter(tmp_path / "r")


def led(desk: Counter) -> World:
    """The same registry with a server that decides, and no evidence yet."""
    assert desk.store is not None
    return World(desk.store, clock=desk.clock, said=Said(overall=Overall.NO_DATA))


def got(desk: Counter, target: str, *fields: str) -> Any:
    answer = desk.http.ask("GET", target, None, *fields)
    assert 200 == answer.status, answer.body
    return json.loads(answer.body)


def refused(answer: Any) -> tuple[int, str]:
    return answer.status, json.loads(answer.body)["error"]


# --- what is read ------------------------------------------------------------------------------------------------------------------


def test_a_plan_becomes_a_rollout_and_is_found_again(desk: Counter) -> None:
    """In YAML or JSON, once; by id and by model."""
    first = desk.post("/v1/rollouts?actor=ann&reason=new", YAML, kind="application/yaml")
    again = desk.post("/v1/rollouts?actor=ann", json.dumps(PLAN).encode(), kind="application/json; charset=utf-8")
    assert [(200, True, "m-1"), (200, False, "m-1")] == [
        (answer.status, json.loads(answer.body)["new"], json.loads(answer.body)["status"]["id"]) for answer in (first, again)
    ]
    one = got(desk, "/v1/rollouts/m-1")
    assert ("m-1", "m", "r", "admitted", False, "ann", 2) == tuple(
        one[name] for name in ("id", "model", "name", "phase", "final", "starter", "entries")
    )
    assert one == got(desk, "/v1/rollouts/m") == got(desk, "/v1/rollouts/%6d-1")
    assert "new" == got(desk, "/v1/rollouts/m-1/history")["entries"][0]["reason"]


def test_lists_have_what_is_open_or_all(desk: Counter) -> None:
    """Of a model or of all."""
    desk.begin()
    desk.post("/v1/rollouts/m-1/abort", {"actor": "ann", "reason": "no"})
    assert {"rollouts": []} == got(desk, "/v1/rollouts")
    for query, count in (("all=true", 1), ("all", 1), ("all=1&model=m", 1), ("all=true&model=n", 0), ("all=false", 0)):
        assert count == len(got(desk, f"/v1/rollouts?{query}")["rollouts"]), query
    assert 200 == desk.http.ask("HEAD", "/v1/rollouts/m-1").status


def test_the_gate_and_the_analysis_follow_the_verdict(desk: Counter) -> None:
    """Closed until the whole rollout has passed, by either method; open for good then."""
    desk.begin()
    assert {"ok": False, "verdict": "NO_DATA", "phase": "admitted", "final": False, "reason": "it is the first"} == {
        **got(desk, "/v1/rollouts/m/analysis"), "reason": "it is the first",
    }  # fmt: skip
    assert [403, 403] == [desk.http.ask("GET", "/v1/rollouts/m/gate").status, desk.post("/v1/rollouts/m/gate", {"name": "hook"}).status]
    world = led(desk)
    world.said.overall = Overall.PASS
    world.tick()
    assert 200 == desk.post("/v1/rollouts/m/approve", {"actor": "bea"}).status
    world.run()
    assert (True, "PASS", "succeeded") == tuple(got(desk, "/v1/rollouts/m/analysis")[name] for name in ("ok", "verdict", "phase"))
    gate = desk.post("/v1/rollouts/m/gate", {})
    assert (200, "PASS") == (gate.status, json.loads(gate.body)["verdict"])


# --- what is done ------------------------------------------------------------------------------------------------------------------


def test_every_verb_is_done_once(desk: Counter) -> None:
    """Pause, resume and abort, with their reasons in the journal; repeated, each says that it was done."""
    desk.begin()
    led(desk).tick()
    for verb, phase in (("pause", "paused"), ("resume", "step"), ("abort", "rolling_back")):
        said = {"actor": "cas", "reason": f"{verb} it", "operation_id": verb}
        answers = [json.loads(desk.post(f"/v1/rollouts/m-1/{verb}", said).body) for _ in range(2)]
        assert [True, False] == [answer["new"] for answer in answers]
        assert phase == answers[0]["status"]["phase"]
    last = got(desk, "/v1/rollouts/m-1/history")["entries"][-1]
    assert ("cas", "abort", "abort it") == (last["actor"], last["event"], last["reason"])


def test_promoting_is_of_one_step_or_of_all(desk: Counter) -> None:
    """Where approvals are wanted it replaces none."""
    desk.begin()
    led(desk).tick()
    assert 409 == desk.post("/v1/rollouts/m/promote", {"actor": "cas", "reason": "sure", "full": True}).status
    assert 409 == desk.post("/v1/rollouts/m/promote", {"actor": "cas", "reason": "sure", "step": 1}).status
    answer = desk.post("/v1/rollouts/m/promote", {"actor": "cas", "reason": "sure", "step": 0})
    assert (200, 1) == (answer.status, json.loads(answer.body)["status"]["step"])


def test_who_is_not_named_is_anonymous(desk: Counter) -> None:
    """Where nobody has to show who they are; an empty body is one too."""
    desk.begin()
    led(desk).tick()
    assert 200 == desk.post("/v1/rollouts/m/pause", b"").status
    assert "anonymous" == got(desk, "/v1/rollouts/m/history")["entries"][-1]["actor"]


# --- what is wrong -----------------------------------------------------------------------------------------------------------------


def test_a_plan_with_mistakes_names_each_with_its_line(desk: Counter) -> None:
    """400, and nothing begins."""
    bad = YAML.replace(b"setWeight: 10", b"setWeigth: 10") + b"more: 1\n"
    status, text = refused(desk.post("/v1/rollouts", bad, kind="application/yaml"))
    assert 400 == status
    assert "plan:" in text
    assert "setWeigth" in text
    assert len(text.encode()) <= MAX_MESSAGE_BYTES
    assert {"rollouts": []} == got(desk, "/v1/rollouts?all")


@pytest.mark.parametrize("body", [b"", b"[]", b"\xff", b"a: [", b"- " * 5_000, b"null", b'{"kind": "Deployment"}'])
def test_a_body_that_is_no_plan_is_refused(desk: Counter, body: bytes) -> None:
    """Whatever it is."""
    assert 400 == desk.post("/v1/rollouts", body, kind="application/yaml").status


@pytest.mark.parametrize(
    ("target", "status"),
    [
        ("/v1/rollouts/m-1", 404), ("/v1/rollouts/nope", 404), ("/v1/rollouts/m-0", 404), ("/v1/rollouts/%00", 404),
        ("/v1/rollouts/%ff", 404), ("/v1/rollouts/..%2F..%2Fetc", 404), ("/v1/rollouts/", 404), ("/v1/rollouts//history", 404),
        ("/v1/rollouts/m-1/nope", 404), ("/v1/rollouts/m-1/history/x", 404), ("/v1", 404), ("/v2/models", 404), ("/metrics", 404),
        ("/v1/rollouts?unknown=1", 400), ("/v1/rollouts?all=maybe", 400), ("/v1/rollouts?all=1&all=0", 400), ("/v1/rollouts?%ff", 400),
        ("/v1/rollouts/m-1/pause", 405),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(desk: Counter, target: str, status: int) -> None:
    """By its own code, and never an internal error."""
    assert status == desk.http.ask("GET", target).status


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH"])
def test_other_methods_are_refused_with_those_there_are(desk: Counter, method: str) -> None:
    """405 and Allow."""
    answer = desk.http.ask(method, "/v1/rollouts")
    assert (405, "GET, HEAD, POST") == (answer.status, answer.headers["allow"])


@pytest.mark.parametrize("kind", ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/html"])
def test_a_page_in_a_browser_cannot_send_what_changes_something(desk: Counter, kind: str) -> None:
    """The types that a page may send to another origin without being asked are no types here: 415 (CSRF)."""
    desk.begin()
    for target in ("/v1/rollouts", *(f"/v1/rollouts/m-1/{verb}" for verb in VERBS)):
        assert 415 == desk.post(target, b"{}", kind=kind).status, target
    assert 415 == desk.post("/v1/rollouts/m-1/abort", b"reason: x", kind="application/yaml").status
    assert 2 == got(desk, "/v1/rollouts/m-1")["entries"]


@pytest.mark.parametrize(
    ("verb", "said", "text"),
    [
        ("pause", [], "the body must be an object"),
        ("pause", {"reson": "x"}, "unknown field `reson`"),
        ("pause", {"full": True}, "unknown field `full`"),
        ("resume", {"accept_evidence": "yes"}, "Expected `bool`"),
        ("promote", {"reason": "x", "step": "1"}, "Expected `int | null`"),
        ("promote", {}, "promote wants a reason"),
        ("abort", {"reason": " "}, "abort wants a reason"),
        ("pause", {"actor": "x" * 300}, "actor must be 1 to 256 printable characters"),
        ("pause", {"actor": "a\u202eb"}, "actor must be 1 to 256 printable characters"),
    ],
)
def test_a_verb_that_says_something_wrong_is_refused(desk: Counter, verb: str, said: Any, text: str) -> None:
    """400 with what it is; nothing is written."""
    desk.begin()
    led(desk).tick()
    before = got(desk, "/v1/rollouts/m-1")["entries"]
    status, found = refused(desk.post(f"/v1/rollouts/m-1/{verb}", json.dumps(said).encode()))
    assert (400, True) == (status, text in found), found
    assert before == got(desk, "/v1/rollouts/m-1")["entries"]


@pytest.mark.parametrize("body", [b"{", b"\xff", b"[" * 100_000, b'{"reason": "\\ud800"}', b"NaN"])
def test_a_body_that_is_no_json_is_refused(desk: Counter, body: bytes) -> None:
    """Without an echo of it."""
    desk.begin()
    assert 400 == desk.post("/v1/rollouts/m-1/pause", body).status


def test_what_cannot_be_done_now_is_a_conflict(desk: Counter) -> None:
    """409 with why; what does not exist is 404 for every verb."""
    for verb in VERBS:
        assert 404 == desk.post(f"/v1/rollouts/m-9/{verb}", {"actor": "a", "reason": "x"}).status
    desk.begin()
    for verb in ("pause", "resume", "approve", "promote"):
        status, text = refused(desk.post(f"/v1/rollouts/m-1/{verb}", {"actor": "bea", "reason": "x"}))
        assert (409, True) == (status, "rollout m-1 is admitted" in text), text


def test_a_plan_is_bounded(desk: Counter) -> None:
    """413 over the limit of a body."""
    assert 413 == desk.post("/v1/rollouts", b"#" * (desk.limits.wire.max_body_bytes + 1), kind="application/yaml").status


def test_where_there_is_no_registry_there_are_no_rollouts(tmp_path: Path) -> None:
    """501 with a sentence."""
    (tmp_path / "m" / "1").mkdir(parents=True)
    desk = Counter(work=RolloutRegistry(lambda: store_of(Repository(path=tmp_path)), lambda: 0.0))
    assert (501, "the models of this server are in no registry, so there are no rollouts") == refused(desk.http.ask("GET", "/v1/rollouts"))


def test_a_crowd_is_told_to_come_again(tmp_path: Path) -> None:
    """429 with when, once the threads have enough to do; what was waiting is answered."""
    later = Later()
    desk = Counter(tmp_path / "r", executor=later)
    waiting = [Line(desk) for _ in range(MAX_WAITING)]
    for line in waiting:
        line.send(b"GET /v1/rollouts HTTP/1.1\r\nHost: localhost\r\n\r\n")
    answer = desk.http.ask("GET", "/v1/rollouts")
    assert (429, "1") == (answer.status, answer.headers["retry-after"])
    later.do()
    desk.loop.settle()
    assert [[200]] * MAX_WAITING == [line.statuses() for line in waiting]


# --- who asks ----------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:8003", 200), ("127.0.0.1:8003", 200), ("[::1]:8003", 200), ("127.0.0.1", 200), ("LOCALHOST", 200),
        ("evil.example", 403), ("evil.example:8003", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403),
        ("10.0.0.1:8003", 403), ("0.0.0.0", 403),
    ],
)  # fmt: skip
def test_a_name_that_may_be_anybodys_is_not_answered_to(tmp_path: Path, host: str, status: int) -> None:
    """A page whose own name comes to mean this machine (DNS rebinding) learns nothing, where nobody shows who they are."""
    desk = Counter(tmp_path / "r", only_here=True)
    desk.http.send(f"GET /v1/rollouts HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    desk.loop.settle()
    assert status == desk.http.answers()[-1].status


def test_who_shows_something_is_that(tmp_path: Path) -> None:
    """Its name stands in the journal, and it cannot act in another's; each verb by its scope."""
    desk = Counter(tmp_path / "r", auth=auth())
    keys = {
        name: api_key(name, *scopes) for name, scopes in {"ops": ("operate", "meta"), "boss": ("approve",), "clerk": ("audit",)}.items()
    }
    desk.gate.renew(Known(keys=tuple(known for _, known in keys.values())))
    bearer = {name: f"Authorization: Bearer {secret}" for name, (secret, _) in keys.items()}
    assert [401, 403, 200] == [
        desk.post("/v1/rollouts", YAML, *fields, kind="application/yaml").status for fields in ((), (bearer["boss"],), (bearer["ops"],))
    ]
    world = led(desk)
    world.said.overall = Overall.PASS
    world.tick()
    assert 403 == desk.post("/v1/rollouts/m/approve", {}, bearer["ops"]).status
    assert (400, "the credential says who acts, key boss: leave out actor") == refused(
        desk.post("/v1/rollouts/m/approve", {"actor": "bea"}, bearer["boss"])
    )
    assert 200 == desk.post("/v1/rollouts/m/approve", {"actor": "key boss"}, bearer["boss"]).status
    assert [403, 200] == [desk.http.ask("GET", "/v1/rollouts/m/history", None, bearer[name]).status for name in ("ops", "clerk")]
    entries = json.loads(desk.http.ask("GET", "/v1/rollouts/m/history", None, bearer["clerk"]).body)["entries"]
    assert ["key ops", "key boss"] == [entry["actor"] for entry in entries if entry["event"] in ("apply", "approval")]


def test_bodies_are_known_for_every_verb() -> None:
    """Nobody adds a verb without one."""
    assert set(VERBS) == set(BODIES)
