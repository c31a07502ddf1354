"""`tidegate score`: rows of files through a version, into a file that is there as a whole or not at all."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
from onnx import helper
from pyarrow import parquet

from gateway.commands.output import Exit
from registry.columns import Column
from registry.parts import Parts
from registry.profile import encode
from registry.profiling import profile_of
from tests.gateway.commands.conftest import model_blob
from tests.gateway.commands.console import failed, parsed, run
from tests.gateway.serving import graphs
from tests.gateway.serving.registries import golden, published

VALUES = np.random.default_rng(1).normal(size=(1_500, 2)).astype(np.float32)
SUMS = VALUES.sum(axis=1, keepdims=True).repeat(3, axis=1)  # what version 1 of `ages` answers; version 2 says twice that


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`ages`, whose champion answers the sum of its two features three times and version 2 twice that; `people`, whose profile names them.

    `lookup` has entries 5, 6 and 7 only; rows of `centred` change each other's answers; golden requests of `wrong` are answered otherwise.
    """
    root = tmp_path_factory.mktemp("registry") / "r"
    profile = encode(profile_of([Column("input", "x", VALUES, ("young", "old"))]).profile)
    published(root, "ages", total(1.0), total(2.0), aliases={"champion": 1})
    published(root, "people", total(3.0), parts=Parts(profile=profile))
    published(root, "lookup", graphs.picky())
    published(root, "centred", graphs.centred())
    published(root, "wrong", graphs.twice(), parts=golden(3.0))
    return root


def total(weight: float) -> onnx.ModelProto:
    """y [n, 3] = weight * the sum of x [n, 2]."""
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    return graphs.graph(nodes, [graphs.value("x", 1, "n", 2)], [graphs.value("y", 1, "n", 3)], w=np.full((2, 3), weight, np.float32))


@pytest.fixture
def folder(tmp_path: Path, registry: Path) -> Path:
    """The registry; rows as lists in a file, and in a folder beside it the same rows by feature in two."""
    (tmp_path / "r").symlink_to(registry)
    listed = {"x": pa.array(VALUES.tolist(), pa.list_(pa.float32())), "id": pa.array(range(1_500)), "city": pa.array(["Bern"] * 1_500)}
    parquet.write_table(pa.table(listed), tmp_path / "rows.parquet", row_group_size=400)
    (tmp_path / "parts").mkdir()
    for number, part in enumerate((VALUES[:1_000], VALUES[1_000:])):
        columns = {"old": pa.array(part[:, 1]), "id": pa.array(range(len(part))), "young": pa.array(part[:, 0])}
        parquet.write_table(pa.table(columns), tmp_path / "parts" / f"{number}.parquet")
    return tmp_path


def arguments(folder: Path, *more: object, rows: str = "rows.parquet", model: str = "ages@1") -> list[object]:
    places = ["--in", folder / rows, "--out", folder / "answers.parquet", "-r", folder / "r"]
    return ["score", *places, "--model", model, *more]


def answers(folder: Path) -> dict[str, list[Any]]:
    return parquet.read_table(folder / "answers.parquet").to_pydict()


def test_every_row_is_answered_in_order(folder: Path) -> None:
    """By the champion, with what is kept of each row; the summary says how many and how fast."""
    found = parsed(*arguments(folder, "--keep", "id", "--keep", "city", model="ages"))
    assert ("ages", 1, 1_500, 0) == (found["model"], found["version"], found["rows"], found["failed"])
    assert (folder / "answers.parquet").stat().st_size == found["bytes"]
    told = answers(folder)
    assert (["id", "city", "y"], list(range(1_500)), {"Bern"}) == (list(told), told["id"], set(told["city"]))
    np.testing.assert_allclose(told["y"], SUMS, rtol=1e-5, atol=1e-5)
    assert [] == list(folder.glob(".answers*"))


