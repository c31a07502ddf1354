"""Reference rows from Parquet: which column is which tensor, and what is refused by name."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from registry import rows
from registry.contract import Contract, Port
from registry.rows import Reference, Rows, read_rows
from registry.schema import Schema, contract_file, merge


def schema_of(inputs: dict[str, tuple[str, Any]], outputs: dict[str, tuple[str, Any]] | None = None, **nulls: int | str) -> Schema:
    """Ports by name: element type and shape; `nulls`: what stands for missing values of inputs."""
    ports = [
        tuple(Port(name=name, type=f"tensor({kind})", shape=shape) for name, (kind, shape) in side.items())
        for side in (inputs, outputs or {})
    ]
    contract = Contract(ir_version=8, opsets={"": 17}, producer="", inputs=ports[0], outputs=ports[1])
    return merge(contract, contract_file({"inputs": {name: {"null_value": null} for name, null in nulls.items()}}))


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Rows]:
    """Writes columns to a file and reads it for a model."""

    def call(columns: dict[str, Any], schema: Schema, **options: Any) -> Rows:
        path = tmp_path / "rows.parquet"
        parquet.write_table(pa.table(columns), path, row_group_size=2)
        return read_rows(Reference(path=path, **options), schema)

    return call


NAMED = schema_of(
    {"age": ("float", ("n", 1)), "city": ("string", ("n", 1)), "count": ("int32", ("n",)), "is_new": ("bool", ("n", 1))},
    {"p": ("float", ("n", 2))},
    city="",
    count=-1,
)
COLUMNS = {"age": [1.5, None, 3.0], "city": ["Bern", None, "Genf"], "count": [1, None, 3], "is_new": [True, False, True]}


def test_columns_are_matched_by_name(read: Callable[..., Rows]) -> None:
    """In the order of the model; missing values become NaN or what stands for them; labels and times are apart."""
    moments = [datetime(2024, 1, day, tzinfo=UTC) for day in (1, 2, 3)]
    more = {"p": [[0.25, 0.75]] * 3, "late": [1, None, 0], "at": moments}
    found = read(dict(reversed((COLUMNS | more).items())), NAMED, label="late", time="at")
    assert [("input", "age"), ("input", "city"), ("input", "count"), ("input", "is_new"), ("output", "p")] == [
        (column.side, column.port) for column in found.columns
    ]
    age, city, count, is_new, p = (column.values for column in found.columns)
    np.testing.assert_array_equal(np.array([[1.5], [np.nan], [3.0]], np.float32), age)
    assert ([["Bern"], [""], ["Genf"]], [1, -1, 3]) == (city.tolist(), count.tolist())
    assert [np.float32, object, np.int32, bool, np.float32] == [array.dtype for array in (age, city, count, is_new, p)]
    assert [(3, 1), (3, 1), (3,), (3, 1), (3, 2)] == [array.shape for array in (age, city, count, is_new, p)]
    assert found.labels is not None
    assert found.times_s is not None
    assert [1, None, 0] == found.labels.tolist()
    assert [moment.timestamp() for moment in moments] == found.times_s.tolist()


SINGLE = schema_of({"x": ("float", ("n", 3))}, {"y": ("float", ("n",))})


def test_features_of_a_single_input_keep_their_names(read: Callable[..., Rows]) -> None:
    """In the order of the file; outputs, labels and what is ignored are no features."""
    columns = {"b": [1, 2], "y": [0.5, 0.5], "a": [0.5, 1.5], "id": ["u", "v"], "c": [True, False]}
    x, y = read(columns, SINGLE, ignore=frozenset({"id"})).columns
    assert (("b", "a", "c"), np.float32) == (x.names, x.values.dtype)
    assert [[1, 0.5, 1], [2, 1.5, 0]] == x.values.tolist()
    assert ("output", "y", (2,)) == (y.side, y.port, y.values.shape)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 3), pa.list_(pa.float32()), pa.large_list(pa.int64())])
@pytest.mark.parametrize("name", ["x", "features"])
def test_one_list_column_is_the_only_input(read: Callable[..., Rows], kind: pa.DataType, name: str) -> None:
    """Of fixed size or not, under whatever name."""
    found = read({name: pa.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]], kind)}, SINGLE)
    assert [[[1, 2, 3], [4, 5, 6], [7, 8, 9]]] == [column.values.tolist() for column in found.columns]


@pytest.mark.parametrize(
    ("shape", "lists", "expected"),
    [
        (("n", 2, 2), [[1, 2, 3, 4]], (1, 2, 2)),
        (("n", 2, None), [[1, 2, 3, 4, 5, 6]], (1, 2, 3)),
        (("n", None, None), [[[1, 2, 3], [4, 5, 6]]], (1, 2, 3)),
        (None, [[1, 2]], (1, 2)),
        ((None, None), [1.0], (1, 1)),
    ],
)
def test_rows_take_the_shape_of_the_tensor(read: Callable[..., Rows], shape: Any, lists: list[Any], expected: tuple[int, ...]) -> None:
    """Sizes that the graph leaves free follow from the lists."""
    assert [expected] == [column.values.shape for column in read({"x": lists}, schema_of({"x": ("float", shape)})).columns]


@pytest.mark.parametrize(
    ("values", "kind", "expected"),
    [
        (pa.array([1, 2], pa.int8()), "double", [1.0, 2.0]),
        (pa.array([1.5, None], pa.float16()), "float", [1.5, float("nan")]),
        (pa.array([Decimal("1.25"), None]), "float", [1.25, float("nan")]),
        (pa.array([1e300, -1e300]), "float", [float("inf"), float("-inf")]),
        (pa.nulls(2), "float", [float("nan")] * 2),
        (pa.array([1.0, 2.0, 1.0]).dictionary_encode(), "float", [1.0, 2.0, 1.0]),
        (pa.array([1, 255], pa.int64()), "uint8", [1, 255]),
        (pa.array(["a", "b", "a"]).dictionary_encode(), "string", ["a", "b", "a"]),
        (pa.array(["a"], pa.large_string()), "string", ["a"]),
        (pa.array([b"a", b"\xff"]), "string", [b"a", b"\xff"]),
    ],
)
def test_types_that_a_tensor_takes(read: Callable[..., Rows], values: pa.Array, kind: str, expected: list[Any]) -> None:
    """As a caller would fill it."""
    (column,) = read({"x": values}, schema_of({"x": (kind, ("n",))})).columns
    assert str(expected) == str(column.values.tolist())


@pytest.mark.parametrize(
    ("values", "kind", "text"),
    [
        (["1.5", "2"], "float", "column 'x' is string, where float32 is expected"),
        ([1.0, 2.0], "int64", "column 'x' is double, where int64 is expected"),
        ([1, 300], "int8", "column 'x' has values from 1 to 300, which int8 does not hold"),
        ([-1, 3], "uint64", "column 'x' has values from -1 to 3, which uint64 does not hold"),
        ([1, 0], "bool", "column 'x' is int64, where bool is expected"),
        ([1, 2], "string", "column 'x' is int64, where text is expected"),
        ([1, None], "int64", "column 'x' has 1 missing values, and nothing stands for them"),
        (["a", None], "string", "column 'x' has 1 missing values, and nothing stands for them"),
        ([True, None], "bool", "column 'x' has 1 missing values, and nothing stands for them"),
        ([[1.0], [1.0, 2.0]], "float", "column 'x' has lists of different lengths, from 1 to 2"),
        ([[1.0], None], "float", "column 'x' has rows without a list"),
        ([[1.0, 2.0]], "float", "column 'x' has rows of shape [2], and the model takes []"),
        ([1.0], "bfloat16", "input 'x' is tensor(bfloat16), which reference rows cannot hold"),
    ],
)
def test_types_that_it_does_not_take(
    read: Callable[..., Rows], values: list[Any], kind: str, text: str, kind_of: Callable[..., str]
) -> None:
    """Named with what they are and what is expected."""
    schema = schema_of({"x": (kind, ("n",)), "z": ("float", ("n",))})
    assert f"invalid_model: rows.parquet: {text}" in kind_of(lambda: read({"x": values, "z": [1.0] * len(values)}, schema))


@pytest.mark.parametrize(
    ("columns", "schema", "options", "text"),
    [
        (COLUMNS | {"id": [1, 2, 3]}, NAMED, {}, "'id': neither an input nor an output of the model; ignore what is not meant"),
        ({"age": [1.0]}, NAMED, {}, "no column for input 'city', 'count', 'is_new'; there are 'age'"),
        (COLUMNS, NAMED, {"label": "late"}, "there is no column 'late' with the labels"),
        (COLUMNS, NAMED, {"time": "at"}, "there is no column 'at' with the times"),
        (COLUMNS | {"at": ["a", "b", "c"]}, NAMED, {"time": "at"}, "column 'at' is string, where a timestamp is expected"),
        (COLUMNS | {"at": [1.0, None, 2.0]}, NAMED, {"time": "at"}, "column 'at' has 1 missing times"),
        ({"a": [1.0], "b": [1.0]}, SINGLE, {}, "input 'x' takes 3 features, and there are 2 columns: 'a', 'b'"),
        ({"a": [1.0], "b": [[1.0]], "c": [1.0]}, SINGLE, {}, "'b': a list, where each column is one feature of input 'x'"),
        ({"y": [1.0]}, SINGLE, {}, "no column for input 'x'"),
        ({"x": [1.0]}, schema_of({"x": ("float", ())}), {}, "'x' has no dimension for rows"),
        ({"x": pa.array([], pa.float32())}, SINGLE, {}, "it has 0 rows, where 1 to 1000000 are allowed"),
    ],
)
def test_tables_that_do_not_fit(
    read: Callable[..., Rows], columns: dict[str, Any], schema: Schema, options: dict[str, Any], text: str, kind_of: Callable[..., str]
) -> None:
    """By the names of columns and ports."""
    assert f"invalid_model: rows.parquet: {text}" in kind_of(lambda: read(columns, schema, **options))


def test_all_unknown_columns_may_be_passed_over(read: Callable[..., Rows]) -> None:
    """By a star, or each by its name."""
    for ignore in ({"*"}, {"id", "note"}):
        found = read(COLUMNS | {"id": [1, 2, 3], "note": ["a", "b", "c"]}, NAMED, ignore=frozenset(ignore))
        assert 4 == len(found.columns)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Zurich"])
def test_times(read: Callable[..., Rows], unit: str, zone: str | None) -> None:
    """Timestamps of any unit; those without a zone are UTC's."""
    values = pa.array([1_700_000_000, 0]).cast(pa.timestamp("s")).cast(pa.timestamp(unit, zone))
    found = read({"x": [1.0, 2.0], "at": values}, schema_of({"x": ("float", ("n",))}), time="at").times_s
    assert found is not None
    assert [1.7e9, 0] == found.tolist()


