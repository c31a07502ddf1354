"""A trigger becomes a version or a reason why not, once, whatever dies in between."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from registry import evidence
from registry.errors import Kind, RegistryError, refused
from registry.gc import collect
from registry.parts import read_parts
from registry.store import Store
from registry.trigger_entries import TriggerJournal
from registry.triggers import Trigger
from registry.verify import verify
from retrain import snapshot as snapshots
from retrain.desk import Desk, replay
from retrain.errors import RetrainError
from retrain.gate_settings import Budget, Change, Gates, Value
from retrain.job import Job
from retrain.planning import Data, Training
from retrain.validation import Limits
from tests.retrain.jobs import MODEL, StillClock, desk, drawn, proposed, wish, with_champion, written

pytestmark = pytest.mark.demo


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store.create(tmp_path / "registry")


@pytest.fixture
def trigger(store: Store) -> Trigger:
    return with_champion(store)


@pytest.fixture
def turned(tmp_path: Path) -> Path:
    """Rows that the champion does badly on."""
    return written(tmp_path / "rows.parquet", drawn(3_000, turned=True))


def states(journal: TriggerJournal) -> list[str]:
    return [entry.state for entry in journal.entries]


def blob(store: Store, journal: TriggerJournal, name: str) -> Any:
    return msgspec.json.decode(store.read_blob(journal.detail(name)))


def test_a_better_candidate_is_published_with_all_that_belongs_to_it(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """Profile, golden requests, card, record, evidence; the alias stays where it is, and the dataset's digest leads to its description."""
    journal = desk(store, tmp_path).perform(trigger, wish(turned), base="champion")
    assert ["accepted", "running", "published"] == states(journal)
    assert (2, 1) == (journal.detail("version"), store.resolve(MODEL, "champion"))
    assert store.record(MODEL, 2).publish_id == trigger.id
    parts = read_parts(store.manifest(MODEL, 2), store.read_blob)
    record = parts.training
    assert record is not None
    assert parts.golden is not None
    assert parts.profile is not None
    assert (trigger.id, 1, 3, 3_000) == (record.trigger, record.base_version, record.seed, record.dataset_rows)
    assert snapshots.decode(store.read_blob(record.dataset_digest or "")).digest == record.dataset_digest == journal.detail("dataset")
    assert record.metrics["holdout"]["auc"] > record.metrics["holdout, champion"]["auc"] + 0.1
    assert store.manifest(MODEL, 2).model.digest == journal.detail("model_digest")
    assert {"sklearn", "scikit-learn"} & record.versions.keys()
    assert f"Trigger `{trigger.id}`" in (parts.card or "")
    assert "> A model." in (parts.card or "")
    assert parts.schema == read_parts(store.manifest(MODEL, 1), store.read_blob).schema
    assert ["validation", "parity", "challenger", "budget", "golden"] == [gate["name"] for gate in blob(store, journal, "gates")]
    content = store.read_blob(journal.detail("evaluation"))
    assert "eval" == evidence.proves(content, manifest=journal.detail("manifest"))
    assert [] == verify(store)
    collect(store, actor="ann", now_s=4e9, dry_run=False)
    assert blob(store, journal, "report")["rows"] == 3_000


