"""HPACK decoding (RFC 7541): a header block and a connection's dynamic table in, fields as flat bytes out.

A decoded field is its name's size and its value's size (32 bits each, little-endian), the name, the value. Two equal runs of fields are
equal bytes, so runs can be compared and looked up without being taken apart.
The dynamic table is two arrays: `table` holds the numbers named below, then three for each slot of a ring of entries (where the entry's
name begins in `store`, name size, value size); `store` holds the entries' text, oldest first, and has twice the room of the largest table.
Bounds: integers have at most six octets; a header list is at most HEADER_BYTES by the count of RFC 9113 §6.5.2 and at most HEADERS fields.
Of a longer one the first fields are kept, and it is decoded to its end for the dynamic table's sake. `out` must have room for the header
list, one more entry of the table, and `huffman.MAX_EXPANSION` times the block (`room_for`).
"""

from __future__ import annotations

import numpy as np
from numba import types

from kernels import hpack_static
from kernels.huffman import MAX_EXPANSION, decode_string
from kernels.jit import kernel

LIMIT, SIZE, COUNT, OLDEST, FREE, GENERATION, CEILING, HEADER_BYTES, HEADERS = range(9)
_RING = 9  # where the ring begins in `table`
SLOT = 3  # numbers of one entry in the ring
ENTRY_OVERHEAD = 32  # RFC 7541 §4.1, counted for each entry and by RFC 9113 §6.5.2 for each field of a header list
FIELD_HEAD = 8  # bytes of the two sizes before a decoded field

TRUNCATED, TRUNCATED_STRING, MALFORMED_STRING, LONG_INTEGER = -1, -2, -3, -4
INDEX_ZERO, BEYOND_TABLES, LATE_UPDATE, LARGE_UPDATE, MISSING_UPDATE, TOO_LARGE = -5, -6, -7, -8, -9, -10

_STATIC = len(hpack_static.STATIC)
_TEXT, _STARTS = hpack_static.TEXT, hpack_static.STARTS
_NAME_SIZES, _VALUE_SIZES = hpack_static.NAME_SIZES, hpack_static.VALUE_SIZES
_LARGEST_STATIC = int((_NAME_SIZES + _VALUE_SIZES).max())
_LAST_SHIFT = 28  # of the sixth octet of an integer

_int = types.int64
_octets = types.Bytes(types.uint8, 1, "C", readonly=True)
_buffer = types.uint8[::1]
_numbers = types.int64[::1]
_pair = types.UniTuple(_int, 2)  # type: ignore[no-untyped-call]


