"""Arrow tables of batches that a database gave, and back, in the order of some columns. Knows nothing of what is in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any


def table_of(batches: Iterable[Any]) -> Any:
    """One table of Arrow batches with the same columns; there is at least one."""
    import pyarrow as pa

    return pa.Table.from_batches(list(batches))


def one_table(tables: Sequence[Any]) -> Any:
    """The rows of all tables, one below the other; there is at least one."""
    import pyarrow as pa

    return pa.concat_tables(tables)


def in_order(table: Any, columns: Sequence[str], *, rows: int) -> Iterator[Any]:
    """Batches of up to `rows`, by the first column and, where that is equal, by the next."""
    ordered = table.sort_by([(column, "ascending") for column in columns])
    for start in range(0, ordered.num_rows, rows):
        yield from whole(ordered.slice(start, rows))


def whole(table: Any) -> Iterator[Any]:
    """The table as one batch; none where it has no rows."""
    yield from table.combine_chunks().to_batches()
