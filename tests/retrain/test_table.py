"""Rows of a snapshot: filtered, split by time, sampled, and the same whatever they lie in. Held against pandas."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry.schema import Field, Schema
from retrain.engine import Connection, engine
from retrain.errors import RetrainError
from retrain.inputs import Input, inputs_of
from retrain.snapshot import Filter, Snapshot, decode, encode, filter_of
from retrain.sources import RowsFiles
from retrain.table import Table

pytestmark = pytest.mark.demo

INPUTS = (Input("x", "number", missing=True), Input("t", "text", missing=False, null_text="?"))
START = pd.Timestamp("2026-01-01", tz="UTC")


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    with engine(memory_mib=256, threads=2) as found:
        yield found


def frame(rows: int = 500, *, seed: int = 0) -> pd.DataFrame:
    """Not in the order of time; some labels, numbers and texts are missing, some times are equal."""
    generator = np.random.default_rng(seed)
    minutes = generator.permutation(np.arange(rows) // 3)
    x = np.where(generator.random(rows) < 0.1, np.nan, generator.normal(size=rows))
    t = np.where(generator.random(rows) < 0.1, None, generator.choice(np.array(["a", "b"], object), rows))
    label = np.where(generator.random(rows) < 0.2, np.nan, generator.integers(0, 2, rows))
    return pd.DataFrame({"x": x, "t": t, "y": label, "at": START + pd.to_timedelta(minutes, unit="m"), "w": generator.random(rows)})


def saved(folder: Path, *frames: pd.DataFrame) -> RowsFiles:
    paths = []
    for place, each in enumerate(frames):
        paths.append(folder / f"it's {place}.parquet")
        parquet.write_table(pa.Table.from_pandas(each, preserve_index=False), paths[-1])
    return RowsFiles(tuple(paths))


def snapshot(source: RowsFiles, **changes: Any) -> Snapshot:
    columns = (("x", "number"), ("t", "text"))
    given = {"kind": "rows", "model": "m", "columns": columns, "label": "y", "time": "at", "files": source.files()} | changes
    return Snapshot(**given)


def test_parts_are_the_labelled_rows_before_and_after_a_moment(tmp_path: Path, connection: Connection) -> None:
    """As pandas says: sorted by time, the latest fifth and whatever is as old as its first row."""
    rows = frame()
    source = saved(tmp_path, rows[:200], rows[200:])
    table = Table(connection, source, snapshot(source, weight="w"), INPUTS)
    train, holdout = table.split()
    labelled = rows[rows.y.notna()].sort_values("at")
    cut = labelled.at.iloc[int(np.ceil(len(labelled) * 0.8)) - 1]
    before, after = labelled[labelled.at < cut], labelled[labelled.at >= cut]
    assert (500, len(before), len(after)) == (table.rows(), train.rows, holdout.rows)
    for part, expected in ((train, before), (holdout, after)):
        found = part.load()
        assert found.times_s is not None
        assert found.weights is not None
        assert (np.diff(found.times_s) >= 0).all()
        got = sorted(
            zip(found.times_s, found.columns["t"], found.labels, np.nan_to_num(found.columns["x"], nan=9), found.weights, strict=True)
        )
        moments = (expected.at - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
        x = expected.x.astype(np.float32).fillna(9)
        wanted = sorted(zip(moments, expected.t.where(expected.t.notna(), "?"), expected.y, x, expected.w, strict=True))
        assert wanted == [tuple(one) for one in got]


def test_the_same_rows_have_the_same_digest_wherever_they_lie(tmp_path: Path, connection: Connection) -> None:
    """Another name, another thread count; other content or another question is another dataset."""
    rows = frame()
    source = saved(tmp_path, rows[:200], rows[200:])
    (tmp_path / "b").mkdir()
    moved = saved(tmp_path / "b", rows[:200], rows[200:])
    first, second = snapshot(source), snapshot(moved)
    assert first.digest == second.digest
    assert first == decode(encode(first))
    with engine(threads=1) as alone:
        digests = [part.load().digest for part in Table(alone, moved, second, INPUTS).split()]
    assert digests == [part.load().digest for part in Table(connection, source, first, INPUTS).split()]
    others = [snapshot(source, seed=1), snapshot(source, filters=(filter_of("t=a"),)), snapshot(saved(tmp_path, rows[:100], rows[200:]))]
    assert 4 == len({first.digest, *(other.digest for other in others)})


def test_a_sample_depends_on_the_rows_and_the_seed_alone(tmp_path: Path, connection: Connection) -> None:
    """About as many as asked for, the same every time, others with another seed; pieces still hold every row."""
    source = saved(tmp_path, frame(3_000))

    def drawn(seed: int) -> tuple[int, str]:
        train, _ = Table(connection, source, snapshot(source, max_rows=400, seed=seed), INPUTS).split()
        assert train.sampled
        assert train.rows == sum(part.rows for part in train.batches(7))
        found = train.load()
        return found.rows, found.digest

    assert drawn(1) == drawn(1)
    assert drawn(1)[1] != drawn(2)[1]
    assert all(330 < drawn(seed)[0] < 470 for seed in (1, 2, 3))


@pytest.mark.parametrize(
    ("changes", "keeps"),
    [
        ({"filters": (filter_of("t=a"),)}, lambda rows: rows.t == "a"),
        ({"filters": (filter_of("x>=0.5"), filter_of("x<=1"))}, lambda rows: (rows.x >= 0.5) & (rows.x <= 1)),
        ({"filters": (Filter(column="t", values=("a'; DROP TABLE x; --", "b")),)}, lambda rows: rows.t == "b"),
        ({"since": datetime(2026, 1, 1, 1, tzinfo=UTC)}, lambda rows: rows["at"] >= START + pd.Timedelta(hours=1)),
        ({"as_of": datetime(2026, 1, 1, 1, tzinfo=UTC)}, lambda rows: rows["at"] <= START + pd.Timedelta(hours=1)),
    ],
)
def test_filters_keep_what_they_say(tmp_path: Path, connection: Connection, changes: dict[str, Any], keeps: Any) -> None:
    """A missing value never passes."""
    rows = frame()
    source = saved(tmp_path, rows)
    assert int(keeps(rows).sum()) == Table(connection, source, snapshot(source, **changes), INPUTS).rows()


def test_what_is_larger_than_the_memory_is_read_all_the_same(tmp_path: Path) -> None:
    """Half a million rows are sorted in a few megabytes, in pieces."""
    count = 500_000
    seconds = np.random.default_rng(0).permutation(count)
    text = pa.array([f"a text that takes some room {n % 1000}" for n in range(count)])
    table = pa.table({"x": np.arange(count, dtype=np.float64), "t": text, "y": seconds % 2, "at": seconds.astype(np.float64)})
    parquet.write_table(table, tmp_path / "it's 0.parquet")
    source = RowsFiles((tmp_path / "it's 0.parquet",))
    with engine(memory_mib=64, threads=2) as small:
        train, _ = Table(small, source, snapshot(source), INPUTS).split()
        last, rows = -1.0, 0
        for part in train.batches():
            assert part.times_s is not None
            assert part.times_s[0] > last
            last, rows = part.times_s[-1], rows + part.rows
    assert train.rows == rows == 399_999


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"label": "z"}, "there is no column 'z' with the label; there are at, t, w, x, y"),
        ({"time": "z"}, "there is no column 'z' with the time"),
        ({"label": "t"}, "the labels in 't' are VARCHAR, where numbers or booleans are expected"),
        ({"time": "t"}, "the times in 't' are VARCHAR, where timestamps or seconds are expected"),
        ({"weight": "t"}, "the weights in 't' are VARCHAR, where numbers are expected"),
        ({"filters": (filter_of("z=1"),)}, "a filter speaks of column 'z', which is not there"),
    ],
)
def test_columns_that_are_not_there_are_named(tmp_path: Path, connection: Connection, changes: dict[str, Any], text: str) -> None:
    """Before anything is read."""
    source = saved(tmp_path, frame(10))
    with pytest.raises(RetrainError) as caught:
        Table(connection, source, snapshot(source, **changes), INPUTS)
    assert str(caught.value).startswith(text)


def test_parts_without_rows_are_refused(tmp_path: Path, connection: Connection) -> None:
    """No labels at all; one moment only; a gap that is longer than everything."""
    rows = frame(50)
    for changed, more, text in (
        (rows.assign(y=np.nan), {}, "there are no rows with a label and a time"),
        (rows.assign(at=START), {}, "the train part has no rows"),
        (rows, {"gap_s": 1e6}, "the train part has no rows"),
    ):
        source = saved(tmp_path, changed)
        with pytest.raises(RetrainError, match=text):
            Table(connection, source, snapshot(source, **more), INPUTS).split()


def test_values_that_no_model_takes_are_refused(tmp_path: Path, connection: Connection) -> None:
    """Missing where the contract allows nothing missing, infinite, or a label that is no yes and no no."""
    strict = (Input("x", "number", missing=False), Input("t", "text", missing=False))
    for changed, inputs, text in (
        (frame(), strict, "missing"),
        (frame().assign(x=np.inf), INPUTS, "column 'x' has values that are missing or infinite"),
        (frame().assign(y=2.0), INPUTS, "a label is neither 0 nor 1"),
    ):
        source = saved(tmp_path, changed)
        with pytest.raises(RetrainError, match=text):
            Table(connection, source, snapshot(source), inputs).split()[0].load()


def test_rows_without_a_time_are_in_their_order(tmp_path: Path, connection: Connection) -> None:
    """Over all files."""
    first, second = frame(30).assign(y=1.0), frame(20).assign(y=0.0)
    source = saved(tmp_path, first, second)
    train, holdout = Table(connection, source, snapshot(source, time=None), INPUTS).split()
    assert np.concatenate([first.x, second.x]).astype(np.float32).tolist()[:5] == train.load().columns["x"].tolist()[:5]
    assert [1] * 30 + [0] * 20 == [*train.load().labels, *holdout.load().labels]


def test_no_parquet_is_named(tmp_path: Path) -> None:
    """By the file."""
    path = tmp_path / "rows.parquet"
    path.write_text("no")
    with pytest.raises(Exception, match=r"rows\.parquet: "):
        RowsFiles((path,)).files()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("origin=JFK,LGA", Filter(column="origin", values=("JFK", "LGA"))),
        ("n=1,2.5,true", Filter(column="n", values=(1, 2.5, True))),
        ("n>=1e3", Filter(column="n", least=1000.0)),
        (" n <= -1", Filter(column="n", most=-1.0)),
    ],
)
def test_filters_are_read(text: str, expected: Filter) -> None:
    """What reads as a number is one."""
    assert expected == filter_of(text)


@pytest.mark.parametrize("text", ["", "n", "=1", "n=", "n>=x", "n<=nan"])
def test_what_is_no_filter(text: str) -> None:
    """Said with what was given."""
    with pytest.raises(RetrainError, match="is no filter"):
        filter_of(text)


@pytest.mark.parametrize(
    ("field", "text"),
    [
        (Field(name="v", type="tensor(float)", shape=(None, 16)), r"input 'v' is tensor\(float\) \['\?', 16\]"),
        (Field(name="v", type="tensor(int64)", shape=(None, 1)), r"input 'v' is tensor\(int64\)"),
        (Field(name="v", type="tensor(float)", shape=("n", "k")), r"input 'v' is tensor\(float\) \['\?', '\?'\]"),
    ],
)
def test_inputs_that_a_job_cannot_train_on(field: Field, text: str) -> None:
    """Named with what they are."""
    with pytest.raises(RetrainError, match=text):
        inputs_of(Schema(format=1, inputs=(field,), outputs=()))


def test_inputs_of_a_contract() -> None:
    """A number may be missing unless it is refused; a text only where something stands for it."""
    fields = (
        Field(name="a", type="tensor(float)", shape=(None, 1)),
        Field(name="b", type="tensor(float)", shape=(None,), nulls="refused"),
        Field(name="c", type="tensor(string)", shape=(None, 1)),
        Field(name="d", type="tensor(string)", shape=None, null_value="?"),
    )
    found = inputs_of(Schema(format=1, inputs=fields, outputs=()))
    expected = [("number", True, None), ("number", False, None), ("text", False, None), ("text", True, "?")]
    assert expected == [(one.kind, one.missing, one.null_text) for one in found]
