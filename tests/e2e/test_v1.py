"""A story over protocol v1: what a program written for TensorFlow Serving asks of a server, and what one written for KServe does."""

from __future__ import annotations

import http.client
import json
from pathlib import Path
from typing import Any

from gateway.clock import SystemClock
from registry.names import blob_key
from registry.store import Store
from tests.e2e import models
from tests.e2e.server import Server, requests_of, serving
from tests.gateway.serving.registries import published

WAIT_S = 20.0
ROW = [1.0, 0.5, -3.0, 2.0]


def asked(server: Server, path: str, body: Any = None) -> tuple[int, Any]:
    """Status and JSON of GET, or of POST where there is a body."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return response.status, found


def states(server: Server, model: str) -> dict[str, str]:
    """Of each version, as a client of TensorFlow Serving reads them."""
    status, found = asked(server, f"/v1/models/{model}")
    assert 200 == status
    return {one["version"]: one["state"] for one in found["model_version_status"]}


def fill(root: Path) -> Store:
    """`rows`: 1, the champion, is y = x, 2, the challenger, is y = -x; the champion of `lost` is damaged; `pair` has two inputs."""
    plain, negative = models.rows(1.0), models.rows(-1.0)
    published(root, "pair", models.pair(), aliases={"champion": 1})
    lost = published(root, "lost", plain, aliases={"champion": 1})
    blob = root / blob_key(lost.manifest("lost", 1).model.digest)
    blob.chmod(0o644)
    blob.write_bytes(blob.read_bytes().replace(b"Mul", b"Div"))
    return published(root, "rows", negative, models.rows(2.0), aliases={"champion": 1, "challenger": 2})


def moved(server: Server, store: Store) -> None:
    """The champion is version 2 now, and the server serves so."""
    store.aliases("rows").move("champion", to=2, expected_from=1, actor="ann", reason="", now_s=1e9)
    clock = SystemClock()
    until = clock.now() + WAIT_S
    while asked(server, "/v1/models/rows/labels/champion")[1]["model_version_status"][0]["version"] != "2":
        assert clock.now() < until, "the alias was not followed in time"
        server.child.wait(0.02)


def settled(server: Server, expected: dict[tuple[str, str], int]) -> None:
    """The metrics count so many requests by (protocol, code): an answer is counted in the moment after it left."""
    clock = SystemClock()
    until = clock.now() + WAIT_S
    while expected != (found := {key: count for key, count in requests_of(server.values()).items() if count}):
        assert clock.now() < until, found
        server.child.wait(0.02)


def test_programs_for_tensorflow_serving_and_kserve_get_what_they_ask_for(tmp_path: Path) -> None:
    """Status, metadata, rows, columns, a label that moves, a version that failed, errors; every request is counted."""
    store = fill(tmp_path / "registry")
    with serving(tmp_path, tmp_path / "registry") as server:
        assert (200, {"models": ["pair", "rows"]}) == asked(server, "/v1/models")
        assert ({"1": "AVAILABLE", "2": "AVAILABLE"}, {"1": "END"}) == (states(server, "rows"), states(server, "lost"))
        reason = asked(server, "/v1/models/lost")[1]["model_version_status"][0]["status"]
        assert ("UNAVAILABLE", True) == (reason["error_code"], bool(reason["error_message"]))
        assert [True, False] == [asked(server, f"/v1/models/{model}")[1]["ready"] for model in ("rows", "lost")]
        default = asked(server, "/v1/models/rows/metadata")[1]["metadata"]["signature_def"]["signature_def"]["serving_default"]
        assert ["-1", "4"] == [one["size"] for one in default["inputs"]["x"]["tensor_shape"]["dim"]]

        def predicted(path: str = "/v1/models/rows") -> list[float]:
            status, found = asked(server, f"{path}:predict", {"instances": [ROW]})
            assert 200 == status
            y: list[float] = found["predictions"][0]["y"]
            return y

        minus, twice = [-value for value in ROW], [2 * value for value in ROW]
        paths = [f"/v1/models/rows{rest}" for rest in ("", "/versions/2", "/labels/challenger")]
        assert [minus, twice, twice] == [predicted(path) for path in paths]
        columns = {"outputs": {"y": [minus] * 2, "z": [0.5] * 2}}
        assert (200, columns) == asked(server, "/v1/models/rows:predict", {"inputs": {"x": [ROW, ROW]}})
        instances = [{"a": [1, 2], "b": [3]}, {"b": [5], "a": [0.5, -1]}]
        expected = [{"sum": [4.0, 5.0], "same": [3]}, {"sum": [5.5, 4.0], "same": [5]}]
        assert (200, {"predictions": expected}) == asked(server, "/v1/models/pair:predict", {"instances": instances})
        assert 503 == asked(server, "/v1/models/lost:predict", {"instances": [ROW]})[0]
        status, found = asked(server, "/v1/models/rows:predict", {"instances": [ROW, ROW[:2]]})
        assert (400, "input 'x' for model 'rows' is ragged at [1]") == (status, found["error"])
        moved(server, store)
        assert twice == predicted()
        settled(server, {("http", "OK"): 6, ("http", "UNAVAILABLE"): 1, ("http", "INVALID_ARGUMENT"): 1})
        assert [] == server.faults()
