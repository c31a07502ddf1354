"""Counters in arrays: one slab per version, written once a batch, read by the metrics page.

Everything in a slab merges by addition, so that slabs of several workers, or of a worker that died, can be summed.
"""

from __future__ import annotations

import numpy as np

from gateway.errors import Code

PROTOCOLS = ("grpc", "http")
GRPC, HTTP = range(2)

# Upper bounds in seconds. Small models answer in tens of microseconds, so the ladder begins there.
DURATION_EDGES_S = np.array(
    [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], dtype=np.float64
)
ROWS_EDGES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], dtype=np.float64)


REQUEST, QUEUE, COMPUTE, ROWS = range(4)  # what `Slab.counts` and `Slab.sums` hold, as kernels.buckets.add_batch writes it


class Slab:
    """What one version did."""

    __slots__ = ("counts", "requests", "sums")

    def __init__(self) -> None:
        self.requests = np.zeros((len(PROTOCOLS), len(Code)), np.int64)
        self.counts = np.zeros((4, len(DURATION_EDGES_S) + 1), np.int64)  # histograms: requests, queue, runs, rows of a batch
        self.sums = np.zeros(4, np.float64)  # seconds of the first three, rows