def test_times_as_dates_and_numbers(read: Callable[..., Rows]) -> None:
    """Midnight in UTC; seconds since the Unix epoch."""
    for values, expected in (([date(1970, 1, 2)], [86_400]), ([12], [12]), ([0.5], [0.5])):
        found = read({"x": [1.0], "at": values}, schema_of({"x": ("float", ("n",))}), time="at").times_s
        assert found is not None
        assert expected == found.tolist()


def test_files_that_are_none(tmp_path: Path, kind_of: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing, a directory, of another kind, cut, too many rows or values, too large, two columns of one name."""
    path = tmp_path / "rows.parquet"

    def refusal() -> str:
        return kind_of(lambda: read_rows(Reference(path=path), SINGLE)).removeprefix("invalid_model: rows.parquet: ")

    assert "No such file or directory" == refusal()
    path.mkdir()
    assert "Is a directory" == refusal()
    path.rmdir()
    for content in (b"", b"PAR1", b"a,b\n1,2\n", b"PAR1" * 100):
        path.write_bytes(content)
        assert refusal().startswith("it is not a Parquet file: ")
    parquet.write_table(pa.table({name: np.arange(100.0) for name in "abc"}), path, compression="none")
    whole = path.read_bytes()
    path.write_bytes(b"PAR1" + b"\xff" * 600 + whole[604:])
    assert refusal()
    path.write_bytes(whole)
    for name, bound, text in (
        ("MAX_ROWS", 99, "it has 100 rows, where 1 to 99 are allowed"),
        ("MAX_VALUES", 299, "it has 300 values, more than 299"),
        ("MAX_FILE_BYTES", len(whole) - 1, f"it has more than {len(whole) - 1} bytes"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(rows, name, bound)
            assert text == refusal()
    parquet.write_table(pa.Table.from_arrays([pa.array([1.0])] * 2, names=["a", "a"]), path)
    assert "two of its columns have one name" == refusal()


def test_serving_imports_no_parquet() -> None:
    """Nor does the registry, before a file is read."""
    code = "import sys, registry.rows, registry.publish, registry.reprofile, gateway.control.worker; sys.exit('pyarrow' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[2]).returncode
