"""A small model with a champion, and rows that its successor can be trained on: what tests of jobs share.

The truth: late where 1.5·x plus what the place adds, plus noise, is above 0. From the second half on the place matters the other way round.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from registry.publish import publish
from registry.schema import ContractFile, Range, Terms
from registry.store import Store
from registry.training import TrainingRecord
from registry.triggers import Trigger, Window
from retrain import recipes
from retrain.dataset import Dataset
from retrain.desk import Desk
from retrain.export import Exported, export
from retrain.planning import Data, Training, Wish

START_S = 1_700_000_000.0
DAY_S = 86_400.0
MODEL = "m"
ADDED = {"a": 1.5, "b": 0.0, "c": -1.5}
TERMS = ContractFile(inputs={"x": Terms(nulls="refused", range=Range(min=-8, max=8)), "t": Terms(categories=("a", "b", "c"))})


class StillClock:
    """A clock that moves a little whenever it is asked."""

    def __init__(self, wall_s: float = START_S + 100 * DAY_S) -> None:
        self.wall_s, self.now_s = wall_s, 0.0

    def now(self) -> float:
        self.now_s += 0.001
        return self.now_s

    def wall(self) -> float:
        return self.wall_s


def drawn(rows: int, *, seed: int = 0, turned: bool = False) -> Dataset:
    """Rows of 40 days in the order of time; `turned`: the place matters the other way round."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=rows).astype(np.float32)
    t = generator.choice(np.array(list(ADDED), object), rows)
    added = np.array([ADDED[place] for place in t]) * (-1 if turned else 1)
    late = 1.5 * x + added + generator.logistic(size=rows) > 0
    return Dataset({"x": x, "t": t}, late.astype(np.int64), START_S + np.arange(rows) * (40 * DAY_S / rows))


def written(path: Path, rows: Dataset, **columns: Any) -> Path:
    """The rows as a file; `columns` in the place of its own, or beside them."""
    moments = pa.array((rows.times_s * 1e6).astype(np.int64), pa.timestamp("us", tz="UTC"))  # type: ignore[operator]
    table = {"x": rows.columns["x"], "t": pa.array(rows.columns["t"].tolist()), "late": rows.labels.astype(bool), "at": moments} | columns
    parquet.write_table(pa.table({name: column for name, column in table.items() if column is not None}), path)
    return path


def with_champion(store: Store) -> Trigger:
    """Version 1 is the champion; and there is a trigger that asks for the next one."""
    put = publish_champion(store)
    store.aliases(MODEL).move("champion", to=put, expected_from=None, actor="ann", reason="", now_s=START_S)
    return proposed(store)


@cache
def _exported() -> Exported:
    learned, reference = drawn(1_500, seed=7), drawn(300, seed=8)
    recipe = recipes.Recipe("logistic", {"inverse_penalty": 1.0})
    exported = export(recipes.fit(recipe, learned, seed=0), reference, fitted=learned)
    record = TrainingRecord(format=1, parameters=recipe.recorded, seed=0)
    return replace(exported, parts=replace(exported.parts, contract=TERMS, training=record, card="# m\n\nA model.\n"))


def publish_champion(store: Store, **changes: Any) -> int:
    """A version that was trained on rows of its own, with other parts where `changes` say so."""
    exported = _exported()
    folder = Path(str(store.medium.root)).parent / "champion"
    folder.mkdir(exist_ok=True)
    parts = replace(exported.parts, **changes)
    return publish(
        store, exported.save(folder), name=MODEL, publisher="ann", now_s=START_S, publish_id="first", parts=parts, trial=lambda *_: None
    ).version


def proposed(store: Store, *, rule: str = "manual", now_s: float = START_S + 41 * DAY_S) -> Trigger:
    """A trigger about version 1."""
    moment = datetime.fromtimestamp(now_s, UTC)
    return store.triggers.propose(
        MODEL, 1, manifest=store.record(MODEL, 1).manifest, rule=rule, reason="a test asks for it", features=(), evidence={},
        window=Window(start=moment, end=moment, rows=0), proposer="tests", now_s=now_s,
    )[0]  # fmt: skip


def wish(path: Path, **changes: Any) -> Wish:
    """Train on these rows."""
    return Wish(**({"model": MODEL, "data": Data(rows=(str(path),), label="late", time="at"), "training": Training(seed=3)} | changes))


def desk(store: Store, folder: Path, **changes: Any) -> Desk:
    """A process that works on triggers, without trials in child processes."""
    given = {"holder": "job-1", "clock": StillClock(), "folder": folder, "trial": lambda *_: None} | changes
    return Desk(store=store, **given)
