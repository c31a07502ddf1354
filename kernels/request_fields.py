"""The fields of a gRPC request in one pass: what decides its way, its timeout, and whether the rest is harmless.

A call goes where its routing fields send it, whatever metadata it carries; a credential is one of them, because it decides who may go
there. So that a call can be recognised by them, they are moved to the front of its fields, in their order; the metadata stays behind
them. Only a block that breaks no rule of RFC 9113 §8.2 and §8.3 as far as metadata goes is taken; the routing fields themselves are
judged by who looks them up for the first time.
"""

from __future__ import annotations

import numpy as np
from numba import types

from kernels.hpack import FIELD_HEAD, GENERATION, decode_fields
from kernels.jit import kernel

ABSENT = -1.0  # no timeout; a malformed one is -2.0
MALFORMED = -2.0
UNUSUAL = -1  # the block must be looked at in full

_ROUTING = (
    b"te", b"host", b"content-type", b"user-agent", b"authorization", b"content-length", b"grpc-encoding", b"accept-encoding",
    b"grpc-accept-encoding",
)  # fmt: skip
CONNECTION_FIELDS = b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"  # RFC 9113 §8.2.2
NAME_OCTETS = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz"  # of a field's name: RFC 9110 §5.6.2, RFC 9113 §8.2.1
_METADATA, _ROUTES, _REFUSED, _TIMES = range(4)
_NAMES = sorted(
    [*((name, _ROUTES) for name in _ROUTING), *((name, _REFUSED) for name in CONNECTION_FIELDS), (b"grpc-timeout", _TIMES)],
    key=lambda pair: len(pair[0]),
)
_TEXT = np.frombuffer(b"".join([name for name, _ in _NAMES]), np.uint8)
_SIZES = np.array([len(name) for name, _ in _NAMES])
_STARTS = np.cumsum(_SIZES) - _SIZES
_KINDS = np.array([kind for _, kind in _NAMES])
_LONGEST = int(_SIZES.max())
_FIRST = np.searchsorted(_SIZES, np.arange(_LONGEST + 2))  # by length: the first name that has it

_IN_NAMES = np.isin(np.arange(256), np.frombuffer(NAME_OCTETS, np.uint8))
_MOVED_MAX = 4096  # bytes of fields up to which routing fields are moved to the front; each move costs their size at most

_UNITS = np.zeros(256)
_UNITS[np.frombuffer(b"HMSmun", np.uint8)] = 3600.0, 60.0, 1.0, 1e-3, 1e-6, 1e-9
_TIMEOUT_DIGITS = 8

_int = types.int64
_octets = types.Bytes(types.uint8, 1, "C", readonly=True)
_buffer = types.uint8[::1]
_numbers = types.int64[::1]
_found = types.Tuple((_int, _int, types.float64, types.boolean))  # type: ignore[no-untyped-call]


@kernel(types.float64(_buffer, _int, _int), releases_gil=False)
def timeout_in(text: np.ndarray, start: int, stop: int) -> float:
    """Seconds of a `grpc-timeout` value, 1 to 8 ASCII digits and a unit (gRPC over HTTP/2, PROTOCOL-HTTP2); MALFORMED where it is not."""
    digits = stop - start - 1
    if not 1 <= digits <= _TIMEOUT_DIGITS:
        return MALFORMED
    number = 0
    for position in range(start, stop - 1):
        digit = _int(text[position]) - 48
        if not 0 <= digit <= 9:
            return MALFORMED
        number = 10 * number + digit
    unit = _UNITS[text[stop - 1]]
    return number * unit if unit > 0.0 else MALFORMED


def timeout_of(value: bytes) -> float:
    """`timeout_in` for a value by itself; ABSENT where it is empty."""
    return timeout_in(np.frombuffer(bytearray(value), np.uint8), 0, len(value)) if value else ABSENT


