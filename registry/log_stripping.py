"""Rows of a table that lose their payload: which, and what is left of them. pyarrow is imported when it is used."""

from __future__ import annotations

from typing import Any

import numpy as np

from registry.log_commits import Erasure

PAYLOAD = ("f", "y", "pred_class", "score")  # columns: inputs, outputs, and what was read of these


def struck(table: Any, erasure: Erasure) -> np.ndarray:
    """Which rows have a payload that is to go, bool [rows]."""
    import pyarrow as pa

    times = table["ts"].cast(pa.int64()).to_numpy()
    found = times < (erasure.created if erasure.before is None else min(erasure.before, erasure.created))
    if erasure.requests or erasure.units:
        named = _among(table["request_id"], erasure.requests) | _among(table["unit_hash"], erasure.units)
        found &= named
    return np.asarray(found & _has(table))


def stripped(table: Any, hit: np.ndarray) -> Any:
    """The table with nulls in the payload of the rows `hit`, bool [rows]."""
    import pyarrow as pa

    places = pa.array(np.arange(len(hit)), mask=hit)
    for name in PAYLOAD:
        if name in table.column_names:
            at = table.column_names.index(name)
            table = table.set_column(at, table.schema.field(at), table[name].combine_chunks().take(places))
    return table


def _has(table: Any) -> np.ndarray:
    found = np.zeros(table.num_rows, bool)
    for name in PAYLOAD:
        if name in table.column_names:
            found |= table[name].is_valid().to_numpy()
    return found


def _among(column: Any, wanted: tuple[str, ...]) -> np.ndarray:
    """Which of a column of bytes are among these, in hexadecimal digits."""
    import pyarrow as pa
    from pyarrow import compute

    if not wanted:
        return np.zeros(len(column), bool)
    known = pa.array([bytes.fromhex(one) for one in wanted], column.type)
    return np.asarray(compute.is_in(column, value_set=known).to_numpy(zero_copy_only=False), bool)
