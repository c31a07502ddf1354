"""The client's side of HTTP/2 in compiled code: connections, streams, and the frames they write and read.

Owns the layout of the state. Sends what it is given: header blocks and gRPC messages encoded beforehand, cut into DATA frames by
the peer's frame size and both windows. Refuses padding and CONTINUATION from a server: none of the servers measured sends them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from benchmarks.load.samples import Tally
from benchmarks.load.syscalls import NOGIL, copy

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACK, END_HEADERS, PADDED, PRIORITY = 0x1, 0x1, 0x4, 0x8, 0x20
SETTINGS_INITIAL_WINDOW, SETTINGS_MAX_FRAME = 4, 5
FRAME = 9  # bytes of a frame header
CONTROL_ROOM = 4096  # bytes of the outbox that streams leave to SETTINGS and PING answers and WINDOW_UPDATE
KNOWN, KNOWN_BYTES = 16, 256  # header blocks of a connection that are recognised byte for byte

CONNECTION = np.dtype([(name, "i8") for name in (
    "fd", "in_start", "in_end", "out_start", "out_end", "greeted", "next_stream", "cursor", "open", "pending",
    "window", "stream_window", "max_frame", "unacked", "data_left", "data_slot", "data_ends", "known", "leaving",
)])  # fmt: skip
SLOT = np.dtype([(name, "i8") for name in ("stream", "message", "size", "sent", "window", "started", "received", "sample")])


class Plan(NamedTuple):
    """What is sent. Message i is `bodies[body_at[i]:body_at[i+1]]`, block i likewise; connection c begins at `first[c]` of both."""

    bodies: np.ndarray
    body_at: np.ndarray
    blocks: np.ndarray
    block_at: np.ndarray
    body_first: np.ndarray
    block_first: np.ndarray


class State(NamedTuple):
    """Everything that changes. `slots` is [connections, streams]; `known` holds the header blocks whose meaning is settled."""

    connections: np.ndarray
    slots: np.ndarray
    inbox: np.ndarray
    outbox: np.ndarray
    polls: np.ndarray
    clock: np.ndarray
    known: np.ndarray
    known_size: np.ndarray
    known_verdict: np.ndarray
    refill: int  # consumed bytes after which the connection window is opened again
    tally: Tally


@njit(**NOGIL)
def number(buffer, at, size):
    """A big-endian unsigned integer."""
    value = 0
    for i in range(size):
        value = value << 8 | np.int64(buffer[at + i])
    return value


@njit(**NOGIL)
def write_number(buffer, at, value, size):
    """Write a big-endian unsigned integer."""
    for i in range(size):
        buffer[at + i] = value >> 8 * (size - 1 - i) & 0xFF


@njit(**NOGIL)
def write_head(buffer, at, size, kind, flags, stream):
    """Write a frame header and return where its payload begins."""
    write_number(buffer, at, size, 3)
    buffer[at + 3] = kind
    buffer[at + 4] = flags
    write_number(buffer, at + 5, stream, 4)
    return at + FRAME


@njit(**NOGIL)
def open_stream(state, plan, c, slot, now):
    """Write HEADERS of the next request of connection `c`; False when the outbox has no room for them."""
    connection, out = state.connections[c], state.outbox[c]
    block = (plan.block_first[c] + connection.cursor) % (plan.block_at.size - 1)
    start, size = plan.block_at[block], plan.block_at[block + 1] - plan.block_at[block]
    if out.size - connection.out_end < FRAME + size + CONTROL_ROOM:
        return False
    at = write_head(out, connection.out_end, size, HEADERS, END_HEADERS, connection.next_stream)
    copy(out, at, plan.blocks, start, size)
    connection.out_end = at + size
    slot.stream = connection.next_stream
    slot.message = (plan.body_first[c] + connection.cursor) % (plan.body_at.size - 1)
    slot.size = plan.body_at[slot.message + 1] - plan.body_at[slot.message]
    slot.sent, slot.received, slot.window, slot.started = 0, 0, connection.stream_window, now
    connection.next_stream += 2
    connection.cursor += 1
    connection.open += 1
    connection.pending += 1
    return True


@njit(**NOGIL)
def send_body(state, plan, c, slot):
    """Write as much of a request's message as windows, frame size and outbox allow."""
    connection, out = state.connections[c], state.outbox[c]
    start = plan.body_at[slot.message]
    while slot.sent < slot.size:
        room = min(out.size - CONTROL_ROOM - connection.out_end - FRAME, connection.max_frame)
        size = min(slot.size - slot.sent, room, connection.window, slot.window)
        if size <= 0:
            return
        last = slot.sent + size == slot.size
        at = write_head(out, connection.out_end, size, DATA, END_STREAM if last else 0, slot.stream)
        copy(out, at, plan.bodies, start + slot.sent, size)
        connection.out_end = at + size
        connection.window -= size
        slot.window -= size
        slot.sent += size
    connection.pending -= 1


@njit(**NOGIL)
def find_slot(slots, stream):
    """The slot of a stream, or -1."""
    for i in range(slots.size):
        if slots[i].stream == stream:
            return i
    return -1


@njit(**NOGIL)
def read_settings(state, c, at, size):
    """Take over the peer's SETTINGS and acknowledge them."""
    connection, box = state.connections[c], state.inbox[c]
    for entry in range(at, at + size, 6):
        key, value = number(box, entry, 2), number(box, entry + 2, 4)
        if key == SETTINGS_MAX_FRAME:
            connection.max_frame = value
        elif key == SETTINGS_INITIAL_WINDOW:
            for i in range(state.slots.shape[1]):
                state.slots[c, i].window += value - connection.stream_window
            connection.stream_window = value
    connection.greeted = 1
    connection.out_end = write_head(state.outbox[c], connection.out_end, 0, SETTINGS, ACK, 0)


@njit(**NOGIL)
def answer_ping(state, c, at):
    """Echo a PING."""
    connection, out = state.connections[c], state.outbox[c]
    to = write_head(out, connection.out_end, 8, PING, ACK, 0)
    copy(out, to, state.inbox[c], at, 8)
    connection.out_end = to + 8


@njit(**NOGIL)
def read_window(state, c, stream, at):
    """Open the connection's or a stream's send window."""
    connection, more = state.connections[c], number(state.inbox[c], at, 4) & 0x7FFFFFFF
    if stream == 0:
        connection.window += more
        return
    i = find_slot(state.slots[c], stream)
    if i >= 0:
        state.slots[c, i].window += more


@njit(**NOGIL)
def open_window(state, c):
    """Give back the connection window for what was read, once it is worth a frame."""
    connection, out = state.connections[c], state.outbox[c]
    if connection.unacked < state.refill:
        return
    at = write_head(out, connection.out_end, 4, WINDOW_UPDATE, 0, 0)
    write_number(out, at, connection.unacked, 4)
    connection.out_end = at + 4
    connection.unacked = 0


@njit(**NOGIL)
def known_verdict(state, c, at, size):
    """What a header block was found to mean before, or -1 for one that has to be decoded."""
    box = state.inbox[c]
    for k in range(state.connections[c].known):
        if state.known_size[c, k] == size:
            same = True
            for i in range(size):
                if state.known[c, k, i] != box[at + i]:
                    same = False
                    break
            if same:
                return state.known_verdict[c, k]
    return -1
