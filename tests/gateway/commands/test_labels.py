"""`tidegate labels`: files of labels come in once, joins say what was found, and versions are judged by it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.commands.output import Exit
from registry.labels import LabelLog
from tests.gateway.commands.console import done, failed, parsed, run
from tests.retrain.served import commit_answers, request_id

T0, S = 1_700_000_000_000_000, 1_000_000
IDS = [request_id(number, T0) for number in range(8)]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Eight answers of version 1, and the shadow's of version 2, which is always wrong."""
    root = tmp_path / "log"
    rows: list[dict[str, Any]] = []
    for number, identity in enumerate(IDS):
        truth = number % 2
        same = {"request_id": identity, "ts": T0 + number * S, "client_request_id": f"c{number}"}
        rows.append(same | {"pred_class": truth, "score": 0.75 if truth else 0.25})
        rows.append(same | {"pred_class": 1 - truth, "score": 0.25 if truth else 0.75, "arm": "shadow", "version": 2})
    commit_answers(root, rows[:8])
    commit_answers(root, rows[8:])
    return root


def lines(path: Path, *items: dict[str, Any]) -> Path:
    """A file with one object a line."""
    path.write_text("\n".join(json.dumps(item) for item in items))
    return path


def truths(path: Path) -> Path:
    """What came true of the first six answers."""
    return lines(
        path, *({"label_id": f"l{n}", "client_request_id": f"c{n}", "value": n % 2, "event_ts": "2023-11-14T22:13:21Z"} for n in range(6))
    )


def test_a_file_comes_in_once(tmp_path: Path, log: Path) -> None:
    """The same file again is all duplicates, and the model of the command is that of its rows."""
    file = truths(tmp_path / "t.jsonl")
    assert {"accepted": 6, "duplicate": 0, "refused": 0, "reasons": []} == parsed("labels", "ingest", file, "--log", log, "--model", "m")
    assert "0 labels accepted, 6 duplicates, 0 refused\n" == done("labels", "ingest", file, "--log", log, "--model", "m")


def test_rows_that_are_no_labels_are_named(tmp_path: Path, log: Path) -> None:
    """Each with its number and reason; the others are stored, and the exit code says that not all were."""
    good = {"label_id": "l", "model": "m", "client_request_id": "c", "value": 1}
    file = lines(tmp_path / "t.jsonl", good, {"label_id": "x"}, good | {"label_id": "y", "request_id": "?"}, good | {"value": 0})
    file.write_text(file.read_text() + '\n{"a": 1}\nnot json\n')
    result = run("labels", "ingest", file, "--log", log, "--json")
    found = json.loads(result.stdout)
    assert (Exit.FAILED, 1, 5) == (result.exit_code, found["accepted"], found["refused"])
    assert [2, 3, 4, 5, 6] == [one["row"] for one in found["reasons"]]
    for reason, part in zip(found["reasons"], ("no model", "is no UUID", "another label", "no field of a label", "malformed"), strict=True):
        assert part in reason["reason"], reason


def test_csv_and_parquet_are_files_of_labels(tmp_path: Path, log: Path) -> None:
    """Columns are mapped, ids may be bytes or texts, an empty cell is nothing, and arrivals may be filled in later."""
    (tmp_path / "t.csv").write_text("key,label_id,value,extra,arrival_ts\nc0,a,0.5,x,2023-11-14T22:13:30Z\nc1,b,1,,2023-11-14T22:13:40Z\n")
    options = ("--log", log, "--model", "m", "--backfill", "--map", "client_request_id=key")
    failed(Exit.REGISTRY, "labels", "ingest", tmp_path / "t.csv", *options)
    assert 2 == parsed("labels", "ingest", tmp_path / "t.csv", *options, "--ignore", "extra")["accepted"]
    table = pa.table(
        {"label_id": ["c"], "request_id": pa.array([IDS[2]], pa.binary(16)), "value": [1], "event_ts": pa.array([T0], pa.timestamp("us"))}
    )
    parquet.write_table(table, tmp_path / "t.parquet")
    assert 1 == parsed("labels", "ingest", tmp_path / "t.parquet", "--log", log, "--model", "m")["accepted"]
    assert [2, 1] == [file.rows for file in LabelLog(log).files()]
    assert T0 + 10 * S == LabelLog(log).files()[0].min_ts


