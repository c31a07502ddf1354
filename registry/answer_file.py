"""A Parquet file of answers, written as they come and there as a whole or not at all: what was kept of each row, and the model's outputs.

A tensor of one number a row becomes a plain column, any other one of lists. Rows without an answer have nulls. pyarrow is imported when a
file is begun.
"""

from __future__ import annotations

import math
import os
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from registry.errors import refused

ERROR = "error"  # the column that says why a row has no answer
GROUP_ROWS, GROUP_BYTES = 1 << 17, 64 << 20  # of a row group, whichever comes first
_TEXT = "object"


@dataclass(frozen=True, slots=True)
class Output:
    """A tensor of the model."""

    name: str
    dtype: str  # of numpy; "object" for texts
    row_shape: tuple[int, ...]  # -1 where a size is free

    @property
    def is_plain(self) -> bool:
        """Whether a row has one number, whatever its shape is."""
        return all(size == 1 for size in self.row_shape)


class AnswerFile:
    """One file. A context manager: left after `finish` the file is there, else nothing is."""

    def __init__(self, path: Path, kept: Mapping[str, Any], outputs: Sequence[Output], *, replace: bool, errors: bool) -> None:
        """`kept` are Arrow types by column; `errors`: whether a column says why a row has no answer.

        Raises `Kind.INVALID_MODEL` where two columns have one name, and OSError.
        """
        import pyarrow
        from pyarrow import parquet

        columns = [*kept.items(), *((output.name, _type_of(output)) for output in outputs)]
        columns += [(ERROR, pyarrow.string())] if errors else []
        _check_apart([name for name, _ in columns])
        self.bytes = 0
        self._path, self._replace, self._outputs, self._errors = path, replace, outputs, errors
        self._schema = pyarrow.schema(columns)
        self._pending: list[Any] = []
        self._pending_rows = self._pending_bytes = 0
        self._writer: Any = None
        self._temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.part")
        self._file = self._temporary.open("xb")
        try:
            self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd", use_dictionary=[*kept])
        except BaseException:
            self._close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def write(self, kept: Any, runs: Sequence[Sequence[np.ndarray]], answered: np.ndarray | None, errors: Mapping[int, str]) -> None:
        """Rows: a table of what is kept of them, and of `runs` every output [rows, …] for those that have an answer, in order.

        `answered` [rows] says which those are, None for all; `errors` why others have none, by number within these rows. Raises OSError.
        """
        import pyarrow

        columns = [kept[name] for name in kept.column_names]
        columns += [_column(output, [run[place] for run in runs], answered) for place, output in enumerate(self._outputs)]
        if self._errors:
            columns.append(pyarrow.array([errors.get(number) for number in range(kept.num_rows)], pyarrow.string()))
        table = pyarrow.table(columns, schema=self._schema)
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self._pending_bytes += table.nbytes
        if self._pending_rows >= GROUP_ROWS or self._pending_bytes >= GROUP_BYTES:
            self._flush()

    def finish(self) -> None:
        """Give it its name, durably. Raises `FileExistsError` where another took that meanwhile, unless it is to be replaced; OSError."""
        self._flush()
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self.bytes = self._file.tell()
        if self._replace:
            self._temporary.replace(self._path)
        else:
            os.link(self._temporary, self._path)
        _sync(self._path.parent)

    def _flush(self) -> None:
        import pyarrow

        if self._pending:
            self._writer.write_table(pyarrow.concat_tables(self._pending).combine_chunks(), row_group_size=max(1, self._pending_rows))
        self._pending.clear()
        self._pending_rows = self._pending_bytes = 0

    def _close(self) -> None:
        with suppress(OSError):  # one that was not finished would write its end later, to whatever is there then
            if self._writer is not None:
                self._writer.close()
        self._file.close()
        with suppress(FileNotFoundError):
            self._temporary.unlink()


def _check_apart(names: Sequence[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise refused(f"two columns of the answers would be called '{twice}': keep no column of an output's name")


def _type_of(output: Output) -> Any:
    import pyarrow

    kind = pyarrow.string() if output.dtype == _TEXT else pyarrow.from_numpy_dtype(np.dtype(output.dtype))
    for _ in () if output.is_plain else output.row_shape:
        kind = pyarrow.list_(kind)
    return kind


def _column(output: Output, parts: Sequence[np.ndarray], answered: np.ndarray | None) -> Any:
    """Of all rows; those that have no answer are null."""
    import pyarrow

    if len({part.shape[1:] for part in parts}) == 1:
        column = _array(output, np.concatenate(parts) if len(parts) > 1 else parts[0])
    else:
        column = pyarrow.concat_arrays([_array(output, part) for part in parts]) if parts else pyarrow.array([], _type_of(output))
    if answered is None:
        return column
    return column.take(pyarrow.array(np.cumsum(answered) - 1, mask=~answered))


def _array(output: Output, values: np.ndarray) -> Any:
    """One value, or list, for each row."""
    import pyarrow

    flat = np.ascontiguousarray(values).reshape(-1)
    column = pyarrow.array(flat.tolist(), pyarrow.string()) if output.dtype == _TEXT else pyarrow.array(flat)
    shape = () if output.is_plain else values.shape[1:]
    for depth in range(len(shape), 0, -1):
        lists = len(values) * math.prod(shape[: depth - 1])
        column = pyarrow.ListArray.from_arrays(np.arange(lists + 1, dtype=np.int32) * shape[depth - 1], column)
    return column


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
