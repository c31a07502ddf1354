"""Columns of an Arrow table as numpy arrays of the datatype that a tensor has. A column that cannot be it is refused by its name.

Conversions are those of a caller who fills such a tensor: integers, booleans and other floats become floats, integers become integers that
can hold them. Nothing becomes an integer, a text or a boolean that is none. pyarrow is imported when it is used.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from registry.errors import RegistryError, refused
from registry.schema import Category

_UNITS = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}


def is_list(column: Any) -> bool:
    """Whether each row of it is a list."""
    return nested(column.type)


def nested(kind: Any) -> bool:
    """Whether values of an Arrow type are lists."""
    from pyarrow import types

    return bool(types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind))


def check_type(kind: Any, dtype: np.dtype, name: str, null: Category | None) -> None:
    """Whether values of an Arrow type, or what its lists are of, can become `dtype`. Raises `Kind.INVALID_MODEL`."""
    import pyarrow

    while nested(kind):
        kind = kind.value_type
    numbers_of(pyarrow.array([], kind), dtype, name, null)


def values_of(column: Any, name: str) -> tuple[Any, tuple[int, ...]]:
    """(all values in one array, lengths of the lists that they lie in from outside to inside). Raises `Kind.INVALID_MODEL`."""
    import pyarrow
    from pyarrow import compute

    values = _whole(column)
    widths: list[int] = []
    while is_list(values):
        if values.null_count:
            raise refused(f"column '{name}' has rows without a list")
        lengths = compute.unique(compute.list_value_length(values)).to_pylist() if len(values) else [0]
        if len(lengths) != 1:
            raise refused(f"column '{name}' has lists of different lengths, from {min(lengths)} to {max(lengths)}")
        widths.append(lengths[0])
        values = values.flatten()
    assert isinstance(values, pyarrow.Array)
    return values, tuple(widths)


def numbers_of(values: Any, dtype: np.dtype, name: str, null: Category | None) -> np.ndarray:
    """A flat array of `dtype`, object for texts; `null` stands for missing values but of floats. Raises `Kind.INVALID_MODEL`."""
    from pyarrow import types

    if types.is_dictionary(values.type) and dtype.kind != "O":
        values = values.dictionary_decode()
    if dtype.kind == "f":
        return _floats(values, dtype, name)
    if values.null_count and null is None:
        raise refused(f"column '{name}' has {values.null_count} missing values, and nothing stands for them: say what does, as null_value")
    if dtype.kind == "b":
        return _booleans(values, name)
    return _texts(values, name, null) if dtype.kind == "O" else _integers(values, dtype, name, null)


def seconds_of(column: Any, name: str) -> np.ndarray:
    """float64 [rows] seconds since the Unix epoch, of timestamps, dates or numbers of seconds. Times without a zone are UTC's."""
    import pyarrow
    from pyarrow import types

    values = _whole(column)
    if values.null_count:
        raise refused(f"column '{name}' has {values.null_count} missing times")
    if types.is_date(values.type):
        values = values.cast(pyarrow.timestamp("ms"))
    if types.is_timestamp(values.type):
        count: np.ndarray = values.cast(pyarrow.int64()).to_numpy(zero_copy_only=False)
        return count / _UNITS[values.type.unit]
    if types.is_integer(values.type) or types.is_floating(values.type):
        seconds: np.ndarray = values.to_numpy(zero_copy_only=False).astype(np.float64)
        return seconds
    raise _mistyped(name, values.type, "a timestamp")


def plain_of(column: Any) -> np.ndarray:
    """object [rows]: booleans, numbers or texts as Python has them, None where one is missing."""
    return np.array([*_whole(column).to_pylist(), None], object)[:-1]


def _whole(column: Any) -> Any:
    """The chunks of a column as one array."""
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.unify_dictionaries()
    whole = column.combine_chunks()
    return pyarrow.concat_arrays(whole.chunks) if isinstance(whole, pyarrow.ChunkedArray) else whole


def _floats(values: Any, dtype: np.dtype, name: str) -> np.ndarray:
    import pyarrow
    from pyarrow import types

    if types.is_null(values.type):
        return np.full(len(values), np.nan, dtype)
    if types.is_decimal(values.type):
        values = values.cast(pyarrow.float64())
    if not any(is_it(values.type) for is_it in (types.is_floating, types.is_integer, types.is_boolean)):
        raise _mistyped(name, values.type, dtype.name)
    with np.errstate(over="ignore"):
        found: np.ndarray = values.to_numpy(zero_copy_only=False).astype(dtype, copy=False)  # those of Arrow's memory, where they can be
    return found


def _integers(values: Any, dtype: np.dtype, name: str, null: Category | None) -> np.ndarray:
    from pyarrow import compute, types

    if not types.is_integer(values.type):
        raise _mistyped(name, values.type, dtype.name)
    missing = values.is_null().to_numpy(zero_copy_only=False)
    whole = compute.fill_null(values, 0).to_numpy(zero_copy_only=False)
    bounds = np.iinfo(dtype)
    if len(whole) and not (bounds.min <= int(whole.min()) and int(whole.max()) <= bounds.max):
        raise refused(f"column '{name}' has values from {whole.min()} to {whole.max()}, which {dtype.name} does not hold")
    found: np.ndarray = whole.astype(dtype)
    if missing.any():
        found[missing] = null
    return found


def _booleans(values: Any, name: str) -> np.ndarray:
    from pyarrow import types

    if not types.is_boolean(values.type):
        raise _mistyped(name, values.type, "bool")
    found: np.ndarray = values.to_numpy(zero_copy_only=False).astype(bool)
    return found


def _texts(values: Any, name: str, null: Category | None) -> np.ndarray:
    """Equal texts of a dictionary are one object."""
    from pyarrow import compute, types

    kind = values.type.value_type if types.is_dictionary(values.type) else values.type
    known = (types.is_string, types.is_large_string, types.is_binary, types.is_large_binary)
    if types.is_null(kind):
        return np.full(len(values), null, object)
    if not any(is_it(kind) for is_it in known):
        raise _mistyped(name, values.type, "text")
    if not types.is_dictionary(values.type):
        values = values.dictionary_encode()
    words = np.array([*values.dictionary.to_pylist(), null], object)
    found: np.ndarray = words[compute.fill_null(values.indices, len(words) - 1).to_numpy(zero_copy_only=False)]
    return found


def _mistyped(name: str, found: Any, expected: str) -> RegistryError:
    from pyarrow import types

    found = found.value_type if types.is_dictionary(found) else found
    return refused(f"column '{name}' is {found}, where {expected} is expected")