def test_doing_it_again_finds_what_came_of_it(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """Nothing is trained and nothing is written."""
    first = desk(store, tmp_path).perform(trigger, wish(turned))
    assert first == desk(store, tmp_path, holder="job-2").perform(trigger, None)
    assert [1, 2] == store.versions(MODEL)


def test_a_job_that_died_after_publishing_leaves_one_version(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one finds it by its publish id, and says so."""

    def dies(*_: object) -> TriggerJournal:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Desk, "_published", dies)
        with pytest.raises(KeyboardInterrupt):
            desk(store, tmp_path).perform(trigger, wish(turned))
    assert ["accepted", "running"] == states(store.triggers.journal(MODEL, trigger.id))
    journal = desk(store, tmp_path, holder="job-2").perform(trigger, None, base="champion")
    assert ["accepted", "running", "running", "published"] == states(journal)
    assert (2, [1, 2]) == (journal.detail("version"), store.versions(MODEL))


def test_a_job_that_died_before_is_done_by_the_next_one_as_it_was_accepted(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever that one would have asked for."""

    def dies(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        broken.setattr(Job, "run", dies)
        with pytest.raises(KeyboardInterrupt):
            desk(store, tmp_path).perform(trigger, wish(turned))
    other = wish(turned, training=Training(seed=99))
    journal = desk(store, tmp_path, holder="job-2").perform(trigger, other)
    assert "published" == journal.state
    record = read_parts(store.manifest(MODEL, 2), store.read_blob).training
    assert record is not None
    assert 3 == record.seed


REFUSED: dict[str, tuple[Gates, str]] = {
    "validation": (Gates(validation=Limits(min_rows=4_000)), "validation: 3,000 of 3,000 rows have a label"),
    "parity": (Gates(parity=1e-12), "parity: on 600 rows"),
    "challenger": (Gates(values=(Value(metric="auc", at_least=0.99),)), "challenger: auc is 0."),
    "budget": (Gates(budget=Budget(size_bytes=10)), "budget: size is "),
}


@pytest.mark.parametrize("gate", sorted(REFUSED))
def test_what_does_not_pass_a_gate_is_refused_with_its_reason(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, gate: str
) -> None:
    """The gates before it are kept, and nothing is published."""
    gates, reason = REFUSED[gate]
    journal = desk(store, tmp_path).perform(trigger, wish(turned, gates=gates))
    assert ("rejected", gate) == (journal.state, journal.detail("gate"))
    assert journal.last is not None
    assert journal.last.reason.startswith(reason)
    assert gate == blob(store, journal, "gates")[-1]["name"]
    assert [1] == store.versions(MODEL)


def test_no_better_than_the_champion_is_not_enough_where_an_improvement_is_asked_for(
    store: Store, trigger: Trigger, tmp_path: Path
) -> None:
    """The champion's own kind of rows: the candidate is as good, and that is said with figures."""
    rows = written(tmp_path / "rows.parquet", drawn(3_000))
    better = Gates(changes=(Change(metric="auc", tolerance=-0.01),))
    journal = desk(store, tmp_path).perform(trigger, wish(rows, gates=better))
    assert journal.last is not None
    assert "rejected" == journal.state
    assert "where better by 0.01 is asked for" in journal.last.reason


def test_the_trial_of_the_registry_has_the_last_word(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """It asks the golden requests in a process of its own; what it refuses is a refusal of that gate."""

    def refuses(*_: object) -> None:
        raise refused("golden request 3 differs")

    journal = desk(store, tmp_path, trial=refuses).perform(trigger, wish(turned))
    assert ("rejected", "golden", [1]) == (journal.state, journal.detail("gate"), store.versions(MODEL))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"training": Training(parameters={"recipe": "logistic", "inverse_penalty": -1.0})}, "cannot be fitted"),
        (
            {"training": Training(entry_point="tests.retrain.entries:raises")},
            "tests.retrain.entries:raises failed: ValueError: no such luck",
        ),
        ({"training": Training(entry_point="tests.retrain.entries:nothing")}, "gave a NoneType, which has no predict"),
    ],
)
def test_a_training_that_fails_says_why(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    """As an entry, not as an exception; the next trigger is not hindered."""
    journal = desk(store, tmp_path).perform(trigger, wish(turned, **changes))
    assert journal.last is not None
    assert "failed" == journal.state
    assert text in journal.last.reason
    second = proposed(store, rule="age")
    assert "published" == desk(store, tmp_path, holder="job-2").perform(second, wish(turned)).state


def test_an_entry_point_trains(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """It gets rows as a whole and in pieces, the parameters and the seed."""
    training = Training(entry_point="tests.retrain.entries:train", parameters={"penalty": 2.0}, seed=5)
    journal = desk(store, tmp_path).perform(trigger, wish(turned, training=training))
    assert "published" == journal.state
    record = read_parts(store.manifest(MODEL, 2), store.read_blob).training
    assert record is not None
    assert ("tests.retrain.entries:train", {"penalty": 2.0}, 5) == (record.entry_point, record.parameters, record.seed)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"data": Data(rows=("nowhere.parquet",))}, "nowhere.parquet: No such file or directory"),
        ({"data": Data(rows=())}, "there are 0 files of rows"),
        ({"data": Data(rows=("no*thing.parquet",))}, "no*thing.parquet: no such file"),
        ({"training": Training(entry_point="nowhere")}, "'nowhere' is no entry point"),
        ({"training": Training(entry_point="nowhere:train")}, "the module of entry point 'nowhere:train' cannot be imported"),
        ({"training": Training(entry_point="math:train")}, "the module of entry point 'math:train' has no 'train'"),
        ({"training": Training(lock="nowhere.lock")}, "nowhere.lock: there is no such lock file"),
        (
            {"gates": Gates(slices=msgspec.convert({"columns": ["y"]}, type(Gates().slices)))},
            "slices of 'y': the model has no such input; it has",
        ),
    ],
)
def test_wishes_that_cannot_be_understood(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, changes: dict[str, Any], text: str
) -> None:
    """Nothing is written, so that they can be mended, and the model is free for others."""
    with pytest.raises(RetrainError) as caught:
        desk(store, tmp_path).perform(trigger, wish(turned, **changes))
    assert text in str(caught.value)
    assert "proposed" == store.triggers.journal(MODEL, trigger.id).state
    assert "published" == desk(store, tmp_path, holder="job-2").perform(trigger, wish(turned)).state


