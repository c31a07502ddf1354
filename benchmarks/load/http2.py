"""The closed loop over HTTP/2: on each connection, a request that ends makes room for the next, until time or count is up.

Knows gRPC only as verdicts on header blocks. A block that it has not seen on this connection is handed to the caller (`BLOCK`), which
decodes it with a real HPACK decoder and says what it means; blocks that change no table are recognised from then on. A caller that goes
on after GOAWAY or CLOSED has seen to the connection first.
"""

from __future__ import annotations

from numba import njit

from benchmarks.load import http2_frames as h2
from benchmarks.load.samples import GRAIN_NS, claim_sample, due, finish, goes_on, keep_payload, may_start, patience_ns
from benchmarks.load.syscalls import NOGIL, POLLFAIL, POLLIN, POLLOUT, copy, now_ns, receive, rest, transmit, wait

DONE, BLOCK, STALLED, CLOSED, GOAWAY, PROTOCOL = range(6)
VERDICT_HEAD, VERDICT_END = 0, 1  # a block is a response's head, or its end with gRPC status `verdict - VERDICT_END`
RESET_STATUS = 900  # RST_STREAM and streams that end without a status are counted under these
HEADLESS_STATUS = 901
WAIT_NS = 100_000_000


@njit(**NOGIL)
def end_stream(state, c, i, status, now):
    """Count a stream that has ended and free its slot. An OK answer without a message is none."""
    slot, connection = state.slots[c, i], state.connections[c]
    good = status == 0 and slot.received > 5
    if connection.data_slot == i:
        connection.data_slot = -1
    if slot.sent < slot.size:
        connection.pending -= 1
    finish(state.tally, place=slot.sample, status=status, good=good, started=slot.started, size=slot.received, now=now)
    slot.stream = 0
    connection.open -= 1


@njit(**NOGIL)
def settle(state, c, stream, verdict, ends, now):
    """Act on the meaning of a header block."""
    i = h2.find_slot(state.slots[c], stream)
    if i < 0:
        return DONE
    if verdict == VERDICT_HEAD:
        if ends:
            end_stream(state, c, i, HEADLESS_STATUS, now)
        return DONE
    if not ends:
        return PROTOCOL
    end_stream(state, c, i, verdict - VERDICT_END, now)
    return DONE


@njit(**NOGIL)
def take_data(state, c, now):
    """Read as much of the current DATA frame as has arrived; True when the frame is complete."""
    connection, box = state.connections[c], state.inbox[c]
    size = min(connection.data_left, connection.in_end - connection.in_start)
    i = connection.data_slot
    if i >= 0:
        slot = state.slots[c, i]
        if slot.sample >= 0:
            keep_payload(state.tally, slot.sample, box, connection.in_start, size)
        slot.received += size
    connection.in_start += size
    connection.data_left -= size
    connection.unacked += size
    if connection.data_left > 0:
        return False
    if connection.data_ends and i >= 0:
        end_stream(state, c, i, HEADLESS_STATUS, now)
    connection.data_slot, connection.data_ends = -1, 0
    return True


@njit(**NOGIL)
def control(state, c, kind, flags, stream, at, size, now):
    """Act on one complete frame that is not DATA."""
    if state.outbox[c].size - state.connections[c].out_end < 2 * (h2.FRAME + 8):
        return PROTOCOL  # a peer that asks for more SETTINGS and PING answers than it reads
    if kind == h2.HEADERS:
        if flags & (h2.PADDED | h2.PRIORITY) or not flags & h2.END_HEADERS:
            return PROTOCOL
        verdict = h2.known_verdict(state, c, at, size)
        if verdict < 0:
            state.tally.run[0].exit_connection = c
            return BLOCK
        return settle(state, c, stream, verdict, flags & h2.END_STREAM, now)
    if kind == h2.SETTINGS and not flags & h2.ACK:
        h2.read_settings(state, c, at, size)
    elif kind == h2.PING and not flags & h2.ACK:
        h2.answer_ping(state, c, at)
    elif kind == h2.WINDOW_UPDATE:
        h2.read_window(state, c, stream, at)
    elif kind == h2.RST_STREAM:
        i = h2.find_slot(state.slots[c], stream)
        if i >= 0:
            end_stream(state, c, i, RESET_STATUS, now)
    elif kind == h2.GOAWAY:
        state.tally.run[0].exit_connection = c
        return GOAWAY
    return DONE


