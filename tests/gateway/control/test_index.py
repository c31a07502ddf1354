"""The repository's index on both transports."""

from __future__ import annotations

import json

import pytest

from gateway.control.calls import path
from gateway.control.index import MAX_BODY_BYTES
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from tests.gateway.control.desk import Desk, Reply

INDEX = "/v2/repository/index"
LINES = [
    {"name": "broken", "version": "1", "state": "UNAVAILABLE", "reason": "no"},
    *({"name": name, "version": "3", "state": "READY"} for name in ("rows", "texts", "whole")),
]


def asked(desk: Desk, body: bytes = b"", target: str = INDEX, *fields: str) -> tuple[int, object]:
    answer = desk.http.ask("POST", target, body, *fields)
    return answer.status, json.loads(answer.body)


def called(desk: Desk, **fields: object) -> Reply:
    return desk.call(path("RepositoryIndex").decode(), pb.RepositoryIndexRequest(**fields).SerializeToString())  # type: ignore[arg-type]


def lines(reply: Reply) -> list[dict[str, str]]:
    models = pb.RepositoryIndexResponse.FromString(reply.messages[0]).models
    return [{field.name: value for field, value in model.ListFields()} for model in models]


@pytest.mark.parametrize("body", [b"", b" ", b"{}", b'{"ready":false}', b'{"more":{"a":[1]}}'])
def test_the_whole_index_over_http(body: bytes) -> None:
    """With whatever body that asks for all."""
    assert (200, LINES) == asked(Desk(), body)


def test_only_what_can_be_asked_now() -> None:
    """On both transports, and the whole beside it."""
    desk = Desk()
    for _ in range(2):
        assert (200, LINES[1:]) == asked(desk, b'{"ready":true}')
        assert [LINES[1:], LINES] == [lines(called(desk, ready=ready)) for ready in (True, False)]
        assert (200, LINES) == asked(desk)


def test_another_table_has_another_index() -> None:
    """What was written for the one before is thrown away."""
    desk = Desk()
    assert (200, LINES) == asked(desk)
    desk.service.set_routes(Routes(loading=frozenset({("rows", 4)})))
    expected = [{"name": "rows", "version": "4", "state": "LOADING"}]
    assert ((200, expected), expected) == (asked(desk), lines(called(desk)))


def test_before_the_repository_was_read_there_is_no_index() -> None:
    """An empty list would say that there are no models."""
    desk = Desk()
    desk.service.set_routes(Routes(partial=True))
    assert (503, {"error": "the server is starting"}) == asked(desk)
    assert (14, "the server is starting") == (called(desk).status, called(desk).text)


BAD = [
    (b"x", 400), (b"[]", 400), (b'{"ready":1}', 400), (b'{"ready":null}', 400), (b"\xff\xfe", 400), (b'{"a":' + b"[" * 2000, 400),
    (b'{"a":' + b"[" * 2000 + b"]" * 2000 + b"}", 400), (b'{"ready":"\xff"}', 400), (b'{"\xff":1}', 400), (b'{"ready":true} x', 400),
    (b" " * MAX_BODY_BYTES + b"x", 413),
]  # fmt: skip


@pytest.mark.parametrize(("body", "status"), BAD)
def test_a_body_that_is_none_is_refused(body: bytes, status: int) -> None:
    """With its status and a text, and the connection lives on."""
    desk = Desk()
    found, answer = asked(desk, body)
    assert (status, ["error"]) == (found, list(answer))  # type: ignore[call-overload]
    assert (200, LINES) == asked(desk)


def test_a_message_that_is_none_is_refused() -> None:
    """INVALID_ARGUMENT."""
    reply = Desk().call(path("RepositoryIndex").decode(), b"\xff")
    assert (3, "the message is not a valid RepositoryIndexRequest") == (reply.status, reply.text)


def test_repositories_have_no_names() -> None:
    """Triton refuses them too; nothing is ignored."""
    desk = Desk()
    expected = "repositories have no names here: leave repository_name out"
    assert (501, {"error": expected}) == asked(desk, b"", "/v2/repository/main/index")
    reply = called(desk, repository_name="main")
    assert (12, expected) == (reply.status, reply.text)


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", INDEX, 405), ("PUT", INDEX, 405), ("POST", "/v2/repository", 404), ("POST", "/v2/repository/", 404),
        ("POST", "/v2/repository/a/b/index", 404), ("POST", "/v2/repository/index/", 404), ("POST", "/v2/repository/models", 404),
    ],
)  # fmt: skip
def test_only_this_path_and_method(method: str, target: str, status: int) -> None:
    """As everywhere."""
    assert status == Desk().http.ask(method, target, b"" if method == "POST" else None).status


def test_another_type_of_body_is_refused() -> None:
    """A form is not JSON."""
    assert 415 == asked(Desk(), b"{}", INDEX, "content-type: multipart/form-data")[0]
