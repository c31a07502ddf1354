"""The demo as a user runs it: real data, a real server, real answers, and nothing left behind."""

from __future__ import annotations

import functools
import json
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from gateway import demo, demo_rollouts, demo_server
from gateway.client import CallError
from gateway.control.child import Child
from gateway.control.ports import is_free
from gateway.demo_months import NAMES
from gateway.demo_story import DemoError, Server
from gateway.errors import Code
from gateway.rollout.operations import Operations
from gateway.rollout.plan import Plan
from registry.entries import AliasMoved
from registry.parts import read_parts
from registry.store import Store
from registry.verify import verify
from retrain import train
from retrain.dataset import Dataset
from retrain.export import export

pytestmark = [pytest.mark.demo, pytest.mark.timeout(300)]
STEPS = ["Data", "Train", "Export", "Publish", "Serve", "Replay", "Judge", "Watch", "REST", "Count", "Worse", "Better", "Year"]


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One registry for all runs: a second one publishes nothing new."""
    return tmp_path_factory.mktemp("registry")


def test_the_story_holds_and_the_server_stays_until_interrupted(registry: Path) -> None:
    """The server answers while it stays up, Ctrl-C ends both with exit code 0. What comes after the count is the other run's to tell."""
    program = "from gateway import cli, demo; demo._roll_out = demo._live = lambda *_, **__: None; cli.main()"
    command = [sys.executable, "-c", program, "demo", "--quick", "--registry", str(registry)]
    # Started from a job in the background, this process may ignore SIGINT, and what it starts would too.
    heed = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, preexec_fn=heed) as process:  # noqa: PLW1509
        assert process.stdout
        told = []
        for line in process.stdout:
            told.append(line)
            if "tidegate bench" in line:
                break
        story = "".join(told)
        assert STEPS[:10] == re.findall(r"^\d+ (\w+)", story, re.MULTILINE), story
        assert NAMES[1:] == tuple(re.findall(rf"^ +({'|'.join(NAMES)}) +[\d,]+ +[A-Z]", story, re.MULTILINE)), story
        assert re.search(r"^ +month .* temp .* scheduled_hour *$", story, re.MULTILINE), story
        assert re.search(r"^ +temp has moved", story, re.MULTILINE), story
        page = re.search(r"http://(\S+)/v2/models/flights(?= )", story)
        assert page
        with urllib.request.urlopen(page[0], timeout=10) as response:
            assert "flights" == json.load(response)["name"]
        process.send_signal(signal.SIGINT)
        assert "stopping" in process.stdout.read()
    assert 0 == process.returncode
    assert is_free("127.0.0.1", int(page[1].rpartition(":")[2]))


