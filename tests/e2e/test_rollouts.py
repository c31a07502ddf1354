"""Rollouts in the flesh: real servers, real gRPC traffic, versions that are as good or wrong. What does harm: test_rollouts_harm.py."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path

import pytest

from registry.store import Store
from tests.e2e.rolling import AGREEMENT, ERRORS, SHADOW, Patience, apply, calling, operations, plan, until, weight
from tests.e2e.server import Server, serving
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import published


def label(server: Server, truths: list[tuple[str, int]], name: str = "larger") -> None:
    """Tell what came true of requests, by their callers' ids, once labels are taken."""
    items = [{"label_id": caller, "model": "m", "name": name, "client_request_id": caller, "value": value} for caller, value in truths]
    patience = Patience()
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", server.http_port, timeout=60)
        with closing(connection):
            connection.request("POST", "/v1/labels", json.dumps({"labels": items}), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            body = json.loads(answer.read())
        if answer.status == 200:
            assert len(items) == body["accepted"] + body["duplicates"]
            return
        patience.turn(body)


@pytest.mark.timeout(300)
def test_a_candidate_as_good_is_promoted_step_by_step(tmp_path: Path) -> None:
    """Shadow, 20 %, 60 %, champion; nobody gets an error, a wrong answer or an answer of an arm that is not theirs."""
    root = tmp_path / "registry"
    published(root, "m", graphs.twice(), graphs.twice(), aliases={"champion": 1})
    with serving(tmp_path, root) as server, calling(server) as callers:
        rollout = apply(root, plan(SHADOW, weight(20), weight(60), metrics=(ERRORS, AGREEMENT)))
        until(root, rollout, "step", step=1)
        assert server.values()['tidegate_rollout_shadow_total{model="m",outcome="mirrored",version="2"}'] >= 20
        until(root, rollout, "succeeded")
        history = [entry.event for entry in operations(root).history(rollout).entries]
        assert [] == server.faults()
    assert ["apply", "admit", "prepare", "ready", "pass", "pass", "pass", "complete", "moved", "baked"] == history
    assert [] == callers.troubles
    assert {"none", "stable", "canary"} == set(callers.arms())
    assert 2 == Store.open(root).resolve("m", "champion")


@pytest.mark.timeout(300)
def test_a_canary_whose_answers_turn_out_wrong_is_rolled_back(tmp_path: Path) -> None:
    """It answers quickly and without errors; what came true tells, by the label that the plan names."""
    log, root = tmp_path / "log", tmp_path / "registry"
    settings = f"""
capture: {{enabled: true, directory: {log}, seal_s: 0.5, flush_s: 0.1}}
labels: {{enabled: true, directory: {log}, evaluate_s: 0.2}}
"""
    accuracy = {"name": "accuracy", "type": "label", "label": "larger", "critical": True}
    published(root, "m", graphs.twice(), graphs.twice(weight=-2.0), aliases={"champion": 1})
    with serving(tmp_path, root, settings) as server, calling(server, -2.0) as callers:
        rollout = apply(root, plan(weight(50, 100_000), metrics=(ERRORS, accuracy)))
        until(root, rollout, "step", step=0)
        now = len(callers.answers)
        label(server, [(f"user{user}", int(1 + user % 97 < 2)) for user in range(now, now + 1_000)])
        until(root, rollout, "rolled_back")
        reasons = [entry.reason for entry in operations(root).history(rollout).entries]
    assert any("canary had wrong answers in" in reason for reason in reasons), reasons
    assert ([], True) == (callers.troubles, callers.arms()["canary"] > 5)
    assert 1 == Store.open(root).resolve("m", "champion")
