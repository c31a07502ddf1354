"""What a closed loop counts while it runs: requests, latencies, and a random sample of whole answers. Knows no protocol.

All of it lives in numpy arrays that compiled code writes; another thread may move `end` while a loop runs. A loop with an `interval_ns`
begins one request in each interval from `origin` on, and a request that had to wait for its turn began when it was due. Bounds: the last
`LATENCIES` latencies and `slots` sampled answers are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from benchmarks.load.syscalls import NOGIL, copy

LATENCIES = 1 << 20
STATUSES = 1000  # gRPC status codes or HTTP status codes
FREE, BUSY, WHOLE = 0, 1, 2
GRAIN_NS = 100_000  # a loop that keeps a pace looks at its sockets no oftener, or waking up would be most of its work

RUN = np.dtype([
    ("begin", "i8"), ("end", "i8"), ("limit", "i8"), ("stall_ns", "i8"), ("origin", "i8"), ("interval_ns", "i8"),  # what was asked for
    ("started", "i8"), ("ok", "i8"), ("counted", "i8"), ("counted_bytes", "i8"), ("progress", "i8"),
    ("latency_sum", "i8"), ("latencies", "i8"), ("random", "u8"), ("sample_every", "u8"), ("sampled", "i8"),
    ("exit_connection", "i8"), ("exit_slot", "i8"),
])  # fmt: skip


class Tally(NamedTuple):
    """`run` is one RUN record; `payloads` [slots, bytes] are sampled answers, `messages` the requests that they answer, `started_ns` and
    `ended_ns` when."""

    run: np.ndarray
    statuses: np.ndarray
    latency_ns: np.ndarray
    payloads: np.ndarray
    sizes: np.ndarray
    messages: np.ndarray
    states: np.ndarray
    started_ns: np.ndarray
    ended_ns: np.ndarray


def tally(*, slots: int, answer_bytes: int, sample_every: int, seed: int) -> Tally:
    """An empty tally that samples one request in `sample_every` and keeps `slots` answers of at most `answer_bytes`."""
    run = np.zeros(1, RUN)
    run["random"] = np.random.default_rng(seed).integers(1, 2**63, dtype=np.uint64)
    run["sample_every"] = sample_every
    integers = [np.zeros(slots, np.int64) for _ in range(5)]
    return Tally(run, np.zeros(STATUSES, np.int64), np.zeros(LATENCIES, np.int64), np.zeros((slots, answer_bytes), np.uint8), *integers)


@njit(**NOGIL)
def draw(run):
    """The next number of a xorshift generator."""
    x = run.random
    x ^= x << np.uint64(13)
    x ^= x >> np.uint64(7)
    x ^= x << np.uint64(17)
    run.random = x
    return x


@njit(**NOGIL)
def claim_sample(tally, message):
    """A sample slot for a request that begins, or -1 for most. A full store gives up a random earlier answer."""
    run = tally.run[0]
    if draw(run) % run.sample_every != 0:
        return -1
    place = run.sampled
    if place >= tally.states.size:
        place = np.int64(draw(run) % np.uint64(tally.states.size))
        if tally.states[place] == BUSY:
            return -1
    run.sampled += 1
    tally.states[place], tally.sizes[place], tally.messages[place] = BUSY, 0, message
    return place


@njit(**NOGIL)
def keep_payload(tally, place, buffer, start, size):
    """Append `buffer[start:start+size]` to a sampled answer; what does not fit is counted in its size, not kept."""
    at = tally.sizes[place]
    room = tally.payloads.shape[1] - at
    if room > 0:
        copy(tally.payloads[place], at, buffer, start, min(size, room))
    tally.sizes[place] = at + size


@njit(**NOGIL)
def goes_on(run, now):
    """Whether the loop still begins requests, now or later."""
    return now < run.end and run.started < run.limit


@njit(**NOGIL)
def due(run, now):
    """When the next request begins: now, or at its turn."""
    return run.origin + run.started * run.interval_ns if run.interval_ns else now


@njit(**NOGIL)
def may_start(run, now):
    """Whether a request begins now."""
    return goes_on(run, now) and due(run, now) <= now


@njit(**NOGIL)
def patience_ns(run, now, most):
    """How long to wait for answers until the next request is due, at most. One that is due already waits for an answer to make room."""
    later = due(run, now) - now
    return min(later, most) if later > 0 and goes_on(run, now) else most


@njit(**NOGIL)
def finish(tally, place, status, good, started, size, now):
    """Count one answer of `size` bytes. Only good answers that end within [begin, end) make the rate and the latencies."""
    run = tally.run[0]
    run.progress = now
    tally.statuses[min(max(status, 0), STATUSES - 1)] += 1
    if place >= 0:
        tally.states[place] = WHOLE if good else FREE
        tally.started_ns[place], tally.ended_ns[place] = started, now
    if not good:
        return
    run.ok += 1
    if run.begin <= now < run.end:
        run.counted += 1
        run.counted_bytes += size
        tally.latency_ns[run.latencies % LATENCIES] = now - started
        run.latencies += 1
        run.latency_sum += now - started
