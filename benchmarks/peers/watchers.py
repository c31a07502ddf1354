"""What others do with each value of a batch that is watched: sketches and detectors, 64 float32 features, batches of 256 rows.

Runs in an environment of its own: `python -m benchmarks.peers.watchers NAME SEED SECONDS`. For each line that it reads it measures once and
prints one JSON object: nanoseconds of processor time a value. State goes on from batch to batch, as it would in a server.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib import metadata
from typing import Any

import numpy as np

FEATURES, ROWS, BATCHES = 64, 256, 16

Observe = Callable[[np.ndarray], object]


def kll() -> Observe:
    """datasketches: one quantile sketch a feature, each given a whole column."""
    from datasketches import kll_floats_sketch

    sketches = [kll_floats_sketch(200) for _ in range(FEATURES)]

    def observe(batch: np.ndarray) -> None:
        for sketch, column in zip(sketches, np.ascontiguousarray(batch.T), strict=True):
            sketch.update(column)

    return observe


def kll_vector() -> Observe:
    """datasketches: its vector of sketches, given whole rows."""
    from datasketches import vector_of_kll_floats_sketches

    sketches: Any = vector_of_kll_floats_sketches(200, FEATURES)
    observe: Observe = sketches.update
    return observe


def adwin() -> Observe:
    """river: one detector a feature, a value at a time."""
    from river.drift import ADWIN

    return _one_by_one([ADWIN() for _ in range(FEATURES)])


def page_hinkley() -> Observe:
    """river: one detector a feature, a value at a time."""
    from river.drift import PageHinkley

    return _one_by_one([PageHinkley() for _ in range(FEATURES)])


def whylogs() -> Observe:
    """whylogs: one profile that goes on, given tables."""
    import pandas as pd
    from whylogs.core import DatasetProfile

    profile = DatasetProfile()
    names = [f"f{k}" for k in range(FEATURES)]
    return lambda batch: profile.track(pd.DataFrame(batch, columns=names))


def _one_by_one(detectors: list[Any]) -> Observe:
    updates = [detector.update for detector in detectors]

    def observe(batch: np.ndarray) -> None:
        for row in batch.tolist():
            for update, value in zip(updates, row, strict=True):
                update(value)

    return observe


PEERS = {"kll": kll, "kll_vector": kll_vector, "adwin": adwin, "page_hinkley": page_hinkley, "whylogs": whylogs}
PACKAGES = {"kll": "datasketches", "kll_vector": "datasketches", "adwin": "river", "page_hinkley": "river", "whylogs": "whylogs"}


def measure(observe: Observe, batches: list[np.ndarray], seconds: float) -> float:
    """Nanoseconds a value."""
    begin, done = time.process_time_ns(), 0
    while time.process_time_ns() - begin < seconds * 1e9:
        observe(batches[done % len(batches)])
        done += 1
    return (time.process_time_ns() - begin) / (done * batches[0].size)


def main() -> None:
    """Measure whenever asked."""
    name, seed, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    random = np.random.default_rng(seed)
    batches = [random.normal(size=(ROWS, FEATURES)).astype(np.float32) for _ in range(BATCHES)]
    observe = PEERS[name]()
    for batch in batches:
        observe(batch)
    print(json.dumps({"version": metadata.version(PACKAGES[name])}), flush=True)
    for _ in sys.stdin:
        print(json.dumps({"ns": measure(observe, batches, seconds)}), flush=True)


if __name__ == "__main__":
    main()
