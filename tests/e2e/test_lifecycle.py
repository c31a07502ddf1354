"""A server while everything changes under load: aliases move, workers and a supervisor die, it stops. `make soak` has the long forms."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import numpy as np
import pytest

from gateway.client import CallError, Client
from gateway.clock import SystemClock
from gateway.pb import inference_pb2 as pb
from registry.store import Store
from tests.e2e.server import Server, serving, starting
from tests.gateway.control.desk import INFER, infer
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

MODEL = "rows"
WAIT_S = 20.0
TWO = "processes: {workers: 2}\n"


class Callers:
    """Callers in a closed loop, each with connections of its own. What they were answered is held against the version that it names."""

    def __init__(self, server: Server, *, grpc_callers: int = 2, http_callers: int = 2, retries: bool = False) -> None:
        self.outcomes: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._server = server
        self._retries = retries
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._over_grpc) for _ in range(grpc_callers)]
        self._threads += [threading.Thread(target=self._over_http) for _ in range(http_callers)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _over_grpc(self) -> None:
        rows = np.random.default_rng().normal(size=(3, 2)).astype(np.float32)
        target = f"127.0.0.1:{self._server.grpc_port}"
        with Client(target, timeout_s=10.0) as client, grpc.insecure_channel(target, options=[("grpc.enable_retries", 0)]) as channel:
            once = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
            while not self._stop.is_set():
                try:
                    if self._retries:
                        answer = client.infer(MODEL, {"x": rows})
                        version, found = answer.version, answer.outputs["y"]
                    else:
                        said = once(infer(MODEL, rows), timeout=10.0)
                        version, found = said.model_version, np.frombuffer(said.raw_output_contents[0], np.float32).reshape(rows.shape)
                except (CallError, grpc.RpcError) as error:
                    self._note(f"grpc {error.code.name if isinstance(error, CallError) else error.code().name}")
                else:
                    self._check(version, found, rows, "grpc")

    def _over_http(self) -> None:
        rows = np.random.default_rng().integers(-9, 9, size=(2, 2)).astype(np.float32)
        data = {"name": "x", "datatype": "FP32", "shape": [2, 2], "data": rows.ravel().tolist()}
        connection = http.client.HTTPConnection("127.0.0.1", self._server.http_port, timeout=10)
        while not self._stop.is_set():
            try:
                connection.request("POST", f"/v2/models/{MODEL}/infer", json.dumps({"inputs": [data]}))
                response = connection.getresponse()
                body = json.loads(response.read())
            except (OSError, http.client.HTTPException):
                connection.close()
                self._note("http closed")
                continue
            if response.status != 200:
                self._note(f"http {response.status}")
            else:
                found = np.array(body["outputs"][0]["data"], np.float32).reshape(2, 2)
                self._check(body["model_version"], found, rows, "http")
        connection.close()

    def _check(self, version: str, found: np.ndarray, rows: np.ndarray, transport: str) -> None:
        if not np.array_equal(found, rows * np.float32(version)):
            self.wrong.append(f"{transport}: version {version} answered {found.tolist()}")
        self._note(f"{transport} OK", version)

    def _note(self, outcome: str, version: str | None = None) -> None:
        with self._lock:
            self.outcomes[outcome] += 1
            if version is not None:
                self.versions[version] += 1

    def until(self, reached: Callable[[], bool]) -> None:
        """Wait until something is the case; AssertionError where it never is."""
        await_(reached, self._stop)

    def more(self, count: int = 20) -> None:
        """Wait for so many more good answers over each transport."""
        goal = {kind: self.outcomes[kind] + count for kind in ("grpc OK", "http OK")}
        self.until(lambda: all(self.outcomes[kind] >= goal[kind] for kind in goal))


def await_(reached: Callable[[], bool], pause: threading.Event | None = None) -> None:
    clock, pause = SystemClock(), pause or threading.Event()
    until = clock.now() + WAIT_S
    while not reached():
        assert clock.now() < until, "it did not happen in time"
        pause.wait(0.01)


def weights(root: Path, count: int = 2) -> Store:
    """A registry whose version n multiplies by n; 1 is the champion."""
    return published(root, MODEL, *(graphs.twice(weight=float(n)) for n in range(1, count + 1)), aliases={"champion": 1})


@contextmanager
def moving(folder: Path, settings: str = TWO) -> Iterator[tuple[Server, Store]]:
    store = weights(folder / "registry")
    with serving(folder, folder / "registry", settings) as server:
        yield server, store


def champion(store: Store, number: int) -> None:
    aliases = store.aliases(MODEL)
    aliases.move("champion", to=number, expected_from=aliases.resolve("champion"), actor="ann", reason="", now_s=1e9)


def test_an_alias_that_moves_costs_no_request_and_every_answer_is_of_the_version_that_it_names(tmp_path: Path) -> None:
    """The new version is loaded before the old one goes, in all workers; nothing but the alias changed."""
    with moving(tmp_path) as (server, store), Callers(server) as callers:
        for number in (2, 1, 2, 1, 2):
            champion(store, number)
            seen = callers.versions[str(number)]
            callers.until(lambda number=number, seen=seen: callers.versions[str(number)] > seen + 20)
        callers.more()
    assert {"grpc OK", "http OK"} == set(callers.outcomes)
    assert [] == callers.wrong


def test_a_version_that_cannot_be_loaded_leaves_the_old_one_serving(tmp_path: Path) -> None:
    """The reason is on the metrics page and in the log, the champion answers as before; mended, it serves."""
    with moving(tmp_path) as (server, store), Callers(server) as callers:
        published(tmp_path / "registry", MODEL, graphs.sequence())
        champion(store, 3)
        state = f'tidegate_model_state{{model="{MODEL}",state="FAILED",version="3"}}'
        callers.until(lambda: server.values().get(state) == 1.0)
        callers.more()
        assert {"1"} == set(callers.versions)
        status, body = server.get(f"/v2/models/{MODEL}/versions/3/ready")
        assert (503, False) == (status, json.loads(body)["ready"])
        states = {line["version"]: (line["state"], bool(line.get("reason"))) for line in index(server)}
        assert {"1": ("READY", False), "3": ("UNAVAILABLE", True)} == states
        champion(store, 2)
        callers.until(lambda: callers.versions["2"] > 20)
    assert {"grpc OK", "http OK"} == set(callers.outcomes)
    assert [] == callers.wrong


def index(server: Server) -> list[dict[str, str]]:
    listed: list[dict[str, str]] = json.loads(server.get("/v2/repository/index", method="POST")[1])
    return listed


def test_an_alias_that_was_just_removed_is_not_found_from_one_moment_to_the_next(tmp_path: Path) -> None:
    """Before, its version answers; after, NOT_FOUND; never anything between. Requests that its version has are answered."""
    with moving(tmp_path) as (server, store):
        store.aliases(MODEL).move("challenger", to=2, expected_from=None, actor="ann", reason="", now_s=1e9)
        await_(lambda: answered(server, "challenger") == "2")
        store.aliases(MODEL).remove("challenger", expected_from=2, actor="ann", reason="", now_s=1e9)
        seen = []
        await_(lambda: not seen.append(answered(server, "challenger")) and seen[-1] == "404")  # type: ignore[func-returns-value]
        assert {"2", "404"} >= set(seen)
        assert seen == sorted(seen)
        assert "1" == answered(server, "champion")


def answered(server: Server, label: str) -> str:
    """The version that answers to an alias, or the status without one."""
    body = {"inputs": [{"name": "x", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}
    connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=10)
    connection.request("POST", f"/v2/models/{MODEL}/versions/{label}/infer", json.dumps(body))
    response = connection.getresponse()
    found = json.loads(response.read())
    connection.close()
    return str(found["model_version"]) if response.status == 200 else str(response.status)


def test_a_worker_that_is_killed_costs_its_own_connections_only(tmp_path: Path) -> None:
    """Without retries a caller sees UNAVAILABLE or a closed connection, nothing else; the others go on; another takes its place."""
    with moving(tmp_path) as (server, _), Callers(server) as callers:
        for killed in range(3):
            callers.more()
            await_(lambda killed=killed: exited(server) == killed and len(places(server)) == 2)
            os.kill(connected(server), signal.SIGKILL)
            callers.more()
        await_(lambda: exited(server) == 3 and len(places(server)) == 2)
        exits = server.values()['tidegate_worker_exits_total{reason="killed by SIGKILL"}']
    assert 3 == exits
    assert {"grpc OK", "http OK", "grpc UNAVAILABLE", "http closed"} >= set(callers.outcomes)
    assert [] == callers.wrong


def test_a_client_that_retries_does_not_see_a_worker_die(tmp_path: Path) -> None:
    """UNAVAILABLE is what the documented retry policy retries, as often as its budget lets it."""
    with moving(tmp_path) as (server, _), Callers(server, grpc_callers=1, http_callers=0, retries=True) as callers:
        for killed in range(3):
            before = callers.outcomes["grpc OK"]
            callers.until(lambda before=before: callers.outcomes["grpc OK"] > before + 20)
            await_(lambda killed=killed: exited(server) == killed and len(places(server)) == 2)
            os.kill(connected(server), signal.SIGKILL)
        before = callers.outcomes["grpc OK"]
        callers.until(lambda: callers.outcomes["grpc OK"] > before + 20)
    assert {"grpc OK"} == set(callers.outcomes)


def test_counts_survive_a_worker(tmp_path: Path) -> None:
    """What a dead worker counted until its last tick stays on the page and in the statistics, and no number goes down."""
    with moving(tmp_path) as (server, _):
        with Callers(server, http_callers=0) as callers:
            callers.until(lambda: callers.outcomes["grpc OK"] > 50)
        counted = callers.outcomes["grpc OK"]
        await_(lambda: ok(server) == counted)
        for pid in server.workers():
            os.kill(pid, signal.SIGKILL)
        await_(lambda: server.values().get('tidegate_worker_exits_total{reason="killed by SIGKILL"}', 0) >= 2)
        assert counted == ok(server)
        await_(lambda: server.get(f"/v2/models/{MODEL}/ready")[0] == 200)
        status, body = server.get(f"/v2/models/{MODEL}/stats")
        stats = json.loads(body)["model_stats"][0]
        assert (200, "1", counted) == (status, stats["version"], stats["inference_stats"]["success"]["count"])
        assert stats["inference_count"] >= counted
        assert all(stats["inference_stats"][part]["ns"] > 0 for part in ("queue", "compute_input", "compute_infer", "compute_output"))


def test_a_server_that_is_stopped_answers_what_it_has_accepted(tmp_path: Path) -> None:
    """SIGTERM: not ready at once, then no more connections; exit status 0, nothing lost, no process left."""
    with moving(tmp_path, "processes: {workers: 2, drain_delay_s: 0.5}\n") as (server, _), Callers(server) as callers:
        callers.more()
        pids = server.workers()
        os.kill(server.child.pid, signal.SIGTERM)
        await_(lambda: server.get("/v2/health/ready", server.metrics_port)[0] == 503)
        callers.until(lambda: server.child.status is not None)
        assert 0 == server.child.status
    assert {"grpc OK", "http OK", "grpc UNAVAILABLE", "http closed", "http 503"} >= set(callers.outcomes)
    assert [] == callers.wrong
    assert [] == [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_settings_are_taken_over_without_a_restart(tmp_path: Path) -> None:
    """SIGHUP: versions that the file now names serve, at no request's cost; mistakes in it change nothing; the log says what changed."""
    config = tmp_path / "server.yaml"
    with moving(tmp_path) as (server, _), Callers(server) as callers:
        text = config.read_text()
        for wrong in ("models: {rows: {versions: {latest: -1}}}\n", "nonsense: 1\n"):
            config.write_text(text + wrong)
            os.kill(server.child.pid, signal.SIGHUP)
            callers.until(lambda wrong=wrong: wrong.split(":")[0] in said(server, "the settings stay as they are"))
        callers.more()
        assert {"1"} == set(callers.versions)
        config.write_text(text.replace("metrics_port", "name: other\n  metrics_port") + "models: {rows: {versions: {specific: [2]}}}\n")
        os.kill(server.child.pid, signal.SIGHUP)
        callers.until(lambda: callers.versions["2"] > 20)
        assert "models.rows: unset" in said(server, "reload: ")
        assert "server.name" in said(server, "needs a restart")
    assert {"grpc OK", "http OK"} == set(callers.outcomes)
    assert [] == callers.wrong


