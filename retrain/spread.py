"""A job on a Ray cluster: rows are read, filtered and counted there by ray.data, stretch by stretch, and estimators are fitted there.

Every stretch is read by the same queries as on one machine, knows its place among all rows, and has its file checked by digest where it is
read; what is loaded is put in the order of time and key. So datasets and models have the digests that they have without a cluster. The
paths must lead to the same files on every node. Rows of an inference log are joined on this machine and spread from here.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from registry.arrow_tables import in_order, one_table, table_of, whole
from registry.profile import Profile
from registry.schema import Schema
from registry.training import Plain
from retrain import recipes, shards
from retrain.carrying import Carried, Columns
from retrain.cluster import Cluster, Task, connected, explained
from retrain.dataset import Dataset
from retrain.engine import MEMORY_MIB, engine
from retrain.errors import RetrainError
from retrain.inputs import Input
from retrain.recipes import Progress, Recipe
from retrain.shards import HeldRows, Shard, ShardRows
from retrain.snapshot import Snapshot
from retrain.sources import KEY, TIME, RowsFiles, Source, fits
from retrain.surveying import Survey, merged, survey
from retrain.table import BATCH_ROWS, LABELLED, UNLABELLED, Part, Table, conditions_of_split, part_of, sampled
from retrain.target import Target

SHARD = "__shard"
Times = tuple[int, int | None, int | None]  # as `Table.times`


@dataclass(frozen=True, slots=True)
class Reader:
    """What a worker does with one stretch: opens it as a table, and asks. Goes to the workers as it is."""

    snapshot: Snapshot
    inputs: tuple[Input, ...]
    target: Target
    kinds: dict[str, str]
    memory_mib: int
    stage: str
    ask: Callable[[Table], Iterator[Any]]
    arrow: bool  # `ask` gives Arrow batches; else, one object of Python's
    ledger: Any

    def rows(self, block: Any) -> Iterator[Any]:
        """`block`: a column of stretches, or rows themselves."""
        import ray

        with engine(memory_mib=self.memory_mib, threads=1) as connection:
            for name, source in self._sources(block):
                ray.get(self.ledger.began.remote(f"{self.stage} {name}"))
                table = Table(connection, source, self.snapshot, self.inputs, self.target)
                for found in self.ask(table):
                    yield table_of([found]) if self.arrow else {"found": _boxed(found)}

    def _sources(self, block: Any) -> Iterator[tuple[str, Source]]:
        if block.column_names != [SHARD]:
            yield str(block.column(KEY)[0]), HeldRows(block, self.kinds)
            return
        for content in block.column(SHARD).to_pylist():
            shard = msgspec.json.decode(content, type=Shard)
            shards.check(shard)
            yield f"{shard.path} {shard.first}", ShardRows(shard, self.kinds)


@dataclass(frozen=True, slots=True)
class Ray:
    """A cluster, as a `carrying.Carrier`."""

    address: str

    def opened(
        self, source: Source, snapshot: Snapshot, columns: Columns, *, memory_mib: int = MEMORY_MIB, check: Callable[[], None]
    ) -> AbstractContextManager[Carried]:
        """See `Carrier`."""
        return _opened(self.address, source, snapshot, columns, memory_mib, check)


@contextmanager
def _opened(  # noqa: PLR0917 - `Ray.opened` by another name
    address: str, source: Source, snapshot: Snapshot, columns: Columns, memory_mib: int, check: Callable[[], None]
) -> Iterator[Carried]:
    with connected(address, check=check) as cluster:
        yield Spread(cluster, source, snapshot, columns, memory_mib)


class Spread:
    """One snapshot on one cluster: `carrying.Carried`."""

    def __init__(self, cluster: Cluster, source: Source, snapshot: Snapshot, columns: Columns, memory_mib: int) -> None:
        self._cluster, self._snapshot, self._memory_mib = cluster, snapshot, memory_mib
        self._inputs, self._target = inputs, target = columns.inputs, columns.target
        with engine(memory_mib=memory_mib) as connection:
            self._kinds = source.types(connection)
            source.relation(connection, snapshot, inputs)  # what cannot be asked is found out before it is spread
            if isinstance(source, RowsFiles):
                self._blocks = _of_files(shards.shards_of(source.paths, snapshot.files))
            else:
                self._blocks = _of_rows(Table(connection, source, snapshot, inputs, target))

    def survey(self, schema: Schema, profile: Profile | None, *, progress: Callable[[float], object]) -> Survey:
        """See `Carried`."""

        def ask(table: Table) -> Iterator[Survey]:
            yield survey(table.batches(), table.inputs, table.types, schema, profile, fits=fits, target=table.target)

        nothing = survey((), self._inputs, self._kinds, schema, profile, fits=fits, target=self._target)
        return merged([nothing, *self._asked("surveying", ask, self._inputs, progress=progress)])

    def split(self) -> tuple[Part, Part]:
        """See `Carried`."""
        rows, least, most = self._times("first times", (LABELLED,))[0]
        if least is None or most is None:
            raise RetrainError(UNLABELLED)
        cut = shards.cut_of(rows, least, most, 1.0 - self._snapshot.holdout, self._bins)
        train, holdout = conditions_of_split(self._snapshot, cut)
        times = self._times("times of parts", (train, holdout))
        return self._part("train", train, times[0]), self._part("holdout", holdout, times[1])

    def entry(self, text: str) -> AbstractContextManager[None]:
        """See `Carried`: the function runs here, and joblib spreads what it does."""
        return self._cluster.joblib(text.partition(":")[0])

    def fit(self, recipe: Recipe, rows: Dataset, *, seed: int, progress: Progress) -> Any:
        """See `recipes.Fitter`."""
        task = Task(f"fit {recipe}", (recipe, _put(rows), seed))
        return self._cluster.run(_fit, [task], told=lambda share: progress(str(recipe), share))[0]

    def losses(self, searched: tuple[Recipe, ...], before: Dataset, after: Dataset, *, seed: int, progress: Progress) -> list[float]:
        """See `recipes.Fitter`: all at once."""
        held = (_put(before), _put(after))
        tasks = [Task(f"try {recipe}", (recipe, *held, seed)) for recipe in searched]
        return self._cluster.run(_loss, tasks, told=lambda share: progress(f"{len(tasks)} recipes", share))

    def facts(self) -> dict[str, Plain]:
        """See `Carried`."""
        return self._cluster.facts()

    def _part(self, name: str, condition: str, times: Times) -> Part:
        def read(below: int | None, rows: int) -> Iterator[Any]:
            if below is None and times[0] > self._snapshot.max_rows:
                return self._sorted(name, condition, rows)
            return self._loaded(name, sampled(condition, below), rows)

        return part_of(self._snapshot, self._inputs, self._target, name, times, read)

    def _loaded(self, name: str, condition: str, rows: int) -> Iterator[Any]:
        """What fits into memory here is put in order here."""
        found = list(self._batches(self._read(f"reading {name}", condition)))
        if found:
            yield from in_order(one_table(found), (TIME, KEY), rows=rows)

    def _sorted(self, name: str, condition: str, rows: int) -> Iterator[Any]:
        """What does not is put in order on the cluster, which lays aside on its disks what does not fit into its memory either."""
        for table in self._batches(self._read(f"sorting {name}", condition).sort([TIME, KEY]), rows=rows):
            yield from whole(table)

    def _read(self, stage: str, condition: str) -> Any:
        return self._mapped(stage, lambda table: table.ordered(condition, BATCH_ROWS), self._inputs, arrow=True)

    def _times(self, stage: str, conditions: tuple[str, ...]) -> list[Times]:
        def ask(table: Table) -> Iterator[list[Times]]:
            yield [table.times(condition) for condition in conditions]

        found = self._asked(stage, ask, ())
        return [_together([one[place] for one in found]) for place in range(len(conditions))]

    def _bins(self, least: int, most: int, width: int) -> shards.Bins:
        def ask(table: Table) -> Iterator[shards.Bins]:
            yield table.bins(least, most, width)

        counts: dict[int, int] = {}
        for found in self._asked(f"bins of {width} from {least}", ask, ()):
            for number, count in found:
                counts[number] = counts.get(number, 0) + count
        return list(counts.items())

    def _asked(
        self, stage: str, ask: Callable[[Table], Iterator[Any]], inputs: tuple[Input, ...], *, progress: Callable[[float], object] = float
    ) -> list[Any]:
        """One answer of each stretch, in no order."""
        found: list[Any] = []
        if self._blocks is None:
            return found
        total = max(self._blocks.num_blocks(), 1)
        with explained():
            for batch in self._mapped(stage, ask, inputs, arrow=False).iter_batches(batch_size=None, batch_format="numpy"):
                found += list(batch["found"])
                self._cluster.check()
                progress(min(len(found) / total, 1.0))
        return found

    def _mapped(self, stage: str, ask: Callable[[Table], Iterator[Any]], inputs: tuple[Input, ...], *, arrow: bool) -> Any:
        reader = Reader(
            self._snapshot,
            inputs,
            self._target,
            self._kinds,
            self._memory_mib,
            self._cluster.named(stage),
            ask,
            arrow,
            self._cluster.ledger,
        )
        size = 1 if self._snapshot.kind == "rows" else None
        return self._blocks.map_batches(reader.rows, batch_size=size, batch_format="pyarrow")

    def _batches(self, dataset: Any, *, rows: int | None = None) -> Iterator[Any]:
        with explained():
            for table in dataset.iter_batches(batch_size=rows, batch_format="pyarrow"):
                self._cluster.check()
                yield table


def _of_files(found: tuple[Shard, ...]) -> Any:
    """Their descriptions as a dataset; None where there is nothing to read."""
    import ray.data

    if not found:
        return None
    _settle(ray.data.DataContext.get_current())
    return ray.data.from_items([{SHARD: msgspec.json.encode(one)} for one in found], override_num_blocks=len(found))


def _of_rows(table: Table) -> Any:
    """A relation of this machine in the cluster's memory, block by block; None where it has no rows."""
    import ray.data

    _settle(ray.data.DataContext.get_current())
    blocks = [ray.put(table_of([batch])) for batch in table.batches() if batch.num_rows]
    return ray.data.from_arrow_refs(blocks) if blocks else None


def _settle(context: Any) -> None:
    """Blocks come in the order of the dataset, a sorted one among them; we draw the bars."""
    context.execution_options.preserve_order = True
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and not isinstance(handler, logging.FileHandler):
            handler.setLevel(logging.ERROR)


def _fit(recipe: Recipe, rows: Dataset, seed: int, progress: Progress) -> Any:
    return recipes.fit(recipe, rows, seed=seed, progress=progress)


def _loss(recipe: Recipe, before: Dataset, after: Dataset, seed: int, progress: Progress) -> float:
    return recipes.loss_of(recipe, before, after, seed=seed, progress=progress)


def _put(rows: Dataset) -> Any:
    """Rows in the cluster's memory: once, whoever reads them."""
    import ray

    return ray.put(rows)


def _boxed(found: Any) -> np.ndarray:
    """One object as a column of one row."""
    box = np.empty(1, object)
    box[0] = found
    return box


def _together(parts: list[Times]) -> Times:
    since = [first for _, first, _ in parts if first is not None]
    until = [last for _, _, last in parts if last is not None]
    return sum(rows for rows, _, _ in parts), min(since, default=None), max(until, default=None)
