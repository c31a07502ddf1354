"""DuckDB, which reads, joins, sorts and samples what is larger than memory: one connection for one job. The only maker of connections.

What does not fit into the memory that it is given goes to a directory of its own, which ends with it. It downloads nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MEMORY_MIB = 2_048
Connection = Any  # of DuckDB, which has no types that mypy could check here


@contextmanager
def engine(*, memory_mib: int = MEMORY_MIB, threads: int | None = None) -> Iterator[Connection]:
    """A connection with UTC for a time zone. `threads`: those of the machine without it. Results do not depend on them."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="tidegate-retrain-") as folder:
        settings: dict[str, Any] = {
            "memory_limit": f"{memory_mib}MiB",
            "temp_directory": folder,
            "autoinstall_known_extensions": False,
            "autoload_known_extensions": False,
            "preserve_insertion_order": False,  # every order is asked for
        }
        if threads is not None:
            settings["threads"] = threads
        with duckdb.connect(":memory:", config=settings) as connection:
            connection.execute("SET TimeZone = 'UTC'")
            connection.execute("SET enable_progress_bar = false")
            yield connection


def quoted(name: str) -> str:
    """A name as SQL writes it, whatever is in it."""
    return '"' + name.replace('"', '""') + '"'