def test_totals_go_on_after_a_restart_and_a_second_server_on_their_directory_fails(tmp_path: Path) -> None:
    """What was counted before counts on; whoever comes second is told who holds the directory."""
    settings = f"processes: {{workers: 1, spare: false, state: {tmp_path / 'state'}}}\n"
    with moving(tmp_path, settings) as (server, _):
        with Callers(server, http_callers=0) as callers:
            callers.until(lambda: callers.outcomes["grpc OK"] > 50)
        counted = callers.outcomes["grpc OK"]
        await_(lambda: ok(server) == counted)
        (tmp_path / "second").mkdir()
        with starting(tmp_path / "second", tmp_path / "registry", settings) as second:
            await_(lambda: second.child.status is not None)
            assert 1 == second.child.status
            assert f"is held by process {server.child.pid}" in second.log.read_text()
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        assert counted == ok(server)


def test_a_model_in_a_process_of_its_own_costs_its_own_requests_only(tmp_path: Path) -> None:
    """Its process is killed again and again: other models go on, and its own requests are answered right or not at all."""
    settings = TWO + "models: {rows: {isolation: process}}\n"
    with moving(tmp_path, settings) as (server, store), Callers(server) as callers:
        for _ in range(3):
            callers.more()
            for worker in server.workers():
                for pid in children(worker):
                    os.kill(pid, signal.SIGKILL)
        callers.more()
        champion(store, 2)
        callers.until(lambda: callers.versions["2"] > 20)
    assert {"grpc OK", "http OK", "grpc INTERNAL", "grpc UNAVAILABLE", "http 500", "http 503"} >= set(callers.outcomes)
    assert [] == callers.wrong


