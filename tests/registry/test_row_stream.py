"""Rows in pieces: which columns a model takes, and how much is held."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry import row_stream
from registry.errors import RegistryError
from registry.row_stream import Choice, RowStream, layout_of
from registry.schema import Field

X = Field(name="x", type="tensor(float)", shape=("n", 2))
Y = Field(name="y", type="tensor(string)", shape=("n",), null_value="")


@pytest.mark.parametrize(
    ("names", "choice", "known", "features"),
    [
        (["a", "b"], Choice(), (), ("a", "b")),
        (["id", "b", "a"], Choice(keep=["id"]), (), ("b", "a")),
        (["id", "b", "when", "a"], Choice(keep=["id"], ignore={"when"}), (), ("b", "a")),
        (["b", "c", "a"], Choice(), ("a", "b"), ("a", "b")),
        (["b", "c", "a"], Choice(features=["c", "a"]), ("a", "b"), ("c", "a")),
        (["x", "a", "b"], Choice(), ("a", "b"), None),
        (["x", "a", "b"], Choice(features=["a", "b"]), (), ("a", "b")),
        (["b", "a"], Choice(keep=["*"]), ("a", "b"), ("a", "b")),
    ],
)
def test_where_the_only_input_comes_from(names: list[str], choice: Choice, known: tuple[str, ...], features: Any) -> None:
    """What was said, then its own column, then what its profile says, then the order of the file."""
    assert features == layout_of(names, [X], choice, known).features


@pytest.mark.parametrize(
    ("names", "fields", "choice", "reason"),
    [
        (["x"], [X, Y], Choice(), "no column for input 'y'; there are 'x'"),
        (["x", "y"], [X, Y], Choice(features=["x"]), "the model takes 2 inputs"),
        (["id"], [X], Choice(keep=["id"]), "no column for input 'x'; there are 'id'"),
        (["x"], [X], Choice(keep=["id"]), "no column to keep 'id'"),
    ],
)
def test_what_is_missing_is_named(names: list[str], fields: list[Field], choice: Choice, reason: str) -> None:
    """With what there is."""
    with pytest.raises(RegistryError, match=reason):
        layout_of(names, fields, choice)


def written(folder: Path, **files: dict[str, Any]) -> list[Path]:
    paths = [folder / f"{name}.parquet" for name in files]
    for path, columns in zip(paths, files.values(), strict=True):
        parquet.write_table(pa.table(columns), path, row_group_size=10)
    return paths


def test_pieces_are_all_rows_in_order(tmp_path: Path) -> None:
    """Over files and row groups, numbered from 0; columns that nobody takes are not read."""
    paths = written(tmp_path, a={"a": range(25), "b": range(25), "c": range(25)}, b={"c": range(5), "b": range(5), "a": range(25, 30)})
    with RowStream(paths) as stream:
        layout = layout_of(stream.names, [X], Choice(keep=["b"]), known=("a", "b"))
        stream.check(layout)
        pieces = list(stream.pieces(layout, piece_rows=10))
    assert (30, [0, 10, 20, 25]) == (stream.rows, [piece.start for piece in pieces])
    assert [["a", "b"]] * 4 == [piece.table.column_names for piece in pieces]
    np.testing.assert_array_equal(np.concatenate([layout.arrays(piece.table)[0][:, 0] for piece in pieces]), np.arange(30))


def test_large_rows_come_in_small_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the bytes of what is read; one row at least."""
    random = np.random.default_rng(0)
    paths = written(tmp_path, a={"x": random.normal(size=(100, 64)).astype(np.float32).tolist(), "n": range(100)})
    monkeypatch.setattr(row_stream, "PIECE_BYTES", 4_096)
    with RowStream(paths) as stream:
        wide = layout_of(stream.names, [Field(name="x", type="tensor(float)", shape=("n", 64))], Choice())
        assert 10 >= max(piece.rows for piece in stream.pieces(wide)) >= 4
        narrow = layout_of(stream.names, [Field(name="n", type="tensor(int64)", shape=("n",))], Choice())
        assert 100 == sum(piece.rows for piece in stream.pieces(narrow))
    monkeypatch.setattr(row_stream, "PIECE_BYTES", 1)
    with RowStream(paths) as stream:
        assert {1} == {piece.rows for piece in stream.pieces(wide)}


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ({"a": [1.0], "b": [1.0]}, "two.parquet: no column named 'id'"),
        ({"a": ["1"], "b": [1.0], "id": [1]}, "two.parquet: column 'a' is string, where float32 is expected"),
        ({"a": [1.0], "b": [1.0], "id": [1.0]}, "two.parquet: column 'id' is double, and int64 in one.parquet"),
    ],
)
def test_every_file_has_to_fit(tmp_path: Path, second: dict[str, Any], reason: str) -> None:
    """Before any row is read."""
    paths = written(tmp_path, one={"a": [1.0], "b": [1.0], "id": [1]}, two=second)
    with RowStream(paths) as stream, pytest.raises(RegistryError, match=reason):
        stream.check(layout_of(stream.names, [X], Choice(keep=["id"])))


def test_a_file_that_is_damaged_further_on_is_named(tmp_path: Path) -> None:
    """Its end is whole, so that it opens; a page of it is not."""
    (path,) = written(tmp_path, a={"a": np.random.default_rng(0).normal(size=5_000), "b": np.zeros(5_000)})
    content = bytearray(path.read_bytes())
    content[4:20_000] = bytes(19_996)
    path.write_bytes(content)
    with RowStream([path]) as stream:
        layout = layout_of(stream.names, [X], Choice())
        with pytest.raises(RegistryError, match=r"a.parquet: "):
            list(stream.pieces(layout))
