"""Drift from end to end: rows that are served are counted, whatever dies; what has moved is said on every surface; contracts are kept."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.pb import tidegate_pb2 as pb
from registry.columns import Column
from registry.parts import Parts
from registry.profile import encode
from registry.profiling import profile_of
from registry.schema import contract_file
from registry.store import Store
from registry.triggers import Triggers
from tests.e2e import models
from tests.e2e.server import Server, serving
from tests.gateway.control.desk import INFER, infer
from tests.gateway.serving.registries import published

PATIENCE_S = 20.0
DRIFT = "/tidegate.Monitoring/ModelDrift"
ROWS = 4_000
QUICK = "drift: {evaluate_s: 0.1}\n"
CONTRACT = contract_file({"inputs": {"x": {"nulls": "refused", "range": {"min": -100, "max": 100}}}})


def normal(rows: int, *, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, 4)) + np.array([shift, 0, 0, 0])).astype(np.float32)


def fill(root: Path, *, with_profile: bool = True) -> Store:
    x = normal(ROWS, seed=1)
    columns = [Column("input", "x", x), Column("output", "y", x), Column("output", "z", x.sum(axis=1))]
    profile = encode(profile_of(columns).profile) if with_profile else None
    return published(root, "rows", models.rows(1.0), aliases={"champion": 1}, parts=Parts(profile=profile, contract=CONTRACT))


def send(server: Server, rows: np.ndarray, *, at_once: int = 100) -> None:
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
        call = channel.unary_unary(INFER)
        for start in range(0, len(rows), at_once):
            call(infer("rows", rows[start : start + at_once]), timeout=30)


def findings(server: Server) -> dict[str, Any]:
    status, body = server.get("/v2/models/rows/drift")
    assert status == 200, body
    (one,) = json.loads(body)["versions"]
    assert isinstance(one, dict)
    return one


def await_(holds: Callable[[], bool]) -> None:
    clock = SystemClock()
    until = clock.now() + PATIENCE_S
    while not holds():
        assert clock.now() < until, "it did not come to be so"
        signal.sigtimedwait([], 0.05)


def counted(server: Server, rows: int) -> bool:
    status, body = server.get("/v2/models/rows/drift")
    versions = json.loads(body)["versions"] if status == 200 else []
    return bool(versions) and versions[0]["rows"] >= rows


def test_what_has_moved_is_named_on_every_surface(tmp_path: Path) -> None:
    """HTTP, gRPC, the metrics page and the registry, where a retrain trigger lies, once."""
    store = fill(tmp_path / "registry")
    with serving(tmp_path, tmp_path / "registry", QUICK + "models: {rows: {drift: {bins: true}}}\n") as server:
        send(server, normal(2_000, seed=2))
        await_(lambda: counted(server, 2_000))
        calm = findings(server)
        assert (calm["state"], calm["rows"]) == ("OK", 2_000)
        send(server, normal(4_000, shift=2.0, seed=3))
        await_(lambda: counted(server, 6_000))
        await_(lambda: findings(server)["state"] == "ALARM")
        moved = findings(server)
        states = {feature["name"]: feature["state"] for feature in moved["features"]}
        assert states["x[0]"] == "ALARM"
        assert states["x[1]"] == states["x[2]"] == states["x[3]"] == "OK"
        assert moved["predictions"]["state"] == "ALARM"
        assert "x[0]" in moved["features"][0]["sentence"] or "y[0]" in moved["features"][0]["sentence"]
        page = server.values()
        assert page['tidegate_drift_state{model="rows",scope="global",version="1"}'] == 3
        assert page['tidegate_drift_psi{feature="x[0]",model="rows",version="1"}'] > 0.25
        bins = [value for series, value in page.items() if series.startswith("tidegate_feature_bin_total{") and '"x[1]"' in series]
        assert sum(bins) == 6_000
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            asked = pb.ModelDriftRequest(name="rows", version="champion").SerializeToString()
            answer = pb.ModelDriftResponse.FromString(channel.unary_unary(DRIFT)(asked, timeout=10))
        (version,) = answer.versions
        assert (answer.model, version.version, version.state, version.rows) == ("rows", "1", "ALARM", 6_000)
        assert {feature.name: feature.state for feature in version.features} == states
        (trigger,) = Triggers(store.medium).all("rows")
        assert (trigger.version, trigger.rule) == (1, "prediction_drift")
        assert server.faults() == []


def test_rows_are_counted_once_whoever_is_killed(tmp_path: Path) -> None:
    """Workers and the evaluator by SIGKILL, and the whole by a restart."""
    fill(tmp_path / "registry")
    settings = QUICK + f"processes: {{workers: 2, spare: true, state: {tmp_path / 'state'}}}\n"
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        sent = 0
        for round_ in range(6):
            send(server, normal(500, seed=round_))
            sent += 500
            await_(lambda sent=sent: counted(server, sent))
            if round_ % 2:
                os.kill(evaluator(server), signal.SIGKILL)
            else:
                os.kill(serving_worker(server), signal.SIGKILL)
            server.wait_ready()
            await_(lambda sent=sent: counted(server, sent))
            assert findings(server)["rows"] == sent
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        await_(lambda: counted(server, sent))
        send(server, normal(500, seed=9))
        await_(lambda: counted(server, sent + 500))
        assert findings(server)["rows"] == sent + 500


def children(server: Server, name: str) -> list[int]:
    """Of any thread of the supervisor."""
    lists = [path.read_text() for path in Path(f"/proc/{server.child.pid}/task").glob("*/children")]
    return [int(pid) for pid in " ".join(lists).split() if name in Path(f"/proc/{pid}/cmdline").read_text()]


def evaluator(server: Server) -> int:
    await_(lambda: bool(children(server, "gateway.control.evaluator")))
    return children(server, "gateway.control.evaluator")[0]


def serving_worker(server: Server) -> int:
    return children(server, "gateway.control.worker")[0]


def test_a_request_that_breaks_the_contract_is_refused_and_its_neighbours_are_answered(tmp_path: Path) -> None:
    """Over both transports; refused rows are no served ones."""
    fill(tmp_path / "registry")
    settings = QUICK + "models: {rows: {contract: {mode: reject}, max_queue_delay_ms: 50}}\n"
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        with grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel:
            call = channel.unary_unary(INFER)
            good, far, missing = normal(1), np.full((1, 4), 101, np.float32), np.full((1, 4), np.nan, np.float32)
            pending = [call.future(infer("rows", row), timeout=30) for row in (good, far, good, missing, good)]
            codes = [one.code() for one in pending]
            assert codes == [grpc.StatusCode.OK if place % 2 == 0 else grpc.StatusCode.INVALID_ARGUMENT for place in range(5)]
            assert "input 'x' has a value outside of its range [-100, 100]" in pending[1].details()
            assert "input 'x' has a missing value" in pending[3].details()
        name = 'tidegate_contract_violations_total{input="x",mode="reject",model="rows",rule="%s",version="1"}'
        await_(lambda: server.values().get(name % "range") == 4 and server.values().get(name % "nulls") == 4)
        await_(lambda: counted(server, 3))
        assert findings(server)["rows"] == 3
        body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [1, 2, 300, 4]}]}
        assert post(server, "/v2/models/rows/infer", body)[0] == 400


def post(server: Server, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
    import urllib.error
    import urllib.request

    request = urllib.request.Request(f"http://127.0.0.1:{server.http_port}{path}", json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def test_a_version_without_a_reference_learns_one(tmp_path: Path) -> None:
    """And has it after a restart, with what was found by it."""
    fill(tmp_path / "registry", with_profile=False)
    settings = f"drift: {{evaluate_s: 0.1, learn_rows: 3000}}\nprocesses: {{workers: 1, spare: false, state: {tmp_path / 'state'}}}\n"
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        status, body = server.get("/v2/models/rows/drift")
        assert (status, b"no reference profile" in body) == (409, True)
        send(server, normal(3_100, seed=4))
        await_(lambda: server.get("/v2/models/rows/drift")[0] == 200)
        assert findings(server)["reference"]["source"] == "served"
        send(server, normal(3_000, shift=1.5, seed=5))
        await_(lambda: findings(server)["state"] != "OK")
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        await_(lambda: server.get("/v2/models/rows/drift")[0] == 200)
        assert findings(server)["state"] != "OK"


@pytest.mark.parametrize("path", ["/v2/models/nothing/drift", "/v2/models/rows/versions/7/drift"])
def test_what_there_is_not_is_not_found(tmp_path: Path, path: str) -> None:
    """Neither a model nor a version."""
    fill(tmp_path / "registry")
    with serving(tmp_path, tmp_path / "registry", QUICK) as server:
        assert server.get(path)[0] == 404


def test_traffic_is_divided_by_a_parameter(tmp_path: Path) -> None:
    """Values that nobody named are together."""
    fill(tmp_path / "registry")
    settings = QUICK + "models: {rows: {drift: {segments: {parameter: shop, values: [north, south]}}}}\n"
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        for shop, count in (("north", 5), ("south", 3), ("west", 2)):
            for _ in range(count):
                item = {"name": "x", "datatype": "FP32", "shape": [1, 4], "data": [0.1, 0.2, 0.3, 0.4]}
                assert post(server, "/v2/models/rows/infer", {"parameters": {"shop": shop}, "inputs": [item]})[0] == 200
        await_(lambda: counted(server, 10))
        assert {one["name"]: one["rows"] for one in findings(server)["segments"]} == {"north": 5, "south": 3, "other": 2}


def test_other_segments_are_counted_from_the_reload_on_and_no_row_is_lost(tmp_path: Path) -> None:
    """Another block, laid out otherwise, by every process: also by workers and an evaluator that come afterwards."""
    fill(tmp_path / "registry")
    by = QUICK + "processes: {workers: 2, spare: false}\nmodels: {rows: {drift: {segments: {parameter: shop, values: [%s]}}}}\n"
    with serving(tmp_path, tmp_path / "registry", by % "north") as server:
        send(server, normal(300, seed=1))
        await_(lambda: counted(server, 300))
        settings = next(path for path in tmp_path.glob("*.yaml") if "shop" in path.read_text())
        settings.write_text(settings.read_text().replace("[north]", "[south, west]"))
        os.kill(server.child.pid, signal.SIGHUP)
        await_(lambda: [one["name"] for one in findings(server)["segments"]] == ["south", "west", "other"])
        assert findings(server)["rows"] == 300
        sent = 300
        for victim in (evaluator, serving_worker):
            send(server, normal(200, seed=sent))
            sent += 200
            await_(lambda sent=sent: counted(server, sent))
            os.kill(victim(server), signal.SIGKILL)
            server.wait_ready()
            await_(lambda sent=sent: counted(server, sent))
        send(server, normal(100, seed=9))
        await_(lambda: counted(server, sent + 100))
        found = findings(server)
        assert found["rows"] == sent + 100
        assert {one["name"]: one["rows"] for one in found["segments"]} == {"south": 0, "west": 0, "other": 500}