def test_people_are_told_in_three_lines(folder: Path) -> None:
    """Rows and time, how it ran, and where the answers are."""
    result = run(*arguments(folder, "--threads", 1, "--run-rows", 7, model="ages@2"))
    assert (0, "") == (result.exit_code, result.stderr)
    first, second, third = result.stdout.splitlines()
    assert "ages version 2: 1,500 rows in " in first
    assert "  1 threads, 7 rows a run; " in second
    assert "answers.parquet, " in third
    np.testing.assert_allclose(answers(folder)["y"], 2 * SUMS, rtol=1e-5, atol=1e-5)


def test_features_are_found_by_the_names_of_the_profile(folder: Path) -> None:
    """In whatever order the files of a directory have them; by what was said, where there is no profile."""
    known = parsed(*arguments(folder, rows="parts", model="people@1"))
    assert 1_500 == known["rows"]
    np.testing.assert_allclose(answers(folder)["y"], 3 * SUMS, rtol=1e-5, atol=1e-5)
    said = parsed(*arguments(folder, "--features", "young,old", "--overwrite", rows="parts"))
    assert 1_500 == said["rows"]
    np.testing.assert_allclose(answers(folder)["y"], SUMS, rtol=1e-5, atol=1e-5)
    rest = parsed(*arguments(folder, "--keep", "id", "--overwrite", rows="parts"))  # old, young: as the file has them
    assert 1_500 == rest["rows"]
    np.testing.assert_allclose(answers(folder)["y"], SUMS, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("columns", "more", "reason"),
    [
        ({"young": [1.0], "Old": [2.0]}, [], "no column for a feature of input 'x' 'old'; there are 'young', 'Old'"),
        ({"young": ["1"], "old": [2.0]}, [], "column 'young' is string, where float32 is expected"),
        ({"young": [[1.0]], "old": [2.0]}, [], "'young': a list, where each column is one feature of input 'x'"),
        ({"young": [1.0], "old": [2.0]}, ["--keep", "when"], "no column to keep 'when'; there are 'young', 'old'"),
        ({"young": [1.0], "old": [2.0]}, ["--features", "young"], "input 'x' takes 2 features, and there are 1 columns: 'young'"),
        ({"young": [1.0], "old": [2.0]}, ["--features", "young,new"], "no column for a feature of input 'x' 'new'"),
        ({"x": [1.0]}, [], "column 'x' has rows of shape [], and the model takes [2]"),
        ({"x": [[1.0, 2.0]], "y": [1]}, ["--keep", "y"], "two columns of the answers would be called 'y'"),
    ],
)
def test_columns_that_do_not_fit_are_named(folder: Path, columns: dict[str, list[Any]], more: list[str], reason: str) -> None:
    """Before anything runs, and nothing is left behind."""
    parquet.write_table(pa.table(columns), folder / "other.parquet")
    text = failed(Exit.USAGE, *arguments(folder, *more, rows="other.parquet", model="people@1"))
    assert reason in text
    assert [] == [path for path in folder.iterdir() if "answers" in path.name]


def test_files_of_other_columns_are_named(folder: Path) -> None:
    """The second of two, which has other types."""
    parquet.write_table(pa.table({"young": [1.0], "old": [1.0], "id": ["a"]}), folder / "parts" / "2.parquet")
    text = failed(Exit.USAGE, *arguments(folder, "--keep", "id", rows="parts"))
    assert "2.parquet: column 'id' is string, and int64 in 0.parquet" in text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"--in": "none.parquet"}, "none.parquet: No such file"),
        ({"--in": "r"}, "has no file *.parquet"),
        ({"--in": "text"}, "text: it is not a Parquet file"),
        ({"--out": "rows.parquet"}, "is one of the files that are read"),
        ({"--out": "text"}, "is there already; --overwrite replaces it"),
        ({"--out": "parts"}, "parts is a directory"),
        ({"--out": "nowhere/a.parquet"}, "there is no directory"),
        ({"--model": "ages@"}, "no version after @"),
        ({"--model": "people"}, "model 'people' has no champion: say which version, as people@3"),
    ],
)
def test_places_and_versions_have_to_make_sense(folder: Path, change: dict[str, str], reason: str) -> None:
    """Each refusal says what to do instead."""
    (folder / "text").write_text("PAR?")
    given = arguments(folder)
    for option, name in change.items():
        given[given.index(option) + 1] = name if option == "--model" else folder / name
    assert reason in failed(Exit.USAGE, *given)


