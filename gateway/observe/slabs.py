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


class Slab:
    """What one version did."""

    __slots__ = ("compute_buckets", "queue_buckets", "request_buckets", "requests", "rows_buckets", "sums", "totals")

    def __init__(self) -> None:
        bins = len(DURATION_EDGES_S) + 1
        self.requests = np.zeros((len(PROTOCOLS), len(Code)), np.int64)
        self.request_buckets = np.zeros(bins, np.int64)
        self.queue_buckets = np.zeros(bins, np.int64)
        self.compute_buckets = np.zeros(bins, np.int64)
        self.rows_buckets = np.zeros(len(ROWS_EDGES) + 1, np.int64)
        self.sums = np.zeros(2, np.float64)  # seconds in queue, seconds in all
        self.totals = np.zeros(2, np.float64)  # seconds of compute, rows
