"""`tidegate retrain` and what is beside it: from a file of rows to a version, its records, and the same checks for other tools."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from gateway.commands.output import Exit
from registry.store import Store
from tests.gateway.commands.console import done, failed, parsed, run
from tests.retrain.jobs import DAY_S, MODEL, START_S, drawn, with_champion, written

pytestmark = pytest.mark.demo

PLAN = """
apiVersion: tidegate/v1
kind: Rollout
metadata: {name: next}
spec:
  model: m
  stable: {alias: champion}
  candidate: {alias: challenger}
  strategy: {steps: [{setWeight: 50, until: {verdict: null, min_duration: 1h}}]}
"""
POLICY = """
apiVersion: tidegate/v1
kind: Retraining
model: m
data: {rows: [%s], label: late, time: at}
training: {seed: 3}
gates: {slices: {columns: [t], n_min: 100}, validation: {min_rows: 100}}
when:
  rules:
  - {kind: age, older_than: 1d}
"""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """A registry with a champion and one trigger."""
    found = Store.create(tmp_path / "r")
    with_champion(found)
    return found


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return written(tmp_path / "rows.parquet", drawn(2_000, turned=True))


def refused(*command: object) -> str:
    """What a command prints that did its work and found a problem."""
    result = run(*command)
    assert Exit.FAILED == result.exit_code, result.output
    return result.stdout


def test_from_rows_to_a_version_and_its_rollout(store: Store, rows: Path, tmp_path: Path) -> None:
    """By hand; shown, listed, replayed."""
    place, data = ["-r", tmp_path / "r"], ["--data", rows, "--label", "late", "--time", "at"]
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    found = parsed("retrain", "--model", MODEL, *place, *data, "--seed", 3, "--slice", "t", "--rollout", plan, "--reason", "why not")
    assert ("published", 2, "m-1") == (found["state"], found["version"], found["entries"][-1]["details"]["rollout"])
    assert "m-1 " in done("rollout", "list", *place)
    trigger = found["trigger"]["id"]
    text = done("retrain", "show", trigger[:8], *place)
    assert f"trigger {trigger}: published\n" in text
    assert "why not" in text
    assert "surely" in text
    assert "published" in done("retrain", "status", MODEL, *place)
    assert 2 == len(parsed("retrain", "status", *place))
    assert [] == parsed("retrain", "status", "other", *place)
    again = parsed("retrain", "--replay", trigger, *place)
    assert (True, True, True, True) == (again["same"], again["dataset"], again["model"], again["lock"])
    assert "  model    as then\n" in done("retrain", "--replay", trigger, *place)
    assert parsed("retrain", "--trigger", trigger, *place)["version"] == 2


def test_a_trigger_by_its_file(store: Store, rows: Path, tmp_path: Path) -> None:
    """A policy says how; a refusal has its reason, and an exit code."""
    (trigger,) = store.triggers.ids(MODEL)
    file = tmp_path / "r" / "triggers" / MODEL / f"{trigger}.json"
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY % rows)
    command = ["retrain", "--trigger", file, "-r", tmp_path / "r", "--policy", policy, "--min-rows", 5_000]
    assert "validation: 2,000 of 2,000 rows have a label" in refused(*command)
    assert "validation" in done("retrain", "show", trigger, "-r", tmp_path / "r")


def test_watching_once(store: Store, rows: Path, tmp_path: Path) -> None:
    """Looks, decides, does, and says so; the second time there is nothing to do."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY % rows)
    command = ["retrain", "--watch", "--once", "--policy", policy, "-r", tmp_path / "r"]
    lines = [json.loads(line) for line in done(*command, "--json").splitlines()]
    assert [("expire", "manual"), ("run", "age")] == [(line["what"], line["rule"]) for line in lines]
    assert ("published", 2) == (lines[1]["state"], lines[1]["version"])
    assert "" == done(*command)


def test_watching_goes_on_after_a_look_that_came_to_nothing(
    store: Store, rows: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as a policy that somebody is writing; the time between looks is the policy's. Ctrl-C ends it."""
    policy, waited = tmp_path / "policy.yaml", []
    policy.write_text("{}")

    class Event:
        def wait(self, seconds: float) -> None:
            waited.append(seconds)
            policy.write_text(POLICY.replace("older_than: 1d", "older_than: 999999d") % rows)
            if len(waited) == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr("gateway.commands.retrain.threading.Event", Event)
    result = run("retrain", "--watch", "--policy", policy, "-r", tmp_path / "r")
    assert (Exit.INTERRUPTED, [60.0, 300.0]) == (result.exit_code, waited)
    assert "this look came to nothing: " in result.stdout
    assert "expire" in result.stdout


def test_a_policy_is_rehearsed_at_another_time(store: Store, rows: Path, tmp_path: Path) -> None:
    """What is proposed, done and published is of then, and so is what a rule counts."""
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY % rows)
    command = ["retrain", "--watch", "--once", "-r", tmp_path / "r", "--policy", policy, "--json"]
    assert "" == done(*command, "--now", datetime.fromtimestamp(START_S + DAY_S / 2, UTC).isoformat())
    then = START_S + 50 * DAY_S
    said = json.loads(done(*command, "--now", datetime.fromtimestamp(then, UTC).isoformat()).splitlines()[-1])
    assert ("run", "age", "published") == (said["what"], said["rule"], said["state"])
    times = [entry.time.timestamp() for entry in store.triggers.journal(MODEL, said["trigger"]).entries]
    times.append(store.record(MODEL, said["version"]).created.timestamp())
    assert all(then <= time < then + DAY_S for time in times)


