"""Header blocks encoded beforehand, held against a real HPACK decoder."""

from __future__ import annotations

from itertools import product

import pytest
from hpack import Decoder, Encoder
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.load.headers import SEGMENT, HeaderStyle, constant_headers, encode_blocks, leaves_table_alone

STYLES = [HeaderStyle(*flags) for flags in product((False, True), repeat=3)]


@pytest.mark.parametrize("style", STYLES)
def test_a_sequence_decodes_to_the_same_headers_every_time_it_is_repeated(style):
    """The dynamic table left by one pass must not change the meaning of the next."""
    blocks = encode_blocks("host:1", style=style, count=SEGMENT + 40, seed=3)
    decoder = Decoder()
    first, second = ([decoder.decode(block) for block in blocks] for _ in range(2))
    assert first == second
    assert all(headers[:7] == constant_headers("host:1") for headers in first)


@pytest.mark.parametrize("varying", [False, True])
def test_a_credential_is_in_every_request(varying):
    """Among the headers that never change."""
    blocks = encode_blocks("h", style=HeaderStyle(varying=varying, credential="secret"), count=SEGMENT + 5, seed=1)
    decoder = Decoder()
    assert {"Bearer secret"} == {dict(decoder.decode(block))["authorization"] for block in blocks}


@pytest.mark.parametrize("style", [style for style in STYLES if style.varying])
def test_varying_headers_differ_in_every_request(style):
    """Each block carries a timeout of at most eight digits and a request id of 32 characters that no other block carries."""
    decoder = Decoder()
    decoded = [dict(decoder.decode(block)) for block in encode_blocks("host:1", style=style, count=500, seed=3)]
    assert 500 == len({headers["x-request-id"] for headers in decoded})
    assert {32} == {len(headers["x-request-id"]) for headers in decoded}
    assert all(len(headers["grpc-timeout"]) <= 9 and headers["grpc-timeout"].endswith("u") for headers in decoded)


def test_styles_differ_on_the_wire_as_they_say():
    """Huffman coding makes blocks smaller; incremental indexing puts new entries into the table."""
    sizes = {style: sum(map(len, encode_blocks("h", style=style, count=SEGMENT, seed=1))) for style in STYLES if style.varying}
    plain, huffman = HeaderStyle(varying=True), HeaderStyle(varying=True, huffman=True)
    assert sizes[huffman] < sizes[plain]
    assert not leaves_table_alone(encode_blocks("h", style=HeaderStyle(varying=True, indexed=True), count=9, seed=1)[5])
    assert leaves_table_alone(encode_blocks("h", style=plain, count=9, seed=1)[5])


@given(st.lists(st.tuples(st.text("abc-", min_size=1), st.text(max_size=300)), min_size=1, max_size=6), st.booleans(), st.booleans())
def test_a_block_leaves_the_table_alone_exactly_when_the_decoder_says_so(headers, huffman, sensitive):
    """Against the real table of a real decoder, for indexed, never-indexed and incrementally indexed fields."""
    encoder, decoder = Encoder(), Decoder()
    for _ in range(2):
        block = encoder.encode([(name.encode(), value.encode(), sensitive) for name, value in headers], huffman=huffman)
        before = list(decoder.header_table.dynamic_entries)
        decoder.decode(block, raw=True)
        assert leaves_table_alone(block) == (before == list(decoder.header_table.dynamic_entries))
