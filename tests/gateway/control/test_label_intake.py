"""Requests with labels become labels that are stored, together where they wait together, and answers of each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.control import label_intake
from gateway.control.label_intake import Intake
from gateway.control.label_messages import Ingest
from gateway.errors import Code
from gateway.pb import tidegate_pb2 as pb
from registry.errors import Kind, RegistryError
from registry.labels import LabelLog, Labels

NOW_US = 1_700_000_000_000_000
REQUEST = bytes(range(16))


def body(number: int, *items: dict[str, Any], **more: Any) -> Ingest:
    """A request in JSON."""
    return Ingest(number, json.dumps({"labels": items, **more}).encode(), False)


def item(name: str, **more: Any) -> dict[str, Any]:
    return {"label_id": name, "client_request_id": "c", "value": 1} | more


@pytest.fixture
def intake(tmp_path: Path) -> Intake:
    return Intake(tmp_path / "log", lambda: NOW_US)


def test_what_waits_together_is_one_commit(tmp_path: Path, intake: Intake) -> None:
    """Each request has its own answer, in its own form; a label that comes twice is stored once."""
    message = pb.LabelsRequest(
        model="m",
        labels=[pb.Label(label_id="a", value=1, client_request_id="c"), pb.Label(label_id="p", text="yes", request_id=REQUEST, event_us=5)],
    ).SerializeToString()
    answers = intake.keep([body(7, item("a"), item("b", model="n"), model="m"), Ingest(9, message, True)])
    assert [(7, 0), (9, 0)] == [(one.number, one.code) for one in answers]
    found = json.loads(answers[0].content)
    assert (2, 0, 0) == (found["accepted"], found["duplicates"], found["refused"])
    fates = pb.LabelsResponse.FromString(answers[1].content)
    assert (1, 1, ["duplicate", "accepted"]) == (fates.accepted, fates.duplicates, [one.status for one in fates.results])
    (commit,) = LabelLog(tmp_path / "log").commits()
    assert 3 == sum(file.rows for file in commit.files)


def test_what_is_no_label_is_refused_by_item(intake: Intake) -> None:
    """With its id where it has one; a request that is none is refused whole, and its neighbours are kept."""
    bad = [item("x", value="much"), item("y", event_ts="yesterday"), {"value": 1}, item("z", extra=1), item("good")]
    answers = intake.keep([body(1, *bad, model="m"), Ingest(2, b"{}", False), Ingest(3, b"\xff", True), body(4, item("other"), model="m")])
    results = json.loads(answers[0].content)["results"]
    assert [("x", "refused"), ("y", "refused"), ("", "refused"), ("z", "refused"), ("good", "accepted")] == [
        (one["label_id"], one["status"]) for one in results
    ]
    assert all(one["reason"] for one in results[:4])
    assert [Code.OK, Code.INVALID_ARGUMENT, Code.INVALID_ARGUMENT, Code.OK] == [Code(one.code) for one in answers]


def test_where_nothing_can_be_written_the_same_again_is_kept(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """UNAVAILABLE with the reason, then accepted."""

    def full(*_: object) -> object:
        raise RegistryError(Kind.STORAGE, "cannot write x: No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(Labels, "ingest", full)
        (answer,) = intake.keep([body(1, item("a"), model="m")])
        assert (Code.UNAVAILABLE, True) == (Code(answer.code), "No space left" in answer.text)
    assert 1 == json.loads(intake.keep([body(1, item("a"), model="m")])[0].content)["accepted"]
    intake.close()


def test_more_than_one_commit_holds_are_several(tmp_path: Path, intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """In order, each request whole."""
    monkeypatch.setattr(label_intake, "MAX_BATCH", 3)
    answers = intake.keep([body(number, item(f"{number}a"), item(f"{number}b"), model="m") for number in range(3)])
    assert [2, 2, 2] == [json.loads(one.content)["accepted"] for one in answers]
    assert 3 == len(list(LabelLog(tmp_path / "log").commits()))


def test_small_files_are_tidied(tmp_path: Path, intake: Intake) -> None:
    """Merged, without a change for who reads."""
    for number in range(17):
        intake.keep([body(1, item(str(number)), model="m")])
    intake.tidy()
    assert [17] == [file.rows for file in LabelLog(tmp_path / "log").files()]


def test_labels_are_counted_by_what_became_of_them(intake: Intake, monkeypatch: pytest.MonkeyPatch) -> None:
    """By model, where it serves; whoever makes up names does not make up series, nor memory."""
    monkeypatch.setattr(label_intake, "_MAX_COUNTED", 8)
    intake.keep([body(1, item("a"), item("b"), item("a", value=2), item("x", value="much"), model="m")])
    intake.keep([body(2, item("a"), model="m")])
    intake.keep([body(3, *[item(f"n{number}", model=f"other{number}") for number in range(20)])])
    (values,) = intake.families({"m"}).values()
    counts = dict(values)
    assert {("m", "accepted"): 2.0, ("m", "duplicate"): 1.0, ("m", "refused"): 1.0} == {key: counts[key] for key in counts if key[0] == "m"}
    assert {("_unknown", "accepted"): 20.0, ("_unknown", "refused"): 1.0} == {key: counts[key] for key in counts if key[0] != "m"}
    assert len(intake._counts) <= 8