def test_models_are_loaded_when_they_are_asked_for_and_the_least_recently_used_makes_room(tmp_path: Path) -> None:
    """The first request waits for its model and is answered; memory for two of three models is enough for all."""
    for name in "abc":
        published(tmp_path / "registry", name, graphs.twice(), aliases={"champion": 1})
    size = len(graphs.twice().SerializeToString())
    settings = f"processes: {{workers: 2, lazy: true, models_bytes: {2 * size + size // 2}}}\n"
    rows = np.ones((1, 2), np.float32)
    with serving(tmp_path, tmp_path / "registry", settings) as server, Client(f"127.0.0.1:{server.grpc_port}", timeout_s=10.0) as client:
        assert set() == loaded(server)
        for name in ("a", "b", "c", "a", "c", "b"):
            assert [[2.0, 2.0]] == client.infer(name, {"x": rows}).outputs["y"].tolist()
            assert name in loaded(server)
            assert len(loaded(server)) <= 2


def test_models_are_loaded_and_unloaded_by_callers_where_the_settings_say_so(tmp_path: Path) -> None:
    """With explicit control: nothing serves at first; a load is answered when every worker serves, an unload when none does."""
    for name in "ab":
        published(tmp_path / "registry", name, graphs.twice(), aliases={"champion": 1})
    settings = f"repository: {{path: {tmp_path / 'registry'}, model_control: explicit, load_models: [a]}}\nprocesses: {{workers: 2}}\n"
    rows = np.ones((1, 2), np.float32)
    with serving(tmp_path, tmp_path / "registry", settings) as server:
        assert [("a", "READY"), ("b", "UNAVAILABLE")] == [(line["name"], line["state"]) for line in index(server)]
        for _ in range(3):
            assert 200 == server.get("/v2/repository/models/b/load", method="POST")[0]
            for _ in range(4):  # connections of both workers
                with Client(f"127.0.0.1:{server.grpc_port}", timeout_s=10.0) as client:
                    assert [[2.0, 2.0]] == client.infer("b", {"x": rows}).outputs["y"].tolist()
            assert 200 == server.get("/v2/repository/models/b/unload", method="POST")[0]
            assert {503} == {server.get("/v2/models/b/ready")[0] for _ in range(4)}
        assert 404 == server.get("/v2/repository/models/c/load", method="POST")[0]
        published(tmp_path / "registry", "c", graphs.twice(), aliases={"champion": 1})
        assert 200 == server.get("/v2/repository/models/c/load", method="POST")[0]
        assert {"a", "c"} == loaded(server)


