"""Where the work of a job is carried out: what a job asks of it, and this machine, which is one such place.

Whatever the place, rows, their order, splits and fits are the same; only who reads and who fits differs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Protocol

from registry.profile import Profile
from registry.schema import Schema
from registry.training import Plain
from retrain import recipes
from retrain.engine import Connection, engine
from retrain.inputs import Input
from retrain.recipes import Fitter
from retrain.snapshot import Snapshot
from retrain.sources import Source, fits
from retrain.surveying import Survey, survey
from retrain.table import Part, Table
from retrain.target import Target


@dataclass(frozen=True, slots=True)
class Columns:
    """What a job reads."""

    inputs: tuple[Input, ...]
    target: Target


class Carried(Fitter, Protocol):
    """One snapshot, opened."""

    def survey(self, schema: Schema, profile: Profile | None, *, progress: Callable[[float], object]) -> Survey:
        """All rows, counted. `progress` is told which share of them is."""
        ...

    def split(self) -> tuple[Part, Part]:
        """As `table.Table`."""
        ...

    def entry(self, text: str) -> AbstractContextManager[None]:
        """Inside, the user's function `text` runs."""
        ...

    def facts(self) -> dict[str, Plain]:
        """What a record says of the place; empty for this machine, of which it says everything elsewhere."""
        ...


class Carrier(Protocol):
    """A place."""

    def opened(
        self, source: Source, snapshot: Snapshot, columns: Columns, *, memory_mib: int, check: Callable[[], None]
    ) -> AbstractContextManager[Carried]:
        """`check` is called at least every few seconds while others work, and may raise. Raises `RetrainError`, `ClusterError`."""
        ...


@dataclass(frozen=True, slots=True)
class Here:
    """This machine."""

    def opened(
        self, source: Source, snapshot: Snapshot, columns: Columns, *, memory_mib: int, check: Callable[[], None]
    ) -> AbstractContextManager[Carried]:
        """See `Carrier`."""
        return _opened(source, snapshot, columns, memory_mib)


HERE = Here()


@contextmanager
def _opened(source: Source, snapshot: Snapshot, columns: Columns, memory_mib: int) -> Iterator[Carried]:
    with engine(memory_mib=memory_mib) as connection:
        yield _CarriedHere(connection, source, snapshot, columns)


class _CarriedHere(recipes.Here):
    def __init__(self, connection: Connection, source: Source, snapshot: Snapshot, columns: Columns) -> None:
        self._table = Table(connection, source, snapshot, columns.inputs, columns.target)

    def survey(self, schema: Schema, profile: Profile | None, *, progress: Callable[[float], object]) -> Survey:
        total, seen = max(self._table.rows(), 1), 0

        def advance(rows: int) -> None:
            nonlocal seen
            seen += rows
            progress(seen / total)

        table = self._table
        return survey(table.batches(), table.inputs, table.types, schema, profile, fits=fits, target=table.target, progress=advance)

    def split(self) -> tuple[Part, Part]:
        return self._table.split()

    def entry(self, text: str) -> AbstractContextManager[None]:
        return nullcontext()

    def facts(self) -> dict[str, Plain]:
        return {}
