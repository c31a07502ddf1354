"""What one version did, in the terms of the protocol's statistics extension.

A request's time counts whole for every request, as the extension wants it: requests that ran in one batch each waited for its inputs, its
run and its answers. Requests that were refused before they ran are failures that took no time.
Source: github.com/triton-inference-server/server/blob/main/docs/protocol/extension_statistics.md.
"""

from __future__ import annotations

import msgspec

from gateway.errors import Code
from gateway.observe.slabs import ANSWERING, ASSEMBLING, COMPUTE, LAST, QUEUE, REQUEST, ROWS, Slab, empty


class Duration(msgspec.Struct, frozen=True):
    """How often, and how many nanoseconds in all."""

    count: int = 0
    ns: int = 0


class InferStats(msgspec.Struct, frozen=True, kw_only=True):
    """Where requests spent their time. Answers are not cached."""

    success: Duration
    fail: Duration
    queue: Duration
    compute_input: Duration
    compute_infer: Duration
    compute_output: Duration
    cache_hit: Duration = Duration()
    cache_miss: Duration = Duration()


class ModelStats(msgspec.Struct, frozen=True, kw_only=True):
    """One version. `inference_count` is rows, `execution_count` runs, `last_inference` milliseconds since the Unix epoch."""

    name: str
    version: str
    last_inference: int
    inference_count: int
    execution_count: int
    inference_stats: InferStats
    batch_stats: tuple[int, ...] = ()  # sizes of batches are a histogram on the metrics page
    memory_usage: tuple[int, ...] = ()
    response_stats: dict[str, int] = {}


def stats_of(model: str, version: str, slab: Slab) -> ModelStats:
    """The statistics of what a slab counted."""
    ran, sums = int(slab.counts[REQUEST].sum()), slab.sums.tolist()
    good = int(slab.requests[:, Code.OK].sum())
    run = max(0.0, sums[REQUEST] - sums[QUEUE] - sums[ASSEMBLING])
    good_share = min(1.0, good / ran) if ran else 0.0
    return ModelStats(
        name=model,
        version=version,
        last_inference=int(sums[LAST] * 1e3),
        inference_count=int(sums[ROWS]),
        execution_count=int(slab.counts[COMPUTE].sum()),
        inference_stats=InferStats(
            success=_duration(good, (sums[REQUEST] + sums[ANSWERING]) * good_share),
            fail=_duration(int(slab.requests.sum()) - good, (sums[REQUEST] + sums[ANSWERING]) * (1.0 - good_share)),
            queue=_duration(ran, sums[QUEUE]),
            compute_input=_duration(ran, sums[ASSEMBLING]),
            compute_infer=_duration(ran, run),
            compute_output=_duration(ran, sums[ANSWERING]),
        ),
    )


def nothing(model: str, version: str) -> ModelStats:
    """Of a version that was never asked."""
    return stats_of(model, version, empty())


def _duration(count: int, seconds: float) -> Duration:
    return Duration(count, int(seconds * 1e9))
