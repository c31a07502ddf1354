"""The Huffman kernels against the `hpack` library and RFC 7541 §5.2."""

from __future__ import annotations

import hpack
import numpy as np
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import huffman

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)
GUARD = 0xA5


def string_literal(data: bytes, *, coded: bool) -> bytes:
    """A string literal of RFC 7541 §5.2."""
    octets = huffman.encode(data) if coded else data
    length = hpack.hpack.encode_integer(len(octets), 7)
    length[0] |= 0x80 if coded else 0
    return bytes(length) + octets


def expand(block: bytes, start: int = 0) -> bytes | None:
    """`expand_block` with a guard behind the output; None on an error."""
    capacity = huffman.MAX_EXPANSION * (len(block) - start)
    out = np.full(capacity + 64, GUARD, np.uint8)
    length = huffman.expand_block(block, start, out)
    assert length <= capacity
    assert (out[capacity:] == GUARD).all()
    return None if length < 0 else out[:length].tobytes()


def test_appendix_b_lengths_are_the_rfcs_and_make_a_complete_code() -> None:
    """The table agrees with an independent transcription and leaves no bit pattern without a meaning."""
    assert list(huffman.CODE_LENGTHS) == list(REQUEST_CODES_LENGTH)
    assert sum(2.0**-length for length in huffman.CODE_LENGTHS.tolist()) == 1.0


def test_appendix_b_every_octet_has_the_rfcs_code() -> None:
    """Each of the 256 octets, alone, is coded and decoded as the oracle does."""
    for octet in range(256):
        data = bytes((octet,))
        assert huffman.encode(data) == ORACLE.encode(data)
        assert huffman.decode(huffman.encode(data)) == data


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=300))
@example(b"")
def test_rfc7541_5_2_strings_survive_the_code(data: bytes) -> None:
    """What is encoded equals the oracle's and decodes to itself."""
    coded = huffman.encode(data)
    assert coded == ORACLE.encode(data)
    assert huffman.decode(coded) == data


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=60) | st.text("0123456789abcdef-", max_size=80).map(str.encode).map(huffman.encode), st.binary(max_size=4))
def test_rfc7541_5_2_any_octets_decode_as_the_oracle_does(head: bytes, tail: bytes) -> None:
    """Arbitrary octets give the oracle's string or an error where it gives one."""
    try:
        expected: bytes | None = bytes(decode_huffman(head + tail))
    except hpack.HPACKDecodingError:
        expected = None
    try:
        actual: bytes | None = huffman.decode(head + tail)
    except ValueError:
        actual = None
    assert expected == actual


@pytest.mark.parametrize(
    "coded",
    [
        b"\xff\xff\xff\xff",  # EOS, and two bits of padding
        b"\x1f\xff\xff\xff\xff",  # 'a', then EOS
        b"\xff",  # eight bits of padding
        b"\x1f\xff",  # 'a' and eleven bits of padding
        b"\x1f\xff\xff\xff",  # 'a' and a long prefix of EOS
        b"\x18",  # 'a' and 000
        b"\x1e",  # 'a' and 110
        b"\x00\x00",  # three times '0' and a zero bit
    ],
)
def test_rfc7541_5_2_eos_and_bad_padding_are_errors(coded: bytes) -> None:
    """EOS in a string, padding of more than seven bits, and padding other than ones are refused."""
    with pytest.raises(ValueError, match="malformed"):
        huffman.decode(coded)


@settings(max_examples=500, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from((0x00, 0x10, 0x40, 0x44, 0x7F, 0x0F, 0x1F, 0x85, 0xFF, 0x20, 0x3F)),
            st.integers(0, 400),
            st.binary(max_size=200),
            st.binary(max_size=200) | st.integers(0, 20_000).map(lambda size: b"0" * size),
            st.booleans(),
            st.booleans(),
        ),
        max_size=6,
    )
)
def test_expanded_blocks_say_the_same_in_plain_strings(parts: list[tuple[int, int, bytes, bytes, bool, bool]]) -> None:
    """Every kind of representation passes through; only the strings' form changes, and the output stays within its bound."""
    block, expected = b"", b""
    for first, more, name, value, name_coded, value_coded in parts:
        prefix = {0x00: 15, 0x10: 15, 0x40: 63, 0x44: 63, 0x7F: 63, 0x0F: 15, 0x1F: 15, 0x85: 127, 0xFF: 127, 0x20: 31, 0x3F: 31}[first]
        head = bytes((first,))
        if first & prefix == prefix:
            head += bytes(hpack.hpack.encode_integer(more + prefix, prefix.bit_length()))[1:]
        block += head
        expected += head
        if first >= 0x80 or 0x20 <= first < 0x40:
            continue
        if first & prefix == 0:
            block += string_literal(name, coded=name_coded)
            expected += string_literal(name, coded=False)
        block += string_literal(value, coded=value_coded)
        expected += string_literal(value, coded=False)
    assert expected == expand(block)
    assert expected == expand(b"\x82\x82" + block, 2)


def test_expansion_keeps_its_bound_around_every_change_of_the_length_octets() -> None:
    """Strings whose decoded length needs one octet more than the coded one's fit the stated capacity."""
    for size in (0, 1, 2, 125, 126, 127, 128, 254, 255, 256, 16_509, 16_510, 16_511, 16_512):
        block = b"\x00" + string_literal(b"", coded=True) + string_literal(b"0" * size, coded=True)
        assert b"\x00\x00" + string_literal(b"0" * size, coded=False) == expand(block)


@settings(max_examples=1000, deadline=None)
@given(st.binary(max_size=80))
def test_expanding_garbage_never_leaves_its_buffer(block: bytes) -> None:
    """Arbitrary octets end in an error or in a block that is stable under a second expansion."""
    once = expand(block)
    assert once is None or once == expand(once)


@pytest.mark.parametrize(
    "block",
    [
        b"\x00",  # no name
        b"\x00\x02a",  # name cut off
        b"\x00\x01a",  # no value
        b"\x44\x83\x1f",  # coded value cut off
        b"\x44\x82\xff\xff",  # bad padding
        b"\x44\xff\xff\xff\xff\xff\xff\x00",  # an integer of more than six octets
        b"\x44\x7f\x80",  # an integer cut off
    ],
)
def test_rfc7541_5_malformed_strings_are_errors(block: bytes) -> None:
    """Truncation, overlong lengths and bad codes give -1."""
    assert expand(block) is None
