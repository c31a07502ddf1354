"""Questions about drift on both transports: asked of the supervisor, answered for what was asked, and given up after a while."""

from __future__ import annotations

import json

import pytest

from gateway.control.drift_questions import MAX_WAITING, PATIENCE_S
from gateway.pb import tidegate_pb2 as pb
from gateway.protocol.drift_message import version_messages
from gateway.serving.routing import Routes
from tests.gateway.control.desk import Desk
from tests.gateway.control.test_statistics import asked, over_http
from tests.gateway.drift.told import told
from tests.gateway.wire import http2_wire

PATH = "/tidegate.Monitoring/ModelDrift"
BOTH = f"[{told('3')[1:-1]},{told('10')[1:-1]}]"


def call(desk: Desk, **fields: str) -> int:
    return desk.open(PATH, pb.ModelDriftRequest(**fields).SerializeToString())


def versions(desk: Desk, stream: int) -> list[str]:
    reply = desk.replies()[stream]
    assert (0, "") == (reply.status, reply.text)
    answer = pb.ModelDriftResponse.FromString(reply.messages[0])
    assert "rows" == answer.model
    return [version.version for version in answer.versions]


@pytest.fixture
def desk() -> Desk:
    """With versions 3, the champion, and 10, the challenger."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    return desk


def test_everybody_who_asks_about_a_model_shares_an_answer(desk: Desk) -> None:
    """Each gets the versions that it asked for, by number or alias; all that HTTP has, gRPC has."""
    streams = [call(desk, name="rows"), call(desk, name="rows", version="3"), call(desk, name="rows", version="challenger")]
    asked(desk, "/v2/models/rows/drift")
    assert [(1, "rows", True), (2, "rows", False)] == desk.questions
    desk.drift.told(1, version_messages(BOTH))
    desk.drift.told(2, BOTH)
    desk.loop.settle()
    assert [["3", "10"], ["3"], ["10"]] == [versions(desk, stream) for stream in streams]
    status, body = over_http(desk)
    assert (200, "rows", json.loads(BOTH)) == (status, body["model"], body["versions"])
    asked(desk, "/v2/models/rows/versions/champion/drift")
    assert (3, "rows", False) == desk.questions[-1]
    desk.drift.told(3, BOTH)
    assert ["3"] == [one["version"] for one in over_http(desk)[1]["versions"]]


def test_versions_without_a_reference_say_so(desk: Desk) -> None:
    """All of a model, or the one that was asked for."""
    streams = [call(desk, name="rows"), call(desk, name="rows", version="10")]
    desk.drift.told(1, "[]")
    texts = ["model 'rows' has no reference", "version 10 of model 'rows' has no reference"]
    for stream, text in zip(streams, texts, strict=True):
        assert 9 == desk.replies()[stream].status
        assert desk.replies()[stream].text.startswith(text)
    asked(desk, "/v2/models/rows/versions/10/drift")
    desk.drift.told(2, told("3"))
    assert 409 == over_http(desk)[0]


def test_where_nobody_knows_everybody_is_told_at_once(desk: Desk) -> None:
    """The evaluating process is gone: UNAVAILABLE, and the next question goes out."""
    stream = call(desk, name="rows")
    asked(desk, "/v2/models/rows/drift")
    desk.drift.told(1, "")
    desk.drift.told(2, "")
    assert (14, 503) == (desk.replies()[stream].status, over_http(desk)[0])
    call(desk, name="rows")
    assert (3, "rows", True) == desk.questions[-1]


def test_an_answer_that_does_not_come_is_not_waited_for(desk: Desk) -> None:
    """One that comes late is for nobody, and what was asked since then gets its own."""
    first = call(desk, name="rows")
    desk.loop.advance(PATIENCE_S)
    assert 14 == desk.replies()[first].status
    second = call(desk, name="rows", version="3")
    desk.drift.told(1, "[]")
    assert second not in desk.replies()
    desk.drift.told(2, version_messages(BOTH))
    desk.drift.told(2, "[]")
    desk.loop.advance(2 * PATIENCE_S)
    assert ["3"] == versions(desk, second)


def test_so_many_wait_and_no_more(desk: Desk) -> None:
    """The others are told at once; when the answer comes, all that waited have it."""
    found: list[object] = []
    for _ in range(MAX_WAITING):
        desk.drift._want(("rows", False), "3", found.append)
    stream = call(desk, name="rows")
    assert (8, [(1, "rows", False)]) == (desk.replies()[stream].status, desk.questions)
    desk.drift.told(1, BOTH)
    assert MAX_WAITING == len(found)
    assert ["3"] == [one["version"] for one in json.loads(found[-1])["versions"]]  # type: ignore[call-overload]
    second = call(desk, name="rows")
    desk.drift.told(2, version_messages(BOTH))
    assert ["3", "10"] == versions(desk, second)


def test_callers_who_have_gone_are_no_harm(desk: Desk) -> None:
    """Who still waits is answered."""
    gone, stays = call(desk, name="rows"), call(desk, name="rows")
    desk.wire.send(http2_wire.reset(gone))
    desk.drift.told(1, version_messages(BOTH))
    assert ["3", "10"] == versions(desk, stays)
    assert gone not in desk.replies()


def test_what_does_not_exist_is_not_asked_about(desk: Desk) -> None:
    """Unknown models and versions, versions that failed, and bytes that are no message."""
    for fields, code in (({"name": "nobody"}, 5), ({"name": "rows", "version": "9"}, 5), ({"name": "rows", "version": "7"}, 14)):
        stream = call(desk, **fields)
        assert code == desk.replies()[stream].status, fields
    asked(desk, "/v2/models/nobody/drift")
    assert 404 == over_http(desk)[0]
    stream = desk.open(PATH, b"\xff")
    assert (3, "the message is not a valid ModelDriftRequest") == (desk.replies()[stream].status, desk.replies()[stream].text)
    assert [] == desk.questions


def test_a_model_that_sleeps_is_not_awakened() -> None:
    """What is known of it is told."""
    desk = Desk()
    desk.service.set_routes(Routes(asleep=frozenset({"rows"})))
    streams = [call(desk, name="rows"), call(desk, name="rows", version="3")]
    desk.drift.told(1, version_messages(BOTH))
    assert [["3", "10"], ["3"]] == [versions(desk, stream) for stream in streams]
