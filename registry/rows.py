"""Reference rows from a Parquet file, as columns of a model: matched by name, converted as a caller would send them, or refused by name.

All of a file at once; `row_stream` reads what is larger. pyarrow is imported when a file is read, so that serving never does. Bounds are
looked at before values.
"""

from __future__ import annotations

import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from registry.arrow_values import check_type, is_list, nested, numbers_of, plain_of, seconds_of, values_of
from registry.columns import Column
from registry.errors import RegistryError, refused
from registry.golden import NUMPY_TYPES
from registry.profile import Side
from registry.schema import Field, Schema

MAX_FILE_BYTES = 4 << 30
MAX_ROWS = 1_000_000  # more say nothing more: the error of a share in a bin is below a thousandth of it
MAX_VALUES = 1 << 28  # of the whole file; 2 GiB in memory at 8 bytes each
EVERYTHING = "*"  # among the columns to pass over: all that are neither inputs nor outputs
_SHOWN = 6  # names in a reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """A file of reference rows, and what some of its columns are."""

    path: Path
    label: str | None = None
    time: str | None = None
    ignore: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """What a file holds."""

    columns: tuple[Column, ...]  # of every input, and of the outputs that are there
    labels: np.ndarray | None  # [rows]
    times_s: np.ndarray | None  # [rows] seconds since the Unix epoch


def read_rows(reference: Reference, schema: Schema) -> Rows:
    """The rows for a model with these inputs and outputs.

    A column belongs to the input or output of its name. A model with a single input also takes one column for each of its features, in the
    order of the file, or one list column, whatever their names are. Missing values become NaN, or the schema's `null_value`. Raises
    `Kind.INVALID_MODEL` for what is no Parquet or too large, for columns that are missing, unknown or of another type, and for missing
    values where nothing stands for them.
    """
    with explained(reference.path), reference.path.open("rb") as file:
        table = _table(file)
        names = [name for name in table.column_names if name not in {reference.label, reference.time}]
        for name, what in ((reference.label, "labels"), (reference.time, "times")):
            if name is not None and name not in table.column_names:
                raise refused(f"there is no column '{name}' with the {what}")
        outputs = [field for field in schema.outputs if field.name in names]
        rest = [name for name in names if name not in {field.name for field in outputs}]
        columns = [*_inputs(table, rest, schema.inputs, reference.ignore), *(_column(table, "output", field) for field in outputs)]
        return Rows(
            tuple(columns),
            None if reference.label is None else plain_of(table[reference.label]),
            None if reference.time is None else seconds_of(table[reference.time], reference.time),
        )