def test_rows_are_validated_without_a_job(store: Store, rows: Path, tmp_path: Path) -> None:
    """As text, JSON and a page; the checks for other tools need no rows."""
    place, data = ["-r", tmp_path / "r"], ["--data", rows, "--label", "late", "--time", "at"]
    page = tmp_path / "report.html"
    found = parsed("retrain", "validate", MODEL, *place, *data, "--html", page)
    assert ("ok", 2_000) == (found["level"], found["rows"])
    assert page.read_text().startswith("<!doctype html>")
    wrong = refused("retrain", "validate", MODEL, *place, *data, "--min-rows", 9_999)
    assert "2,000 of 2,000 rows have a label" in wrong
    suite, schema = tmp_path / "suite.json", tmp_path / "schema.pbtxt"
    done("retrain", "validate", MODEL, *place, "--great-expectations", suite, "--tfdv", schema)
    assert "m-1" == json.loads(suite.read_text())["name"]
    assert 'name: "x"' in schema.read_text()
    assert 1 == len(store.triggers.ids(MODEL))


@pytest.mark.parametrize(
    ("command", "code", "text"),
    [
        ([], Exit.USAGE, "give one of --model, --trigger, --replay and --watch"),
        (["--model", "m", "--watch"], Exit.USAGE, "give one of --model"),
        (["--watch"], Exit.USAGE, "--watch: does what --policy says"),
        (["--model", "m", "--label", "late"], Exit.USAGE, "--data: missing; which rows shall be trained on?"),
        (["--model", "m", "--data", "nowhere.parquet"], Exit.USAGE, "nowhere.parquet: No such file or directory"),
        (["--model", "m", "--data", "x", "--where", "y"], Exit.USAGE, "'y' is no filter"),
        (["--model", "m", "--data", "x", "--param", "y"], Exit.USAGE, "--param: expected NAME=VALUE"),
        (["--model", "m", "--data", "x", "--holdout", "2"], Exit.USAGE, "holdout"),
        (["--model", "m", "--data", "x", "--as-of", "soon"], Exit.USAGE, "--as-of: expected a date or a time"),
        (["--model", "m", "--data", "x", "--now", "then"], Exit.USAGE, "--now: expected a date or a time"),
        (["--model", "m", "--data", "x", "--entry", "y"], Exit.USAGE, "'y' is no entry point"),
        (["--model", "m", "--policy", "nowhere.yaml"], Exit.USAGE, "nowhere.yaml: No such file or directory"),
        (["--model", "m", "--data", "x", "--rollout", "nowhere.yaml"], Exit.USAGE, "nowhere.yaml"),
        (["--model", "other", "--data", "x"], Exit.REGISTRY, "not_found: the registry has no model 'other'"),
        (["--trigger", "0" * 32], Exit.REGISTRY, "not_found: the registry has no trigger"),
        (["--replay", "nothing"], Exit.REGISTRY, "not_found: the registry has no trigger 'nothing'"),
        (["show", ""], Exit.REGISTRY, "not_found: the registry has no trigger ''"),
        (["validate", "m"], Exit.USAGE, "--data: missing; which rows shall be checked?"),
    ],
)
def test_mistakes(store: Store, tmp_path: Path, command: list[str], code: Exit, text: str) -> None:
    """One sentence and the right exit code."""
    assert text in failed(code, "retrain", *command, "-r", tmp_path / "r")
    assert 0 == store.triggers.journal(MODEL, store.triggers.ids(MODEL)[0]).seq


def test_a_result_of_great_expectations_counts(store: Store, rows: Path, tmp_path: Path) -> None:
    """One that is none is a mistake; a failure is a refusal, before anything is trained."""
    result = tmp_path / "result.json"
    command = [
        "retrain",
        "--model",
        MODEL,
        "-r",
        tmp_path / "r",
        "--data",
        rows,
        "--label",
        "late",
        "--time",
        "at",
        "--expectations",
        result,
    ]
    assert "result.json: No such file or directory" in failed(Exit.USAGE, *command)
    result.write_text("{}")
    assert "result.json: this is no validation result of Great Expectations" in failed(Exit.USAGE, *command)
    result.write_text('{"success": false, "results": [{"success": false, "expectation_config": {"type": "expect_x", "kwargs": {}}}]}')
    assert "rejected: validation: expect_x is not met" in refused(*command)
    assert [1] == store.versions(MODEL)


def test_what_is_not_installed_is_named(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With how to install it."""
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    text = failed(Exit.USAGE, "retrain", "--model", MODEL, "-r", tmp_path / "r", "--data", "x")
    assert "retraining needs duckdb, which is not installed: pip install 'tidegate[train]'" in text


def test_a_registry_is_asked_for() -> None:
    """And a file that is no trigger is named."""
    assert "--registry: missing" in failed(Exit.USAGE, "retrain", "status")


def test_a_file_that_is_no_trigger(store: Store, tmp_path: Path) -> None:
    """It says neither which model nor which trigger."""
    file = tmp_path / "t.json"
    file.write_text("{}")
    command = ["retrain", "--trigger", file, "-r", tmp_path / "r"]
    assert "no trigger: it says neither model nor id" in failed(Exit.USAGE, *command)
