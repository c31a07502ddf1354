"""Statistics on both transports: asked of the supervisor, and answered for the versions that serve."""

from __future__ import annotations

import json

import pytest

from gateway.control.calls import path
from gateway.control.statistics import MAX_WAITING, PATIENCE_S
from gateway.observe.statistics import Duration, InferStats, ModelStats, nothing
from gateway.pb import inference_pb2 as pb
from gateway.serving.routing import Routes
from tests.gateway.control.desk import Desk

ZERO = Duration()
BUSY = ModelStats(
    name="rows", version="3", last_inference=1_800_000_000_123, inference_count=64, execution_count=2,
    inference_stats=InferStats(
        success=Duration(40, 5_000), fail=Duration(1, 60), queue=Duration(41, 700), compute_input=Duration(41, 80),
        compute_infer=Duration(41, 4_000), compute_output=Duration(41, 90),
    ),
)  # fmt: skip
GONE = nothing("rows", "2")


def asked(desk: Desk, target: str) -> None:
    """Begin a request over HTTP."""
    desk.http.now = desk.loop.time
    desk.http.send(f"GET {target} HTTP/1.1\r\nHost: desk\r\n\r\n".encode())
    desk.loop.settle()


def over_http(desk: Desk) -> tuple[int, dict]:
    """The last answer."""
    head, _, body = desk.http.writes[-1].partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def call(desk: Desk, **fields: str) -> int:
    return desk.open(path("ModelStatistics").decode(), pb.ModelStatisticsRequest(**fields).SerializeToString())


def names(desk: Desk, stream: int) -> list[tuple[str, str, int]]:
    reply = desk.replies()[stream]
    assert (0, "") == (reply.status, reply.text)
    rows = pb.ModelStatisticsResponse.FromString(reply.messages[0]).model_stats
    return [(row.name, row.version, row.inference_count) for row in rows]


@pytest.mark.parametrize("target", ["/v2/models/rows/stats", "/v2/models/rows/versions/3/stats", "/v2/models/stats"])
def test_statistics_over_http(target: str) -> None:
    """Numbers as numbers, by the protocol's names; a version that serves and was never asked has zeros, one that is gone no line."""
    desk = Desk()
    asked(desk, target)
    question = "" if target == "/v2/models/stats" else "rows"
    assert ([question], []) == (desk.asked, desk.http.writes)
    desk.statistics.told(question, (GONE, BUSY))
    desk.loop.settle()
    status, value = over_http(desk)
    assert (200, ["rows", "texts", "whole"][: 1 if question else 3]) == (status, [row["name"] for row in value["model_stats"]])
    row = value["model_stats"][0]
    assert ("3", 1_800_000_000_123, 64, 2) == (row["version"], row["last_inference"], row["inference_count"], row["execution_count"])
    durations = {name: (one["count"], one["ns"]) for name, one in row["inference_stats"].items()}
    assert {"success": (40, 5_000), "fail": (1, 60), "queue": (41, 700), "cache_hit": (0, 0)}.items() <= durations.items()
    assert {
        "compute_input": (41, 80),
        "compute_infer": (41, 4_000),
        "compute_output": (41, 90),
        "cache_miss": (0, 0),
    }.items() <= durations.items()
    assert ([], [], {}) == (row["batch_stats"], row["memory_usage"], row["response_stats"])


def test_statistics_over_grpc() -> None:
    """Of one version, one model, all models; every field that HTTP has."""
    desk = Desk()
    streams = [call(desk, name="rows", version="3"), call(desk, name="rows"), call(desk)]
    assert ["rows", ""] == desk.asked
    desk.statistics.told("rows", (GONE, BUSY))
    desk.statistics.told("", (GONE, BUSY))
    one, model, every = (names(desk, stream) for stream in streams)
    assert [("rows", "3", 64)] == one == model
    assert [("rows", "3", 64), ("texts", "3", 0), ("whole", "3", 0)] == every
    row = pb.ModelStatisticsResponse.FromString(desk.replies()[streams[0]].messages[0]).model_stats[0]
    assert (2, 1_800_000_000_123) == (row.execution_count, row.last_inference)
    found = {field.name: (value.count, value.ns) for field, value in row.inference_stats.ListFields()}
    assert {name: (getattr(BUSY.inference_stats, name).count, getattr(BUSY.inference_stats, name).ns) for name in found} == found
    assert 6 <= len(found)


def test_an_alias_names_a_version() -> None:
    """As everywhere."""
    desk = Desk()
    desk.service.set_routes(desk.aliased())
    stream = call(desk, name="rows", version="challenger")
    desk.statistics.told("rows", (BUSY,))
    assert [("rows", "10", 0)] == names(desk, stream)


def test_a_model_that_sleeps_is_not_awakened() -> None:
    """What was counted before is told."""
    desk = Desk()
    desk.service.set_routes(Routes(asleep=frozenset({"rows"})))
    whole, one = call(desk, name="rows"), call(desk, name="rows", version="3")
    desk.statistics.told("rows", (GONE, BUSY))
    assert [("rows", "2", 0), ("rows", "3", 64)] == names(desk, whole)
    assert [("rows", "3", 64)] == names(desk, one)


def test_what_does_not_exist_has_no_statistics() -> None:
    """Unknown models and versions, with their codes, without a question to anybody."""
    desk = Desk()
    for fields, code in (({"name": "nobody"}, 5), ({"name": "rows", "version": "9"}, 5), ({"name": "broken"}, 14)):
        stream = call(desk, **fields)
        assert code == desk.replies()[stream].status
    for target, status in (("/v2/models/nobody/stats", 404), ("/v2/models/rows/versions/9/stats", 404), ("/v2/models/broken/stats", 503)):
        asked(desk, target)
        assert status == over_http(desk)[0]
    assert 405 == desk.http.ask("POST", "/v2/models/rows/stats", b"").status
    stream = desk.open(path("ModelStatistics").decode(), b"\xff")
    assert (3, "the message is not a valid ModelStatisticsRequest") == (desk.replies()[stream].status, desk.replies()[stream].text)
    assert [] == desk.asked


def test_a_supervisor_that_does_not_answer_is_waited_for_no_longer_than_that() -> None:
    """UNAVAILABLE after a while; a late answer is for nobody, and the next question goes out again."""
    desk = Desk()
    stream = call(desk, name="rows")
    asked(desk, "/v2/models/rows/stats")
    desk.loop.advance(PATIENCE_S)
    assert (14, 503) == (desk.replies()[stream].status, over_http(desk)[0])
    desk.statistics.told("rows", (BUSY,))
    second = call(desk, name="rows")
    assert ["rows", "rows"] == desk.asked
    desk.statistics.told("rows", (BUSY,))
    desk.loop.advance(2 * PATIENCE_S)
    assert [("rows", "3", 64)] == names(desk, second)


def test_so_many_wait_and_no_more() -> None:
    """The others are told at once; one message was sent."""
    desk = Desk()
    for _ in range(MAX_WAITING):
        desk.statistics._want("rows", "", lambda found: None)
    stream = call(desk, name="rows")
    assert (8, ["rows"]) == (desk.replies()[stream].status, desk.asked)