def test_what_the_registry_does_not_have_is_its_matter(folder: Path) -> None:
    """A model, a version, a whole file of it."""
    assert "no model 'nobody'" in failed(Exit.REGISTRY, *arguments(folder, model="nobody@1"))
    assert "no version 9" in failed(Exit.REGISTRY, *arguments(folder, model="ages@9"))
    (folder / "r").rename(folder / "link")
    shutil.copytree(folder / "link", folder / "r")
    path = model_blob(folder / "r", 2)
    path.write_bytes(path.read_bytes()[:-1] + b"\x00")
    assert "is damaged" in failed(Exit.REGISTRY, *arguments(folder, model="ages@2"))


@pytest.fixture
def table_rows(folder: Path) -> Path:
    """Rows of `lookup`, which has entries 5, 6 and 7 only: the third and the last ask for another, the fifth for nothing."""
    ids = pa.array([5, 6, 99, 7, None, 5, -3], pa.int64())
    parquet.write_table(pa.table({"id": ids, "name": list("abcdefg")}), folder / "rows.parquet")
    return folder


def test_a_row_without_an_answer_ends_it(table_rows: Path) -> None:
    """It is named, the first of them, and no file is left."""
    text = failed(Exit.FAILED, *arguments(table_rows, model="lookup@1"))
    assert "row 2: model 'lookup' failed on this input" in text
    assert not (table_rows / "answers.parquet").exists()


def test_rows_without_an_answer_have_nulls_and_a_reason(table_rows: Path) -> None:
    """Their neighbours have theirs."""
    found = parsed(*arguments(table_rows, "--on-error", "null", "--keep", "name", model="lookup@1"))
    told = answers(table_rows)
    assert (7, 3) == (found["rows"], found["failed"])
    assert found["first_failure"].startswith("row 2: ")
    assert list("abcdefg") == told["name"]
    assert [True, True, False, True, False, True, False] == [value is not None for value in told["y"]]
    assert [value is None for value in told["error"]] == [value is not None for value in told["y"]]
    assert "column 'id' has 1 missing values" in told["error"][4]


def test_rows_without_an_answer_are_left_out(table_rows: Path) -> None:
    """What is kept says which are there."""
    found = parsed(*arguments(table_rows, "--on-error", "drop", "--keep", "*", model="lookup@1"))
    told = answers(table_rows)
    assert (7, 3, ["id", "name", "y"], list("abdf")) == (found["rows"], found["failed"], list(told), told["name"])
    assert (
        "3 rows without an answer; the first: row 2: "
        in run(*arguments(table_rows, "--on-error", "drop", "--overwrite", model="lookup@1")).stdout
    )


def test_rows_that_would_change_each_other_s_answers_run_alone(folder: Path) -> None:
    """As a server runs them: one a run."""
    found = parsed(*arguments(folder, model="centred@1"))
    assert (1, 1_500) == (found["run_rows"], found["runs"])
    assert {0.0} == set(np.ravel(answers(folder)["y"]).tolist())


def test_no_rows_give_no_rows(folder: Path) -> None:
    """With the columns that there would be."""
    parquet.write_table(pa.table({"x": pa.array([], pa.list_(pa.float32(), 2))}), folder / "rows.parquet")
    assert 0 == parsed(*arguments(folder))["rows"]
    assert {"y": []} == answers(folder)


def test_a_version_that_cannot_be_loaded_fails(folder: Path) -> None:
    """Its golden requests are asked first, as a server does."""
    assert "golden request 1" in failed(Exit.FAILED, *arguments(folder, model="wrong@1"))
