"""Rows of the inference log with their labels, in the form of the join: the same rows as a plain file gives."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from retrain.engine import engine
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.log_source import LogRows
from retrain.snapshot import Snapshot, filter_of
from retrain.sources import RowsFiles
from retrain.table import Table
from tests.retrain.jobs import START_S, drawn, written

pytestmark = pytest.mark.demo
INPUTS = (Input("x", "number", missing=True), Input("t", "text", missing=False))


def joined(path: Path, rows: int = 600, **changes: Any) -> Path:
    """As the join writes them: every fourth row is a shadow's copy, every fifth has no label yet."""
    found = drawn(rows)
    moments = pa.array((np.asarray(found.times_s) * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC"))
    fields = pa.StructArray.from_arrays([pa.array(found.columns["x"]), pa.array(found.columns["t"].tolist())], ["x", "t"])
    ids = [uuid.UUID(int=n << 64).bytes for n in range(rows)]
    labels = [None if n % 5 == 0 else float(label) for n, label in enumerate(found.labels)]
    table = {
        "request_id": pa.array(ids, pa.binary(16)), "ts": moments, "row": pa.array(np.zeros(rows, np.int32)), "f": fields,
        "arm": pa.array(["shadow" if n % 4 == 0 else "stable" for n in range(rows)]).dictionary_encode(),
        "sampling_prob": pa.array(np.full(rows, 0.25, np.float32)), "label_value": pa.array(labels, pa.float64()),
        "label_weight": pa.array([None if label is None else 2.0 for label in labels], pa.float32()),
    }  # fmt: skip
    table |= changes
    parquet.write_table(pa.table({name: column for name, column in table.items() if column is not None}), path)
    return path


def snapshot(**changes: Any) -> Snapshot:
    columns = (("x", "number"), ("t", "text"))
    return Snapshot(**({"kind": "log", "model": "m", "columns": columns, "label": "label"} | changes))


def test_the_log_gives_what_a_file_gives(tmp_path: Path) -> None:
    """Labelled answers that callers got, in the order of time, weighed by how many requests each stands for."""
    rows = drawn(600)
    kept = np.array([n % 5 != 0 and n % 4 != 0 for n in range(600)])
    plain = RowsFiles((written(tmp_path / "rows.parquet", rows.take(kept)),))
    with engine() as connection:
        train, holdout = Table(connection, LogRows(joined(tmp_path / "log.parquet")), snapshot(weights="inverse_sampling"), INPUTS).split()
        found = [train.load(), holdout.load()]
        assert set(found[0].weights.tolist()) == {8.0}  # type: ignore[union-attr]
        other = Snapshot(kind="rows", model="m", columns=snapshot().columns, label="late", time="at", files=plain.files())
        expected = [part.load() for part in Table(connection, plain, other, INPUTS).split()]
    for log, file in zip(found, expected, strict=True):
        assert log.columns["x"].tolist() == file.columns["x"].tolist()
        assert log.columns["t"].tolist() == file.columns["t"].tolist()
        assert (log.labels == file.labels).all()
        assert np.array_equal(np.asarray(log.times_s), np.asarray(file.times_s))


def test_arms_are_as_asked_for_and_nothing_is_later(tmp_path: Path) -> None:
    """A filter that names arms counts in the place of the usual one."""
    source = LogRows(joined(tmp_path / "log.parquet"))
    until = datetime.fromtimestamp(START_S + 10 * 86_400, UTC)
    with engine() as connection:
        counts = [
            Table(connection, source, snapshot(**changes), INPUTS).rows()
            for changes in ({}, {"filters": (filter_of("arm=shadow"),)}, {"as_of": until}, {"since": until})
        ]
    assert 450 == counts[0] == counts[2] + counts[3] - (counts[2] + counts[3] > 450)
    assert 150 == counts[1]


def test_a_sample_of_the_log_depends_on_ids_and_the_seed(tmp_path: Path) -> None:
    """Not on the order in which the join wrote."""
    path = joined(tmp_path / "log.parquet")
    digests = []
    for reverse, seed in ((False, 1), (True, 1), (False, 2)):
        if reverse:
            table = parquet.read_table(path)
            parquet.write_table(table.take(list(range(table.num_rows))[::-1]), path)
        with engine() as connection:
            digests.append(Table(connection, LogRows(path), snapshot(max_rows=90, seed=seed), INPUTS).split()[0].load().digest)
    assert digests[0] == digests[1] != digests[2]


def test_a_file_that_is_no_joined_log(tmp_path: Path) -> None:
    """Named, with what it lacks."""
    source = LogRows(joined(tmp_path / "log.parquet", f=None))
    with engine() as connection, pytest.raises(RetrainError, match=r"log\.parquet: no rows of an inference log with labels: .* 'f'"):
        Table(connection, source, snapshot(), INPUTS)
