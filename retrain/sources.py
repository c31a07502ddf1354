"""Where rows come from: one relation with the model's inputs by their names and four columns of ours. Nothing is read before it is asked.

`__time`, int64, microseconds since the Unix epoch; `__label` and `__weight`, float64, the former missing where there is none; `__key`,
int64 from 0 below 2³², as good as random but always the same of a row: samples are drawn and equal times are put in order by it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

from registry.medium import Progress, hashed, unseen
from registry.rows import parquet_rows
from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.snapshot import File, Filter, Snapshot

TIME, LABEL, WEIGHT, KEY = "__time", "__label", "__weight", "__key"
KEYS = 1 << 32
_TIMES = {"TIMESTAMP", "TIMESTAMP_S", "TIMESTAMP_MS", "TIMESTAMP_NS", "TIMESTAMP WITH TIME ZONE", "TIMESTAMP_NS WITH TIME ZONE", "DATE"}
_WHOLE = {f"{sign}{name}" for sign in ("", "U") for name in ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT")}
_NUMBERS = _WHOLE | {"FLOAT", "DOUBLE", "BOOLEAN"}
_FILE = "__file"
_SPREAD = 2_654_435_761  # Knuth's multiplier, 2³² divided by the golden ratio


class Source(Protocol):
    """Rows of one snapshot."""

    def types(self, connection: Connection) -> dict[str, str]:
        """Columns that there are, with DuckDB's names of their types. Raises `RetrainError`."""
        ...

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """The relation: inputs that are there, and ours. Raises `RetrainError` for a column that is missing or of a wrong kind."""
        ...


@dataclass(frozen=True, slots=True)
class RowsFiles:
    """Parquet files with a row each for what was asked, what came true of it, and when it was."""

    paths: tuple[Path, ...]

    def files(self, *, progress: Progress = unseen) -> tuple[File, ...]:
        """Each with its digest and rows, in the order given. Raises `RetrainError` for what cannot be read or is no Parquet."""
        return tuple(_file(path, progress) for path in self.paths)

    def types(self, connection: Connection) -> dict[str, str]:
        """As `Source`."""
        found = asked(lambda: connection.execute("DESCRIBE SELECT * FROM read_parquet(?)", [self._names()]).fetchall())
        return {name: kind for name, kind, *_ in found}

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """As `Source`."""
        types = self.types(connection)
        query, values = selected(
            f"read_parquet(?, file_row_number = true, filename = '{_FILE}')", self._row(), types, snapshot=snapshot, inputs=inputs
        )
        return asked(lambda: connection.sql(query, params=[self._names(), *values]))

    def _row(self) -> str:
        """The place of a row among those of all files."""
        before = accumulate((parquet_rows(path) for path in self.paths[:-1]), initial=0)
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in self._names())
        return f"(file_row_number + ({list(before)})[list_position([{names}], {_FILE})])"

    def _names(self) -> list[str]:
        return [str(path.absolute()) for path in self.paths]


def selected(scan: str, row: str, types: dict[str, str], *, snapshot: Snapshot, inputs: tuple[Input, ...]) -> tuple[str, list[Any]]:
    """The query of a relation over `scan`, and the values in its places. `row`: the place of a row among those of all files, in SQL.

    Raises `RetrainError` for a column that is missing or of a wrong kind.
    """
    named = {"label": snapshot.label, "time": snapshot.time, "weight": snapshot.weight, "label arrival": snapshot.arrival}
    for what, column in named.items():
        if column is not None and column not in types:
            raise RetrainError(f"there is no column '{column}' with the {what}; there are {', '.join(sorted(types)[:20])}")
    columns = [quoted(one.name) for one in inputs if one.name in types]
    columns += [f"{_label(snapshot.label, types)} AS {LABEL}", f"{_time(snapshot.time, types, row)} AS {TIME}"]
    columns += [f"{_weight(snapshot.weight, types)} AS {WEIGHT}", f"{_key(row, snapshot.seed)} AS {KEY}"]
    conditions, values = conditions_of(snapshot.filters, types)
    for column, sign, moment in (
        (snapshot.time, ">=", snapshot.since),
        (snapshot.time, "<=", snapshot.as_of),
        (snapshot.arrival, "<=", snapshot.as_of),
    ):
        if column is not None and moment is not None:
            conditions.append(f"{_time(column, types, row)} {sign} ?")
            values.append(round(moment.timestamp() * 1e6))
    where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
    return f"SELECT {', '.join(columns)} FROM {scan}{where}", values  # noqa: S608 - names are quoted


def conditions_of(filters: tuple[Filter, ...], types: dict[str, str]) -> tuple[list[str], list[Any]]:
    """Conditions in SQL, and the values in their places. Raises `RetrainError` for a column that is not there."""
    conditions: list[str] = []
    values: list[Any] = []
    for one in filters:
        if one.column not in types:
            raise RetrainError(f"a filter speaks of column '{one.column}', which is not there")
        if one.values is not None:
            conditions.append(f"{quoted(one.column)} IN ({', '.join('?' for _ in one.values)})")
            values += one.values
        for sign, bound in ((">=", one.least), ("<=", one.most)):
            if bound is not None:
                conditions.append(f"{quoted(one.column)} {sign} ?")
                values.append(bound)
    return conditions, values


def fits(kind: str, found: str) -> bool:
    """Whether a column of DuckDB's type `found` can be a number, or a text."""
    return found.startswith("DECIMAL") or found in _NUMBERS if kind == "number" else found == "VARCHAR" or found.startswith("ENUM")


def _file(path: Path, progress: Progress) -> File:
    try:
        with path.open("rb") as file:
            digest = hashed(file, progress=progress)
    except OSError as error:
        raise RetrainError(f"{path}: {error.strerror or error}") from error
    return File(name=path.name, digest=digest, rows=parquet_rows(path))


def asked(ask: Any) -> Any:
    """DuckDB's refusals in one sentence."""
    import duckdb

    try:
        return ask()
    except duckdb.Error as error:
        raise RetrainError(" ".join(str(error).split())[:400]) from error


def _label(column: str, types: dict[str, str]) -> str:
    if not fits("number", types[column]):
        raise RetrainError(f"the labels in '{column}' are {types[column]}, where numbers or booleans are expected")
    return f"CAST({quoted(column)} AS DOUBLE)"


def _weight(column: str | None, types: dict[str, str]) -> str:
    if column is None:
        return "CAST(1 AS DOUBLE)"
    if not fits("number", types[column]):
        raise RetrainError(f"the weights in '{column}' are {types[column]}, where numbers are expected")
    return f"CAST({quoted(column)} AS DOUBLE)"


def _time(column: str | None, types: dict[str, str], row: str) -> str:
    """Microseconds; of a column of numbers, which are seconds; without a column, the order of the rows."""
    if column is None:
        return f"CAST({row} AS BIGINT)"
    if types[column] in _TIMES:
        return f"epoch_us(CAST({quoted(column)} AS TIMESTAMP))"
    if types[column] in _NUMBERS - {"BOOLEAN"}:
        return f"CAST(round({quoted(column)} * 1e6) AS BIGINT)"
    raise RetrainError(f"the times in '{column}' are {types[column]}, where timestamps or seconds are expected")


def _key(row: str, seed: int) -> str:
    """The multiplier is odd, so of up to 2³² rows no two have one key."""
    return f"CAST((CAST({row} + {seed % KEYS} AS HUGEINT) * {_SPREAD}) % {KEYS} AS BIGINT)"
