"""Sealed files: tables of log rows as Parquet, written piece by piece and read back. pyarrow is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

ROW_GROUP = 65_536
HOUR_US = 3_600_000_000
_LEVEL = 1  # of zstd: level 3 takes twice as long for 2 % of floats
_TOGETHER = 1 << 20  # bytes of one write
_DICTIONARIES = ("node", "protocol", "tenant", "model", "manifest", "rollout_id", "arm", "error")


def hours_of(table: Any) -> list[tuple[int, Any]]:
    """The rows of each hour, UTC: (hours since the Unix epoch, table)."""
    import pyarrow as pa

    hours = table["ts"].cast(pa.int64()).to_numpy() // HOUR_US
    found = np.unique(hours).tolist()
    if len(found) == 1:
        return [(found[0], table)]
    return [(hour, table.filter(pa.array(hours == hour))) for hour in found]


def bounds_of(table: Any) -> tuple[int, int]:
    """The first and the last arrival, microseconds since the Unix epoch."""
    import pyarrow as pa
    from pyarrow import compute

    found = compute.min_max(table["ts"].cast(pa.int64())).as_py()
    return int(found["min"]), int(found["max"])


class _Sink:
    """A file of pyarrow's, whose bytes go to `write`, many at a time."""

    closed = False

    def __init__(self, write: Callable[[bytes | memoryview], None]) -> None:
        self._write, self._at, self._kept = write, 0, bytearray()

    def write(self, content: Any) -> int:
        self._kept += content
        self._at += len(content)
        if len(self._kept) >= _TOGETHER:
            self.pass_on()
        return len(content)

    def tell(self) -> int:
        return self._at

    def flush(self) -> None:
        """See `pass_on`."""

    def pass_on(self) -> None:
        """Write what is kept. Raises what `write` raises."""
        kept, self._kept = self._kept, bytearray()
        self._write(memoryview(kept))

    def close(self) -> None:
        self.closed = True

    def writable(self) -> bool:
        return True

    def readable(self) -> bool:
        return False

    def seekable(self) -> bool:
        return False


def write_table(table: Any, write: Callable[[bytes | memoryview], None]) -> None:
    """The table as a Parquet file, piece by piece. The same rows make the same bytes. Raises what `write` raises."""
    import pyarrow as pa
    from pyarrow import parquet

    named = [name for name in _DICTIONARIES if name in table.column_names]
    kept = _Sink(write)
    with pa.PythonFile(kept, mode="w") as sink:
        parquet.write_table(
            table, sink, row_group_size=ROW_GROUP, compression="zstd", compression_level=_LEVEL, use_dictionary=named,
            write_statistics=["ts", "request_id", "version"], store_schema=True,
        )  # fmt: skip
    kept.pass_on()


def joined(tables: Sequence[Any]) -> Any:
    """Tables of one schema, one after the other."""
    import pyarrow as pa

    return pa.concat_tables([table.combine_chunks() for table in tables]).unify_dictionaries()


def read_table(fd: int) -> Any:
    """All of a file that `write_table` wrote. Raises `ArrowInvalid`, `OSError`."""
    from pyarrow import parquet

    with open(fd, "rb", closefd=False) as file:
        return parquet.ParquetFile(file).read(use_threads=False)
