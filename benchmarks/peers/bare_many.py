"""Bare ONNX Runtime over a folder of models in turn, one row each: prints the rows a second."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from benchmarks.models import session


def main() -> None:
    """Load all, warm up, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    runs = [session(path).run for path in sorted(options.folder.glob("*.onnx"))]
    row = {"input": np.ones((1, 4), np.float32)}
    for run in runs:
        run(None, row)
    count, start = 0, time.perf_counter()
    while time.perf_counter() - start < options.seconds:
        for run in runs:
            run(None, row)
        count += len(runs)
    print(count / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
