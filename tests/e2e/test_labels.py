"""Labels from end to end: kept once whatever dies, answered on both transports, and versions judged by them on the metrics page."""

from __future__ import annotations

import http.client
import json
import os
import signal
from pathlib import Path
from typing import Any

import grpc

from gateway.clock import SystemClock
from gateway.pb import tidegate_pb2 as pb
from registry.label_files import table_of
from registry.labels import LabelLog
from tests.e2e import models
from tests.e2e.server import Server, serving
from tests.gateway.serving.registries import published
from tests.retrain.served import commit_answers, request_id

INGEST = "/tidegate.Labels/Ingest"
PATIENCE_S = 30.0


def item(number: int) -> dict[str, Any]:
    return {"label_id": f"l{number}", "model": "rows", "client_request_id": f"c{number}", "value": number % 2}


def post(server: Server, *items: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """The answer over HTTP, also where the server is being killed."""
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
    try:
        connection.request("POST", "/v1/labels", json.dumps({"labels": items}), {"Content-Type": "application/json"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def until(holds: Any, what: str) -> None:
    clock = SystemClock()
    end = clock.now() + PATIENCE_S
    while not holds():
        assert clock.now() < end, what
        signal.sigtimedwait([], 0.05)


def keeper(server: Server) -> int:
    """The process that keeps labels."""
    for task in Path(f"/proc/{server.child.pid}/task").iterdir():
        for child in (task / "children").read_text().split():
            if b"gateway.control.label_desk" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return 0


def test_labels_are_kept_once_whatever_dies_and_judge_versions(tmp_path: Path) -> None:
    """While the keeper is killed callers are told to come again; what they send again is stored once."""
    published(tmp_path / "registry", "rows", models.rows(1.0), aliases={"champion": 1})
    log = tmp_path / "log"
    start = 1_700_000_000_000_000
    rows = [
        {"request_id": request_id(number, start), "ts": int(SystemClock().wall() * 1e6), "model": "rows", "client_request_id": f"c{number}",
         "pred_class": 1, "score": 0.5}
        for number in range(40)
    ]  # fmt: skip
    commit_answers(log, rows, model="rows")
    with serving(tmp_path, tmp_path / "registry", f"labels: {{enabled: true, directory: {log}, evaluate_s: 0.1}}\n") as server:
        until(lambda: post(server, item(0))[0] == 200, "labels are not taken")
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            label = pb.Label(label_id="l1", value=1, client_request_id="c1")
            request = pb.LabelsRequest(model="rows", labels=[label, pb.Label(label_id="bad")])
            answer = pb.LabelsResponse.FromString(channel.unary_unary(INGEST)(request.SerializeToString(), timeout=30))
        assert (["accepted", "refused"], True) == ([one.status for one in answer.results], bool(answer.results[1].reason))
        os.kill(keeper(server), signal.SIGKILL)
        statuses = set()
        for number in range(2, 40):

            def stored(number: int = number) -> bool:
                status, _ = post(server, item(number))
                statuses.add(status)
                return status == 200

            until(stored, f"label {number} is not taken")
        assert statuses <= {200, 503}
        answers = 'tidegate_label_answers_total{arm="stable",model="rows",outcome="labelled",version="1"}'
        until(lambda: server.values().get(answers) == 40, "versions are not judged")
        assert 0.5 == server.gauge('tidegate_label_quality{arm="stable",metric="accuracy",model="rows",version="1"}')
    files = [log / file.path for file in LabelLog(log).files()]
    assert sorted(f"l{number}" for number in range(40)) == sorted(table_of(files)["label_id"].to_pylist())
