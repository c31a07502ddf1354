"""Rows of Parquet files of any size, a piece at a time, and which of their columns a model takes. Nothing is held but the piece.

Bounds are on the bytes of a piece, never on rows or files. pyarrow is imported when a file is opened.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from registry.errors import refused
from registry.rows import EVERYTHING, check_types, columns_of, explained, listed
from registry.schema import Field

if TYPE_CHECKING:
    from types import TracebackType

    import numpy as np

PIECE_ROWS, PIECE_BYTES = 16_384, 32 << 20  # whichever comes first
_BUFFER_BYTES = 1 << 20  # of each column that is read: a row group may be larger than memory


@dataclass(frozen=True, slots=True)
class Layout:
    """Which columns of a file are what."""

    fields: tuple[Field, ...]  # the model's inputs
    features: tuple[str, ...] | None  # columns of the only input, in its order; None: each input has the column of its name
    keep: tuple[str, ...]  # columns that go along with the answers

    @property
    def taken(self) -> tuple[str, ...]:
        """The columns of the inputs."""
        return tuple(field.name for field in self.fields) if self.features is None else self.features

    @property
    def columns(self) -> list[str]:
        """All that is read, once each."""
        return list(dict.fromkeys((*self.taken, *self.keep)))

    def arrays(self, table: Any) -> list[np.ndarray]:
        """The inputs, arrays [rows, …] in the model's order. Raises `Kind.INVALID_MODEL` for values that are none of the model's."""
        return [column.values for column in columns_of(table, self.fields, self.features)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """What somebody says of the columns."""

    keep: Sequence[str] = ()  # `EVERYTHING` for all
    ignore: Collection[str] = frozenset()  # no features of a model with a single input
    features: Sequence[str] = ()  # of a model with a single input, in its order


@dataclass(frozen=True, slots=True)
class Piece:
    """Some rows of a file, one after the other."""

    start: int  # number of the first row, from 0, over all files
    table: Any = field(repr=False)  # a pyarrow.Table of the layout's columns

    @property
    def rows(self) -> int:
        """How many."""
        return int(self.table.num_rows)


def layout_of(names: Sequence[str], fields: Sequence[Field], choice: Choice, known: Sequence[str] = ()) -> Layout:
    """How a model with these inputs is fed from columns of these names. `known`: the features of its only input, if its profile names them.

    A column belongs to the input of its name. A model with a single input also takes one column for each of its features: those that were
    chosen, else those that are known, else all others in the order of the file. Raises `Kind.INVALID_MODEL` naming what is missing.
    """
    keep = names if EVERYTHING in choice.keep else choice.keep
    _check_there(keep, names, "to keep")
    ports = [port.name for port in fields]
    if choice.features:
        if len(ports) != 1:
            raise refused(f"the model takes {len(ports)} inputs, each by a column of its own: features are of a model with a single input")
        _check_there(choice.features, names, f"for a feature of input '{ports[0]}'")
        return Layout(tuple(fields), tuple(choice.features), tuple(keep))
    if set(ports) <= set(names):
        return Layout(tuple(fields), None, tuple(keep))
    if len(ports) != 1:
        _check_there(ports, names, "for input")
    if known:
        _check_there(known, names, f"for a feature of input '{ports[0]}'")
        return Layout(tuple(fields), tuple(known), tuple(keep))
    rest = tuple(name for name in names if name not in {*choice.ignore, *choice.keep})
    if not rest:
        raise refused(f"no column for input '{ports[0]}'; there are {listed(names)}")
    return Layout(tuple(fields), rest, tuple(keep))


def _check_there(wanted: Sequence[str], names: Sequence[str], what: str) -> None:
    missing = [name for name in wanted if name not in names]
    if missing:
        raise refused(f"no column {what} {listed(missing)}; there are {listed(names)}")


class RowStream:
    """Files with the same columns, read one after the other. A context manager."""

    def __init__(self, paths: Sequence[Path]) -> None:
        """Open them. Raises `Kind.INVALID_MODEL` for what is no Parquet file, or has two columns of one name."""
        from pyarrow import parquet

        self._paths = paths
        self._files: list[Any] = []
        self._stack = ExitStack()
        try:
            for path in paths:
                with explained(path):
                    file = _opened(parquet.ParquetFile, self._stack.enter_context(path.open("rb")))
                    _check_names(file.schema_arrow.names)
                self._files.append(file)
        except BaseException:
            self._stack.close()
            raise
        self.rows = sum(file.metadata.num_rows for file in self._files)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    @property
    def names(self) -> list[str]:
        """The columns of the first file."""
        return list(self._files[0].schema_arrow.names)

    def types(self, names: Sequence[str]) -> Mapping[str, Any]:
        """The Arrow types of these columns, in the first file."""
        return {name: self._files[0].schema_arrow.field(name).type for name in names}

    def check(self, layout: Layout) -> None:
        """Raises `Kind.INVALID_MODEL` for a file that lacks a column, has a type that the model cannot take, or keeps another one."""
        kept = self.types(layout.keep)
        for path, file in zip(self._paths, self._files, strict=True):
            with explained(path):
                there = {field.name: field.type for field in file.schema_arrow}
                _check_there(layout.columns, list(there), "named")
                check_types(there, layout.fields, layout.features)
                other = [name for name, kind in kept.items() if there[name] != kind]
                if other:
                    raise refused(f"column '{other[0]}' is {there[other[0]]}, and {kept[other[0]]} in {self._paths[0].name}")

    def pieces(self, layout: Layout, *, piece_rows: int = PIECE_ROWS) -> Iterator[Piece]:
        """All rows in order. Raises `Kind.INVALID_MODEL` for a file that is damaged."""
        import pyarrow

        start = 0
        for path, file in zip(self._paths, self._files, strict=True):
            with explained(path):
                for batch in file.iter_batches(_rows_of(file, layout, piece_rows), columns=layout.columns, use_threads=False):
                    yield Piece(start, pyarrow.Table.from_batches([batch]))
                    start += batch.num_rows


def _opened(reader: Any, file: Any) -> Any:
    import pyarrow

    try:
        return reader(file, buffer_size=_BUFFER_BYTES)
    except (pyarrow.ArrowException, OSError) as error:
        raise refused(f"it is not a Parquet file: {' '.join(str(error).split())[:300]}") from error


def _rows_of(file: Any, layout: Layout, most: int) -> int:
    """Rows of a piece: as many as are asked for, unless they are large."""
    groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    wanted = set(layout.columns)
    places = [at for at in range(file.metadata.num_columns) if file.schema.column(at).path.split(".")[0] in wanted]
    size = sum(group.column(at).total_uncompressed_size for group in groups for at in places)
    fitting = PIECE_BYTES * max(1, int(file.metadata.num_rows)) // max(1, int(size))
    return max(1, min(most, fitting))


def _check_names(names: Sequence[str]) -> None:
    if len(set(names)) != len(names):
        raise refused("two of its columns have one name")