def test_a_model_has_one_job_at_a_time(store: Store, trigger: Trigger, turned: Path, tmp_path: Path, kind_of: Callable[..., str]) -> None:
    """Another trigger waits; one that nobody accepted cannot be done without a wish."""
    other = proposed(store, rule="age")
    store.triggers.claim(MODEL, other.id, holder="job-9", now_s=StillClock().wall(), ttl_s=60)
    text = kind_of(lambda: desk(store, tmp_path).perform(trigger, wish(turned)))
    assert text.startswith(f"conflict: model 'm' has another job: job-9 has trigger {other.id} until ")
    later = desk(store, tmp_path, clock=StillClock(StillClock().wall() + 61))
    with pytest.raises(RetrainError, match="has not been accepted"):
        later.perform(trigger, None)
    assert "published" == later.perform(trigger, wish(turned)).state


def test_a_job_that_was_overtaken_publishes_nothing(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind_of: Callable[..., str]
) -> None:
    """Its claim ran out while it trained, and another one has taken over."""
    clock, real = StillClock(), Job.run

    def slowly(job: Job, found: Any) -> Any:
        done = real(job, found)
        clock.wall_s += 120
        store.triggers.claim(MODEL, trigger.id, holder="job-2", now_s=clock.wall_s, ttl_s=60)
        return done

    monkeypatch.setattr(Job, "run", slowly)
    assert kind_of(lambda: desk(store, tmp_path, clock=clock).perform(trigger, wish(turned))).startswith("conflict: ")
    assert (["accepted", "running"], [1]) == (states(store.triggers.journal(MODEL, trigger.id)), store.versions(MODEL))