def test_the_summary_is_one_json_document(registry: Path) -> None:
    """The numbers agree with each other, and the model beats chance on a month that it never saw."""
    command = [sys.executable, "-m", "gateway.cli", "demo", "--quick", "--json", "--registry", str(registry)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 0 == done.returncode, done.stderr
    assert STEPS == re.findall(r"^\d+ (\w+)", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^ +month +flights +by version +state +AUC +v1 alone +Brier +v1 alone *$", done.stderr, re.MULTILINE), done.stderr
    assert re.search(r"^Brier score of the year: 0\.\d+ with the loop, 0\.\d+ without; ", done.stderr, re.MULTILINE), done.stderr
    found = json.loads(done.stdout)
    assert {"january": 26_398, "february": 23_611, "later": 277_337, "left_out": 1_946} == found["data"]
    assert (1, False) == (found["version"], found["new"])
    assert {"rows": 23_611, "labels_differ": 0}.items() <= found["parity"].items()
    assert 0.6 < found["score"]["auc"] < 0.8
    assert found["counts"]["requests"] == 1 + sum(one["requests"] for one in found["replay"].values()) + found["watch"]["requests"]
    assert 1.0 == pytest.approx(sum(found["rest"]["response"]["outputs"][1]["data"]), abs=1e-5)

    check_rollouts(found["rollouts"])
    check_watch(found["watch"], replayed=sum(one["rows"] for one in found["replay"].values()))
    check_year(found["year"])


def check_rollouts(rollouts: dict[str, Any]) -> None:
    """Nobody got an answer of the worse one; the better one took over step by step, by the same plan."""
    worse, better = rollouts["worse"], rollouts["better"]
    assert ("rolled_back", {"1"}) == (worse["phase"], set(worse["answered"]))
    assert ["fail", "rolled"] == [verdict.partition(":")[0] for verdict in worse["verdicts"]]
    assert worse["verdicts"][0].startswith("fail: agreement: ")
    assert ("succeeded", {"1", "3"}) == (better["phase"], set(better["answered"]))
    assert ["pass", "pass", "pass", "moved"] == [verdict.partition(":")[0] for verdict in better["verdicts"]]
    assert worse["auc"] < 0.6 < better["champion_auc"] < better["auc"]


def check_year(year: dict[str, Any]) -> None:
    """Every month is there with and without the loop, which are one until a version was published by its own doing and got through."""
    months = {month["month"]: month for month in year["months"]}
    assert list(NAMES[1:]) == list(months)
    events = [event for month in year["months"] for event in month["events"]]
    jobs = [event for event in events if re.match(r"(loss|volume): .*; (version \d is published, for AUC|rejected: )", event)]
    assert jobs, events
    published = [event for event in jobs if "is published" in event]  # few rows of few months may show too little for that
    assert len(published) == sum(
        bool(re.match(r"version \d went through shadow and canary within [\d,]+ flights: ", one)) for one in events
    )
    for month in year["months"]:
        assert month["rows"] == sum(month["answered"].values())
        assert 0.6 < month["first_auc"] < 0.8
        if month["answered"].keys() == {"1"}:
            assert (month["auc"], month["brier"]) == pytest.approx((month["first_auc"], month["first_brier"]), abs=2e-4)
    assert {"1"} == months["February"]["answered"].keys() == months["April"]["answered"].keys()
    assert bool(published) == ("2" in set().union(*(month["answered"] for month in year["months"])))
    for gain in year["gains"]:
        assert gain["low"] <= gain["gain"] <= gain["high"]
        assert abs(gain["gain"]) == pytest.approx(abs(gain["after"] - gain["before"]))
    assert ["auc", "brier"] == [gain["metric"] for gain in year["gains"]]


def check_watch(watch: dict[str, Any], *, replayed: int) -> None:
    """Every month is there with all its rows; the weather leaves January, the schedule hardly, and what moved is named."""
    months = {month["month"]: month for month in watch["months"]}
    assert list(NAMES[1:]) == list(months)
    assert (replayed, 277_337) == (months["February"]["rows"], watch["rows"])
    assert watch["rows"] == sum(month["rows"] for month in months.values()) - replayed
    assert {"temp", "dest"} <= watch["first_moved"].keys()
    assert watch["first_moved"]["dest"] == "April"
    assert watch["first_moved"]["temp"] in NAMES[3:7]
    assert {"carrier", "origin", "scheduled_hour"}.isdisjoint(watch["first_moved"])
    assert (months["July"]["psi"]["temp"] > 10, months["December"]["psi"]["temp"] < 2) == (True, True)
    assert max(month["psi"]["scheduled_hour"] for month in months.values()) < 0.1
    assert months["December"]["state"] == "ALARM"
    assert any(sentence.startswith("temp has moved") for sentence in watch["sentences"])
    assert (True, False) == (months["March"]["trustworthy"], months["July"]["trustworthy"])
    assert max(abs(month["estimated_accuracy"] - month["accuracy"]) for month in months.values()) < 0.1


def test_what_was_published(registry: Path) -> None:
    """The first version has golden requests, training record and contract; the last is champion, by the run that rolled out."""
    store = Store.open(registry)
    parts = read_parts(store.manifest("flights", 1), store.read_blob)
    assert parts.golden is not None
    assert 9 == len(parts.golden.requests)
    assert parts.training is not None
    assert (26_398, {"all"}) == (parts.training.dataset_rows, set(parts.training.metrics))
    assert parts.schema is not None
    assert "mph" in {field.unit for field in parts.schema.inputs}
    assert {"champion": 3} == store.aliases("flights").all()
    moves = [(entry.from_version, entry.to) for entry in store.history("flights") if isinstance(entry, AliasMoved)]
    assert [(None, 1), (1, 3)] == moves
    assert [] == verify(store)


def test_a_folder_that_is_something_else_is_refused_at_once(tmp_path: Path) -> None:
    """Before anything is trained."""
    (tmp_path / "something").write_text("else")
    command = [sys.executable, "-m", "gateway.cli", "demo", "--exit", "--registry", str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert 5 == result.returncode
    assert "conflict: the directory holds 'something'" in result.stderr
    assert "Train" not in result.stdout


def test_the_champion_follows(tmp_path: Path) -> None:
    """From whatever it stood for to what this run trained, which may be a version of an earlier run; a rollout of that one is over."""
    store, summary = Store.create(tmp_path), {}
    table = Dataset({"x": np.arange(40, dtype=np.float32)}, np.arange(40) % 2)
    pipelines = [train.fit(table, seed=seed) for seed in (0, 1)]
    models = [(export(pipeline, table), table, np.zeros(40), pipeline, {}, table) for pipeline in pipelines]
    for trained, version in ((models[0], 1), (models[1], 2), (models[0], 1), (models[0], 1)):
        demo._publish(Silent(), summary, demo.Trained(*trained), store, Still())  # type: ignore[arg-type]
        assert ({"champion": version}, version) == (store.aliases("flights").all(), summary["version"])
    moves = [entry for entry in store.history("flights") if isinstance(entry, AliasMoved)]
    assert [(None, 1), (1, 2), (2, 1)] == [(entry.from_version, entry.to) for entry in moves]

    operations = Operations(store, now=float)
    left = operations.apply(msgspec.json.decode(demo_rollouts.plan(2), type=Plan), actor="demo").status
    demo._publish(Silent(), summary, demo.Trained(*models[0]), store, Still())  # type: ignore[arg-type]
    assert ("admitted", "aborted") == (left.phase, operations.status(left.id).phase)


class Silent:
    """A story that nobody listens to."""

    @contextmanager
    def step(self, title: str) -> Iterator[Callable[[str], None]]:
        yield lambda text: None


class Still:
    """A clock that goes on by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.at = 0.0

    def now(self) -> float:
        self.at += 1.0
        return self.at

    def wall(self) -> float:
        return 0.0


class Nobody:
    """A client whose server never is ready."""

    def wait_ready(self, _timeout_s: float, *, clock: object) -> bool:
        return False


def test_waiting_ends_with_the_child(tmp_path: Path) -> None:
    """A child that is gone will not become ready; one that hangs gets a minute."""
    with Child(["serve", "--repository", str(tmp_path), "--log-level", "nope"], log=tmp_path / "log") as child:
        child.wait(30)
        with pytest.raises(DemoError, match=r"(?s)ended with status 2; its last words:.*--log-level"):
            demo_server.wait_ready(child, Nobody(), Still())  # type: ignore[arg-type]


class Asked:
    """A client and a child process: each question has its answer, an error or rows; the child ends when all are answered."""

    def __init__(self, *answers: object) -> None:
        self._answers = list(answers)

    def call(self, _method: str, _path: str) -> Any:
        answer = self._answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return {"versions": answer}

    def wait(self, _timeout_s: float) -> int | None:
        return None if self._answers else 0


def evaluated(monkeypatch: pytest.MonkeyPatch, rows: int, *answers: object) -> dict[str, Any]:
    asked = Asked(*answers)
    monkeypatch.setattr(demo_server, "RestClient", lambda _http: asked)
    return demo_server.drift_of(Server(asked, "", "", "", "", asked), "1", rows, Still())  # type: ignore[arg-type]


def test_the_evaluation_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the process that does it begins, and until it has seen every row; not longer than the server lives."""
    begins = CallError(Code.UNAVAILABLE, "the evaluation of drift does not answer", status="HTTP 503")
    assert {"rows": 9, "state": "OK"} == evaluated(monkeypatch, 9, begins, [{"rows": 4}], [{"rows": 9, "state": "OK"}])
    with pytest.raises(DemoError, match="it has evaluated 10 rows, and 9 were sent"):
        evaluated(monkeypatch, 9, [{"rows": 10}], [])
    with pytest.raises(DemoError, match="it has evaluated 4 rows, and 9 were sent"):
        evaluated(monkeypatch, 9, [{"rows": 4}])
    with pytest.raises(DemoError, match=r"the server does not say what drifts: .*the evaluation of drift does not answer"):
        evaluated(monkeypatch, 9, [{"rows": 4}], begins)


def test_metrics_are_summed_over_their_series() -> None:
    """By name, and by label where that matters."""
    page = '# TYPE a_total counter\na_total{code="OK",m="x"} 2.0\na_total{code="INTERNAL"} 1.0\na_total_b 9.0\nb 4.0\n'
    assert (3.0, 2.0, 4.0, 0.0) == (
        demo._total(page, "a_total"),
        demo._total(page, "a_total", lambda labels: 'code="OK"' in labels),
        demo._total(page, "b"),
        demo._total(page, "c"),
    )
