"""The C library as compiled code calls it: sockets, polling and the clock. Knows no protocol.

Pointers travel as integers. The symbols are resolved by name in the running process, so compiled callers can be cached on disk.
"""

from __future__ import annotations

import numpy as np
from numba import njit, types

NOGIL = {"nogil": True, "cache": True}
POLLIN, POLLOUT, POLLFAIL = 0x1, 0x4, 0x8 | 0x10 | 0x20  # POLLERR, POLLHUP, POLLNVAL
MSG_DONTWAIT, MSG_NOSIGNAL = 0x40, 0x4000
CLOCK_MONOTONIC = 1

_recv = types.ExternalFunction("recv", types.int64(types.int32, types.uintp, types.uintp, types.int32))
_send = types.ExternalFunction("send", types.int64(types.int32, types.uintp, types.uintp, types.int32))
_poll = types.ExternalFunction("ppoll", types.int32(types.uintp, types.uintp, types.uintp, types.uintp))
_clock = types.ExternalFunction("clock_gettime", types.int32(types.int32, types.uintp))
_move = types.ExternalFunction("memmove", types.uintp(types.uintp, types.uintp, types.uintp))

POLLFD = np.dtype([("fd", "i4"), ("events", "i2"), ("revents", "i2")])


@njit(**NOGIL)
def now_ns(pair):
    """Monotonic nanoseconds. `pair` is scratch, int64 [2]."""
    _clock(CLOCK_MONOTONIC, pair.ctypes.data)
    return pair[0] * 1_000_000_000 + pair[1]


@njit(**NOGIL)
def receive(fd, buffer, start):
    """Bytes read into `buffer[start:]`; 0 when the peer closed, below 0 when nothing is there or the socket failed."""
    return _recv(fd, buffer.ctypes.data + start, buffer.size - start, MSG_DONTWAIT)


@njit(**NOGIL)
def transmit(fd, buffer, start, end):
    """Bytes of `buffer[start:end]` that the socket took; below 0 when it takes none."""
    return _send(fd, buffer.ctypes.data + start, end - start, MSG_DONTWAIT | MSG_NOSIGNAL)


@njit(**NOGIL)
def wait(polls, pair, timeout_ns):
    """Wait until a socket of `polls` (POLLFD records) is ready; returns how many are. `pair` is scratch, int64 [2]."""
    pair[0], pair[1] = timeout_ns // 1_000_000_000, timeout_ns % 1_000_000_000
    return _poll(polls.ctypes.data, polls.size, pair.ctypes.data, 0)


@njit(**NOGIL)
def rest(pair, duration_ns):
    """Sleep. `pair` is scratch, int64 [2]."""
    pair[0], pair[1] = 0, duration_ns
    _poll(0, 0, pair.ctypes.data, 0)


@njit(**NOGIL)
def copy(target, at, source, start, size):
    """`target[at:at+size] = source[start:start+size]`, bytes; the two may be one buffer."""
    _move(target.ctypes.data + at, source.ctypes.data + start, size)
