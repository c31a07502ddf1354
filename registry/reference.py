"""From a file of reference rows to the profile of a model: with the file's outputs, or with those that the model itself gives.

Knows neither Parquet nor processes: `rows` reads, and who calls brings the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np

from registry.columns import MAX_ELEMENTS, Column
from registry.golden import NUMPY_TYPES
from registry.profiling import Profiled, profile_of
from registry.rows import Reference, Rows, read_rows
from registry.schema import Schema

Ask = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]  # inputs by name → outputs by name, arrays [rows, …]


def profile_of_file(reference: Reference, schema: Schema, ask: Ask) -> Profiled:
    """The profile of a file's rows. `ask` is called once, where the file lacks an output that can be profiled.

    Raises `Kind.INVALID_MODEL` as `read_rows`, `profile_of` and `ask` do.
    """
    rows = read_rows(reference, schema)
    answered = _answered(rows, schema, ask)
    columns = [*rows.columns, *(Column("output", name, array) for name, array in answered.items())]
    found = profile_of(columns, schema=schema, labels=rows.labels, times_s=rows.times_s)
    known = {column.port for column in columns if column.side == "output"}
    lacking = [field.name for field in schema.outputs if field.name not in known]
    why = f"it is no tensor, or not a row of up to {MAX_ELEMENTS} elements for each row"
    return replace(found, notes=(*found.notes, *(f"output '{name}' is not profiled: {why}" for name in lacking)))


def _answered(rows: Rows, schema: Schema, ask: Ask) -> dict[str, np.ndarray]:
    """Outputs that the file does not have, in the order of the graph."""
    given = {column.port for column in rows.columns if column.side == "output"}
    lacking = [field.name for field in schema.outputs if field.type in NUMPY_TYPES and field.name not in given]
    if not lacking:
        return {}
    found = ask({column.port: column.values for column in rows.columns if column.side == "input"})
    return {name: found[name] for name in lacking if name in found}
