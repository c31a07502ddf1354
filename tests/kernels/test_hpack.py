"""The HPACK kernel stays inside its buffers, whatever it is given. What blocks mean is in tests/gateway/wire/test_hpack.py."""

from __future__ import annotations

import hpack as library
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels import hpack

GUARD = 0xA5
HEADER_BYTES = 600
LARGEST = 256


def guarded(array: np.ndarray, spare: int = 64) -> np.ndarray:
    """A copy with a guard behind it; the kernel is handed a view of the front."""
    whole = np.full(len(array) + spare, GUARD, array.dtype)
    whole[: len(array)] = array
    return whole


def decode_all(blocks: list[bytes]) -> list[int]:
    """What the kernel returns for blocks of one connection, up to the first error. Every buffer is exactly as large as promised."""
    table, store = (guarded(array) for array in hpack.new_table(largest=LARGEST, header_bytes=HEADER_BYTES, headers=16))
    table[hpack.LIMIT] = table[hpack.CEILING] = LARGEST
    sizes = []
    for block in blocks:
        room = hpack.room_for(len(block), largest=LARGEST, header_bytes=HEADER_BYTES)
        out = np.full(room + 64, GUARD, np.uint8)
        sizes.append(hpack.decode_fields(block, table[:-64], store[:-64], out[:room]))
        assert (GUARD == out[room:]).all()
        assert (GUARD == table[-64:]).all()
        assert (GUARD == store[-64:]).all()
        assert sizes[-1] <= HEADER_BYTES
        assert table[hpack.SIZE] <= LARGEST
        if hpack.TOO_LARGE < sizes[-1] < 0:
            break
    return sizes


@settings(max_examples=1000)
@given(st.lists(st.binary(max_size=120), max_size=6))
def test_octets_never_leave_their_buffers(blocks: list[bytes]) -> None:
    """Garbage ends in an error or in fields, within the stated room."""
    decode_all(blocks)


@settings(max_examples=500)
@given(
    st.lists(
        st.lists(st.tuples(st.sampled_from((b"a", b"name", b":path", b"x" * 90)), st.binary(max_size=300), st.booleans()), max_size=20),
        max_size=8,
    ),
    st.booleans(),
)
def test_lists_over_their_limit_leave_the_table_in_step(blocks: list[list[tuple[bytes, bytes, bool]]], coded: bool) -> None:
    """What is too large is told by the count of RFC 9113 §6.5.2, and the blocks behind it still decode."""
    encoder = library.Encoder()
    encoder.header_table_size = LARGEST
    encoded = [encoder.encode(fields, huffman=coded) for fields in blocks]
    sizes = decode_all(encoded)
    assert len(blocks) == len(sizes)
    for fields, size in zip(blocks, sizes, strict=True):
        weight = sum(len(name) + len(value) + 32 for name, value, _ in fields)
        if weight > HEADER_BYTES or len(fields) > 16:
            assert hpack.TOO_LARGE - HEADER_BYTES <= size <= hpack.TOO_LARGE
        else:
            assert weight - (32 - hpack.FIELD_HEAD) * len(fields) == size


def test_the_shortest_codes_fill_the_room_and_no_more() -> None:
    """'0' is five bits: Huffman expands most where a name and a value are nothing else, behind a list that is full already."""
    coded = bytes(100)
    before = b"\x00\x01a" + bytes((100,)) + b"v" * 100
    string = bytes((0x80 | len(coded),)) + coded
    kept = 4 * (hpack.FIELD_HEAD + 101)
    assert [hpack.TOO_LARGE - kept] == decode_all([before * 4 + b"\x40" + string + string])
