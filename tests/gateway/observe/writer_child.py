"""Workers that count until they are killed. Run by test_killed_writers.py.

Arguments: descriptors of an arena and of a file with two int64 words. Every line on standard input is a worker's index and a slot: a new
process counts batches of three requests there without end, and its id is printed. It tells in the two words how many batches it has begun
and ended.
"""

from __future__ import annotations

import mmap
import os
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np

from gateway.limits import ObserveLimits
from gateway.observe.arena import Arena
from gateway.observe.metrics import Metrics
from gateway.serving.batch import Batch, Item
from tests.gateway.observe.counted import alone

REQUESTS = 3


def batch(version: Any) -> Batch:
    """Three answered requests that waited half a second and ran as long."""
    items = []
    for _ in range(REQUESTS):
        item = Item()
        item.sink, item.caller = SimpleNamespace(protocol=0), SimpleNamespace(cancelled=False)  # type: ignore[assignment]
        item.rows, item.size, item.arrival = 1, 8, 10.0
        items.append(item)
    made = Batch(version, ((),), items, REQUESTS, 64)
    made.started, made.ended, made.alike = 10.5, 11.0, items[0].sink
    return made


class Version:
    """A loaded version's name and number."""

    name, number = "m", 1


def write(arena: Arena, progress: np.ndarray, worker: int, slot: int) -> None:
    """Until the process is killed."""
    metrics, made = Metrics(arena.region(worker), lambda key: slot, lambda: 1.0), batch(Version())
    while True:
        progress[0] += 1
        metrics.batch_done(made)
        progress[1] += 1


def main() -> None:
    """Serve until standard input ends."""
    arena = Arena.attach(int(sys.argv[1]))
    progress = np.frombuffer(mmap.mmap(int(sys.argv[2]), 16), np.int64)
    alone(ObserveLimits())[0].batch_done(batch(Version()))  # the kernel is loaded once for all
    for line in sys.stdin:
        worker, slot = map(int, line.split())
        child = os.fork()
        if child == 0:
            write(arena, progress, worker, slot)
        print(child, flush=True)
        os.waitpid(child, 0)
        print("dead", flush=True)


if __name__ == "__main__":
    main()
