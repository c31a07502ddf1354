"""A registry with a model whose traffic is watched, and workers that count it in blocks: what is told of blocks, without processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gateway.config import Config, Repository
from gateway.control.messages import Held
from gateway.control.observing import Observing
from gateway.control.watches import Watches
from gateway.drift.blocks import Blocks
from gateway.drift_settings import Drift
from gateway.model_settings import ModelSettings
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.serving.batch import Batch, Item
from gateway.serving.lifecycle import Wanted
from gateway.serving.sources import settings_key
from registry.columns import Column
from registry.parts import Parts
from registry.profile import Profile, decode, encode
from registry.profiling import profile_of
from registry.schema import contract_file
from registry.store import Store
from tests.e2e import models
from tests.gateway.serving.registries import published

NOON_S = 1_800_000_000 // 86_400 * 86_400 + 43_200.0
WORDS = 8 << 20
SPEC = TensorSpec("x", "FP32", (-1, 4))
SIGNATURE = Signature("rows", (SPEC,), (TensorSpec("y", "FP32", (-1, 4)), TensorSpec("z", "FP32", (-1,))), 64)
RANGE = {"inputs": {"x": {"nulls": "refused", "range": {"min": -100, "max": 100}}}}


def normal(rows: int, *, shift: float = 0.0, seed: int = 0) -> np.ndarray:
    return (np.random.default_rng(seed).normal(size=(rows, 4)) + np.array([shift, 0, 0, 0])).astype(np.float32)


def outputs_of(x: np.ndarray) -> list[np.ndarray]:
    return [x, x.sum(axis=1)]


def reference(rows: int = 2_000) -> Profile:
    x = normal(rows, seed=1)
    y, z = outputs_of(x)
    return profile_of([Column("input", "x", x), Column("output", "y", y), Column("output", "z", z)]).profile


def batch_of(version: Any, x: np.ndarray) -> Batch:
    """That was served."""
    item = Item()
    item.rows, item.size, item.data = len(x), x.nbytes, (x.tobytes(),)
    batch = Batch(version, ((4,),), [item], len(x), 64)
    batch.groups, batch.inputs = [([item], outputs_of(x))], [[x]]
    return batch


class Served:
    """What a worker has of a version: only what counting needs."""

    def __init__(self) -> None:
        self.name, self.number, self.signature = "rows", 1, SIGNATURE
        self.watch = self.door = self.segmenting = None

    def serve(self, x: np.ndarray) -> None:
        assert self.watch is not None
        self.watch.served(batch_of(self, x))


class World:
    """The supervisor's part, and workers."""

    def __init__(
        self, folder: Path, *, drift: Drift | None = None, own: ModelSettings | None = None, profile: bool = True, places: int = 3
    ) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        parts = Parts(profile=encode(reference()) if profile else None, contract=contract_file(RANGE))
        self.store = (
            published(folder / "r", "rows", models.rows(1.0), parts=parts) if not (folder / "r").exists() else Store.open(folder / "r")
        )
        self.blocks = Blocks.create(regions=places, words=WORDS)
        self.config = self.with_settings(own or ModelSettings(), drift or Drift())
        self.told = self.moved = 0
        self.observing = Observing(self.config, self.blocks, folder / "learned", told=self._told, moved=self._moved)
        self.workers = [Watches(self.blocks, place, lambda: 0.0, lambda _s, job: job()) for place in range(places)]

    def with_settings(self, own: ModelSettings, drift: Drift) -> Config:
        return Config(repository=Repository(path=self.folder / "r"), models={"rows": own}, drift=drift)

    def _told(self) -> None:
        self.told += 1

    def _moved(self) -> None:
        self.moved += 1

    def wanted(self, config: Config | None = None) -> Wanted:
        content = self.store.record("rows", 1).manifest
        return Wanted("rows", 1, f"{content}/{settings_key(config or self.config, 'rows')}")

    def verify(self, wanted: Wanted) -> None:
        with self.store.load_verified("rows", 1) as verified:
            self.observing.look_into(wanted, verified)

    def held(self, wanted: Wanted) -> Held:
        block, learned, checksum = self.observing.open(wanted)
        return Held(wanted.model, wanted.version, wanted.identity, 0, -1, block, learned, checksum)

    def load(self, place: int, wanted: Wanted, config: Config | None = None) -> Served:
        """By one worker."""
        served = Served()
        with self.store.load_verified("rows", 1) as verified:
            self.workers[place].preparing(self.held(wanted), config or self.config)(served, verified)  # type: ignore[arg-type]
        return served

    @property
    def profile(self) -> Profile:
        content = self.store.reference("rows", 1).profile
        assert content is not None
        return decode(content, key="profile.json")
