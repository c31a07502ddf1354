"""The rows of a snapshot, split by time into what is trained on and what both models are judged by. Lazy: a part is read when it is asked.

The latest rows are the hold-out; a row that is as old as its first one belongs to it, and within `gap_s` before it nothing is trained on.
Rows come in the order of time. Of a part with more than `max_rows` a sample is drawn, which depends on nothing but the rows and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrain.dataset import Dataset, DatasetError
from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.snapshot import Snapshot
from retrain.sources import KEY, KEYS, LABEL, TIME, WEIGHT, Source

BATCH_ROWS = 65_536
_VIEW = "snapshot_rows"
_LABELLED = f"{LABEL} IS NOT NULL AND NOT isnan({LABEL}) AND {TIME} IS NOT NULL"


@dataclass(frozen=True, slots=True)
class Part:
    """Labelled rows of a stretch of time: what an entry point is given."""

    name: str  # "train" or "holdout"
    inputs: tuple[Input, ...]
    rows: int  # labelled ones, before a sample is drawn
    since_us: int  # microseconds since the Unix epoch; its first and last row
    until_us: int
    _connection: Connection
    _condition: str
    _max_rows: int
    _weighted: bool

    @property
    def numbers(self) -> list[str]:
        """Names of the columns of numbers."""
        return [one.name for one in self.inputs if one.kind == "number"]

    @property
    def texts(self) -> list[str]:
        """Names of the columns of texts."""
        return [one.name for one in self.inputs if one.kind == "text"]

    @property
    def sampled(self) -> bool:
        """Whether `load` gives fewer rows than there are."""
        return self.rows > self._max_rows

    def load(self) -> Dataset:
        """All rows, or as many as a sample has, in memory. Raises `RetrainError` for values that no model takes."""
        share = self._max_rows / self.rows if self.sampled else 1.0
        kept = f" AND {KEY} < {math.floor(share * KEYS)}" if self.sampled else ""
        found = list(self._read(f"{self._condition}{kept}", BATCH_ROWS))
        return found[0] if len(found) == 1 else _joined(found)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Dataset]:
        """Every row, however many there are, in pieces of up to `rows`. Raises as `load`."""
        return self._read(self._condition, rows)

    def _read(self, condition: str, rows: int) -> Iterator[Dataset]:
        columns = [*(quoted(one.name) for one in self.inputs), LABEL, TIME, WEIGHT]
        query = f"SELECT {', '.join(columns)} FROM {_VIEW} WHERE {condition} ORDER BY {TIME}, {KEY}"  # noqa: S608 - quoted
        for batch in self._connection.cursor().sql(query).to_arrow_reader(min(rows, BATCH_ROWS)):
            if batch.num_rows:
                yield dataset_of(batch, self.inputs, weighted=self._weighted)


class Table:
    """One snapshot in one connection."""

    def __init__(self, connection: Connection, source: Source, snapshot: Snapshot, inputs: tuple[Input, ...]) -> None:
        """Raises `RetrainError` as `Source.relation`."""
        self.snapshot, self.inputs = snapshot, inputs
        self._connection = connection
        self.types = source.types(connection)
        source.relation(connection, snapshot, inputs).create_view(_VIEW, replace=True)

    def rows(self) -> int:
        """All of them, labelled or not."""
        return int(self._one(f"SELECT count(*) FROM {_VIEW}")[0])  # noqa: S608 - a name of ours

    def batches(self) -> Iterator[Any]:
        """Arrow batches of all rows, in no order: inputs that are there, `__label`, `__time`, `__weight`, `__key`."""
        yield from self._connection.cursor().table(_VIEW).to_arrow_reader(BATCH_ROWS)

    def split(self) -> tuple[Part, Part]:
        """What is trained on, and the hold-out. Raises `RetrainError` where one of them has no rows."""
        labelled = _LABELLED
        share = 1.0 - self.snapshot.holdout
        rows, cut = self._one(f"SELECT count(*), quantile_disc({TIME}, {share!r}) FROM {_VIEW} WHERE {labelled}")  # noqa: S608
        if not rows:
            raise RetrainError("there are no rows with a label and a time")
        train = self._part("train", f"{labelled} AND {TIME} < {cut - round(self.snapshot.gap_s * 1e6)}")
        return train, self._part("holdout", f"{labelled} AND {TIME} >= {cut}")

    def labelled(self) -> Part | None:
        """Every row with a label and a time; None where there is none."""
        return self._part("all", _LABELLED) if self._one(f"SELECT count(*) FROM {_VIEW} WHERE {_LABELLED}")[0] else None  # noqa: S608

    def _part(self, name: str, condition: str) -> Part:
        rows, since, until = self._one(f"SELECT count(*), min({TIME}), max({TIME}) FROM {_VIEW} WHERE {condition}")  # noqa: S608
        if not rows:
            raise RetrainError(f"the {name} part has no rows: all have the same time, or the gap is longer than what they span")
        weighted = self.snapshot.weight is not None or self.snapshot.weights != "none" or self.snapshot.kind == "log"
        return Part(name, self.inputs, rows, since, until, self._connection, condition, self.snapshot.max_rows, weighted)

    def _one(self, query: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._connection.execute(query).fetchone()
        return found


def dataset_of(batch: Any, inputs: tuple[Input, ...], *, weighted: bool) -> Dataset:
    """An Arrow batch as a model takes it. Raises `RetrainError` for values that it cannot take."""
    columns = {one.name: column_of(batch.column(one.name), one) for one in inputs}
    plain = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in (LABEL, TIME, WEIGHT)}
    missing = frozenset(one.name for one in inputs if one.kind == "number" and one.missing)
    try:
        return Dataset(
            columns,
            _labels(plain[LABEL]),
            plain[TIME].astype(np.float64) / 1e6,
            plain[WEIGHT].astype(np.float64) if weighted else None,
            missing,
        )
    except DatasetError as error:
        raise RetrainError(str(error)) from error


def column_of(column: Any, one: Input) -> np.ndarray:
    """float32 with NaN for what is missing, or `str` objects with the contract's text for it. Raises `RetrainError`."""
    values = column.to_numpy(zero_copy_only=False)
    if one.kind == "number":
        with np.errstate(over="ignore"):
            return np.array(values, np.float32)
    texts = np.asarray(values, object)
    absent = np.array([text is None for text in texts], bool)
    if absent.any():
        if one.null_text is None:
            raise RetrainError(f"column '{one.name}' has missing values, and the contract has no text for them")
        texts[absent] = one.null_text
    return texts


def _labels(values: np.ndarray) -> np.ndarray:
    found = values.astype(np.float64)
    return found.astype(np.int64) if np.isin(found, (0.0, 1.0)).all() else found


def _joined(parts: list[Dataset]) -> Dataset:
    def whole(arrays: list[Any]) -> Any:
        return None if arrays[0] is None else np.concatenate(arrays)

    first = parts[0]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns}
    labels, times = whole([part.labels for part in parts]), whole([part.times_s for part in parts])
    return Dataset(columns, labels, times, whole([part.weights for part in parts]), first.missing)
