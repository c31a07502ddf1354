"""Histograms of durations and sizes: values into cumulative-ready counts, in place."""

from __future__ import annotations

from kernels.jit import kernel

__all__ = ["add_durations", "add_value"]


@kernel("void(float64[::1], float64, float64, float64[::1], int64[::1], int64[::1], float64[::1])")
def add_durations(arrivals, started, ended, edges, queue_counts, request_counts, sums):  # type: ignore[no-untyped-def]
    """Count `started - arrival` and `ended - arrival` of every request of a batch.

    arrivals: [requests] seconds. edges: [bins] ascending upper bounds, inclusive as Prometheus' `le`. *_counts: [bins + 1], the last
    for values above every edge. sums: [2] seconds in queue and in all.
    """
    bins = edges.shape[0]
    for i in range(arrivals.shape[0]):
        queued = started - arrivals[i]
        whole = ended - arrivals[i]
        at = 0
        while at < bins and queued > edges[at]:
            at += 1
        queue_counts[at] += 1
        while at < bins and whole > edges[at]:  # a request is never done before it starts
            at += 1
        request_counts[at] += 1
        sums[0] += queued
        sums[1] += whole


@kernel("void(float64, float64[::1], int64[::1])")
def add_value(value, edges, counts):  # type: ignore[no-untyped-def]
    """Count one value. edges: [bins] ascending, inclusive; counts: [bins + 1]."""
    at = 0
    while at < edges.shape[0] and value > edges[at]:
        at += 1
    counts[at] += 1
