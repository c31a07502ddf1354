"""Rollouts in the flesh: real servers, real gRPC traffic, versions that are as good, worse, broken or stuck; processes that are killed."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import grpc
import msgspec
import numpy as np
import pytest

from gateway.clock import SystemClock
from gateway.pb import inference_pb2 as pb
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from gateway.rollout.status import Status
from registry.store import Store
from tests.e2e.server import Server, serving
from tests.gateway.control.desk import INFER
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published

PATIENCE_S = 60.0
GOOD_ENOUGH = {"ratio": None, "or_abs": 0.05}
ERRORS = {"name": "errors", "type": "rate", "event": "server_error", "critical": True, "pass_if": GOOD_ENOUGH}
REJECTED = {"name": "rejected", "type": "rate", "event": "rejected_input", "critical": True}
AGREEMENT = {"name": "agreement", "type": "agreement", "min": 0.95, "critical": True, "pass_if": GOOD_ENOUGH}
SHADOW = {"shadow": {"percent": 100, "max_share_of_capacity": 1.0}, "until": {"min_units": 150}}


def weight(percent: float, units: int = 100) -> dict[str, Any]:
    return {"setWeight": percent, "until": {"min_units": units}}


def plan(*steps: dict[str, Any], metrics: tuple[dict[str, Any], ...] = (ERRORS,), **spec: Any) -> Plan:
    document = {
        "apiVersion": "tidegate/v1",
        "kind": "Rollout",
        "metadata": {"name": "m-two"},
        "spec": {
            "model": "m",
            "candidate": {"version": 2},
            "unit": {"from": ["metadata:x-user"]},
            "keep_stable_warm": "1s",
            "strategy": {"steps": list(steps)},
            "analysis": {"warmup": {"requests": 0, "duration": "0s"}, "metrics": list(metrics)},
            **spec,
        },
    }
    return msgspec.convert(document, Plan)


class Callers:
    """Users who come one after the other, each with a row of their own, and hold every answer against what their version must say."""

    def __init__(self, server: Server, factors: dict[str, float], model: str = "m", *, pause_s: float = 0.002) -> None:
        self.arms: Counter[str] = Counter()
        self.faults: list[str] = []
        self._server, self._factors, self._model, self._pause_s = server, factors, model, pause_s
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(2)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(30)

    def _call(self, first: int) -> None:
        with grpc.insecure_channel(f"127.0.0.1:{self._server.grpc_port}", options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            call = channel.unary_unary(INFER, response_deserializer=pb.ModelInferResponse.FromString)
            user = first
            while not self._stop.wait(self._pause_s):
                user += len(self._threads)
                self._ask(call, user)

    def _ask(self, call: Any, user: int) -> None:
        row = np.array([[user % 97, 2.0]], np.float32)
        request = pb.ModelInferRequest(model_name=self._model, id=f"user{user}", raw_input_contents=[row.tobytes()])
        request.inputs.add(name="x", datatype="FP32", shape=row.shape)
        try:
            answer = call(request.SerializeToString(), timeout=20, metadata=[("x-user", f"user{user}")])
        except grpc.RpcError as error:
            self.faults.append(str(error))
            return
        self.arms[answer.parameters["arm"].string_param if "arm" in answer.parameters else "none"] += 1
        said = np.frombuffer(answer.raw_output_contents[0], np.float32)
        if not np.array_equal(said, row[0] * self._factors[answer.model_version]):
            self.faults.append(f"version {answer.model_version} says {said} to {row}")


def operations(root: Path) -> Operations:
    return Operations(Store.open(root), now=SystemClock().wall)


def until(root: Path, rollout: str, *phases: str, step: int | None = None) -> Status:
    """Where it stands once it is in one of these phases, at this step if one is given."""
    clock, asked = SystemClock(), operations(root)
    end = clock.now() + PATIENCE_S
    while True:
        found = asked.status(rollout)
        if found.phase in phases and (step is None or found.step == step):
            return found
        assert clock.now() < end, f"{rollout} is {found.phase}, step {found.step}: {found.reason}"
        signal.sigtimedwait([], 0.05)


def until_page(server: Server, wanted: Callable[[dict[str, float]], bool]) -> None:
    """Until the page of metrics is so, soon."""
    clock = SystemClock()
    end = clock.now() + PATIENCE_S
    while not wanted(server.values()):
        assert clock.now() < end
        signal.sigtimedwait([], 0.05)


def apply(root: Path, asked: Plan) -> str:
    return operations(root).apply(asked, actor="ann", reason="it is better").status.id


def label(server: Server, truths: list[tuple[str, int]], name: str = "larger") -> None:
    """Tell what came true of requests, by their callers' ids, once labels are taken."""
    items = [{"label_id": caller, "model": "m", "name": name, "client_request_id": caller, "value": value} for caller, value in truths]
    clock = SystemClock()
    end = clock.now() + PATIENCE_S
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=PATIENCE_S)
        with closing(connection):
            connection.request("POST", "/v1/labels", json.dumps({"labels": items}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
        if answer.status == 200:
            assert len(items) == body["accepted"] + body["duplicates"]
            return
        assert clock.now() < end, body
        signal.sigtimedwait([], 0.05)


@contextmanager
def rolling(tmp_path: Path, candidate: Any, factor: float = 2.0, settings: str = "") -> Iterator[tuple[Path, Server, Callers]]:
    """A server with version 1, whose callers come all the time, and a candidate beside it."""
    root = tmp_path / "registry"
    published(root, "m", graphs.twice(), candidate, aliases={"champion": 1})
    with serving(tmp_path, root, settings) as server, Callers(server, {"1": 2.0, "2": factor}) as callers:
        yield root, server, callers


def test_a_candidate_as_good_is_promoted_step_by_step(tmp_path: Path) -> None:
    """Shadow, 20 %, 60 %, champion; nobody gets an error, a wrong answer or an answer of an arm that is not theirs."""
    with rolling(tmp_path, graphs.twice()) as (root, server, callers):
        rollout = apply(root, plan(SHADOW, weight(20), weight(60), metrics=(ERRORS, AGREEMENT)))
        until(root, rollout, "step", step=1)
        page = server.values()
        assert page['tidegate_rollout_shadow_total{model="m",outcome="mirrored",version="2"}'] >= 150
        until(root, rollout, "succeeded")
        history = [entry.event for entry in operations(root).history(rollout).entries]
    assert ["apply", "admit", "prepare", "ready", "pass", "pass", "pass", "complete", "moved", "baked"] == history
    assert [] == callers.faults
    assert {"none", "stable", "canary"} == set(callers.arms)
    assert 2 == Store.open(root).resolve("m", "champion")
    assert [] == server.faults()


def test_a_candidate_that_answers_otherwise_is_rolled_back_by_its_shadow(tmp_path: Path) -> None:
    """Nobody ever gets one of its answers."""
    with rolling(tmp_path, graphs.twice(weight=3.0), 3.0) as (root, _, callers):
        rollout = apply(root, plan(SHADOW, weight(20), metrics=(ERRORS, AGREEMENT)))
        found = until(root, rollout, "rolled_back")
    assert "agree" in found.reason or "rejected" in found.reason
    assert ([], set()) == (callers.faults, {"canary", "fallback"} & set(callers.arms))
    assert 1 == Store.open(root).resolve("m", "champion")


@pytest.mark.parametrize("inline", [False, True])
def test_a_canary_that_fails_is_rolled_back_and_nobody_notices(tmp_path: Path, inline: bool) -> None:
    """In a process of its own, and within the workers: stable answers what it does not."""
    with rolling(tmp_path, graphs.brittle()) as (root, server, callers):
        rollout = apply(root, plan(weight(50, 10_000), metrics=(ERRORS, REJECTED), inline=inline))
        until(root, rollout, "rolled_back")
        until_page(server, lambda page: not any(series.startswith("tidegate_rollout_phase") for series in page))
    assert [] == callers.faults
    assert callers.arms["fallback"] >= 5
    assert "canary" not in callers.arms


def test_a_candidate_with_other_inputs_is_rolled_back_at_once(tmp_path: Path) -> None:
    """After a few calls in a row, before any test can say so."""
    with rolling(tmp_path, graphs.picky()) as (root, _, callers):
        rollout = apply(root, plan(weight(50, 10_000)))
        found = until(root, rollout, "rolled_back")
        events = [(entry.event, entry.reason) for entry in operations(root).history(rollout).entries]
    assert "rolled_back" == found.phase
    assert "fast" in [event for event, _ in events], events
    assert ([], True) == (callers.faults, callers.arms["fallback"] >= 5)


def test_a_canary_that_hangs_is_rolled_back_and_its_callers_are_answered(tmp_path: Path) -> None:
    """Its process is ended, and what it had is asked of stable."""
    with rolling(tmp_path, graphs.endless(), settings="models: {m: {run_timeout_s: 1}}\n") as (root, _, callers):
        rollout = apply(root, plan(weight(10, 10_000)))
        until(root, rollout, "rolled_back", "failed")
    assert [] == callers.faults
    assert "canary" not in callers.arms


def test_a_canary_whose_answers_turn_out_wrong_is_rolled_back(tmp_path: Path) -> None:
    """It answers quickly and without errors; what came true tells, by the label that the plan names."""
    log = tmp_path / "log"
    settings = f"""
capture: {{enabled: true, directory: {log}, seal_s: 0.5, flush_s: 0.1}}
labels: {{enabled: true, directory: {log}, evaluate_s: 0.2}}
"""
    accuracy = {"name": "accuracy", "type": "label", "label": "larger", "critical": True}
    with rolling(tmp_path, graphs.twice(weight=-2.0), -2.0, settings) as (root, server, callers):
        rollout = apply(root, plan(weight(50, 100_000), metrics=(ERRORS, accuracy)))
        until(root, rollout, "step", step=0)
        now = callers.arms.total()
        label(server, [(f"user{user}", int(user % 97 < 2)) for user in range(now, now + 1_000)])
        until(root, rollout, "rolled_back")
        reasons = [entry.reason for entry in operations(root).history(rollout).entries]
    assert any("canary had wrong answers in" in reason for reason in reasons), reasons
    assert ([], True) == (callers.faults, callers.arms["canary"] > 5)
    assert 1 == Store.open(root).resolve("m", "champion")


@pytest.mark.parametrize("whom", ["supervisor", "referee"])
def test_whoever_is_killed_the_rollout_goes_on_where_it_was(tmp_path: Path, whom: str) -> None:
    """The same salt, the same step; the alias is moved once."""
    root = tmp_path / "registry"
    published(root, "m", graphs.twice(), graphs.twice(), aliases={"champion": 1})
    with serving(tmp_path, root) as server, Callers(server, {"1": 2.0, "2": 2.0}):
        rollout = apply(root, plan({"setWeight": 30, "until": {"min_units": 20, "min_duration": "4s"}}, weight(60, 20)))
        until(root, rollout, "step", step=0)
        before = Store.open(root).rollouts.read(rollout)
        if whom == "supervisor":
            os.kill(server.child.pid, signal.SIGKILL)
        else:
            os.kill(referee_of(server), signal.SIGKILL)
            until(root, rollout, "succeeded")
    with serving(tmp_path, root) as server, Callers(server, {"1": 2.0, "2": 2.0}):
        until(root, rollout, "succeeded")
    after = Store.open(root).rollouts.read(rollout)
    assert before.entries == after.entries[: len(before.entries)]
    events = Counter(entry.event for entry in after.entries)
    assert (1, 1, 1, 2) == (events["ready"], events["moved"], events["baked"], events["pass"])
    assert 2 == Store.open(root).resolve("m", "champion")


def referee_of(server: Server) -> int:
    for children in Path(f"/proc/{server.child.pid}/task").glob("*/children"):  # each thread has its own
        for pid in children.read_text().split():
            if b"gateway.control.referee" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return int(pid)
    raise AssertionError("nobody decides about rollouts")
