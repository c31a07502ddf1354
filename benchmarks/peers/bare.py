"""Bare ONNX Runtime in a loop: what the core can do with no server around it. Prints one JSON object."""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from benchmarks.models import session


def rows_per_second(model: Path, *, width: int, batch: int, seconds: float, seed: int) -> dict[str, float]:
    """Rows a second, and a processor second, through one session, `batch` at a time, over inputs that change from run to run."""
    run = session(model).run
    feeds = [{"input": np.random.default_rng(seed + i).standard_normal((batch, width), dtype=np.float32)} for i in range(16)]
    for feed in feeds:
        run(None, feed)
    runs, start, cpu = 0, time.perf_counter(), time.process_time()
    while (elapsed := time.perf_counter() - start) < seconds:
        for feed in feeds:
            run(None, feed)
        runs += len(feeds)
    return {"rate": runs * batch / elapsed, "per_cpu_s": runs * batch / (time.process_time() - cpu)}


def main() -> None:
    """Measure one batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    rates = rows_per_second(options.model, width=options.width, batch=options.batch, seconds=options.seconds, seed=options.seed)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
