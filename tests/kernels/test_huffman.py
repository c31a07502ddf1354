"""The Huffman kernels against the `hpack` library and RFC 7541 §5.2."""

from __future__ import annotations

import hpack
import pytest
from hpack.huffman import HuffmanEncoder
from hpack.huffman_constants import REQUEST_CODES, REQUEST_CODES_LENGTH
from hpack.huffman_table import decode_huffman
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import huffman

ORACLE = HuffmanEncoder(REQUEST_CODES, REQUEST_CODES_LENGTH)


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


@settings(max_examples=500)
@given(st.binary(max_size=300))
@example(b"")
def test_rfc7541_5_2_strings_survive_the_code(data: bytes) -> None:
    """What is encoded equals the oracle's and decodes to itself."""
    coded = huffman.encode(data)
    assert coded == ORACLE.encode(data)
    assert huffman.decode(coded) == data


@settings(max_examples=1000)
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