@pytest.mark.parametrize(
    ("name", "content", "options", "says"),
    [
        ("t.txt", "x", (), "ends in none of"),
        ("t.parquet", "x", (), "t.parquet: "),
        ("t.csv", "a,b\n1,2\n", (), "no field of a label"),
        ("t.csv", "label_id\nx\n", ("--map", "value=v"), "there is no column 'v'"),
        ("t.csv", "label_id\nx\n", ("--map", "valeu=label_id"), "'valeu' is no field of a label"),
    ],
)
def test_a_file_that_is_none_is_refused_whole(
    tmp_path: Path, log: Path, name: str, content: str, options: tuple[str, ...], says: str
) -> None:
    """With what is wrong with it."""
    (tmp_path / name).write_text(content)
    assert says in failed(Exit.REGISTRY, "labels", "ingest", tmp_path / name, "--log", log, *options)


def test_wrong_options_are_said(tmp_path: Path, log: Path) -> None:
    """A file that is not there, pairs, times and durations."""
    assert "No such file" in failed(Exit.USAGE, "labels", "ingest", tmp_path / "no.csv", "--log", log)
    file = truths(tmp_path / "t.jsonl")
    assert "expected FIELD=COLUMN" in failed(Exit.USAGE, "labels", "ingest", file, "--log", log, "--map", "x")
    assert "is no duration" in failed(Exit.USAGE, "labels", "status", "--log", log, "--model", "m", "--window", "soon")
    assert "is no time with a zone" in failed(Exit.USAGE, "labels", "status", "--log", log, "--model", "m", "--as-of", "2023-01-01")
    assert "has no answers" in failed(Exit.REGISTRY, "labels", "status", "--log", log, "--model", "other")


def test_versions_are_judged_by_what_came_true(tmp_path: Path, log: Path) -> None:
    """Stable and its shadow by the same labels, each figure between its bounds."""
    done("labels", "ingest", truths(tmp_path / "t.jsonl"), "--log", log, "--model", "m")
    found = parsed("labels", "status", "--log", log, "--model", "m")
    assert (16, 12, 0.75, 6) == (found["rows"], found["labelled"], found["match_rate"], found["matched"]["client"])
    figures = {(one["version"], one["arm"], one["metric"]): one for one in found["quality"]}
    assert (1.0, 0.0) == tuple(figures[arm, name, "accuracy"]["value"] for arm, name in ((1, "stable"), (2, "shadow")))
    assert (0.0625, 0.5625) == tuple(round(figures[arm, name, "brier"]["value"], 6) for arm, name in ((1, "stable"), (2, "shadow")))
    assert (1.0, 0.0) == tuple(figures[arm, name, "auc"]["value"] for arm, name in ((1, "stable"), (2, "shadow")))
    assert all(one["low"] <= one["value"] <= one["high"] for one in found["quality"])
    text = done("labels", "status", "--log", log, "--model", "m")
    assert "16 answers, 16 of them mature, 12 of these with a label (75.0%)" in text


def test_a_join_is_the_same_file_each_time(tmp_path: Path, log: Path) -> None:
    """With every column of the answers, and the labels beside them."""
    done("labels", "ingest", truths(tmp_path / "t.jsonl"), "--log", log, "--model", "m")
    for name in ("a", "b"):
        done("labels", "join", "--log", log, "--model", "m", "--as-of", "2100-01-01T00:00:00Z", "--out", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    rows = parquet.read_table(tmp_path / "a").to_pylist()
    assert [0.0, 0.0, 1.0, 1.0] == [row["label_value"] for row in rows[:4]]
    assert {"x": 1.0} == rows[0]["f"]
