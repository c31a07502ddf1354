"""Airflow in the flesh: a trigger is a run, the example's task does what it asks for, and nothing is done twice."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from registry.store import Store
from registry.triggers import Trigger
from tests.deploy.files import ROOT
from tests.gateway.commands.console import parsed
from tests.integration.airflow import Airflow, airflow, status_of
from tests.retrain.jobs import DAY_S, MODEL, START_S, drawn, proposed, with_champion, written

RUNS = "/api/v2/dags/tidegate_retrain/dagRuns"
POLICY = """
apiVersion: tidegate/v1
kind: Retraining
model: {model}
data: {{rows: [{rows}], label: late, time: at}}
training: {{seed: 3}}
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with a champion that the world has left behind, the rows to learn from, and a policy."""
    folder = tmp_path_factory.mktemp("airflow")
    with_champion(Store.create(folder / "r"))
    rows = written(folder / "rows.parquet", drawn(4_000, seed=1, turned=True))
    (folder / "policy.yaml").write_text(POLICY.format(model=MODEL, rows=rows))
    return folder


@pytest.fixture(scope="module")
def running(place: Path) -> Iterator[Airflow]:
    """Airflow with the example, whose tasks find this checkout's program."""
    program = f"{sys.executable} -m gateway.cli"
    paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {
        "TIDEGATE": f"env PYTHONPATH={paths} {program}",
        "TIDEGATE_REGISTRY": str(place / "r"),
        "TIDEGATE_POLICY": str(place / "policy.yaml"),
        "NUMBA_CACHE_DIR": os.environ.get("NUMBA_CACHE_DIR", str(ROOT / ".build" / "numba")),
    }
    with airflow(place / "home", ROOT / "examples" / "airflow", environment) as found:
        found.until("/api/v2/dags/tidegate_retrain", True, False, field="is_paused")
        found.ask("/api/v2/dags/tidegate_retrain", {"is_paused": False}, method="PATCH")
        yield found


def start(place: Path, airflow_: Airflow, trigger: Trigger) -> str:
    """By the product's own command; whether it was new."""
    (place / "token").write_text(airflow_.token)
    receiver = ["--webhook", airflow_.url + RUNS, "--body", "airflow", "--network", "127.0.0.0/8", "--token-file", place / "token"]
    return str(parsed("retrain", "start", trigger.id, "-r", place / "r", *receiver)["state"])


@pytest.mark.timeout(600)
def test_a_trigger_is_a_run_that_publishes_once(place: Path, running: Airflow) -> None:
    """Its id is the trigger's; told twice, it runs once; the task's result is the new version, whose publish id is the trigger's."""
    store = Store.open(place / "r")
    (trigger,) = store.triggers.all(MODEL)
    assert ["started", "started before", "started before"] == [start(place, running, trigger) for _ in range(3)]
    assert 409 == status_of(running, RUNS, {"dag_run_id": trigger.id, "logical_date": None, "conf": {"trigger": trigger.id}})
    found = running.until(f"{RUNS}/{trigger.id}", "success", "failed", field="state")
    assert ("success", {"trigger": trigger.id, "model": MODEL}) == (found["state"], found["conf"]), running.said()
    result = running.ask(f"{RUNS}/{trigger.id}/taskInstances/retrain/xcomEntries/return_value?deserialize=true")["value"]
    assert {"model": MODEL, "version": 2} == result
    assert (trigger.id, "published") == (store.record(MODEL, 2).publish_id, store.triggers.journal(MODEL, trigger.id).state)
    assert 1 == running.ask(RUNS)["total_entries"]


@pytest.mark.timeout(600)
def test_a_trigger_that_is_over_is_a_task_that_is_skipped(place: Path, running: Airflow) -> None:
    """It was about a version that is no longer the champion: no failure, and nothing is published."""
    store = Store.open(place / "r")
    store.aliases(MODEL).move("champion", to=2, expected_from=1, actor="ann", reason="", now_s=START_S + 50 * DAY_S)
    trigger = proposed(store, rule="late", now_s=START_S + 51 * DAY_S)
    assert "started" == start(place, running, trigger)
    running.until(f"{RUNS}/{trigger.id}", "success", "failed", field="state")
    task = running.ask(f"{RUNS}/{trigger.id}/taskInstances/retrain")
    assert ("skipped", "expired") == (task["state"], store.triggers.journal(MODEL, trigger.id).state), running.said()
    assert [1, 2] == store.versions(MODEL)


@pytest.mark.timeout(600)
def test_a_run_without_a_trigger_is_refused(running: Airflow) -> None:
    """By the DAG's own parameters, before anything runs."""
    assert 400 == status_of(running, RUNS, {"dag_run_id": "by-hand", "logical_date": None, "conf": {"trigger": "x"}})
    assert 0 == running.ask("/api/v2/importErrors")["total_entries"]
