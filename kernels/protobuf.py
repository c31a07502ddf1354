"""Protobuf's wire format, read without building messages: fields counted and found, one repeated field collected, varints decoded.

Every byte is looked at once at most, whatever it says, and nothing recurses. What a field means is in tables that callers bring.
Source: protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

import numpy as np

from kernels.jit import kernel

__all__ = [
    "CONFLICT",
    "DONE",
    "FIXED32",
    "FIXED64",
    "LEAF",
    "LENGTH",
    "MALFORMED",
    "PACKED",
    "SPAN",
    "VARINT",
    "collect",
    "scan",
    "varints",
]

# what kernels return beside a counter or a size
DONE = -1
MALFORMED = -2
CONFLICT = -3  # `collect`: another known field has elements too

# what `scan` does with a field: a state to descend into, or one of these
LEAF = -1  # counted
PACKED = -2  # integers, packed or not: each counted
SPAN = -3  # counted, and its place noted

VARINT, FIXED64, LENGTH, GROUP, END_GROUP, FIXED32 = range(6)  # wire types
MAX_GROUPS = 100  # nested in unknown fields; protobuf's own limit of depth
MAX_DEPTH = 8  # of states
_MAX_VARINT_BYTES = 10
_MAX_KEY = 0xFFFF_FFFF

_MESSAGE = "Array(uint8, 1, 'C', readonly=True)"


@kernel(f"int64({_MESSAGE}, int64, int64, uint64[::1], int64)")
def read_varint(message: np.ndarray, at: int, end: int, out: np.ndarray, index: int) -> int:
    """Decode the varint at `at` into `out[index]`; returns where it ends, or -1 where that is not before `end` or within ten bytes."""
    value = np.uint64(0)
    for place in range(min(_MAX_VARINT_BYTES, end - at)):
        byte = message[at + place]
        value |= np.uint64(byte & 0x7F) << np.uint64(7 * place)
        if byte < 0x80:
            out[index] = value
            return at + place + 1
    return -1


@kernel(f"int64({_MESSAGE}, int64, int64, uint64[::1])")
def read_key(message: np.ndarray, at: int, end: int, key: np.ndarray) -> int:
    """Decode a field's key into `key[0]`; returns where it ends, or -1 for field number 0, keys above 32 bits and unknown wire types."""
    at = read_varint(message, at, end, key, 0)
    if at < 0 or key[0] > _MAX_KEY or key[0] >> np.uint64(3) == 0 or key[0] & np.uint64(7) > FIXED32:
        return -1
    return at


@kernel(f"UniTuple(int64, 2)({_MESSAGE}, int64, int64, int64, uint64[::1])")
def find_value(message: np.ndarray, at: int, end: int, wire: int, scratch: np.ndarray) -> tuple[int, int]:
    """Where the value of a field that is no group begins and ends; (-1, -1) where it would end after `end`."""
    if wire == VARINT:
        stop = read_varint(message, at, end, scratch, 0)
        return (at, stop) if stop >= 0 else (-1, -1)
    size = np.uint64(4 if wire == FIXED32 else 8)
    if wire == LENGTH:
        at = read_varint(message, at, end, scratch, 0)
        size = scratch[0]
    if at < 0 or size > np.uint64(end - at):
        return -1, -1
    return at, int(at + np.int64(size))


