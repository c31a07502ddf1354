"""The counters of one version as a fixed array of words: written once a batch, read by the metrics page.

Everything in a slab merges by addition, one moment by the later one, so that slabs of several workers, or of a worker that died, can be
put together; and nothing in it ever falls, so that a reader who meets a writer in the middle of an update sees less than there will be,
never more.
"""

from __future__ import annotations

import zlib

import numpy as np

from gateway.errors import Code

PROTOCOLS = ("grpc", "http")
GRPC, HTTP = range(2)

# Upper bounds in seconds. Small models answer in tens of microseconds, so the ladder begins there.
DURATION_EDGES_S = np.array(
    [5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 2e-2, 5e-2, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0], dtype=np.float64
)
ROWS_EDGES = np.array([1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024], dtype=np.float64)

# What `Slab.counts` and `Slab.sums` hold, as kernels.buckets.add_batch writes it: sums in seconds but those of rows, and the last one,
# which is no sum: when a batch was last answered, in seconds since the Unix epoch.
HISTOGRAMS = ("request", "queue", "compute", "rows")
SUMS = (*HISTOGRAMS, "assembling", "answering", "last")
REQUEST, QUEUE, COMPUTE, ROWS, ASSEMBLING, ANSWERING, LAST = range(7)
EDGES = (DURATION_EDGES_S, DURATION_EDGES_S, DURATION_EDGES_S, ROWS_EDGES)

# What became of requests that a shadow might have run too, counted under the shadow's version. Each has one outcome.
SHADOW = (
    "mirrored", "percent", "qps", "capacity", "queue", "crowded", "candidate_failed", "candidate_slow", "over_bytes",
)  # fmt: skip
MIRRORED, PERCENT, QPS, CAPACITY, QUEUE_FULL, CROWDED, CANDIDATE_FAILED, CANDIDATE_SLOW, OVER_BYTES = range(len(SHADOW))

REQUESTS = len(PROTOCOLS) * len(Code)
BINS = len(DURATION_EDGES_S) + 1
SHADOWED = REQUESTS + len(HISTOGRAMS) * BINS  # the first word of `Slab.shadow`
INTS = SHADOWED + len(SHADOW)
_WORDS = INTS + len(SUMS)
SLAB_WORDS = -(-_WORDS // 8) * 8  # whole cache lines
LAYOUT = zlib.crc32(repr((PROTOCOLS, [code.name for code in Code], SHADOW, SUMS, [edges.tolist() for edges in EDGES])).encode())


class Slab:
    """What one version did, in `SLAB_WORDS` int64 words that somebody else owns."""

    __slots__ = ("counts", "requests", "shadow", "sums")

    def __init__(self, words: np.ndarray) -> None:
        self.requests = words[:REQUESTS].reshape(len(PROTOCOLS), len(Code))
        self.counts = words[REQUESTS:SHADOWED].reshape(len(HISTOGRAMS), BINS)
        self.shadow = words[SHADOWED:INTS]
        self.sums = words[INTS:_WORDS].view(np.float64)

    def add(self, other: Slab) -> None:
        """Everything of `other`, once more."""
        self.requests += other.requests
        self.counts += other.counts
        self.shadow += other.shadow
        merge_sums(self.sums, other.sums)


def merge_sums(into: np.ndarray, other: np.ndarray) -> None:
    """Put `SUMS` [..., SUMS] of two slabs, or of as many pairs of them, together."""
    last = np.maximum(into[..., LAST], other[..., LAST])
    into += other
    into[..., LAST] = last


def empty() -> Slab:
    """A slab in memory of its own."""
    return Slab(np.zeros(SLAB_WORDS, np.int64))
