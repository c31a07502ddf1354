"""Fit and export one pipeline, in a process whose hashes have a seed of their own. Prints the SHA-256 of the model."""

from __future__ import annotations

import hashlib
import sys

import numpy as np

from retrain import export, train
from retrain.dataset import Dataset


def main() -> None:
    """Enough columns that a set of them has many orders."""
    generator = np.random.default_rng(0)
    columns = {f"x{number}": generator.normal(size=200).astype(np.float32) for number in range(6)}
    columns |= {f"t{number}": generator.choice(np.array(["a", "b", "c"], object), 200) for number in range(6)}
    dataset = Dataset(columns, (columns["x0"] > 0).astype(np.int64))
    sys.stdout.write(hashlib.sha256(export.to_model(train.fit(dataset), dataset)).hexdigest())


if __name__ == "__main__":
    main()
