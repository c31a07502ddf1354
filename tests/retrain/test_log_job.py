"""A job on the inference log: answers with the labels that had come, as of two commits, and the same again after a merge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gateway.commands.output import Exit
from registry.label import Label
from registry.labels import LabelLog, Labels
from registry.store import Store
from registry.triggers import Trigger
from retrain import snapshot as snapshots
from retrain.deciding import decide
from retrain.desk import replay
from retrain.errors import RetrainError
from retrain.log_source import answer_chain, drop_share, files_at, label_chain
from retrain.planning import Data
from retrain.policy import policy_of
from retrain.situation import situation
from retrain.snapshot import Join
from tests.gateway.commands.console import failed, parsed
from tests.retrain import served
from tests.retrain.jobs import DAY_S, MODEL, START_S, desk, drawn, wish, with_champion

pytestmark = pytest.mark.demo
FIELDS = pa.struct([("x", pa.float32()), ("t", pa.string())])
ROWS = 2_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "registry")


@pytest.fixture
def trigger(store: Store) -> Trigger:
    return with_champion(store)


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """As `logged`."""
    return logged(tmp_path, monkeypatch)


def logged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty days in two files; a label comes five days after its answer, and some never."""
    place = served.SCHEMA.get_field_index("f")
    monkeypatch.setattr(served, "SCHEMA", served.SCHEMA.set(place, pa.field("f", FIELDS)))
    rows = drawn(ROWS, turned=True)
    assert rows.times_s is not None
    at = (rows.times_s * 1e6).astype(np.int64).tolist()
    ids = [served.request_id(number, at[number]) for number in range(ROWS)]
    values = zip(rows.columns["x"].tolist(), rows.columns["t"].tolist(), strict=True)
    answers = [{"request_id": ids[n], "ts": at[n], "model": MODEL, "f": {"x": x, "t": t}} for n, (x, t) in enumerate(values)]
    for half in (answers[: ROWS // 2], answers[ROWS // 2 :]):
        served.commit_answers(tmp_path / "log", half, model=MODEL)
    late = 5 * DAY_S * 1e6
    labels = [
        Label(label_id=f"l{n}", model=MODEL, request_id=ids[n], value=float(rows.labels[n]), event_us=at[n], arrival_us=int(at[n] + late))
        for n in range(ROWS)
        if n % 10
    ]
    Labels(tmp_path / "log").ingest(labels, now_us=int(at[-1] + 2 * late))
    return tmp_path / "log"


def test_a_log_is_trained_on_with_what_had_come(store: Store, trigger: Trigger, log: Path, tmp_path: Path) -> None:
    """Labels that came later are not in it; what came into the log since changes nothing of a replay, nor does a merge of its files."""
    worker, data = desk(store, tmp_path), Data(log=str(log))
    as_of_s = START_S + 30 * DAY_S
    journal = worker.perform(trigger, wish(log, data=data), as_of_s=as_of_s)
    assert journal.last is not None
    assert "published" == journal.state, journal.last.reason
    snapshot = snapshots.decode(store.read_blob(journal.detail("dataset")))
    assert snapshot.log_commits is not None
    assert snapshot.label_commits is not None
    assert ("log", 2, 1) == (snapshot.kind, snapshot.log_commits.seq, snapshot.label_commits.seq)
    times = np.asarray(drawn(ROWS).times_s)
    known = int(np.sum((times + 5 * DAY_S <= as_of_s) & (np.arange(ROWS) % 10 > 0)))
    assert known == sum(journal.detail("split_rows").values())
    early = {
        "request_id": served.request_id(9_999, int(START_S * 1e6)),
        "ts": int(START_S * 1e6),
        "model": MODEL,
        "f": {"x": 9.0, "t": "a"},
    }
    served.commit_answers(log, [early], model=MODEL)
    assert replay(worker, trigger).same
    assert 2 == len(files_at(answer_chain(log), 2, MODEL))


def test_files_that_were_merged_since_stand_for_those_before(log: Path) -> None:
    """And what was committed later does not count."""
    before = files_at(answer_chain(log), 2)
    one = {"request_id": served.request_id(7, int(START_S * 1e6)), "ts": int(START_S * 1e6), "model": MODEL, "f": {"x": 0.0, "t": "a"}}
    served.commit_answers(log, [one], model=MODEL)
    assert before == files_at(answer_chain(log), 2)
    merged = served.commit_answers(log, [one], model=MODEL, removed=before)
    assert [str(merged.relative_to(log))] == files_at(answer_chain(log), 2)
    assert [] == files_at(answer_chain(log), 2, "other")
    assert sorted(file.path for file in LabelLog(log).files()) == files_at(label_chain(log), 1)
    assert [] == files_at(label_chain(log), 0)


def test_labels_may_be_immature_or_stand_for_themselves(store: Store, trigger: Trigger, log: Path, tmp_path: Path) -> None:
    """Rows that are too young are left out; with `negative_after_s` a row without a label is a no."""
    join = Join(mature_after_s=10 * DAY_S, negative_after_s=10 * DAY_S)
    journal = desk(store, tmp_path).perform(trigger, wish(log, data=Data(log=str(log), join=join)), as_of_s=START_S + 40 * DAY_S)
    times = np.asarray(drawn(ROWS).times_s)
    assert int(np.sum(times <= START_S + 30 * DAY_S)) == sum(journal.detail("split_rows").values())


def test_a_history_that_is_served_later_is_as_old_as_its_events(store: Store, trigger: Trigger, log: Path, tmp_path: Path) -> None:
    """Rows asked long after the moment of the job are of the days on which things happened, with the labels that had come by then."""
    ids = [served.request_id(number, 0) for number in range(ROWS)]
    rows, later = drawn(ROWS, turned=True), int((START_S + 900 * DAY_S) * 1e6)
    values = zip(rows.columns["x"].tolist(), rows.columns["t"].tolist(), strict=True)
    answers = [{"request_id": ids[n], "ts": later, "model": MODEL, "f": {"x": x, "t": t}} for n, (x, t) in enumerate(values)]
    served.commit_answers(tmp_path / "later", answers, model=MODEL)
    at = (np.asarray(rows.times_s) * 1e6).astype(np.int64).tolist()
    late = int(5 * DAY_S * 1e6)
    labels = [
        Label(label_id=f"l{n}", model=MODEL, request_id=ids[n], value=float(rows.labels[n]), event_us=at[n], arrival_us=at[n] + late)
        for n in range(ROWS)
    ]
    Labels(tmp_path / "later").ingest(labels, now_us=later)
    data, as_of_s = Data(log=str(tmp_path / "later"), days=28, join=Join(time="event")), START_S + 30 * DAY_S
    journal = desk(store, tmp_path).perform(trigger, wish(log, data=data), as_of_s=as_of_s)
    assert journal.last is not None
    assert "published" == journal.state, journal.last.reason
    times = np.asarray(rows.times_s)
    assert int(np.sum((times + 5 * DAY_S <= as_of_s) & (times >= as_of_s - 28 * DAY_S))) == sum(journal.detail("split_rows").values())
    with pytest.raises(ValueError, match="a row without a label has no event"):
        Join(time="event", negative_after_s=1.0)


def test_what_is_no_log_or_too_much(store: Store, trigger: Trigger, log: Path, tmp_path: Path) -> None:
    """Said before anything is written."""
    for data, text in (
        (Data(log=str(tmp_path)), "is no inference log"),
        (Data(log=str(log), rows=("x.parquet",)), "rows come from files or from a log, not from both"),
        (Data(log=str(log), time="at"), "a log has times, weights and arrivals of its own"),
    ):
        with pytest.raises(RetrainError, match=text):
            desk(store, tmp_path).perform(trigger, wish(log, data=data))


def test_the_rows_of_a_log_are_validated_without_a_job(store: Store, trigger: Trigger, log: Path, tmp_path: Path) -> None:
    """As a job would see them now: answers with the labels that have come."""
    found = parsed("retrain", "validate", MODEL, "-r", tmp_path / "registry", "--log", log)
    assert ("ok", ROWS, ROWS - ROWS // 10) == (found["level"], found["rows"], found["labelled"])
    assert "is no inference log" in failed(Exit.USAGE, "retrain", "validate", MODEL, "-r", tmp_path / "registry", "--log", tmp_path)
    assert [trigger.id] == store.triggers.ids(MODEL)


def test_a_log_that_lost_rows_holds_a_job_back(store: Store, trigger: Trigger, log: Path) -> None:
    """What was lost of the rows that the version has not seen, by the commits that say so; shadows are copies."""
    now_s = START_S + 39 * DAY_S
    path = log / "_commits" / "00000002.json"
    commit = json.loads(path.read_text())

    def told(accepted: int, arm: str, dropped: int) -> None:
        commit["accepted"], commit["dropped"] = {MODEL: {arm: accepted}, "other": {arm: 10}}, {MODEL: {arm: {"queue_full": dropped}}}
        path.write_text(json.dumps(commit))

    def drops() -> float | None:
        return situation(store, policy, now_s=now_s).drops

    rule = {"kind": "age", "older_than": "1d"}
    plain = {"apiVersion": "tidegate/v1", "kind": "Retraining", "model": MODEL, "data": {"log": str(log)}, "when": {"rules": [rule]}}
    policy = policy_of(plain, source="policy.yaml")
    assert 0.0 == drops()
    told(2_000, "stable", 500)
    assert 500 / 3_000 == drops()
    held = [one for one in decide(policy, situation(store, policy, now_s=now_s)) if one.what == "wait"]
    assert "16.67% of the latest rows were lost by the log, more than 0.50%" in held[0].reason
    assert 500 / 2_000 == drop_share(log, MODEL, since_us=commit["created"])
    assert drop_share(log, MODEL, since_us=commit["created"] + 1) is None
    told(2_000, "shadow", 500)
    assert 0.0 == drops()
    with pytest.raises(RetrainError, match="is no inference log"):
        drop_share(log / "_commits", MODEL, since_us=0)
