"""Rights through the whole gateway: what was learned from one caller answers no other, and what ends a right ends it at once."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.health import WATCH
from gateway.control.parking import Parking
from gateway.errors import Code
from gateway.identity.access import decide
from gateway.identity.gate import Known
from gateway.identity.keys import ApiKey
from gateway.identity.principals import Principal
from gateway.observe.slabs import GRPC
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from gateway.wire.grpc import Refusal
from tests import naive
from tests.gateway.control.desk import INFER, STREAM, Desk, body, infer, tensors
from tests.gateway.identity.issuing import NOW_S, api_key, auth, key_set, token
from tests.gateway.serving.mixed_models import ROWS, TEXTS
from tests.gateway.wire import http2_wire
from tests.gateway.wire.http2_wire import Wire

X = np.array([[1.0, 2.0]], np.float32)
ROWS_MESSAGE = infer(ROWS, X)
TEXTS_MESSAGE = infer(TEXTS, np.array([["a"]], object), np.array([[1]], np.int64))
OK, NOBODY, FORBIDDEN = 0, 16, 7
MODEL_READY = "/inference.GRPCInferenceService/ModelReady"
REFLECTION = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"


@dataclass
class Crowd:
    """A desk, and callers with keys."""

    scopes: dict[str, tuple[str, ...]]
    desk: Desk = field(init=False)
    secrets: dict[str, str] = field(init=False)
    keys: dict[str, ApiKey] = field(init=False)

    def __post_init__(self) -> None:
        made = {name: api_key(name, *granted) for name, granted in self.scopes.items()}
        self.secrets = {name: secret for name, (secret, _) in made.items()}
        self.keys = {name: known for name, (_, known) in made.items()}
        self.desk = Desk(auth=auth())
        self.know()

    def know(self, *without: str) -> None:
        """All keys but these."""
        known = tuple(key for name, key in self.keys.items() if name not in without)
        self.desk.gate.renew(Known(keys=known, jwks=key_set()))

    def fields(self, name: str | None) -> list[tuple[str, str]]:
        return [] if name is None else [("authorization", f"Bearer {self.secrets[name]}")]

    def call(self, name: str | None, message: bytes = ROWS_MESSAGE, path: str = INFER) -> int:
        return self.desk.call(path, message, *self.fields(name)).status

    def streamed(self, name: str | None, *messages: bytes) -> tuple[int, list[bool]]:
        """The status of a call, and whether its messages were answered well, the refused ones first."""
        stream_id = self.desk.open(STREAM, *messages, fields=self.fields(name))
        self.desk.loop.settle()
        reply = self.desk.replies()[stream_id]
        return reply.status, sorted(not pb.ModelStreamInferResponse.FromString(one).error_message for one in reply.messages)

    def post(self, name: str | None, target: str = "/v2/models/rows/infer") -> int:
        return self.desk.http.ask("POST", target, body([[1.0, 2.0]]), *[f"{key}: {value}" for key, value in self.fields(name)]).status

    def get(self, name: str | None, target: str, wire: Wire | None = None, sent: bytes | None = None) -> int:
        """Over HTTP/2; with `sent` a POST, whose handler is remembered with its header block."""
        desk, wire = self.desk, wire or self.desk.wire
        stream_id, desk._next = desk._next, desk._next + 2
        wire.now = desk.loop.time
        block = wire.block(http2_wire.request(target, *self.fields(name), method="GET" if sent is None else "POST"))
        data = b"" if sent is None else http2_wire.data(stream_id, sent, last=True)
        wire.send(http2_wire.head(stream_id, block, last=sent is None) + data)
        desk.loop.settle()
        wire.flush()
        return int(http2_wire.read_answers(b"".join(wire.writes))[stream_id].heads[0][b":status"])


@pytest.fixture
def crowd() -> Crowd:
    """ann may infer with rows and look around, ben with texts, cas with all, dan with nothing."""
    return Crowd({"ann": ("infer:rows", "meta"), "ben": ("infer:texts",), "cas": ("infer:*",), "dan": ()})


# --- what was learned answers nobody else -----------------------------------------------------------------------------------------


def test_case_110_a_message_that_was_learned_from_one_caller_answers_no_other(crowd: Crowd) -> None:
    """The same bytes, on the same connection and on another; before, after, and in turns."""
    for _ in range(2):
        assert FORBIDDEN == crowd.call("ben")
        for _ in range(4):
            assert OK == crowd.call("ann")
        assert crowd.desk.service._templates.find(ROWS_MESSAGE) is not None
        assert [FORBIDDEN, NOBODY, OK, FORBIDDEN, OK] == [crowd.call(name) for name in ("ben", None, "cas", "dan", "ann")]
        crowd.desk.wire = crowd.desk.line()
    assert [FORBIDDEN, FORBIDDEN, OK] == [crowd.call(name, TEXTS_MESSAGE) for name in ("ann", "dan", "ben")]


def test_case_110_nobody_teaches_a_message_that_it_may_not_send(crowd: Crowd) -> None:
    """Nor does it wake anything, or reach a queue, or count for a model."""
    woken: list[str] = []
    crowd.desk.service.version = lambda model, version: woken.append(model)  # type: ignore[assignment,method-assign,return-value,func-returns-value]
    for _ in range(4):
        assert FORBIDDEN == crowd.call("ben")
    assert crowd.desk.service._templates.find(ROWS_MESSAGE) is None
    assert ([], 0) == (woken, crowd.desk.models[ROWS].runs)
    slab = dict(crowd.desk.totals.snapshot().items())["_unknown", ""]
    assert 4 == slab.requests[GRPC, Code.PERMISSION_DENIED] == slab.requests.sum()


def test_case_110_a_model_that_does_not_exist_is_refused_like_one_that_is_not_ours(crowd: Crowd) -> None:
    """Who may not ask for it learns nothing; who may ask for all learns that it is not there."""
    unknown = infer("nobody", X)
    replies = [crowd.desk.call(INFER, message, *crowd.fields("ann")) for message in (unknown, TEXTS_MESSAGE)]
    assert {(FORBIDDEN, "the credential lacks the scope infer for this model")} == {(reply.status, reply.text) for reply in replies}
    assert 5 == crowd.call("cas", unknown)
    assert [403, 403, 404] == [
        crowd.post(name, f"/v2/models/{model}/infer") for name, model in (("ann", "nobody"), ("ann", "texts"), ("cas", "nobody"))
    ]


def test_case_110_a_body_that_was_learned_from_one_caller_answers_no_other(crowd: Crowd) -> None:
    """REST recognises bodies too."""
    for _ in range(4):
        assert 200 == crowd.post("ann")
    assert [403, 401, 200, 200] == [crowd.post(name) for name in ("ben", None, "cas", "ann")]


def test_each_message_of_a_stream_needs_its_own_right(crowd: Crowd) -> None:
    """A refused one is an answer of the stream; the others are served, learned or not."""
    mixed = [ROWS_MESSAGE, TEXTS_MESSAGE] * 3
    for name in ("ann", "ben", "ann"):
        assert (OK, [False] * 3 + [True] * 3) == crowd.streamed(name, *mixed)
        assert (OK, [False] * 3) == crowd.streamed(name, *(mixed[1::2] if name == "ann" else mixed[::2]))
    assert (OK, [True] * 6) == crowd.streamed("cas", *mixed)
    assert (NOBODY, []) == crowd.streamed(None, *mixed)


def test_a_stream_without_a_credential_ends_at_its_head(crowd: Crowd) -> None:
    """Its caller may wait for a word before it says anything."""
    for path in (STREAM, REFLECTION):
        stream_id = crowd.desk.open(path, last=False)
        assert NOBODY == crowd.desk.replies()[stream_id].status


def test_a_call_without_a_credential_is_not_given_the_room_of_one(crowd: Crowd) -> None:
    """Its body is let go after 64 KiB."""
    stream_id = crowd.desk.open(INFER, b"x" * 100_000, last=False)
    assert NOBODY == crowd.desk.replies()[stream_id].status
    assert 0 == crowd.desk.wire.connection.buffered_bytes


def test_the_answers_are_each_callers_own(crowd: Crowd) -> None:
    """Rights change nothing of what is computed."""
    for name in ("ann", "cas", "ann"):
        (message,) = crowd.desk.call(INFER, ROWS_MESSAGE, *crowd.fields(name)).messages
        assert naive.rows_answer(X.tolist()) == tuple(tensors(message).values())


# --- what ends a right ends it at once ----------------------------------------------------------------------------------------------


def test_a_withdrawn_key_ends_on_connections_that_are_open(crowd: Crowd) -> None:
    """Over every transport, in the middle of everything that is remembered; given back, it is good again. Others notice nothing."""
    second = crowd.desk.line()
    for round_number in range(2):
        for _ in range(4):
            assert [OK, OK] == [crowd.call("ann"), crowd.call("cas")]
            assert [200, 200, 200] == [crowd.post("ann"), crowd.get("ann", "/v2/models"), crowd.get("ann", "/v2/models/rows/ready", second)]
        crowd.know("ann")
        assert [NOBODY, OK, NOBODY] == [crowd.call("ann"), crowd.call("cas"), crowd.call("ann", b"", MODEL_READY)]
        assert [401, 401, 401] == [crowd.post("ann"), crowd.get("ann", "/v2/models"), crowd.get("ann", "/v2/models/rows/ready", second)]
        crowd.know()
        assert round_number in (0, 1)


def test_a_refusal_is_not_remembered(crowd: Crowd) -> None:
    """Somebody whose key is added while its connection is open is let in with the next request."""
    crowd.know("ann")
    for _ in range(6):
        assert [NOBODY, 401] == [crowd.call("ann"), crowd.get("ann", "/v2/models")]
    crowd.know()
    assert [OK, 200] == [crowd.call("ann"), crowd.get("ann", "/v2/models")]


def test_a_key_with_fewer_scopes_loses_the_others_at_once(crowd: Crowd) -> None:
    """Also over routes that were taken a moment ago and are remembered, and after another route has noticed first."""
    for _ in range(4):
        assert [OK, 200, 200] == [crowd.call("ann"), crowd.get("ann", "/v2/models"), crowd.get("ann", "/v2/models/rows")]
        assert 200 == crowd.get("ann", "/v2/repository/index", sent=b"")
    assert 2 <= len(crowd.desk.wire.connection._blocks.known)
    old = crowd.keys["ann"]
    crowd.keys["ann"] = ApiKey(name=old.name, id=old.id, digest=old.digest, scopes=("infer:rows",))
    crowd.know()
    assert [OK, 403] == [crowd.call("ann"), crowd.get("ann", "/v2/repository/index", sent=b"")]
    assert [OK, 403, 403, 200] == [
        crowd.call("ann"),
        crowd.get("ann", "/v2/models"),
        crowd.get("ann", "/v2/models/rows"),
        crowd.post("ann"),
    ]


def test_a_token_ends_on_a_connection_that_lives_on(crowd: Crowd) -> None:
    """At its time and the leeway, in the middle of a stream too: the stream ends with the status."""
    crowd.secrets["eve"] = token(exp=NOW_S + 100, scope="infer:rows meta").decode()
    stream_id = crowd.desk.open(STREAM, ROWS_MESSAGE, last=False, fields=crowd.fields("eve"))
    mirror = crowd.desk.open(REFLECTION, last=False, fields=crowd.fields("eve"))
    watch = crowd.desk.open(WATCH.decode(), b"\x0a\x0amodel/rows", last=False, fields=crowd.fields("eve"))
    for _ in range(4):
        assert [OK, 200, 200] == [crowd.call("eve"), crowd.post("eve"), crowd.get("eve", "/v2/models")]
        assert 200 == crowd.get("eve", "/v2/repository/index", sent=b"")
    crowd.desk.loop.time = NOW_S + 159
    assert [OK, 200, 200] == [crowd.call("eve"), crowd.post("eve"), crowd.get("eve", "/v2/models")]
    crowd.desk.more(stream_id, ROWS_MESSAGE)
    crowd.desk.loop.settle()
    assert (2, -1) == (len(crowd.desk.replies()[stream_id].messages), crowd.desk.replies()[stream_id].status)
    crowd.desk.loop.time = NOW_S + 160
    assert 401 == crowd.get("eve", "/v2/repository/index", sent=b"")  # by what is remembered of it
    crowd.desk.health.update({"model/rows": True})
    assert (1, NOBODY) == (len(crowd.desk.replies()[watch].messages), crowd.desk.replies()[watch].status)
    assert [NOBODY, 401, 401] == [crowd.call("eve"), crowd.post("eve"), crowd.get("eve", "/v2/models")]
    crowd.desk.more(stream_id, ROWS_MESSAGE)
    crowd.desk.more(mirror, b"\x3a\x01*")
    crowd.desk.loop.settle()
    assert [(2, NOBODY), (0, NOBODY)] == [
        (len(reply.messages), reply.status) for reply in map(crowd.desk.replies().get, (stream_id, mirror)) if reply
    ]


def test_the_health_of_a_model_is_a_question_about_the_model(crowd: Crowd) -> None:
    """Of the server everybody may ask. Who watches a model and loses the right is told nothing more."""
    ask = b"\x0a\x0amodel/rows"
    path = "/grpc.health.v1.Health/Check"
    assert [OK, 5, FORBIDDEN, NOBODY] == [crowd.call(*asked, path=path) for asked in ((None, b""), ("ann", ask), ("ben", ask), (None, ask))]
    crowd.desk.health.update({"": True, "model/rows": True})
    assert OK == crowd.call("ann", ask, path)
    open_one, own = (
        crowd.desk.open(WATCH.decode(), message, last=False, fields=crowd.fields(name)) for name, message in ((None, b""), ("ann", ask))
    )
    assert [NOBODY, FORBIDDEN] == [crowd.call(name, ask, WATCH.decode()) for name in (None, "dan")]
    crowd.desk.health.update({"": False, "model/rows": False})
    crowd.know("ann")
    crowd.desk.health.update({"": True, "model/rows": True})
    replies = crowd.desk.replies()
    assert [(3, -1), (2, NOBODY)] == [(len(replies[stream_id].messages), replies[stream_id].status) for stream_id in (open_one, own)]


def test_a_request_that_waits_for_its_model_keeps_its_caller(crowd: Crowd) -> None:
    """When the model is there, its right is asked once more."""
    desk = crowd.desk
    routes, woken = desk.service.routes, []
    desk.service.parking = Parking(desk.loop, desk.loop.now, woken.append, max_bytes=10_000)
    desk.service.set_routes(Routes(asleep=frozenset({ROWS})))
    streams = [desk.open(INFER, ROWS_MESSAGE, fields=crowd.fields(name)) for name in ("ann", "cas", "ben")]
    both = desk.open(STREAM, ROWS_MESSAGE, last=False, fields=crowd.fields("ann"))
    assert (3, [ROWS]) == (len(desk.service.parking), woken)
    crowd.know("ann")
    desk.service.set_routes(routes)
    crowd.desk.loop.settle()
    replies = crowd.desk.replies()
    assert [NOBODY, OK, FORBIDDEN, NOBODY] == [replies[stream_id].status for stream_id in (*streams, both)]


# --- bounds ---------------------------------------------------------------------------------------------------------------------------


def test_a_flood_of_bad_credentials_grows_nothing(crowd: Crowd) -> None:
    """Neither the gate nor the connection remembers any of them, and good callers are served between."""
    desk = crowd.desk
    for number in range(1_500):
        desk.wire.writes.clear()
        fields = [("authorization", f"Bearer tidegate_{number:08d}_{'0' * 43}")]
        assert NOBODY == desk.call(INFER, ROWS_MESSAGE, *fields).status
        if not number % 300:
            assert OK == crowd.call("ann")
    blocks = desk.wire.connection._blocks
    assert len(blocks.known) <= 256
    assert not any(isinstance(entry[1], Refusal) for entry in blocks.known.values())
    assert (len(blocks._alike), len(desk.gate._callers), len(desk.gate._alive)) == (1, 1, 1)
    assert 1_500 == desk.gate.denials[Code.UNAUTHENTICATED]


# --- all of it at once ----------------------------------------------------------------------------------------------------------------

CALLERS = st.sampled_from(["ann", "ben", "cas", "dan", "eve", None])
STEPS = st.one_of(
    st.tuples(st.just("grpc"), CALLERS, st.sampled_from([ROWS, TEXTS, "nobody"])),
    st.tuples(st.just("grpc"), CALLERS, st.sampled_from([ROWS, TEXTS, "nobody"])),
    st.tuples(st.just("stream"), CALLERS, st.sampled_from([ROWS, TEXTS])),
    st.tuples(st.just("http"), CALLERS, st.sampled_from([ROWS, TEXTS, "nobody"])),
    st.tuples(st.just("http2"), CALLERS, st.sampled_from([ROWS, TEXTS])),
    st.tuples(st.just("withdraw"), st.sampled_from(["ann", "ben", "cas"]), st.just("")),
    st.tuples(st.just("give back"), st.just(""), st.just("")),
    st.tuples(st.just("wait"), st.just(""), st.just("")),
    st.tuples(st.just("routes"), st.just(""), st.just("")),
    st.tuples(st.just("connection"), st.just(""), st.just("")),
)
MESSAGES = {ROWS: ROWS_MESSAGE, TEXTS: TEXTS_MESSAGE, "nobody": infer("nobody", X)}
LIFE_S = 400.0


@settings(max_examples=150, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=40))
def test_whatever_came_before_every_answer_is_as_the_table_says(steps: list[tuple[str, str | None, str]]) -> None:
    """Callers in turns over all transports, keys that come and go, a token that ends, new routes, new connections."""
    crowd = Crowd({"ann": ("infer:rows", "meta"), "ben": ("infer:texts",), "cas": ("infer:*", "meta"), "dan": ()})
    crowd.secrets["eve"] = token(exp=NOW_S + LIFE_S - 60, scope="infer:rows infer:texts").decode()
    routes = crowd.desk.service.routes
    gone: set[str] = set()
    for kind, who, model in steps:
        if kind in ("withdraw", "give back"):
            gone = gone | {str(who)} if kind == "withdraw" else set()
            crowd.know(*gone)
        elif kind == "wait":
            crowd.desk.loop.time += 101.0
        elif kind == "routes":
            crowd.desk.service.set_routes(type(routes)(routes.versions))
        elif kind == "connection":
            crowd.desk.wire = crowd.desk.line()
        else:
            crowd.desk.wire.writes.clear()
            refusal = decide(*_question(kind, model), _principal(crowd, who, gone))
            assert (0 if refusal is None else refusal.code) == _asked(crowd, kind, who, model), (kind, who, model)


def _principal(crowd: Crowd, who: str | None, gone: set[str]) -> Principal | None:
    if who is None or who in gone:
        return None
    if who == "eve":
        good = crowd.desk.loop.time < NOW_S + LIFE_S
        return Principal(name="", scopes=frozenset({"infer:rows", "infer:texts"})) if good else None
    return Principal(name="", scopes=frozenset(crowd.scopes[who]))


def _question(kind: str, model: str) -> tuple[str, str | None]:
    return {"grpc": INFER, "stream": STREAM}.get(kind, "POST /v2/models/{model}/infer"), model


def _asked(crowd: Crowd, kind: str, who: str | None, model: str) -> int:
    """The code of a refusal for want of rights; 0 for all else."""
    if kind == "grpc":
        return {NOBODY: Code.UNAUTHENTICATED, FORBIDDEN: Code.PERMISSION_DENIED}.get(crowd.call(who, MESSAGES[model]), Code.OK)
    if kind == "stream":
        status, good = crowd.streamed(who, MESSAGES[model])
        return Code.UNAUTHENTICATED if status == NOBODY else Code.OK if good[0] else Code.PERMISSION_DENIED
    target = f"/v2/models/{model}/infer"
    status = crowd.post(who, target) if kind == "http" else crowd.get(who, target, sent=body([[1.0, 2.0]]))
    return {401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED}.get(status, Code.OK)


def test_errors_name_no_credential(crowd: Crowd, caplog: pytest.LogCaptureFixture) -> None:
    """Neither answers nor the log."""
    reply = crowd.desk.call(INFER, ROWS_MESSAGE, *crowd.fields("dan"))
    answer = crowd.desk.http.ask("POST", "/v2/models/rows/infer", body([[1.0]]), *[f"{key}: {value}" for key, value in crowd.fields("dan")])
    for text in (reply.text, json.loads(answer.body)["error"], caplog.text):
        assert crowd.secrets["dan"] not in text
        assert "dan" not in text
