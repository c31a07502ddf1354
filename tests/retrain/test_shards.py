"""Stretches that are read apart are, together, the rows of one reading; and the cut is DuckDB's own."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from registry.arrow_tables import in_order, one_table, table_of
from retrain import shards
from retrain.engine import Connection, engine
from retrain.errors import RetrainError
from retrain.shards import HeldRows, ShardRows, cut_of, place_of, shards_of
from retrain.snapshot import Filter, Snapshot
from retrain.sources import KEY, TIME, RowsFiles, fits
from retrain.surveying import merged, survey
from retrain.table import Table, resized
from tests.retrain.jobs import drawn
from tests.retrain.test_table import INPUTS, START, frame, saved, snapshot
from tests.retrain.test_validation import SCHEMA as CONTRACT

pytestmark = pytest.mark.demo
CHANGES: dict[str, dict[str, Any]] = {
    "plain": {},
    "filtered": {"filters": (Filter(column="t", values=("a",)), Filter(column="w", most=0.9)), "weight": "w"},
    "in time": {"since": datetime(2026, 1, 1, 0, 20, tzinfo=UTC), "as_of": datetime(2026, 1, 1, 2, tzinfo=UTC)},
    "another seed": {"seed": 7},
    "without times": {"time": None},
}


@pytest.fixture(scope="module")
def connection() -> Iterator[Connection]:
    with engine(memory_mib=256, threads=1) as found:
        yield found


def both(tmp_path: Path) -> RowsFiles:
    """Two files; what is float in the first is whole in the second, and the other way round."""
    first, second = frame(200), frame(90, seed=1)
    second["x"] = np.arange(90, dtype=np.int32)
    second["w"] = second["w"].astype(np.float32)
    return saved(tmp_path, first, second)


def apart(connection: Connection, source: RowsFiles, described: Snapshot, rows: int) -> pd.DataFrame:
    """Every stretch by itself, put together and in order."""
    kinds, found = source.types(connection), []
    for shard in shards_of(source.paths, described.files, rows=rows):
        table = Table(connection, ShardRows(shard, kinds), described, INPUTS)
        found += [table_of([batch]) for batch in table.ordered("true", 50)]
    return table_of(in_order(one_table(found), (TIME, KEY), rows=60)).to_pandas()


@pytest.mark.parametrize("case", sorted(CHANGES))
def test_stretches_are_together_what_one_reading_gives(tmp_path: Path, connection: Connection, case: str) -> None:
    """Row by row: values in the types of all files, times, weights and keys."""
    source = both(tmp_path)
    described = snapshot(source, **CHANGES[case])
    expected = table_of(Table(connection, source, described, INPUTS).ordered("true", 64)).to_pandas()
    assert len(expected) > 20
    for rows in (1_000, 37):
        pd.testing.assert_frame_equal(expected, apart(connection, source, described, rows))


def test_stretches_cover_every_row_once(tmp_path: Path) -> None:
    """In the order of the files; one without rows has none."""
    source = saved(tmp_path, frame(7), frame(0), frame(5))
    found = shards_of(source.paths, source.files(), rows=3)
    assert [(0, 0, 3), (0, 3, 6), (0, 6, 7), (7, 0, 3), (7, 3, 5)] == [(one.before, one.first, one.end) for one in found]


def test_a_file_that_is_another_one_here_is_refused(tmp_path: Path) -> None:
    """Where it is read, by its digest; and one that is not there."""
    source = saved(tmp_path, frame(7))
    (shard,) = shards_of(source.paths, source.files())
    shards.check(shard)
    saved(tmp_path, frame(8))
    with pytest.raises(RetrainError, match="is not what the job was given"):
        shards.check(shard)
    source.paths[0].unlink()
    with pytest.raises(RetrainError, match="No such file"):
        shards.check(shard)


def test_surveys_of_stretches_make_the_survey_of_all(tmp_path: Path, connection: Connection) -> None:
    """Every count, also of a file that travels as rows."""
    source = both(tmp_path)
    described = snapshot(source)
    kinds = source.types(connection)
    contract = CONTRACT

    def counted(table: Table) -> Any:
        return survey(table.batches(), INPUTS, table.types, contract, None, fits=fits)

    every = Table(connection, source, described, INPUTS)
    held = [HeldRows(table_of([batch]), kinds) for batch in every.batches()]
    expected = counted(every)
    stretches = [ShardRows(shard, kinds) for shard in shards_of(source.paths, described.files, rows=41)]
    for parts in (stretches, held):
        found = merged([pickle.loads(pickle.dumps(counted(Table(connection, part, described, INPUTS)))) for part in parts])
        assert expected.columns.keys() == found.columns.keys()
        assert expected == found


@given(st.integers(1, 3_000), st.one_of(st.floats(0.001, 0.999), st.sampled_from([0.2, 0.1, 0.3, 0.35, 0.05, 1e-5, 1 - 1e-6])))
@settings(max_examples=60, deadline=None)
def test_the_place_of_a_quantile_is_the_one_that_duckdb_takes(rows: int, holdout: float) -> None:
    """Decimals are reckoned with as decimals."""
    share = 1.0 - holdout
    with engine(memory_mib=64, threads=1) as connection:
        found = connection.execute(f"SELECT quantile_disc(i, {share!r}) FROM range({rows}) AS t(i)").fetchone()
    assert found == (place_of(rows, share),)


@given(
    st.lists(st.one_of(st.integers(-(2**60), 2**60), st.integers(0, 5), st.integers(10**15, 10**15 + 10**9)), min_size=1),
    st.floats(0.01, 0.99),
)
def test_the_cut_is_found_from_counts(times: list[int], share: float) -> None:
    """In four rounds at most, wherever the times lie."""
    rounds = []

    def bins(least: int, most: int, width: int) -> shards.Bins:
        rounds.append(width)
        inside = [(time - least) // width for time in times if least <= time <= most]
        return [(number, inside.count(number)) for number in set(inside)]

    found = cut_of(len(times), min(times), max(times), share, bins)
    assert sorted(times)[place_of(len(times), share)] == found
    assert len(rounds) <= 4


def test_rows_that_change_while_they_are_read_are_no_rows() -> None:
    """Counts that do not add up."""
    with pytest.raises(RetrainError, match="changed while they were read"):
        cut_of(10, 0, 100, 0.8, lambda *_: [(0, 2)])


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 12))
@settings(max_examples=40)
def test_pieces_have_the_size_that_was_asked_for(sizes: list[int], rows: int) -> None:
    """However they came; the last one is the rest."""
    whole, ends = drawn(sum(sizes)), np.cumsum(sizes).tolist()
    parts = [whole.take(slice(end - size, end)) for size, end in zip(sizes, ends, strict=True)]
    found = list(resized(parts, rows))
    assert all(part.rows == rows for part in found[:-1])
    together = found[0]
    for part in found[1:]:
        together = together.and_then(part)
    assert whole.digest == together.digest
    assert found[-1].rows <= rows


def test_a_part_comes_in_the_same_pieces_from_any_database(tmp_path: Path, connection: Connection) -> None:
    """Also where the database gives more at once."""
    source = saved(tmp_path, frame(500))
    (train, _) = Table(connection, source, snapshot(source), INPUTS).split()
    sizes = [part.rows for part in train.batches(70)]
    assert [70] * (train.rows // 70) == sizes[:-1]
    assert START.timestamp() <= train.since_us / 1e6