@njit(**NOGIL)
def parse(state, c, now):
    """Act on every frame that has arrived on connection `c`."""
    connection, box = state.connections[c], state.inbox[c]
    while True:
        if (connection.data_left > 0 or connection.data_ends) and not take_data(state, c, now):
            return DONE
        start = connection.in_start
        if connection.in_end - start < h2.FRAME:
            return DONE
        size, kind, flags, stream = h2.number(box, start, 3), box[start + 3], box[start + 4], h2.number(box, start + 5, 4)
        if kind == h2.DATA:
            if flags & h2.PADDED:
                return PROTOCOL
            connection.data_left, connection.data_ends = size, flags & h2.END_STREAM
            connection.data_slot = h2.find_slot(state.slots[c], stream)
            connection.in_start = start + h2.FRAME
            continue
        if start + h2.FRAME + size > box.size:
            return PROTOCOL if start == 0 else DONE
        if connection.in_end - start < h2.FRAME + size:
            return DONE
        code = control(state, c, kind, flags, stream, start + h2.FRAME, size, now)
        if code != DONE:
            return code
        connection.in_start = start + h2.FRAME + size


@njit(**NOGIL)
def fill(state, plan, c, now):
    """Begin requests in free slots and continue those whose message is not out yet."""
    connection, run = state.connections[c], state.tally.run[0]
    if not connection.greeted or connection.leaving:
        return
    streams = state.slots.shape[1]
    if connection.pending > 0:
        for i in range(streams):
            slot = state.slots[c, i]
            if slot.stream and slot.sent < slot.size:
                h2.send_body(state, plan, c, slot)
    if connection.open == streams:
        return
    for i in range(streams):
        slot = state.slots[c, i]
        if slot.stream == 0:
            if not may_start(run, now) or not h2.open_stream(state, plan, c, slot, due(run, now)):
                return
            run.started += 1
            slot.sample = claim_sample(state.tally, slot.message)
            h2.send_body(state, plan, c, slot)


@njit(**NOGIL)
def flush(state, c):
    """Send the outbox; True when the socket took all of it."""
    connection, out = state.connections[c], state.outbox[c]
    while connection.out_start < connection.out_end:
        sent = transmit(connection.fd, out, connection.out_start, connection.out_end)
        if sent <= 0:
            break
        connection.out_start += sent
    left = connection.out_end - connection.out_start
    if left > 0 and connection.out_start > 0:
        copy(out, 0, out, connection.out_start, left)
    connection.out_start, connection.out_end = 0, left
    return left == 0


@njit(**NOGIL)
def advance(state, plan, c, now):
    """Parse what came, begin and continue requests, send; set what the connection waits for."""
    code = parse(state, c, now)
    if code != DONE:
        return code
    connection = state.connections[c]
    if connection.in_start > 0:
        left = connection.in_end - connection.in_start
        if left > 0:
            copy(state.inbox[c], 0, state.inbox[c], connection.in_start, left)
        connection.in_start, connection.in_end = 0, left
    h2.open_window(state, c)
    while True:
        fill(state, plan, c, now)
        had = connection.out_end
        whole = flush(state, c)
        if not whole or had == 0:
            break
    state.polls[c].events = POLLIN if whole else POLLIN | POLLOUT
    return DONE


@njit(**NOGIL)
def busy(state, now):
    """Whether requests are in flight or still to begin."""
    if goes_on(state.tally.run[0], now):
        return True
    return state.connections.open.any()


@njit(**NOGIL)
def serve_ready(state, plan, now):
    """Read from and advance every connection that polling found ready."""
    for c in range(state.connections.size):
        ready = state.polls[c].revents
        if ready == 0:
            continue
        connection = state.connections[c]
        if ready & (POLLIN | POLLFAIL):
            state.tally.run[0].exit_connection = c
            got = receive(connection.fd, state.inbox[c], connection.in_end)
            if got == 0 or (got < 0 and ready & POLLFAIL):
                return CLOSED
            connection.in_end += max(got, 0)
        code = advance(state, plan, c, now)
        if code != DONE:
            return code
    return DONE


@njit(**NOGIL)
def take_turns(state, plan, now):
    """Begin what is due, on another connection each time."""
    first, count = state.tally.run[0].started, state.connections.size
    for k in range(count):
        if not may_start(state.tally.run[0], now):
            break
        code = advance(state, plan, (first + k) % count, now)
        if code != DONE:
            return code
    return DONE


@njit(**NOGIL)
def drive(state, plan):
    """Run the loop until it is done or needs its caller; calling again continues where it left off."""
    run = state.tally.run[0]
    now = now_ns(state.clock)
    for c in range(state.connections.size):
        code = advance(state, plan, c, now)
        if code != DONE:
            return code
    while busy(state, now):
        if run.interval_ns:
            rest(state.clock, GRAIN_NS)
        ready = wait(state.polls, state.clock, patience_ns(run, now, WAIT_NS))
        now = now_ns(state.clock)
        if now - run.progress > run.stall_ns:
            return STALLED
        if ready > 0:
            code = serve_ready(state, plan, now)
            if code != DONE:
                return code
        if run.interval_ns:
            code = take_turns(state, plan, now)
            if code != DONE:
                return code
    return DONE
