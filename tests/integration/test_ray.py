"""Retraining on a real Ray: the same digests as on one machine, whatever dies, and clear words where it cannot be done."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gateway.clock import SystemClock
from registry.parts import read_parts
from registry.store import Store
from registry.training import TrainingRecord
from registry.triggers import Trigger
from tests.e2e.server import free_ports
from tests.integration import ray_cluster
from tests.integration.ray_cluster import done, program, until, workers
from tests.retrain.jobs import DAY_S, MODEL, START_S, drawn, proposed, with_champion, written
from tests.retrain.test_log_job import logged
from tests.retrain.test_target import of_kind, put, saved

pytestmark = pytest.mark.timeout(900)
POLICY = """
apiVersion: tidegate/v1
kind: Retraining
model: m
data:
  rows: ["rows/*.parquet"]
  label: late
  time: at
  weight: w
  filters: [{{column: x, most: 2.5}}]
  gap_s: 3600
  max_rows: {max_rows}
training: {{seed: 3, parameters: {parameters}, entry_point: {entry}}}
gates: {{budget: {{size_ratio: null, latency_ratio: null}}, repeats: 60}}
"""
ENTRY = """
from joblib import Parallel, delayed
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import SGDClassifier
from sklearn.pipeline import make_pipeline
from sklearn.compose import make_column_transformer
from sklearn.preprocessing import OneHotEncoder
import os
import pandas as pd


def place(_):
    return os.getpid()


def forest(dataset, params):
    rows = dataset.load()
    found = set(Parallel(n_jobs=2)(delayed(place)(n) for n in range(8)))
    with open("places", "w") as file:
        file.write(f"{os.getpid()} {' '.join(map(str, found))}")
    columns = make_column_transformer(("passthrough", dataset.numbers), (OneHotEncoder(), dataset.texts))
    trees = RandomForestClassifier(n_estimators=params["trees"], max_depth=6, n_jobs=2, random_state=params["seed"])
    return make_pipeline(columns, trees).fit(pd.DataFrame(rows.columns), rows.labels)


def pieces(dataset, params):
    columns = make_column_transformer(("passthrough", dataset.numbers), (OneHotEncoder(), dataset.texts))
    columns.fit(pd.DataFrame(dataset.load().columns))
    linear = SGDClassifier(loss="log_loss", random_state=params["seed"])
    for rows in dataset.batches(700):
        linear.partial_fit(columns.transform(pd.DataFrame(rows.columns)), rows.labels, classes=[0, 1])
    return make_pipeline(columns, linear)