@kernel(_int(_buffer, _int, _int), releases_gil=False)
def _kind_of(text: np.ndarray, start: int, size: int) -> int:
    """What a field's name says: one of the four kinds; _REFUSED also for one that is no name."""
    if size and text[start] == 58:  # a pseudo-header
        return _ROUTES
    if size <= _LONGEST:
        for index in range(_FIRST[size], _FIRST[size + 1]):
            at = _STARTS[index]
            same = True
            for position in range(size):
                same = same and text[start + position] == _TEXT[at + position]
            if same:
                return _KINDS[index]  # type: ignore[no-any-return]
    for position in range(start, start + size):
        if not _IN_NAMES[text[position]]:
            return _REFUSED
    return _METADATA if size else _REFUSED


@kernel(types.boolean(_buffer, _int, _int), releases_gil=False)
def _is_plain(text: np.ndarray, start: int, stop: int) -> bool:
    """A field value without NUL, CR, LF and without white space around it (RFC 9113 §8.2.1)."""
    if start == stop:
        return True
    for position in range(start, stop):
        octet = text[position]
        if octet == 0 or octet == 10 or octet == 13:  # noqa: PLR1714 - numba has no sets
            return False
    first, last = text[start], text[stop - 1]
    return (first > 32 and last > 32) or (first != 32 and last != 32 and not 9 <= first <= 13 and not 9 <= last <= 13)


@kernel(types.void(_buffer, _int, _int), releases_gil=False)
def _reverse(text: np.ndarray, start: int, stop: int) -> None:
    """Turn `text[start:stop]` round."""
    stop -= 1
    while start < stop:
        text[start], text[stop] = text[stop], text[start]
        start += 1
        stop -= 1


@kernel(types.void(_buffer, _int, _int, _int), releases_gil=False)
def _move_forward(text: np.ndarray, to: int, start: int, stop: int) -> None:
    """Move `text[start:stop]` to `to`, and what stood between behind it: both turned round, then all of it."""
    _reverse(text, to, start)
    _reverse(text, start, stop)
    _reverse(text, to, stop)


@kernel(_int(_buffer, _int), releases_gil=False)
def _size_at(text: np.ndarray, at: int) -> int:
    return _int(text[at]) | _int(text[at + 1]) << 8 | _int(text[at + 2]) << 16 | _int(text[at + 3]) << 24  # type: ignore[no-any-return]


@kernel(_found(_octets, _numbers, _buffer, _buffer), releases_gil=False)
def read_request(block: bytes, table: np.ndarray, store: np.ndarray, out: np.ndarray) -> tuple[int, int, float, bool]:
    """Decode a block as `hpack.decode_fields` does, then order its fields.

    Returns the bytes of fields (or the error), how many of them are routing fields, now in front (or UNUSUAL), the
    timeout in seconds (or ABSENT), and whether the dynamic table has changed.
    """
    generation = table[GENERATION]
    size = decode_fields(block, table, store, out)
    changed = table[GENERATION] != generation
    at = front = 0
    timeout = ABSENT
    while at < size:
        name, value = _size_at(out, at), _size_at(out, at + 4)
        text = at + FIELD_HEAD
        end = text + name + value
        kind = _kind_of(out, text, name)
        if kind == _ROUTES:
            if at > front:
                if out[text] == 58 or size > _MOVED_MAX:  # a pseudo-header behind another field is malformed (§8.3)
                    return size, UNUSUAL, ABSENT, changed
                _move_forward(out, front, at, end)
            front += end - at
        elif kind == _REFUSED or not _is_plain(out, text + name, end):
            return size, UNUSUAL, ABSENT, changed
        elif kind == _TIMES:
            if timeout != ABSENT:
                return size, UNUSUAL, ABSENT, changed
            timeout = timeout_in(out, text + name, end)
            if timeout < 0.0:
                return size, UNUSUAL, ABSENT, changed
        at = end
    return size, front, timeout, changed
