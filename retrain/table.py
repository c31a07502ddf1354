"""The rows of a snapshot, split by time into what is trained on and what both models are judged by. Lazy: a part is read when it is asked.

The latest rows are the hold-out; a row that is as old as its first one belongs to it, and within `gap_s` before it nothing is trained on.
Rows come in the order of time. Of a part with more than `max_rows` a sample is drawn, which depends on nothing but the rows and the seed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from retrain.dataset import Dataset, DatasetError
from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.snapshot import Snapshot
from retrain.sources import KEY, KEYS, LABEL, TIME, WEIGHT, Source
from retrain.target import YES_NO, Target

BATCH_ROWS = 65_536
_VIEW = "snapshot_rows"
LABELLED = f"{LABEL} IS NOT NULL AND NOT isnan({LABEL}) AND {TIME} IS NOT NULL"
# (keys below this one, or all rows without it; rows of a batch) → Arrow batches in the order of time and key
Reading = Callable[[int | None, int], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class Part:
    """Labelled rows of a stretch of time: what an entry point is given."""

    name: str  # "train" or "holdout"
    inputs: tuple[Input, ...]
    rows: int  # labelled ones, before a sample is drawn
    since_us: int  # microseconds since the Unix epoch; its first and last row
    until_us: int
    target: Target
    _reading: Reading
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
        below = math.floor(self._max_rows / self.rows * KEYS) if self.sampled else None
        found = list(self._read(below, BATCH_ROWS))
        return found[0] if len(found) == 1 else _joined(found)

    def batches(self, rows: int = BATCH_ROWS) -> Iterator[Dataset]:
        """Every row, however many there are, in pieces of `rows`, but for the last: the same ones every time. Raises as `load`."""
        return resized(self._read(None, min(rows, BATCH_ROWS)), rows)

    def _read(self, below: int | None, rows: int) -> Iterator[Dataset]:
        for batch in self._reading(below, rows):
            if batch.num_rows:
                yield dataset_of(batch, self.inputs, self.target, weighted=self._weighted)


class Table:
    """One snapshot in one connection."""

    def __init__(
        self, connection: Connection, source: Source, snapshot: Snapshot, inputs: tuple[Input, ...], target: Target = YES_NO
    ) -> None:
        """Raises `RetrainError` as `Source.relation`."""
        self.snapshot, self.inputs, self.target = snapshot, inputs, target
        self._connection = connection
        self.types = source.types(connection)
        source.relation(connection, snapshot, inputs).create_view(_VIEW, replace=True)

    def rows(self) -> int:
        """All of them, labelled or not."""
        return int(self._one(f"SELECT count(*) FROM {_VIEW}")[0])  # noqa: S608 - a name of ours

    def times(self, condition: str = LABELLED) -> tuple[int, int | None, int | None]:
        """(rows, the first time, the last one) of the rows of a condition; None where there are no rows."""
        rows, since, until = self._one(f"SELECT count(*), min({TIME}), max({TIME}) FROM {_VIEW} WHERE {condition}")  # noqa: S608
        return rows, since, until

    def bins(self, least: int, most: int, width: int) -> list[tuple[int, int]]:
        """(bin, labelled rows) of the times from `least` to `most`, both included, in bins of `width` microseconds, numbered from 0."""
        query = (
            f"SELECT ({TIME} - {least}) // {width} AS bin, count(*) FROM {_VIEW} "  # noqa: S608
            f"WHERE {LABELLED} AND {TIME} BETWEEN {least} AND {most} GROUP BY bin"
        )
        return list(self._connection.execute(query).fetchall())

    def ordered(self, condition: str, rows: int) -> Iterator[Any]:
        """Arrow batches of the rows of a condition, in the order of time and key: inputs and our columns."""
        columns = [*(quoted(one.name) for one in self.inputs), LABEL, TIME, WEIGHT, KEY]
        query = f"SELECT {', '.join(columns)} FROM {_VIEW} WHERE {condition} ORDER BY {TIME}, {KEY}"  # noqa: S608 - quoted
        yield from self._connection.cursor().sql(query).to_arrow_reader(rows)

    def batches(self) -> Iterator[Any]:
        """Arrow batches of all rows, in no order: inputs that are there, `__label`, `__time`, `__weight`, `__key`."""
        yield from self._connection.cursor().table(_VIEW).to_arrow_reader(BATCH_ROWS)

    def split(self) -> tuple[Part, Part]:
        """What is trained on, and the hold-out. Raises `RetrainError` where one of them has no rows."""
        share = 1.0 - self.snapshot.holdout
        rows, cut = self._one(f"SELECT count(*), quantile_disc({TIME}, {share!r}) FROM {_VIEW} WHERE {LABELLED}")  # noqa: S608
        if not rows:
            raise RetrainError(UNLABELLED)
        train, holdout = conditions_of_split(self.snapshot, cut)
        return self._part("train", train), self._part("holdout", holdout)

    def labelled(self) -> Part | None:
        """Every row with a label and a time; None where there is none."""
        return self._part("all", LABELLED) if self.times()[0] else None

    def _part(self, name: str, condition: str) -> Part:
        def read(below: int | None, rows: int) -> Iterator[Any]:
            return self.ordered(sampled(condition, below), rows)

        return part_of(self.snapshot, self.inputs, self.target, name, self.times(condition), read)

    def _one(self, query: str) -> tuple[Any, ...]:
        found: tuple[Any, ...] = self._connection.execute(query).fetchone()
        return found


UNLABELLED = "there are no rows with a label and a time"


def conditions_of_split(snapshot: Snapshot, cut: int) -> tuple[str, str]:
    """What is trained on, and the hold-out, which begins at the time `cut`."""
    return f"{LABELLED} AND {TIME} < {cut - round(snapshot.gap_s * 1e6)}", f"{LABELLED} AND {TIME} >= {cut}"


def sampled(condition: str, below: int | None) -> str:
    """Of the rows of a condition, those with keys below one."""
    return condition if below is None else f"{condition} AND {KEY} < {below}"


def part_of(  # noqa: PLR0917 - the fields of a part
    snapshot: Snapshot,
    inputs: tuple[Input, ...],
    target: Target,
    name: str,
    times: tuple[int, int | None, int | None],
    reading: Reading,
) -> Part:
    """A part by its rows and their first and last time. Raises `RetrainError` where there are none."""
    rows, since, until = times
    if since is None or until is None:
        raise RetrainError(f"the {name} part has no rows: all have the same time, or the gap is longer than what they span")
    weighted = snapshot.weight is not None or snapshot.weights != "none" or snapshot.kind == "log"
    return Part(name, inputs, rows, since, until, target, reading, snapshot.max_rows, weighted)


def resized(parts: Iterable[Dataset], rows: int) -> Iterator[Dataset]:
    """The same rows in pieces of `rows`, but for the last: a database cuts them as it likes."""
    waiting: list[Dataset] = []
    for part in parts:
        waiting.append(part)
        while sum(one.rows for one in waiting) >= rows:
            whole = _joined(waiting) if len(waiting) > 1 else waiting[0]
            yield whole.take(slice(0, rows))
            waiting = [whole.take(slice(rows, None))] if whole.rows > rows else []
    if waiting:
        yield _joined(waiting)


def dataset_of(batch: Any, inputs: tuple[Input, ...], target: Target, *, weighted: bool) -> Dataset:
    """An Arrow batch as a model takes it. Raises `RetrainError` for values that it cannot take."""
    columns = {one.name: column_of(batch.column(one.name), one) for one in inputs}
    plain = {name: batch.column(name).to_numpy(zero_copy_only=False) for name in (LABEL, TIME, WEIGHT)}
    missing = frozenset(one.name for one in inputs if one.kind == "number" and one.missing)
    try:
        return Dataset(
            columns,
            _labels(plain[LABEL], target),
            plain[TIME].astype(np.float64) / 1e6,
            plain[WEIGHT].astype(np.float64) if weighted else None,
            missing,
            target,
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


def _labels(values: np.ndarray, target: Target) -> np.ndarray:
    found = values.astype(np.float64)
    return found if target.kind == "number" or target.wrong(found).any() else found.astype(np.int64)


def _joined(parts: list[Dataset]) -> Dataset:
    def whole(arrays: list[Any]) -> Any:
        return None if arrays[0] is None else np.concatenate(arrays)

    first = parts[0]
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in first.columns}
    labels, times = whole([part.labels for part in parts]), whole([part.times_s for part in parts])
    return Dataset(columns, labels, times, whole([part.weights for part in parts]), first.missing, first.target)
