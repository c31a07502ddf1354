"""Histograms of durations and sizes: one batch into counts and sums, in place."""

from __future__ import annotations

from kernels.jit import kernel

__all__ = ["add_batch"]


@kernel(
    "void(float64[::1], float64, float64, float64, float64, float64, float64, float64[::1], float64[::1], int64[:, ::1], float64[::1])",
    releases_gil=False,
)
def add_batch(arrivals, started, ended, assembling, answering, wall, rows, edges_s, edges_rows, counts, sums):  # type: ignore[no-untyped-def]  # noqa: PLR0917 - numba takes no keywords
    """Count the durations of a batch and of its requests.

    arrivals: [requests] seconds. assembling, answering: seconds that the batch took before and after its run, for which each of its
    requests waited. wall: seconds since the Unix epoch. edges_s: [bins] and edges_rows: [bins or fewer] ascending upper bounds,
    inclusive as Prometheus' `le`. counts: [4, bins + 1], rows of it: requests from arrival to end, requests from arrival to start,
    the run, the batch's rows; the last bin is for values above every edge. sums: [7], the same four, assembling and answering over
    requests, the latest `wall`.
    """
    bins = edges_s.shape[0]
    for i in range(arrivals.shape[0]):
        queued = started - arrivals[i]
        whole = ended - arrivals[i]
        at = 0
        while at < bins and queued > edges_s[at]:
            at += 1
        counts[1, at] += 1
        while at < bins and whole > edges_s[at]:  # a request never ends before it starts
            at += 1
        counts[0, at] += 1
        sums[0] += whole
        sums[1] += queued
    took = ended - started
    at = 0
    while at < bins and took > edges_s[at]:
        at += 1
    counts[2, at] += 1
    sums[2] += took
    at = 0
    while at < edges_rows.shape[0] and rows > edges_rows[at]:
        at += 1
    counts[3, at] += 1
    sums[3] += rows
    sums[4] += assembling * arrivals.shape[0]
    sums[5] += answering * arrivals.shape[0]
    sums[6] = max(sums[6], wall)