def new_table(*, largest: int, header_bytes: int, headers: int) -> tuple[np.ndarray, np.ndarray]:
    """(`table`, `store`) of an empty table that may have up to `largest` bytes; LIMIT and CEILING are the owner's to set."""
    table = np.zeros(_RING + SLOT * (largest // ENTRY_OVERHEAD + 1), np.int64)
    table[HEADER_BYTES], table[HEADERS] = header_bytes, headers
    return table, np.empty(2 * largest, np.uint8)


def room_for(block_size: int, *, largest: int, header_bytes: int) -> int:
    """Bytes of `out` for a block of `block_size` bytes."""
    return header_bytes + max(largest, _LARGEST_STATIC) + MAX_EXPANSION * block_size + 2 * FIELD_HEAD


@kernel(types.void(_numbers, _int), releases_gil=False)
def evict(table: np.ndarray, room: int) -> None:
    """Drop the oldest entries until the table has `room` bytes left of its limit, or is empty (RFC 7541 §4.3, §4.4)."""
    slots = (len(table) - _RING) // SLOT
    while table[COUNT] > 0 and table[SIZE] + room > table[LIMIT]:
        slot = _RING + SLOT * table[OLDEST]
        table[SIZE] -= table[slot + 1] + table[slot + 2] + ENTRY_OVERHEAD
        table[OLDEST] = (table[OLDEST] + 1) % slots
        table[COUNT] -= 1


@kernel(_int(_numbers, _int), releases_gil=False)
def slot_of(table: np.ndarray, back: int) -> int:
    """Where in `table` the entry stands that is `back` entries older than the newest."""
    slots = (len(table) - _RING) // SLOT
    return _RING + SLOT * ((table[OLDEST] + table[COUNT] - 1 - back) % slots)  # type: ignore[no-any-return]


@kernel(types.void(_numbers, _buffer), releases_gil=False)
def _compact(table: np.ndarray, store: np.ndarray) -> None:
    """Move the entries' text to the front of `store`."""
    if table[COUNT] == 0:
        table[FREE] = 0
        return
    first = table[slot_of(table, table[COUNT] - 1)]
    for position in range(first, table[FREE]):
        store[position - first] = store[position]
    for back in range(table[COUNT]):
        table[slot_of(table, back)] -= first
    table[FREE] -= first


@kernel(types.void(_numbers, _buffer, _buffer, _int, _int, _int), releases_gil=False)
def _insert(table: np.ndarray, store: np.ndarray, out: np.ndarray, at: int, name: int, value: int) -> None:  # noqa: PLR0917 - kernels take positions
    """Add the field whose text is at `out[at:]`; one larger than the table empties it (RFC 7541 §4.4)."""
    cost = name + value + ENTRY_OVERHEAD
    evict(table, cost)
    table[GENERATION] += 1
    if cost > table[LIMIT]:
        return
    if table[FREE] + name + value > len(store):
        _compact(table, store)
    free = table[FREE]
    for position in range(name + value):
        store[free + position] = out[at + position]
    table[COUNT] += 1
    slot = slot_of(table, 0)
    table[slot], table[slot + 1], table[slot + 2] = free, name, value
    table[FREE] = free + name + value
    table[SIZE] += cost


@kernel(_pair(_octets, _int, _int), releases_gil=False)
def read_integer(block: bytes, start: int, prefix: int) -> tuple[int, int]:
    """The rest of an integer whose prefix is full (RFC 7541 §5.1), and where it ends; a negative second number is an error."""
    number = prefix
    shift = 0
    while True:
        if shift > _LAST_SHIFT:
            return 0, LONG_INTEGER
        if start >= len(block):
            return 0, TRUNCATED
        octet = block[start]
        start += 1
        number += (octet & 127) << shift
        shift += 7
        if octet < 128:
            return number, start


@kernel(_pair(_octets, _int, _buffer, _int), releases_gil=False)
def read_string(block: bytes, start: int, out: np.ndarray, at: int) -> tuple[int, int]:
    """One string literal at `block[start:]` (RFC 7541 §5.2) to `out[at:]`: where input and output go on; a negative first is an error."""
    if start >= len(block):
        return TRUNCATED, 0
    coded = block[start] >= 128
    length: int = block[start] & 127
    start += 1
    if length == 127:
        length, start = read_integer(block, start, 127)
        if start < 0:
            return start, 0
    stop = start + length
    if stop > len(block):
        return TRUNCATED_STRING, 0
    if coded:
        at = decode_string(block, start, stop, out, at)
        return (stop if at >= 0 else MALFORMED_STRING), at
    for position in range(start, stop):
        out[at] = block[position]
        at += 1
    return stop, at


@kernel(_pair(_int, _numbers, _buffer, _buffer, _int), releases_gil=False)
def _copy_entry(index: int, table: np.ndarray, store: np.ndarray, out: np.ndarray, at: int) -> tuple[int, int]:
    """The text of the entry at `index` (RFC 7541 §2.3.3), which exists, to `out[at:]`: the sizes of its name and value."""
    if index <= _STATIC:
        start, name, value = _STARTS[index - 1], _NAME_SIZES[index - 1], _VALUE_SIZES[index - 1]
        for position in range(name + value):
            out[at + position] = _TEXT[start + position]
        return name, value
    slot = slot_of(table, index - _STATIC - 1)
    start, name, value = table[slot], table[slot + 1], table[slot + 2]
    for position in range(name + value):
        out[at + position] = store[start + position]
    return name, value


@kernel(types.void(_buffer, _int, _int, _int), releases_gil=False)
def _write_sizes(out: np.ndarray, at: int, name: int, value: int) -> None:
    for place in range(4):
        out[at + place] = name >> (8 * place) & 255
        out[at + 4 + place] = value >> (8 * place) & 255


@kernel(_int(_octets, _numbers, _buffer, _buffer), releases_gil=False)
def decode_fields(block: bytes, table: np.ndarray, store: np.ndarray, out: np.ndarray) -> int:
    """Decode a whole block: bytes of fields in `out`, or one of the negative numbers above. The table moves on either way.

    TOO_LARGE comes less the bytes of those fields that were within the limits, which stay in `out`. After it the table is in step with
    the peer's; after any other error the connection cannot go on (RFC 9113 §4.3).
    """
    start = at = weight = count = 0
    over = False
    while start < len(block):
        octet: int = block[start]
        start += 1
        prefix = 127 if octet >= 128 else 63 if octet >= 64 else 31 if octet >= 32 else 15
        index = octet & prefix
        if index == prefix:
            index, start = read_integer(block, start, prefix)
            if start < 0:
                return start
        if 32 <= octet < 64:
            if count:
                return LATE_UPDATE
            if index > table[CEILING]:
                return LARGE_UPDATE
            table[LIMIT] = index
            table[GENERATION] += 1
            evict(table, 0)
            continue
        if index > _STATIC + table[COUNT]:
            return BEYOND_TABLES
        text = at + FIELD_HEAD
        if octet >= 128:
            if index == 0:
                return INDEX_ZERO
            name, value = (0, 0) if over else _copy_entry(index, table, store, out, text)  # a bomb of indices is not unpacked
        else:
            if index:
                name, value = _copy_entry(index, table, store, out, text)
            else:
                start, end = read_string(block, start, out, text)
                if start < 0:
                    return start
                name = end - text
            start, end = read_string(block, start, out, text + name)
            if start < 0:
                return start
            value = end - text - name
            if octet >= 64:
                _insert(table, store, out, text, name, value)
        count += 1
        weight += name + value + ENTRY_OVERHEAD
        if weight > table[HEADER_BYTES] or count > table[HEADERS]:
            over = True
        if not over:
            _write_sizes(out, at, name, value)
            at = text + name + value
    if table[LIMIT] > table[CEILING]:
        return MISSING_UPDATE
    return TOO_LARGE - at if over else at