def parquet_rows(path: Path) -> int:
    """How many rows a file has, by its footer. Raises `Kind.INVALID_MODEL` for what is no Parquet or cannot be read."""
    from pyarrow import parquet

    with explained(path):
        return int(parquet.ParquetFile(path).metadata.num_rows)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Whatever is wrong with a file names it."""
    import pyarrow

    try:
        yield
    except RegistryError as error:
        raise RegistryError(error.kind, f"{path.name}: {error.message}") from error
    except (pyarrow.ArrowException, UnicodeDecodeError) as error:
        raise refused(f"{path.name}: {' '.join(str(error).split())[:300]}") from error
    except OSError as error:
        raise refused(f"{path.name}: {error.strerror or ' '.join(str(error).split())[:300]}") from error


def _table(file: Any) -> Any:
    """All columns, texts in dictionaries. Raises `Kind.INVALID_MODEL`, `ArrowException`, `OSError`."""
    import pyarrow
    from pyarrow import parquet, types

    if os.fstat(file.fileno()).st_size > MAX_FILE_BYTES:
        raise refused(f"it has more than {MAX_FILE_BYTES} bytes")
    try:
        first = parquet.ParquetFile(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise refused(f"it is not a Parquet file: {' '.join(str(error).split())[:300]}") from error
    _check_bounds(first.metadata)
    fields = list(first.schema_arrow)
    texts = [field.name for field in fields if types.is_string(field.type) or types.is_large_string(field.type)]
    table = parquet.ParquetFile(file, read_dictionary=texts).read(use_threads=False)
    if len(set(table.column_names)) != len(table.column_names):
        raise refused("two of its columns have one name")
    return table


def _check_bounds(metadata: Any) -> None:
    if not 0 < metadata.num_rows <= MAX_ROWS:
        raise refused(f"it has {metadata.num_rows} rows, where 1 to {MAX_ROWS} are allowed")
    groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
    values = sum(group.column(column).num_values for group in groups for column in range(metadata.num_columns))
    if values > MAX_VALUES:
        raise refused(f"it has {values} values, more than {MAX_VALUES}")


def _inputs(table: Any, names: Sequence[str], fields: Sequence[Field], ignore: Collection[str]) -> list[Column]:
    """The columns of all inputs. Raises `Kind.INVALID_MODEL`."""
    ports = {field.name for field in fields}
    if ports <= set(names):
        strangers = [name for name in names if name not in ports and name not in ignore]
        if strangers and EVERYTHING not in ignore:
            raise refused(f"{listed(strangers)}: neither an input nor an output of the model; ignore what is not meant")
        return [_column(table, "input", field) for field in fields]
    features = [name for name in names if name not in ignore]
    if len(fields) != 1 or not features:
        missing = [name for name in sorted(ports) if name not in names]
        raise refused(f"no column for input {listed(missing)}; there are {listed(table.column_names)}")
    return columns_of(table, fields, features)


def columns_of(table: Any, fields: Sequence[Field], features: Sequence[str] | None = None) -> list[Column]:
    """One column of the model for each field, from the column of its name; or, of the only field, from the columns of its features.

    Raises `Kind.INVALID_MODEL`, and `KeyError` for a column that is not there.
    """
    if features is None:
        return [_column(table, "input", field) for field in fields]
    if len(features) == 1 and is_list(table[features[0]]):
        return [_column(table, "input", fields[0], column=features[0])]
    return [_joined(table, fields[0], features)]


def check_types(types: Mapping[str, Any], fields: Sequence[Field], features: Sequence[str] | None = None) -> None:
    """What `columns_of` will refuse in every row of columns of these Arrow types, by name. Raises `Kind.INVALID_MODEL`."""
    for field in fields:
        dtype = _dtype("input", field)
        for name in features or (field.name,):
            check_type(types[name], dtype, name, field.null_value)
    if features is None:
        for field in fields:
            if not nested(types[field.name]):
                _row_shape(field, (), field.name)
    elif len(features) > 1 or not nested(types[features[0]]):
        _check_features(fields[0], features, [name for name in features if nested(types[name])])


def _joined(table: Any, field: Field, features: Sequence[str]) -> Column:
    """The only input, from one column for each element of a row."""
    dtype = _dtype("input", field)
    _check_features(field, features, [name for name in features if is_list(table[name])])
    values = np.stack([numbers_of(values_of(table[name], name)[0], dtype, name, field.null_value) for name in features], axis=1)
    return Column("input", field.name, values.reshape(len(values), *_row_shape(field, (len(features),), field.name)), tuple(features))


def _check_features(field: Field, features: Sequence[str], lists: Sequence[str]) -> None:
    expected = math.prod(size for size in field.shape[1:] if isinstance(size, int)) if field.shape else None
    is_known = field.shape is not None and all(isinstance(size, int) for size in field.shape[1:])
    if is_known and expected != len(features):
        raise refused(f"input '{field.name}' takes {expected} features, and there are {len(features)} columns: {listed(features)}")
    if lists:
        raise refused(f"{listed(lists)}: a list, where each column is one feature of input '{field.name}'")


def _column(table: Any, side: Side, field: Field, *, column: str | None = None) -> Column:
    """An input or output from the column of its name, or from another."""
    name = column or field.name
    values, widths = values_of(table[name], name)
    array = numbers_of(values, _dtype(side, field), name, field.null_value)
    return Column(side, field.name, array.reshape(table.num_rows, *_row_shape(field, widths, name)))


def _dtype(side: Side, field: Field) -> np.dtype:
    if field.type not in NUMPY_TYPES:
        raise refused(f"{side} '{field.name}' is {field.type}, which reference rows cannot hold")
    return np.dtype(NUMPY_TYPES[field.type])


def _row_shape(field: Field, widths: tuple[int, ...], name: str) -> tuple[int, ...]:
    """The shape of a row of the tensor, from the lengths of the lists in a column: none for single values."""
    if field.shape is None:
        return widths or (1,)
    if not field.shape:
        raise refused(f"'{field.name}' has no dimension for rows, so rows say nothing of it")
    dims, elements = field.shape[1:], math.prod(widths)
    known = math.prod(size for size in dims if isinstance(size, int))
    free = sum(not isinstance(size, int) for size in dims)
    fits = elements == known if not free else known > 0 and elements % known == 0
    if free > 1 and len(widths) == len(dims):
        return widths
    if not fits or free > 1:
        raise refused(f"column '{name}' has rows of shape {list(widths)}, and the model takes {['?' if d is None else d for d in dims]}")
    return tuple(size if isinstance(size, int) else elements // known for size in dims)


def listed(names: Sequence[str]) -> str:
    """The first few of them."""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(f"'{name[:64]}'" for name in names[:_SHOWN]) + more
