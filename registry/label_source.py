"""Labels in a file of somebody's: Parquet, CSV, or one JSON object a line. Some at a time, with the number of each line or row.

Columns are named as the fields of a label, or mapped. A row that is no label is a finding of its own; a file that is none is refused whole.
"""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from registry.errors import Kind, RegistryError
from registry.label import Item, Label, label_of, micros

FIELDS = Item.__struct_fields__
EVERYTHING = "*"  # among the columns to ignore: all that are not fields
ARRIVAL = "arrival_ts"  # a column that only what is filled in later has
MAX_LINE_BYTES = 1 << 16
_KINDS = (".parquet", ".csv", ".jsonl", ".ndjson")
_BATCH = 1 << 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A file, and how its columns are meant. `columns`: field → column; `fixed`: field → value where the file has no such column."""

    path: Path
    columns: Mapping[str, str] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    backfill: bool = False  # `arrival_ts` is a column


@dataclass(frozen=True, slots=True)
class Read:
    """One row of a file. `label` is None where it is no label; `problem` says why."""

    number: int
    label: Label | None
    problem: str = ""


def read(source: Source) -> Iterator[Read]:
    """Every row, in order, counted from 1. Raises `Kind.INVALID_MODEL` for a file that cannot be read as what its name says."""
    kind = source.path.suffix.lower()
    if kind not in _KINDS:
        raise _refused(source, f"its name ends in none of {', '.join(_KINDS)}")
    _check_fields(source)
    with _explained(source):
        rows = {".parquet": _parquet, ".csv": _csv}.get(kind, _json_lines)(source)
        for number, row in enumerate(rows, 1):
            yield _read(source, number, row)


def _read(source: Source, number: int, row: Mapping[str, Any] | str) -> Read:
    if isinstance(row, str):
        return Read(number, None, row)
    try:
        said = {**source.fixed, **row}
        arrival = said.pop(ARRIVAL, None)
        if source.backfill and arrival is None:
            return Read(number, None, f"no {ARRIVAL}, although arrivals are to be taken from the file")
        item = msgspec.convert(said, Item, strict=False)
        arrived = None if arrival is None else micros(msgspec.convert(arrival, datetime, strict=False))
        return Read(number, label_of(item, arrival_us=arrived))
    except (ValueError, TypeError) as error:  # msgspec's among them
        return Read(number, None, str(error)[:300])


def _csv(source: Source) -> Iterator[Mapping[str, Any]]:
    """An empty cell is nothing."""
    csv.field_size_limit(MAX_LINE_BYTES)
    with source.path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, strict=True)
        names = _fields(source, reader.fieldnames or [])
        for row in reader:
            yield {name: row[column] for name, column in names.items() if row[column] not in (None, "")}


def _json_lines(source: Source) -> Iterator[Mapping[str, Any] | str]:
    with source.path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            if len(line) > MAX_LINE_BYTES:
                raise _refused(source, f"a line of it has more than {MAX_LINE_BYTES} bytes")
            if line.strip():
                yield _of_json(source, line)


def _of_json(source: Source, line: bytes) -> Mapping[str, Any] | str:
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
        names = _fields(source, found)
    except (ValueError, RegistryError) as error:
        return str(error)
    return {name: found[column] for name, column in names.items() if found[column] is not None}


def _parquet(source: Source) -> Iterator[Mapping[str, Any]]:
    from pyarrow import parquet

    with source.path.open("rb") as file:
        reader = parquet.ParquetFile(file)
        names = _fields(source, reader.schema_arrow.names)
        for batch in reader.iter_batches(_BATCH, columns=list(names.values()), use_threads=False):
            for row in batch.to_pylist():
                yield {name: _plain(row[column]) for name, column in names.items() if row[column] is not None}


def _plain(value: Any) -> Any:
    """Ids may be bytes; times without a zone are UTC's."""
    if isinstance(value, bytes):
        return value.hex()
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) and value.tzinfo is None else value


def _fields(source: Source, columns: Iterable[str]) -> dict[str, str]:
    """Field → column of those that are there. Raises `Kind.INVALID_MODEL` for columns that are neither fields nor ignored."""
    there = list(columns)
    wanted = (*FIELDS, ARRIVAL) if source.backfill else FIELDS
    names = {name: source.columns.get(name, name) for name in wanted if source.columns.get(name, name) in there}
    missing = [column for column in source.columns.values() if column not in there]
    if missing:
        raise _refused(source, f"there is no column {missing[0]!r}; there are {', '.join(there)[:300]}")
    strangers = [column for column in there if column not in names.values() and column not in source.ignore]
    if strangers and EVERYTHING not in source.ignore:
        shown = ", ".join(map(repr, strangers[:6]))
        raise _refused(source, f"{shown}: no field of a label; map it to one, or ignore it. Fields are {', '.join(wanted)}")
    return names


def _check_fields(source: Source) -> None:
    for name in (*source.columns, *source.fixed):
        if name not in FIELDS and not (name == ARRIVAL and source.backfill):
            raise _refused(source, f"{name!r} is no field of a label; these are {', '.join(FIELDS)}")


@contextmanager
def _explained(source: Source) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise _refused(source, f"{error.strerror or error}") from error
    except (csv.Error, UnicodeDecodeError) as error:
        raise _refused(source, str(error)) from error
    except Exception as error:
        if _is_arrow(error):
            raise _refused(source, " ".join(str(error).split())[:300]) from error
        raise


def _is_arrow(error: Exception) -> bool:
    """Where pyarrow was never imported, it raised nothing."""
    pyarrow = sys.modules.get("pyarrow")
    return pyarrow is not None and isinstance(error, pyarrow.ArrowException)


def _refused(source: Source, text: str) -> RegistryError:
    return RegistryError(Kind.INVALID_MODEL, f"{source.path.name}: {text}")
