"""Requests as people write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from gateway.client import ModelMetadata
from gateway.commands.inputs import CSV_BATCH_ROWS, Question, from_arguments, from_csv, from_json
from gateway.commands.output import UsageError
from gateway.protocol.tensors import TensorSpec

COLUMNS = ModelMetadata(
    "m", ("1",), "", (TensorSpec("x", "FP32", (-1, 1)), TensorSpec("t", "BYTES", (-1, 1)), TensorSpec("b", "BOOL", (-1, 1))), ()
)
MATRIX = ModelMetadata("m", ("1",), "", (TensorSpec("x", "INT64", (-1, 2)),), ())


def test_arguments_are_json_or_text() -> None:
    """Quoting a single word would be a nuisance in a shell."""
    assert {"x": [[1, 2.5]], "t": "JFK", "b": True, "e": "a=b"} == from_arguments(["x=[[1,2.5]]", "t=JFK", "b=true", "e=a=b"]).inputs


@pytest.mark.parametrize("text", ["x", "=1", ""])
def test_an_argument_needs_a_name(text: str) -> None:
    """The error shows what was given."""
    with pytest.raises(UsageError, match=f"expected NAME=JSON, got '{text}'"):
        from_arguments([text])


def as_file(folder: Path, body: Any) -> Path:
    path = folder / "request.json"
    path.write_text(body if isinstance(body, str) else json.dumps(body))
    return path


def test_a_request_of_the_protocol_is_read(tmp_path: Path) -> None:
    """Nested or flat data, datatypes, requested outputs, id and parameters."""
    body = {
        "id": "7",
        "parameters": {"p": 1},
        "inputs": [
            {"name": "x", "datatype": "FP16", "shape": [2, 2], "data": [[1, 2], [3, 4]]},
            {"name": "t", "datatype": "BYTES", "shape": [1], "data": ["a"]},
            {"name": "h", "datatype": "BF16", "shape": [1], "data": [1.0]},
        ],
        "outputs": [{"name": "y"}],
    }
    question = from_json(as_file(tmp_path, body))
    assert (("y",), "7", {"p": 1}) == (question.outputs, question.request_id, question.parameters)
    assert {"x": ("FP16", [[1, 2], [3, 4]]), "t": ("BYTES", ["a"]), "h": ("BF16", [0x3F80])} == {
        name: (datatype, array.tolist()) for name, (array, datatype) in question.inputs.items()
    }


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("{", "no inference request in JSON"),
        ("[]", "no inference request in JSON"),
        ({}, "no inference request in JSON: KeyError.'inputs'"),
        ("[" * 100_000, "no inference request in JSON: RecursionError"),
        ({"inputs": [], "input": []}, "'input' is no part of a request"),
        ({"inputs": [{"name": "x", "datatype": "FP8", "shape": [1], "data": [1]}]}, "unknown datatype 'FP8'"),
        ({"inputs": [{"name": "x", "datatype": "FP32", "shape": [3], "data": [1]}]}, "cannot reshape"),
        ({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [300]}]}, "a number is out of range"),
        ({"inputs": [{"name": "x", "datatype": "INT8", "shape": [1], "data": [1], "parameters": {}}]}, "'parameters' of input 'x'"),
    ],
)
def test_a_file_that_is_no_request_says_why(tmp_path: Path, body: Any, text: str) -> None:
    """Nothing in it is ignored."""
    with pytest.raises(UsageError, match=text):
        from_json(as_file(tmp_path, body))


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    """For both kinds of file."""
    with pytest.raises(UsageError, match="No such file"):
        from_json(tmp_path / "none")
    with pytest.raises(UsageError, match="No such file"):
        list(from_csv(tmp_path / "none", MATRIX))


def table(folder: Path, text: str | bytes, model: ModelMetadata) -> list[Question]:
    path = folder / "rows.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(from_csv(path, model))


def test_a_column_per_input(tmp_path: Path) -> None:
    """In any order; columns that the model does not take are left alone."""
    (question,) = table(tmp_path, '\ufeffid,t,b,x\n1,"a,b",true,1.5\n\n2,,0,-2\n', COLUMNS)
    assert {"x": [[1.5], [-2.0]], "t": [["a,b"], [""]], "b": [[True], [False]]} == question.inputs


def test_a_column_per_feature_of_the_only_input(tmp_path: Path) -> None:
    """The header is then free."""
    (question,) = table(tmp_path, "a,b\n1,2\n3,4\n", MATRIX)
    assert {"x": [[1, 2], [3, 4]]} == question.inputs


def test_a_long_table_is_several_requests(tmp_path: Path) -> None:
    """Of a bounded number of rows."""
    questions = table(tmp_path, "a,b\n" + "1,2\n" * (CSV_BATCH_ROWS + 1), MATRIX)
    assert [CSV_BATCH_ROWS, 1] == [len(question.inputs["x"]) for question in questions]


@pytest.mark.parametrize(
    ("text", "model", "complaint"),
    [
        ("", MATRIX, "no rows below the header"),
        ("a,b\n", MATRIX, "no rows below the header"),
        ("a,b\n1\n", MATRIX, "a row has 1 fields, the header has 2: 1"),
        ("a,b,c\n1,2,3\n", MATRIX, "no column for x; the header has a, b, c"),
        ("x,t\n1,2\n", COLUMNS, "no column for b"),
        ("a,b\n1,2.5\n", MATRIX, "invalid literal for int"),
        ("x,t,b\n1,a,maybe\n", COLUMNS, "'maybe' is neither true nor false"),
        (b"a,b\n\xff,1\n", MATRIX, "can't decode byte"),
    ],
)
def test_a_table_that_does_not_fit_says_why(tmp_path: Path, text: str | bytes, model: ModelMetadata, complaint: str) -> None:
    """With the row or the column."""
    with pytest.raises(UsageError, match=complaint):
        table(tmp_path, text, model)