def test_a_version_that_no_longer_serves_is_not_replaced(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """The alias has moved since the trigger was written."""
    desk(store, tmp_path).perform(proposed(store, rule="age"), wish(turned))
    store.aliases(MODEL).move("champion", to=2, expected_from=1, actor="ann", reason="", now_s=2e9)
    journal = desk(store, tmp_path).perform(trigger, wish(turned), base="champion")
    assert journal.last is not None
    assert ("expired", "'champion' stands for version 2 by now, not for 1") == (journal.state, journal.last.reason)


@pytest.mark.parametrize("fails", [False, True])
def test_a_rollout_begins_with_the_new_version(store: Store, trigger: Trigger, turned: Path, tmp_path: Path, *, fails: bool) -> None:
    """One that cannot begin is said; the version is there all the same."""

    def begins(version: int) -> str:
        if fails:
            raise RegistryError(Kind.CONFLICT, "another one is open")
        return f"m-{version}"

    journal = desk(store, tmp_path).perform(trigger, wish(turned), rollout=begins)
    assert "published" == journal.state
    assert (None, "another one is open") if fails else ("m-2", None) == (journal.detail("rollout"), journal.detail("rollout_error"))


def test_a_replay_gives_the_same_dataset_and_the_same_model(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """To the digest, also where the file has another name by now; and publishes nothing."""
    worker = desk(store, tmp_path)
    journal = worker.perform(trigger, wish(turned, training=Training(parameters={"recipe": "gradient_boosting", "trees": 8}, seed=11)))
    moved = turned.rename(tmp_path / "moved.parquet")
    found = replay(worker, trigger, paths=(moved,), lock_digest=worker.spec(journal.detail("spec")).lock_digest)
    assert (True, True, True, True, "passed") == (found.dataset, found.splits, found.model, found.lock, found.outcome)
    assert found.same
    assert [1, 2] == store.versions(MODEL)


def test_a_replay_tells_what_is_not_as_it_was(
    store: Store, trigger: Trigger, turned: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another seed gives another model; other rows are refused before anything is trained."""
    worker = desk(store, tmp_path)
    with pytest.raises(RetrainError, match="never accepted"):
        replay(worker, trigger)
    given = Training(parameters={"recipe": "gradient_boosting", "trees": 8}, seed=11)
    journal = worker.perform(trigger, wish(turned, training=given))
    real = Desk.spec
    with monkeypatch.context() as other:
        other.setattr(Desk, "spec", lambda self, digest: msgspec.structs.replace(real(self, digest), seed=12))
        found = replay(worker, trigger)
    assert (True, True, False, False) == (found.dataset, found.splits, found.model, found.same)
    assert found.expected_model_digest == journal.detail("model_digest")
    written(turned, drawn(3_000, seed=1, turned=True))
    with pytest.raises(RetrainError, match=r"rows.parquet is not what the job was given: sha256:\w+ instead of sha256:"):
        replay(worker, trigger)


def test_a_replay_of_a_refusal_is_refused_again(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """With the same words."""
    worker = desk(store, tmp_path)
    journal = worker.perform(trigger, wish(turned, gates=REFUSED["challenger"][0]))
    found = replay(worker, trigger)
    assert journal.last is not None
    assert ("rejected", journal.last.reason, True) == (found.outcome, found.reason, found.model)


def test_nothing_that_came_later_is_in_the_data(store: Store, trigger: Trigger, tmp_path: Path) -> None:
    """Neither rows nor labels; the days limit the other end."""
    rows = drawn(3_000, turned=True)
    assert rows.times_s is not None
    delayed = (rows.times_s + 5 * 86_400) * 1e6
    path = written(tmp_path / "rows.parquet", rows, came=delayed.astype("datetime64[us]"))
    data = Data(rows=(str(path),), label="late", time="at", arrival="came", days=20)
    as_of_s = rows.times_s[0] + 30 * 86_400
    journal = desk(store, tmp_path).perform(trigger, wish(path, data=data), as_of_s=as_of_s)
    expected = int(np.sum((rows.times_s + 5 * 86_400 <= as_of_s) & (rows.times_s >= as_of_s - 20 * 86_400)))
    assert expected == blob(store, journal, "report")["rows"]


def test_a_claim_is_given_back(store: Store, trigger: Trigger, turned: Path, tmp_path: Path) -> None:
    """After the end, at once."""
    desk(store, tmp_path).perform(trigger, wish(turned))
    other = proposed(store, rule="age")
    assert store.triggers.claim(MODEL, other.id, holder="job-2", now_s=StillClock().wall(), ttl_s=60) is not None
