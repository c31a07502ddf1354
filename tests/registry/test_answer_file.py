"""Files of answers: as a whole or not at all, with the types that outputs have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry import answer_file
from registry.answer_file import AnswerFile, Output
from registry.errors import RegistryError

OUTPUTS = [Output("p", "float32", (1,)), Output("label", "int64", ()), Output("word", "object", (-1,)), Output("grid", "float16", (2, -1))]


def rows(count: int, grid: int = 3) -> list[np.ndarray]:
    """Of one run."""
    words = np.array([[f"w{row}"] for row in range(count)], object)
    return [np.arange(count, dtype=np.float32)[:, None], np.arange(count), words, np.ones((count, 2, grid), np.float16)]


def test_outputs_have_columns_of_their_own_types(tmp_path: Path) -> None:
    """One number a row is a plain column, all else lists, of whatever length a run gives; rows without an answer are null."""
    path = tmp_path / "a.parquet"
    with AnswerFile(path, {"id": pa.int8()}, OUTPUTS, replace=False, errors=True) as file:
        file.write(pa.table({"id": pa.array([1, 2], pa.int8())}), [rows(1), rows(1, grid=1)], None, {})
        file.write(pa.table({"id": pa.array([3, 4], pa.int8())}), [rows(1)], np.array([False, True]), {0: "why"})
        file.write(pa.table({"id": pa.array([5], pa.int8())}), [], np.array([False]), {0: "no"})
        assert not path.exists()
        file.finish()
    told = parquet.read_table(path)
    assert {"id": "int8", "p": "float", "label": "int64", "error": "string"} == {
        name: str(told.schema.field(name).type) for name in ("id", "p", "label", "error")
    }
    found = told.to_pydict()
    assert [None, None, "why", None, "no"] == found["error"]
    assert [0.0, 0.0, None, 0.0, None] == found["p"]
    assert [["w0"], ["w0"], None, ["w0"], None] == found["word"]
    assert [(2, 3), (2, 1), None, (2, 3), None] == [None if grid is None else np.shape(grid) for grid in found["grid"]]
    assert path.stat().st_size == file.bytes


def test_a_file_that_was_not_finished_leaves_nothing(tmp_path: Path) -> None:
    """Whatever was there stays as it was."""
    path = tmp_path / "a.parquet"
    path.write_text("before")

    def interrupted() -> None:
        with AnswerFile(path, {}, OUTPUTS[:1], replace=True, errors=False) as file:
            file.write(pa.table({}), [rows(3)[:1]], None, {})
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert (["a.parquet"], "before") == ([path.name for path in tmp_path.iterdir()], path.read_text())


def test_a_name_that_is_taken_meanwhile_is_left_alone(tmp_path: Path) -> None:
    """Unless it is to be replaced."""
    path = tmp_path / "a.parquet"

    def written(*, replace: bool) -> None:
        with AnswerFile(path, {}, OUTPUTS[:1], replace=replace, errors=False) as file:
            path.write_text("theirs")
            file.finish()

    with pytest.raises(FileExistsError):
        written(replace=False)
    assert (["a.parquet"], "theirs") == ([found.name for found in tmp_path.iterdir()], path.read_text())
    written(replace=True)
    assert 0 == parquet.read_table(path).num_rows


def test_row_groups_are_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces are put together."""
    monkeypatch.setattr(answer_file, "GROUP_ROWS", 10)
    with AnswerFile(tmp_path / "a.parquet", {}, OUTPUTS[:1], replace=False, errors=False) as file:
        for _ in range(7):
            file.write(_rows(4), [rows(4)[:1]], None, {})
        file.finish()
    metadata = parquet.ParquetFile(tmp_path / "a.parquet").metadata
    assert [12, 12, 4] == [metadata.row_group(number).num_rows for number in range(metadata.num_row_groups)]


def _rows(count: int) -> Any:
    return pa.table({"n": range(count)}).select([])


@pytest.mark.parametrize(("kept", "errors"), [({"p": pa.int8()}, False), ({"error": pa.int8()}, True)])
def test_names_are_apart(tmp_path: Path, kept: dict[str, Any], errors: bool) -> None:
    """Nothing is written."""
    with pytest.raises(RegistryError, match="two columns of the answers would be called"):
        AnswerFile(tmp_path / "a.parquet", kept, OUTPUTS, replace=False, errors=errors)
    assert [] == list(tmp_path.iterdir())
