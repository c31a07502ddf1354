"""The closed loop over HTTP/1.1: on each connection one request, its answer, the next request. Bodies need a Content-Length.

Shares the tally with HTTP/2. The state of a connection is one record; a sampled answer is kept whole, head included.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from benchmarks.load.http2 import CLOSED, DONE, PROTOCOL, STALLED, WAIT_NS
from benchmarks.load.samples import GRAIN_NS, Tally, claim_sample, due, finish, goes_on, keep_payload, may_start, patience_ns
from benchmarks.load.syscalls import NOGIL, POLLFAIL, POLLIN, POLLOUT, now_ns, receive, rest, transmit, wait

CONNECTION = np.dtype([(name, "i8") for name in (
    "fd", "in_end", "busy", "message", "sent", "started", "sample", "cursor", "first", "leaving",
)])  # fmt: skip
LENGTH, CLOSE = np.frombuffer(b"content-length:", np.uint8), np.frombuffer(b"connection: close", np.uint8)
CR, LF, ZERO, NINE, SPACE = 13, 10, 48, 57, 32


class Http1State(NamedTuple):
    """Everything that changes. Request i is `requests[request_at[i]:request_at[i+1]]`."""

    connections: np.ndarray
    requests: np.ndarray
    request_at: np.ndarray
    inbox: np.ndarray
    polls: np.ndarray
    clock: np.ndarray
    tally: Tally


@njit(**NOGIL)
def head_end(box, end):
    """Where the body begins, or -1 while the head is incomplete."""
    for i in range(3, end):
        if box[i] == LF and box[i - 1] == CR and box[i - 2] == LF and box[i - 3] == CR:
            return i + 1
    return -1


@njit(**NOGIL)
def find(box, end, text):
    """Where a line of a head goes on that begins with `text`, whatever its case; -1 where none does."""
    for start in range(1, end - text.size):
        if box[start - 1] != LF:
            continue
        same = True
        for i in range(text.size):
            byte = box[start + i]
            if (byte | 0x20 if 65 <= byte <= 90 else byte) != text[i]:
                same = False
                break
        if same:
            return start + text.size
    return -1


@njit(**NOGIL)
def content_length(box, end):
    """The value of Content-Length in a head, or -1."""
    at, value = find(box, end, LENGTH), 0
    if at < 0:
        return -1
    while box[at] == SPACE:
        at += 1
    while ZERO <= box[at] <= NINE:
        value = value * 10 + np.int64(box[at]) - ZERO
        at += 1
    return value


@njit(**NOGIL)
def begin(state, c, now):
    """Begin the next request of connection `c`, if one may begin, and write what the socket takes."""
    connection, run = state.connections[c], state.tally.run[0]
    if not connection.busy:
        if connection.leaving or not may_start(run, now):
            return
        begins = due(run, now)
        connection.message = (connection.first + connection.cursor) % (state.request_at.size - 1)
        connection.cursor += 1
        run.started += 1
        connection.busy, connection.sent, connection.started, connection.in_end = 1, 0, begins, 0
        connection.sample = claim_sample(state.tally, connection.message)
    start, end = state.request_at[connection.message], state.request_at[connection.message + 1]
    while connection.sent < end - start:
        sent = transmit(connection.fd, state.requests, start + connection.sent, end)
        if sent <= 0:
            break
        connection.sent += sent
    state.polls[c].events = POLLIN if connection.sent == end - start else POLLIN | POLLOUT


@njit(**NOGIL)
def answer(state, c, now):
    """Count the answer on connection `c` once it is whole."""
    connection, box = state.connections[c], state.inbox[c]
    body = head_end(box, connection.in_end)
    if body < 0:
        return PROTOCOL if connection.in_end == box.size else DONE
    length = content_length(box, body)
    if length < 0 or body + length > box.size or connection.in_end > body + length:
        return PROTOCOL
    if connection.in_end < body + length:
        return DONE
    status = (np.int64(box[9]) - ZERO) * 100 + (np.int64(box[10]) - ZERO) * 10 + np.int64(box[11]) - ZERO
    if connection.sample >= 0:
        keep_payload(state.tally, connection.sample, box, 0, connection.in_end)
    good = status == 200 and length > 0
    finish(state.tally, place=connection.sample, status=status, good=good, started=connection.started, size=connection.in_end, now=now)
    connection.busy = 0
    connection.leaving = find(box, body, CLOSE) >= 0
    begin(state, c, now)
    return DONE


@njit(**NOGIL)
def serve_ready(state, now):
    """Read from and advance every connection that polling found ready."""
    for c in range(state.connections.size):
        ready = state.polls[c].revents
        if ready == 0:
            continue
        connection = state.connections[c]
        if ready & POLLOUT:
            begin(state, c, now)
        if ready & (POLLIN | POLLFAIL):
            state.tally.run[0].exit_connection = c
            got = receive(connection.fd, state.inbox[c], connection.in_end)
            if got == 0 or (got < 0 and ready & POLLFAIL) or not connection.busy:
                return CLOSED
            connection.in_end += max(got, 0)
            code = answer(state, c, now)
            if code != DONE:
                return code
    return DONE


@njit(**NOGIL)
def busy(state, now):
    """Whether requests are in flight or still to begin."""
    if goes_on(state.tally.run[0], now):
        return True
    return state.connections.busy.any()


@njit(**NOGIL)
def drive(state):
    """Run the loop until it is done; the code says how it ended."""
    run, now = state.tally.run[0], now_ns(state.clock)
    for c in range(state.connections.size):
        begin(state, c, now)
    while busy(state, now):
        if run.interval_ns:
            rest(state.clock, GRAIN_NS)
        ready = wait(state.polls, state.clock, patience_ns(run, now, WAIT_NS))
        now = now_ns(state.clock)
        if now - run.progress > run.stall_ns:
            return STALLED
        if ready > 0:
            code = serve_ready(state, now)
            if code != DONE:
                return code
        if run.interval_ns:
            first = run.started
            for k in range(state.connections.size):
                begin(state, (first + k) % state.connections.size, now)
    return DONE