def loaded(server: Server) -> set[str]:
    values = server.values().items()
    return {series.split('"')[1] for series, value in values if series.startswith("tidegate_model_loaded") and value}


def test_workers_end_when_their_supervisor_is_gone(tmp_path: Path) -> None:
    """The end of the channel is enough: ports are free again, nothing is orphaned."""
    with moving(tmp_path) as (server, _):
        pids = server.workers()
        os.kill(server.child.pid, signal.SIGKILL)
        await_(lambda: not any(alive(pid) for pid in pids))


@pytest.mark.parametrize("count", [2, 8, 33])
def test_connections_are_spread_over_the_workers(tmp_path: Path, count: int) -> None:
    """No worker holds two more than another, however few there are."""
    with moving(tmp_path) as (server, _):
        peers = [http.client.HTTPConnection("127.0.0.1", server.http_port) for _ in range(count)]
        for peer in peers:
            peer.request("GET", "/v2/health/live")
            assert 200 == peer.getresponse().status
        await_(lambda: sum(spread(server)) == count)
        assert max(spread(server)) - min(spread(server)) <= 1
        for peer in peers:
            peer.close()


def said(server: Server, text: str) -> str:
    """The lines of the log with `text` in them."""
    return "\n".join(line for line in server.log.read_text().splitlines() if text in line)


def children(pid: int) -> list[int]:
    threads = Path(f"/proc/{pid}/task").iterdir()
    return [int(child) for thread in threads for child in (thread / "children").read_text().split()]


def ok(server: Server) -> float:
    return sum(value for series, value in server.values().items() if series.startswith("tidegate_requests_total") and 'code="OK"' in series)


def exited(server: Server) -> float:
    return server.values().get('tidegate_worker_exits_total{reason="killed by SIGKILL"}', 0)


def places(server: Server) -> list[str]:
    names = [series for series, value in server.values().items() if series.startswith("tidegate_worker_ready") and value]
    return [name.split('"')[1] for name in names]


def spread(server: Server) -> list[float]:
    return [value for series, value in server.values().items() if series.startswith("tidegate_worker_connections")]


def connected(server: Server) -> int:
    """A worker that holds connections."""
    for pid in server.workers():
        links = Path(f"/proc/{pid}/fd").iterdir()
        if sum(os.readlink(link).startswith("socket:") for link in links) > 4:
            return pid
    return server.workers()[0]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