@kernel(f"int64({_MESSAGE}, int64[:, ::1], int64[:, ::1], int64[::1], int64[::1], int64[::1], int64[:, ::1], int64)")
def scan(  # noqa: PLR0917 - numba takes positional arguments only
    message: np.ndarray,
    slots: np.ndarray,
    actions: np.ndarray,
    owners: np.ndarray,
    caps: np.ndarray,
    counts: np.ndarray,
    spans: np.ndarray,
    max_fields: int,
) -> int:
    """Count fields of a message and of the messages within it that tables name, until one is over its cap.

    slots, actions: [states, numbers] the counter of a field (-1: none) and what to do with it; state 0 is the whole message.
    owners: [counters] the state at whose beginning a counter is set to 0 (-1: never). caps: [counters]. counts: [counters] zeros.
    spans: [cap, 3] for each field with SPAN, where its key begins, its data begin, and its data end.
    max_fields: of all fields, unknown ones and those of groups too.
    Returns DONE, MALFORMED, a counter that is over its cap, or the number of counters where there are too many fields.
    """
    ends, states, number_out = np.empty(MAX_DEPTH, np.int64), np.zeros(MAX_DEPTH, np.int64), np.empty(1, np.uint64)
    ends[0] = message.size
    depth, groups, at, fields = 0, 0, 0, 0
    while True:
        while at == ends[depth]:
            if groups > 0:
                return MALFORMED
            if depth == 0:
                return DONE
            depth -= 1
        begin = at
        at = read_key(message, at, ends[depth], number_out)
        fields += 1
        if at < 0:
            return MALFORMED
        if fields > max_fields:
            return counts.size
        number, wire = int(number_out[0] >> np.uint64(3)), int(number_out[0] & np.uint64(7))
        if wire in (GROUP, END_GROUP):
            groups += 1 if wire == GROUP else -1
            if groups < 0 or groups > MAX_GROUPS:
                return MALFORMED
            continue
        data, at = find_value(message, at, ends[depth], wire, number_out)
        if at < 0:
            return MALFORMED
        slot = slots[states[depth], number] if groups == 0 and number < slots.shape[1] else -1
        if slot < 0:
            continue
        action = actions[states[depth], number]
        if action == PACKED and wire in (LENGTH, VARINT):
            for place in range(data, at):
                counts[slot] += message[place] < 0x80
        elif wire == LENGTH:
            counts[slot] += 1
        if counts[slot] > caps[slot]:
            return slot
        if action == SPAN and wire == LENGTH:
            spans[counts[slot] - 1, 0], spans[counts[slot] - 1, 1], spans[counts[slot] - 1, 2] = begin, data, at
        elif action >= 0 and wire == LENGTH:
            depth += 1
            ends[depth], states[depth], at = at, action, data
            for counter in range(owners.size):
                if owners[counter] == action:
                    counts[counter] = 0


@kernel(f"int64({_MESSAGE}, int64, int64[::1], uint8[::1])")
def collect(message: np.ndarray, wanted: int, elements: np.ndarray, out: np.ndarray) -> int:
    """The elements of one repeated field, packed or not, one after the other as if packed once; strings with their lengths.

    elements: [numbers] the wire type of one element of each known field, -1 for none; LENGTH for strings, each written as a 4-byte
    little-endian length and its bytes. out: twice the size of `message` is always enough.
    Returns the bytes written, MALFORMED, or CONFLICT where another known field has elements.
    """
    at, written, groups, end, key = 0, 0, 0, message.size, np.empty(1, np.uint64)
    while at < end:
        at = read_key(message, at, end, key)
        if at < 0:
            return MALFORMED
        number, wire = int(key[0] >> np.uint64(3)), int(key[0] & np.uint64(7))
        if wire in (GROUP, END_GROUP):
            groups += 1 if wire == GROUP else -1
            if groups < 0 or groups > MAX_GROUPS:
                return MALFORMED
            continue
        data, at = find_value(message, at, end, wire, key)
        if at < 0:
            return MALFORMED
        element = elements[number] if groups == 0 and number < elements.size else -1
        if element < 0 or (wire != element and (wire != LENGTH or data == at)):
            continue
        if number != wanted:
            return CONFLICT
        if element == LENGTH:
            for shift in range(0, 32, 8):
                out[written] = (at - data) >> shift & 0xFF
                written += 1
        for place in range(data, at):
            out[written] = message[place]
            written += 1
    return written if groups == 0 else MALFORMED


@kernel("int64(Bytes(uint8, 1, 'C', readonly=True), uint64[::1])")
def varints(data: bytes, out: np.ndarray) -> int:
    """Decode varints, up to `out.size` of them. Returns how many there are, `out.size` + 1 for more, or MALFORMED.

    A negative number of a signed field is its two's complement in 64 bits.
    """
    at, count, end = 0, 0, len(data)
    while at < end:
        if count == out.size:
            return count + 1
        value = np.uint64(0)
        place = 0
        while True:
            if at == end or place == _MAX_VARINT_BYTES:
                return MALFORMED
            byte = data[at]
            at += 1
            value |= np.uint64(byte & 0x7F) << np.uint64(7 * place)
            place += 1
            if byte < 0x80:
                break
        out[count] = value
        count += 1
    return count