"""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One node with two cores."""
    with ray_cluster.head(tmp_path_factory.mktemp("ray"), cores=2) as address:
        yield address


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A registry with a champion and a trigger, three files of rows of which one has other types, and entry points."""
    with_champion(Store.create(tmp_path / "r"))
    rows = drawn(9_000, seed=1, turned=True)
    (tmp_path / "rows").mkdir()
    weights = (1.0 + rows.columns["x"] ** 2).astype("float32")
    parts = (slice(3_000, 9_000, 2), slice(0, 3_000), slice(3_001, 9_000, 2))
    for number, part in enumerate(parts):
        taken = weights[part] if number else weights[part].astype("float64")
        written(tmp_path / "rows" / f"{number}.parquet", rows.take(part), w=taken, extra=None)
    (tmp_path / "mine.py").write_text(ENTRY)
    return tmp_path


def policy(place: Path, *, entry: str = "null", max_rows: int = 100_000, **parameters: Any) -> Path:
    """A file of it."""
    path = place / "policy.yaml"
    path.write_text(POLICY.format(entry=entry, max_rows=max_rows, parameters=json.dumps(parameters)))
    return path


def trigger_of(place: Path) -> Trigger:
    (found,) = Store.open(place / "r").triggers.all(MODEL)
    return found


def retrain(place: Path, *words: object, code: int = 0) -> Any:
    """The document that it prints."""
    said, _ = done("retrain", "-r", place / "r", *words, "--json", folder=place, code=code)
    return json.loads(said)


def record_of(place: Path, version: int = 2) -> TrainingRecord:
    store = Store.open(place / "r")
    record = read_parts(store.manifest(MODEL, version), store.read_blob).training
    assert record is not None
    return record


SAME = {"same": True, "dataset": True, "splits": True, "model": True, "lock": True, "outcome": "passed"}


@pytest.mark.parametrize(
    ("asked", "sampled"),
    [({"recipe": "search"}, False), ({"entry": "mine:forest", "trees": 8}, False), ({"entry": "mine:pieces"}, True)],
    ids=["a search", "an entry point that uses joblib", "an entry point that reads pieces of more than a sample"],
)
def test_one_machine_and_a_cluster_make_the_same(cluster: str, place: Path, asked: dict[str, Any], sampled: bool) -> None:
    """Dataset, splits and model, to the byte: what a cluster published, one machine does again, and the cluster does that again."""
    given = ["--policy", policy(place, max_rows=2_000 if sampled else 100_000, **asked)]
    found = retrain(place, "--trigger", trigger_of(place).id, *given, "--engine", "ray", "--ray-address", cluster)
    assert ("published", 2) == (found["state"], found["version"]), found
    record = record_of(place)
    assert ("ray", 1, 2, 0) == tuple(record.engine[name] for name in ("name", "nodes", "cores", "retries"))
    if "forest" in asked.get("entry", ""):
        driver, *places = (place / "places").read_text().split()
        assert len(set(places)) >= 2
        assert driver not in places
    again = retrain(place, "--replay", trigger_of(place).id)
    assert again == again | SAME
    again = retrain(place, "--replay", trigger_of(place).id, "--engine", "ray", "--ray-address", cluster)
    assert again == again | SAME


@pytest.mark.parametrize("kind", ["class", "number"])
def test_labels_of_every_kind_go_to_the_cluster(cluster: str, tmp_path: Path, kind: str) -> None:
    """Counted, split, searched and fitted there as here."""
    trigger = put(Store.create(tmp_path / "r"), kind, tmp_path / "champion")
    saved(tmp_path / "rows.parquet", of_kind(kind, 1_500, seed=1, turned=True))
    words = ["--data", tmp_path / "rows.parquet", "--label", "late", "--time", "at", "--seed", 3, "--param", "recipe=search"]
    found = retrain(tmp_path, "--trigger", trigger.id, *words, "--engine", "ray", "--ray-address", cluster)
    assert "published" == found["state"], found["entries"][-1]["reason"]
    again = retrain(tmp_path, "--replay", trigger.id)
    assert again == again | SAME


def test_a_log_is_joined_here_and_spread_from_here(cluster: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows in the cluster's memory are those of one machine; what has no rows is said as there."""
    log = logged(place, monkeypatch)
    words = ["--trigger", trigger_of(place).id, "--log", log, "--seed", 3, "--min-rows", 500]
    assert "published" == retrain(place, *words)["state"]
    again = retrain(place, "--replay", trigger_of(place).id, "--engine", "ray", "--ray-address", cluster)
    assert again == again | SAME
    empty = written(place / "empty.parquet", drawn(10).take(slice(0, 0)))
    words = ["--model", MODEL, "--data", empty, "--label", "late", "--time", "at", "--engine", "ray", "--ray-address", cluster]
    found = retrain(place, *words, code=1)
    assert ("rejected", "validation: 0 of 0 rows have a label") == (found["state"], found["entries"][-1]["reason"].partition(" (and")[0])


def test_a_worker_that_dies_is_made_up_for_and_the_record_says_so(cluster: str, place: Path) -> None:
    """SIGKILL in the middle of the fit; the model is the one that it would have been."""
    given = ["--policy", policy(place, recipe="gradient_boosting", trees=400, depth=4), "--engine", "ray", "--ray-address", cluster]
    words = ["retrain", "-r", place / "r", "--trigger", trigger_of(place).id, *given, "--json"]
    with program(*words, folder=place) as child:
        until(lambda: workers("fit gradient"), child)
        os.kill(workers("fit gradient")[0], signal.SIGKILL)
        said, complained = child.communicate(timeout=ray_cluster.PATIENCE_S)
    assert 0 == child.returncode, complained
    assert "{" == said[:1], said[:400]
    assert "published" == json.loads(said)["state"]
    assert 1 == record_of(place).engine["retries"]
    again = retrain(place, "--replay", trigger_of(place).id)
    assert again == again | SAME


