"""`tidegate profile`, and `publish --reference`: from rows in a file to what a version's traffic is held against."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from gateway.commands.output import Exit
from registry.store import Store
from registry.verify import verify
from tests.gateway.commands.console import done, failed, parsed

Write = Callable[..., Path]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """2,000 rows of two features, with what came true, when, and a column that nobody needs."""
    generator = np.random.default_rng(0)
    age, income = generator.normal(40, 10, 2_000), generator.exponential(size=2_000)
    income[generator.permutation(2_000)[:500]] = 0
    columns = {"age": age, "income": income, "id": np.arange(2_000), "at": np.arange(2_000) * 3_600}
    path = tmp_path / "rows.parquet"
    parquet.write_table(pa.table(columns), path)
    return path


def test_publish_with_reference_rows(tmp_path: Path, onnx_file: Write, rows: Path) -> None:
    """One command makes a version with a profile, which is shown in one line, as a table, and whole."""
    place = ["-r", tmp_path / "r"]
    text = done("publish", onnx_file(), "-n", "m", *place, "--reference", rows, "--time", "at", "--ignore", "id")
    assert text.startswith("m version 1 published\n")
    line = "2,000 rows (training), 5 numeric and 0 categorical features, 20 clean windows"
    assert f"reference profile: {line}, " in done("inspect", "m", 1, *place)
    shown = done("profile", "m", *place)
    assert shown.startswith(f"m version 1: {line}, ")
    named = re.findall(r"^(\S+) +(?:in|out)put ", shown, re.MULTILINE)
    assert ["age", "income", "y[0]", "y[1]", "y[2]"] == named
    assert re.search(r"^income +input +\d+ +0 +1\.0 +0 … ", shown, re.MULTILINE)
    assert "20 clean windows of 100 rows, in 20 hours of the week; mean PSI up to 0." in shown
    assert "█" in shown
    found = parsed("profile", "m", "--version", 1, *place)
    assert (1, 2_000, "age") == (found["version"], found["profile"]["rows"], found["profile"]["numeric"][0]["name"])
    facts = parsed("inspect", "m", 1, *place)["profile"]
    assert (found["digest"], 20, False) == (facts["digest"], facts["windows"], facts["is_calibrated"])
    assert 0.25 == found["profile"]["numeric"][1]["counts"][2] / 2_000
    assert [] == verify(Store.open(tmp_path / "r"))


def test_a_version_without_one_is_published_once_more(registry: Path, rows: Path) -> None:
    """The command may be repeated; who stands for the version before is named."""
    command = ["profile", "ages", "--version", 2, "-r", registry, "--reference", rows, "--time", "at", "--ignore", "id"]
    done("alias", "ages", "challenger", 2, "-r", registry)
    text = done(*command, "--publisher", "dan")
    assert text.startswith("ages version 3 published: version 2 with a reference profile\n  manifest sha256:")
    assert "\nchallenger still stands for version 2: tidegate alias ages challenger 3\n" in text
    again = parsed(*command)
    assert (3, 2, False, ["challenger"]) == tuple(again[name] for name in ("version", "from_version", "new", "aliases"))
    assert 2_000 == again["profile"]["rows"]
    store = Store.open(registry)
    assert ("dan", store.manifest("ages", 2).model) == (store.record("ages", 3).publisher, store.manifest("ages", 3).model)


def test_the_champion_is_shown_where_no_version_is_named(registry: Path) -> None:
    """Else the only version."""
    assert done("profile", "ages", "-r", registry).startswith("ages version 1: ")
    done("alias", "ages", "champion", "--remove", "-r", registry)
    assert "--version: missing; model 'ages' has no champion and 2 versions" in failed(Exit.USAGE, "profile", "ages", "-r", registry)


def test_what_a_profile_leaves_out_is_said(tmp_path: Path, onnx_file: Write, rows: Path) -> None:
    """A column of 12 features as a list is one tensor; of an output of many elements some are left out."""
    import onnx
    from onnx import TensorProto, helper

    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size]) for name, size in (("x", 20), ("y", 20))]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["y"])], "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / "wide.onnx")
    parquet.write_table(pa.table({"x": list(np.random.default_rng(0).normal(size=(100, 20)))}), rows)
    arguments = ["publish", tmp_path / "wide.onnx", "-n", "w", "-r", tmp_path / "r", "--reference", rows]
    assert "  note     of output 'y' the first 16 of 20 elements are profiled\n" in done(*arguments)
    assert ["of output 'y' the first 16 of 20 elements are profiled"] == parsed(*arguments)["notes"]


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (
            ["--reference", "ROWS", "--time", "at"],
            Exit.REGISTRY,
            "invalid_model: rows.parquet: input 'x' takes 2 features, and there are 3",
        ),
        (
            ["--reference", "ROWS", "--label", "late"],
            Exit.REGISTRY,
            "invalid_model: rows.parquet: there is no column 'late' with the labels",
        ),
        (["--reference", "ROWS", "--ignore", "id", "--label", "at"], Exit.REGISTRY, "invalid_model: labels need a model with one binary"),
        (["--reference", "NONE"], Exit.USAGE, "none: No such file or directory"),
        (["--reference", "TMP"], Exit.USAGE, "Is a directory"),
        (["--reference", "JUNK"], Exit.REGISTRY, "invalid_model: junk: it is not a Parquet file"),
        (["--label", "late"], Exit.USAGE, "--label: a column of the reference rows, which --reference names"),
        (["--ignore", "id"], Exit.USAGE, "--ignore: a column of the reference rows, which --reference names"),
        (["--reference", "ROWS", "--profile", "JUNK"], Exit.USAGE, "give one of --profile and --reference"),
    ],
)
def test_refusals(tmp_path: Path, onnx_file: Write, rows: Path, options: list[str], code: Exit, text: str) -> None:
    """One sentence each, and no version."""
    (tmp_path / "junk").write_text("a,b\n1,2\n")
    places = {"ROWS": rows, "NONE": tmp_path / "none", "TMP": tmp_path, "JUNK": tmp_path / "junk"}
    command = ["publish", onnx_file(), "-n", "m", "-r", tmp_path / "r", *(places.get(option, option) for option in options)]
    assert text in failed(code, *command)
    assert not list(tmp_path.glob("r/models/*/versions/*"))


def test_refusals_of_versions(registry: Path, rows: Path) -> None:
    """No such model, no such version, no profile, rows of another model."""
    assert "not_found: the registry has no model 'none'" in failed(Exit.REGISTRY, "profile", "none", "-r", registry)
    assert "not_found: model 'ages' has no version 9" in failed(Exit.REGISTRY, "profile", "ages", "--version", 9, "-r", registry)
    text = failed(Exit.REGISTRY, "profile", "ages", "--version", 2, "-r", registry)
    assert "version 2 of model 'ages' has no reference profile; --reference ROWS.parquet makes one" in text
    text = failed(Exit.REGISTRY, "profile", "ages", "--version", 2, "-r", registry, "--reference", rows)
    assert "input 'x' takes 2 features, and there are 4 columns: 'age', 'income', 'id', 'at'" in text
    assert [1, 2] == Store.open(registry).versions("ages")
