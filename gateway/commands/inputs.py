"""Requests as people write them: `NAME=JSON` arguments, the protocol's JSON, tables. Reads files, asks no server."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gateway.commands.output import UsageError

if TYPE_CHECKING:
    from gateway.client import ModelMetadata

CSV_BATCH_ROWS = 256
_REQUEST_KEYS = {"id", "parameters", "inputs", "outputs"}


@dataclass(frozen=True, slots=True)
class Question:
    """What a client's `infer` takes, beside the model."""

    inputs: dict[str, Any]
    outputs: tuple[str, ...] = ()
    request_id: str = ""
    parameters: dict[str, bool | int | float | str] = field(default_factory=dict)


def from_arguments(texts: Sequence[str]) -> Question:
    """`NAME=JSON` arguments; a value that is no JSON is taken as a text. Raises `UsageError`."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise UsageError(f"--input: expected NAME=JSON, got {text!r}")
        try:
            found[name] = json.loads(value)
        except (ValueError, RecursionError):
            found[name] = value
    return Question(found)


def from_json(path: Path) -> Question:
    """A request in the protocol's JSON. Raises `UsageError`, also for a key that would have to be ignored."""
    try:
        body = json.loads(path.read_bytes())
        if strange := sorted(set(body) - _REQUEST_KEYS):
            raise UsageError(f"{path}: {strange[0]!r} is no part of a request; known: {', '.join(sorted(_REQUEST_KEYS))}")
        inputs = {item["name"]: _tensor(item) for item in body["inputs"]}
        outputs = tuple(str(item["name"]) for item in body.get("outputs", ()))
        return Question(inputs, outputs, str(body.get("id", "")), dict(body.get("parameters", {})))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UsageError(f"{path}: no inference request in JSON: {error!r}") from None


def from_csv(path: Path, model: ModelMetadata) -> Iterator[Question]:
    """A table as requests of up to `CSV_BATCH_ROWS` rows. Raises `UsageError` naming the line.

    The header names the inputs, each a column of shape (rows, 1); or the model has one input, whose last dimension counts the columns.
    """
    header, rows = _table(path)
    for start in range(0, len(rows), CSV_BATCH_ROWS):
        try:
            yield Question(_columns(header, rows[start : start + CSV_BATCH_ROWS], model))
        except ValueError as error:
            raise UsageError(f"{path}: {error}") from None


def _tensor(item: dict[str, Any]) -> tuple[Any, str]:
    from gateway.client_tensors import as_array
    from gateway.errors import TidegateError
    from gateway.protocol.tensors import DATATYPES, TensorSpec

    if item["datatype"] not in DATATYPES:
        raise ValueError(f"input {item['name']!r} has an unknown datatype {item['datatype']!r}")
    if strange := sorted(set(item) - {"name", "shape", "datatype", "data"}):
        raise ValueError(f"{strange[0]!r} of input {item['name']!r} is not supported here")
    try:
        array, datatype = as_array(_flat(item["data"]), TensorSpec(item["name"], item["datatype"], ()))
    except TidegateError as error:
        raise ValueError(error.message) from None
    return array.reshape(item["shape"]), datatype


def _flat(data: Any) -> list[Any]:
    """The elements of nested lists, in order."""
    if not isinstance(data, list):
        return [data]
    return [element for part in data for element in _flat(part)] if any(isinstance(part, list) for part in data) else data


def _table(path: Path) -> tuple[list[str], list[list[str]]]:
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            header, *rows = list(csv.reader(file)) or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
    rows = [row for row in rows if row]
    if ragged := next((row for row in rows if len(row) != len(header)), None):
        raise UsageError(f"{path}: a row has {len(ragged)} fields, the header has {len(header)}: {','.join(ragged)[:60]}")
    if not rows:
        raise UsageError(f"{path}: no rows below the header")
    return header, rows


def _columns(header: list[str], rows: list[list[str]], model: ModelMetadata) -> dict[str, Any]:
    names = [spec.name for spec in model.inputs]
    if set(names) <= set(header):
        return {spec.name: [[_cell(row[header.index(spec.name)], spec.datatype)] for row in rows] for spec in model.inputs}
    if len(names) == 1 and model.inputs[0].shape[-1] in (-1, len(header)):
        return {names[0]: [[_cell(field, model.inputs[0].datatype) for field in row] for row in rows]}
    missing = ", ".join(name for name in names if name not in header)
    raise ValueError(f"no column for {missing}; the header has {', '.join(header)}")


def _cell(text: str, datatype: str) -> bool | int | float | str:
    if datatype == "BYTES":
        return text
    if datatype == "BOOL":
        if text.lower() not in ("true", "false", "0", "1"):
            raise ValueError(f"{text!r} is neither true nor false")
        return text.lower() in ("true", "1")
    return float(text) if datatype.startswith(("FP", "BF")) else int(text)
