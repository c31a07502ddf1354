"""Stretches of rows that are read apart, on whatever machine, and are together what one reading gives: the same values, keys and times.

A stretch is some rows of one file. It knows how many rows lie before it in all files, and the types of all files together, so that each of
its rows is what it would be among the others. Also: where the time lies that parts a share of rows from the rest, from counts alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec

from registry.medium import hashed
from retrain.engine import Connection, quoted
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.snapshot import File, Snapshot
from retrain.sources import asked, selected

ROWS = 2_000_000  # of a stretch: a second or two of reading
BINS = 65_536
Bins = list[tuple[int, int]]  # (number, rows)


class Shard(msgspec.Struct, frozen=True, kw_only=True):
    """Rows `first` … `end` − 1 of one file."""

    path: str
    digest: str
    before: int  # rows of the files before it
    first: int
    end: int


def shards_of(paths: Sequence[Path], files: Sequence[File], *, rows: int = ROWS) -> tuple[Shard, ...]:
    """All rows of files, in their order, in stretches of up to `rows`; a file without rows is none."""
    found, before = [], 0
    for path, file in zip(paths, files, strict=True):
        found += [
            Shard(path=str(path.absolute()), digest=file.digest, before=before, first=first, end=min(first + rows, file.rows))
            for first in range(0, file.rows, rows)
        ]
        before += file.rows
    return tuple(found)


@dataclass(frozen=True, slots=True)
class ShardRows:
    """A stretch as a `sources.Source`; `kinds` are the types of all files together."""

    shard: Shard
    kinds: dict[str, str]

    def types(self, connection: Connection) -> dict[str, str]:
        """As `Source`."""
        return self.kinds

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """As `Source`."""
        columns = ", ".join(f"CAST({quoted(name)} AS {kind}) AS {quoted(name)}" for name, kind in self.kinds.items())
        scan = (
            f"(SELECT {columns}, file_row_number FROM read_parquet(?, file_row_number = true) "  # noqa: S608 - names are quoted
            f"WHERE file_row_number >= {self.shard.first} AND file_row_number < {self.shard.end})"
        )
        query, values = selected(scan, f"(file_row_number + {self.shard.before})", self.kinds, snapshot=snapshot, inputs=inputs)
        return asked(lambda: connection.sql(query, params=[self.shard.path, *values]))


@dataclass(frozen=True, slots=True)
class HeldRows:
    """Rows of a relation that somebody has read, as an Arrow table: a `sources.Source` whose filters have been seen to."""

    table: Any
    kinds: dict[str, str]

    def types(self, connection: Connection) -> dict[str, str]:
        """As `Source`."""
        return self.kinds

    def relation(self, connection: Connection, snapshot: Snapshot, inputs: tuple[Input, ...]) -> Any:
        """As `Source`."""
        return connection.from_arrow(self.table)


_checked: dict[tuple[str, int, int, int], str] = {}


def check(shard: Shard) -> None:
    """That the file is here what the job was given: its digest, found once by each process. Raises `RetrainError`."""
    path = Path(shard.path)
    try:
        state = path.stat()
        key = (shard.path, state.st_mtime_ns, state.st_size, state.st_ino)
        if key not in _checked:
            with path.open("rb") as file:
                _checked[key] = hashed(file)
    except OSError as error:
        raise RetrainError(f"{path}: {error.strerror or error}") from error
    if _checked[key] != shard.digest:
        raise RetrainError(f"{path.name} is not what the job was given: {_checked[key]} instead of {shard.digest}")


def place_of(rows: int, share: float) -> int:
    """The place, from 0, that DuckDB's `quantile_disc` takes among `rows` values in order; `share` as it would be written in SQL.

    A number that is written without an exponent is a decimal there, and reckoned with exactly.
    """
    text = repr(share)
    above = rows - share * rows if "e" in text else rows - Fraction(text) * rows
    return max(1, rows - math.floor(above)) - 1


def cut_of(rows: int, least: int, most: int, share: float, bins: Callable[[int, int, int], Bins]) -> int:
    """The time below which a share of rows lies: the quantile, exactly, from counts in ever narrower bins.

    `bins(least, most, width)`: rows with times from `least` to `most` by number of the bin. Four rounds find it among all of int64.
    """
    place, below = place_of(rows, share), 0
    while least < most:
        width = max(1, -(-(most - least + 1) // BINS))
        for number, count in sorted(bins(least, most, width)):
            if below + count > place:
                least, most = least + number * width, min(least + (number + 1) * width - 1, most)
                break
            below += count
        else:
            raise RetrainError("the rows changed while they were read")
        if width == 1:
            break
    return least
