"""Bare ONNX Runtime in a loop: what the core can do with no server around it. Prints one JSON object."""

from __future__ import annotations

import argparse
import json
import threading
import time
from pathlib import Path

import numpy as np

from benchmarks.models import session


def rows_per_second(model: Path, *, width: int, batch: int, seconds: float, seed: int, threads: int = 1) -> dict[str, float]:
    """Rows a second, and a processor second, through one session, `batch` at a time, over inputs that change from run to run.

    `threads` call the session at once, each over all inputs.
    """
    run = session(model).run
    feeds = [{"input": np.random.default_rng(seed + i).standard_normal((batch, width), dtype=np.float32)} for i in range(16)]
    for feed in feeds:
        run(None, feed)
    counts, start, cpu = [0] * threads, time.perf_counter(), time.process_time()

    def loop(number: int) -> None:
        while time.perf_counter() - start < seconds:
            for feed in feeds:
                run(None, feed)
            counts[number] += len(feeds)

    others = [threading.Thread(target=loop, args=(number,)) for number in range(1, threads)]
    for other in others:
        other.start()
    loop(0)
    for other in others:
        other.join()
    rows = sum(counts) * batch
    return {"rate": rows / (time.perf_counter() - start), "per_cpu_s": rows / (time.process_time() - cpu)}


def main() -> None:
    """Measure one batch size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    size = {"width": options.width, "batch": options.batch, "threads": options.threads}
    rates = rows_per_second(options.model, **size, seconds=options.seconds, seed=options.seed)
    print(json.dumps(rates))


if __name__ == "__main__":
    main()