def test_ctrl_c_ends_what_runs_and_gives_the_trigger_back(cluster: str, place: Path) -> None:
    """No task is left on the cluster, no claim in the registry, and the next job takes up what was accepted."""
    given = ["--policy", policy(place, recipe="gradient_boosting", trees=100_000), "--engine", "ray", "--ray-address", cluster]
    trigger = trigger_of(place)
    with program("retrain", "-r", place / "r", "--trigger", trigger.id, *given, folder=place) as child:
        until(lambda: workers("fit gradient"), child)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=60)
        assert 130 == child.returncode
    until(lambda: not workers("fit gradient"))
    triggers = Store.open(place / "r").triggers
    held = triggers.claimed(MODEL)
    assert held is not None
    assert ("running", True) == (triggers.journal(MODEL, trigger.id).state, held.expires.timestamp() <= SystemClock().wall())
    found = retrain(place, "--trigger", trigger.id, "--engine", "ray", "--ray-address", cluster, "--time-limit", 5, code=1)
    assert "failed" == found["state"]
    assert "reading and training took longer than 5 s" in found["entries"][-1]["reason"]


def test_a_cluster_that_nobody_answers_for_is_unavailable(place: Path) -> None:
    """In seconds, with its address; the trigger is as it was."""
    address = f"127.0.0.1:{free_ports()[0]}"
    trigger = trigger_of(place)
    words = ["retrain", "-r", place / "r", "--trigger", trigger.id, "--policy", policy(place), "--engine", "ray"]
    _, complained = done(*words, "--ray-address", address, folder=place, code=3)
    assert f"UNAVAILABLE: no Ray cluster answers at {address}" in complained
    triggers = Store.open(place / "r").triggers
    assert ("proposed", None) == (triggers.journal(MODEL, trigger.id).state, triggers.claimed(MODEL))
    _, complained = done(*words, "--ray-address", "ray://127.0.0.1:10001", folder=place, code=2)
    assert "ray job submit" in complained


def test_a_node_with_other_packages_is_refused_by_name(cluster: str, place: Path, tmp_path: Path) -> None:
    """Nothing is trained there, and nothing is said of the trigger."""
    folder = tmp_path / "packages" / "scikit_learn-0.1.dist-info"
    folder.mkdir(parents=True)
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: scikit-learn\nVersion: 0.1\n")
    trigger = trigger_of(place)
    words = ["retrain", "-r", place / "r", "--trigger", trigger.id, "--policy", policy(place), "--engine", "ray", "--ray-address", cluster]
    with ray_cluster.node(tmp_path, cluster, cores=1, packages=tmp_path / "packages"):
        _, complained = done(*words, folder=place, code=2)
    assert re.search(
        r"FAILED_PRECONDITION: node \S+ would train another model: it has scikit-learn 0\.1, where this machine has", complained
    )
    assert f"trigger {trigger.id} waits for the next job" in complained


def test_a_file_that_is_not_there_on_the_cluster_has_failed(cluster: str, place: Path) -> None:
    """A job that was accepted, whose rows were changed meanwhile: refused where they are read."""
    store = Store.open(place / "r")
    trigger = proposed(store, rule="late", now_s=START_S + 60 * DAY_S)
    given = ["--trigger", trigger.id, "--policy", policy(place, recipe="logistic")]
    assert "published" == retrain(place, *given)["state"]
    written(place / "rows" / "0.parquet", drawn(50))
    _, complained = done(
        "retrain", "-r", place / "r", "--replay", trigger.id, "--engine", "ray", "--ray-address", cluster, folder=place, code=2
    )
    assert "0.parquet is not what the job was given" in complained
