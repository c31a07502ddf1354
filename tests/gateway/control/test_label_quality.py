"""Versions are judged as the log and its labels grow, and only those that serve are shown."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from gateway.config import Config, Repository
from gateway.control.label_quality import Families, Quality
from gateway.label_settings import Labels as LabelSettings
from gateway.label_settings import ModelLabels
from gateway.model_settings import ModelSettings
from registry.label import Label
from registry.labels import Labels
from tests.retrain.served import commit_answers, request_id

T0, S = 1_700_000_000_000_000, 1_000_000
NOW = T0 + 100 * S
IDS = [request_id(number, T0) for number in range(20)]


@pytest.fixture
def quality(tmp_path: Path) -> Quality:
    """With model m, whose answers wait an hour."""
    config = Config(
        repository=Repository(path=tmp_path), labels=LabelSettings(enabled=True, directory=tmp_path / "log"),
        models={"m": ModelSettings(labels=ModelLabels(wait_s=3_600.0))},
    )  # fmt: skip
    made = Quality(config, tmp_path / "log")
    made.serving = frozenset({("m", 1), ("m", 2)})
    return made


def answers(log: Path, numbers: range, **more: Any) -> None:
    """Answers of version 1, right where their number is even, and the shadow's, which is always right."""
    rows = []
    for number in numbers:
        same = {"request_id": IDS[number], "ts": T0 + number * S, "client_request_id": f"c{number}"} | more
        rows.append(same | {"pred_class": number % 4 // 2 if number % 2 == 0 else 9, "score": 0.5})
        rows.append(same | {"pred_class": number % 4 // 2, "score": 0.5, "arm": "shadow", "version": 2})
    commit_answers(log, rows)


def truths(log: Path, numbers: range, *, by_client: bool = False) -> None:
    """What came true."""
    Labels(log).ingest(
        [
            Label(
                label_id=f"l{number}", model="m", value=float(number % 4 // 2), client_request_id=f"c{number}" if by_client else None,
                request_id=None if by_client else IDS[number],
            )
            for number in numbers
        ],
        NOW,
    )  # fmt: skip


def shown(families: Families, name: str) -> dict[tuple[str, ...], float]:
    return dict(families[name])


def test_figures_follow_the_log_and_its_labels(tmp_path: Path, quality: Quality) -> None:
    """Labels may come before the answers are in the log; another look counts nothing twice."""
    log = tmp_path / "log"
    answers(log, range(4))
    truths(log, range(8))
    truths(log, range(8, 20), by_client=True)
    quality.look(NOW)
    answers(log, range(4, 20))
    for _ in range(2):
        found = quality.look(NOW)
    accuracy = {key: value for key, value in shown(found, "tidegate_label_quality").items() if key[3] == "accuracy"}
    assert {("m", "1", "stable", "accuracy"): 0.5, ("m", "2", "shadow", "accuracy"): 1.0} == accuracy
    assert 20.0 == shown(found, "tidegate_label_answers_total")["m", "1", "stable", "labelled"]
    bounds = shown(found, "tidegate_label_quality_bound")
    assert bounds["m", "1", "stable", "accuracy", "low"] < 0.5 < bounds["m", "1", "stable", "accuracy", "high"] < 1.0
    assert {("m",): 1.0} == shown(found, "tidegate_label_sample_ratio")


def test_answers_without_labels_are_counted_in_the_end(tmp_path: Path, quality: Quality) -> None:
    """When they have waited."""
    answers(tmp_path / "log", range(3))
    assert [] == quality.look(NOW)["tidegate_label_answers_total"]
    found = shown(quality.look(NOW + 3_700 * S), "tidegate_label_answers_total")
    assert {("m", "1", "stable", "unlabelled"): 3.0, ("m", "2", "shadow", "unlabelled"): 3.0} == found


def test_what_does_not_serve_is_not_shown(tmp_path: Path, quality: Quality) -> None:
    """It is counted all the same."""
    answers(tmp_path / "log", range(3))
    truths(tmp_path / "log", range(3))
    quality.serving = frozenset({("m", 2)})
    assert {"2"} == {key[1] for key in shown(quality.look(NOW), "tidegate_label_quality")}
    assert [] == Quality(quality._config, tmp_path / "log").look(NOW)["tidegate_label_quality"]


def test_a_log_that_cannot_be_read_is_tried_again(tmp_path: Path, quality: Quality) -> None:
    """None at all, then a broken file, then what is there."""
    log = tmp_path / "log"
    assert [] == quality.look(NOW)["tidegate_label_quality"]
    truths(log, range(2))
    answers(log, range(2))
    (path,) = log.glob("model=m/*/*/*.parquet")
    whole = path.read_bytes()
    path.write_bytes(b"broken")
    assert [] == quality.look(NOW)["tidegate_label_quality"]
    path.write_bytes(whole)
    assert 2.0 == shown(quality.look(NOW), "tidegate_label_answers_total")["m", "1", "stable", "labelled"]
