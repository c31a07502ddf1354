"""HPACK against RFC 7541's own examples, and against the `hpack` library on sequences of blocks, garbage and bombs."""

from __future__ import annotations

import tracemalloc
from typing import Any

import hpack
import pytest
from hpack.hpack import encode_integer
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.wire.hpack import Decoder, HeaderListTooLarge, HpackError, encode_headers, encode_literal
from kernels import huffman
from kernels.hpack_static import STATIC

Fields = list[tuple[bytes, bytes]]


def make_decoder(*, table: int = 4096, header_bytes: int = 1 << 22, headers: int = 1 << 30) -> Decoder:
    """A decoder whose limits are out of the way unless a test names them."""
    return Decoder(max_table_bytes=table, max_header_bytes=header_bytes, max_headers=headers)


def make_oracle() -> hpack.Decoder:
    """The library's decoder, its limits out of the way."""
    return hpack.Decoder(max_header_list_size=1 << 40)


def integer(value: int, bits: int, flags: int = 0) -> bytes:
    """An integer of RFC 7541 §5.1 under the flag bits of its representation."""
    octets = encode_integer(value, bits)
    octets[0] |= flags
    return bytes(octets)


def string(data: bytes, *, coded: bool = False) -> bytes:
    """A string literal of RFC 7541 §5.2."""
    octets = huffman.encode(data) if coded else data
    return integer(len(octets), 7, 0x80 if coded else 0) + octets


def decode(decoder: Decoder, *hexadecimal: str) -> Fields:
    """Decode a block written as in the RFC."""
    return decoder.decode(bytes.fromhex("".join(hexadecimal)))


def request(*, path: bytes, scheme: bytes = b"http", extra: Fields | None = None) -> Fields:
    """The requests of Appendix C.3 and C.4."""
    return [(b":method", b"GET"), (b":scheme", scheme), (b":path", path), (b":authority", b"www.example.com"), *(extra or [])]


# --- Appendix A and C ---------------------------------------------------------------------------------------------------------------


def test_rfc7541_appendix_a_static_table_is_the_rfcs() -> None:
    """The 61 entries agree with an independent transcription."""
    assert hpack.table.HeaderTable.STATIC_TABLE == STATIC


def test_rfc7541_c1_integers_fill_their_prefix_or_go_on() -> None:
    """10 fits a prefix of five bits, 1337 takes two octets more."""
    decoder = make_decoder()
    assert decode(decoder, "2a") == []
    assert decoder.limit == 10
    assert decode(decoder, "3f9a0a") == []
    assert decoder.limit == 1337


def test_rfc7541_5_1_integers_may_be_padded_up_to_six_octets() -> None:
    """Leading zeros in the size of a table, an index, a name's and a value's length mean nothing."""
    decoder = make_decoder()
    assert decode(decoder, "3f8080808000") == []
    assert decoder.limit == 31
    assert decode(decoder, "0f80808080000161") == [(b"accept-charset", b"a")]
    assert decoder.decode(bytes.fromhex("007f8080808000") + b"n" * 127 + b"\x01v") == [(b"n" * 127, b"v")]
    assert decoder.decode(bytes.fromhex("0fa8808080007f8180808000") + b"v" * 128) == [(b"set-cookie", b"v" * 128)]


def test_rfc7541_c2_header_field_representations() -> None:
    """A literal with indexing, one without, one never indexed, and an indexed field."""
    decoder = make_decoder()
    assert decode(decoder, "400a637573746f6d2d6b65790d637573746f6d2d686561646572") == [(b"custom-key", b"custom-header")]
    assert (55, [(b"custom-key", b"custom-header")]) == (decoder.size, decoder.entries)
    decoder = make_decoder()
    assert decode(decoder, "040c2f73616d706c652f70617468") == [(b":path", b"/sample/path")]
    assert decode(decoder, "100870617373776f726406736563726574") == [(b"password", b"secret")]
    assert decode(decoder, "82") == [(b":method", b"GET")]
    assert (0, [], 0) == (decoder.size, decoder.entries, decoder.generation)


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "828684410f7777772e6578616d706c652e636f6d",
            "828684be58086e6f2d6361636865",
            "828785bf400a637573746f6d2d6b65790c637573746f6d2d76616c7565",
        ),
        ("828684418cf1e3c2e5f23a6ba0ab90f4ff", "828684be5886a8eb10649cbf", "828785bf408825a849e95ba97d7f8925a849e95bb8e8b4bf"),
    ],
    ids=["C.3-plain", "C.4-huffman"],
)
def test_rfc7541_c3_c4_requests(blocks: tuple[str, str, str]) -> None:
    """Three requests on one connection, and the dynamic table after each."""
    decoder = make_decoder()
    host, cache, custom = (b":authority", b"www.example.com"), (b"cache-control", b"no-cache"), (b"custom-key", b"custom-value")
    assert decode(decoder, blocks[0]) == request(path=b"/")
    assert (57, [host]) == (decoder.size, decoder.entries)
    assert decode(decoder, blocks[1]) == request(path=b"/", extra=[cache])
    assert (110, [cache, host]) == (decoder.size, decoder.entries)
    assert decode(decoder, blocks[2]) == request(path=b"/index.html", scheme=b"https", extra=[custom])
    assert (164, [custom, cache, host]) == (decoder.size, decoder.entries)


@pytest.mark.parametrize(
    "blocks",
    [
        (
            "4803333032580770726976617465611d4d6f6e2c203231204f637420323031332032303a31333a323120474d54"
            "6e1768747470733a2f2f7777772e6578616d706c652e636f6d",
            "4803333037c1c0bf",
            "88c1611d4d6f6e2c203231204f637420323031332032303a31333a323220474d54c05a04677a69707738666f6f3d4153444a4b48514b425a584f5157454f50"
            "495541585157454f49553b206d61782d6167653d333630303b2076657273696f6e3d31",
        ),
        (
            "488264025885aec3771a4b6196d07abe941054d444a8200595040b8166e082a62d1bff6e919d29ad171863c78f0b97c8e9ae82ae43d3",
            "4883640effc1c0bf",
            "88c16196d07abe941054d444a8200595040b8166e084a62d1bffc05a839bd9ab77ad94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb529"
            "1f9587316065c003ed4ee5b1063d5007",
        ),
    ],
    ids=["C.5-plain", "C.6-huffman"],
)
def test_rfc7541_c5_c6_responses_evict(blocks: tuple[str, str, str]) -> None:
    """Three responses with a table of 256 bytes, where insertions evict."""
    decoder = make_decoder(table=256)
    first, second = (b"date", b"Mon, 21 Oct 2013 20:13:21 GMT"), (b"date", b"Mon, 21 Oct 2013 20:13:22 GMT")
    private, location = (b"cache-control", b"private"), (b"location", b"https://www.example.com")
    cookie = (b"set-cookie", b"foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1")
    assert decode(decoder, blocks[0]) == [(b":status", b"302"), private, first, location]
    assert (222, [location, first, private, (b":status", b"302")]) == (decoder.size, decoder.entries)
    assert decode(decoder, blocks[1]) == [(b":status", b"307"), private, first, location]
    assert (222, [(b":status", b"307"), location, first, private]) == (decoder.size, decoder.entries)
    assert decode(decoder, blocks[2]) == [(b":status", b"200"), private, second, location, (b"content-encoding", b"gzip"), cookie]
    assert (215, [cookie, (b"content-encoding", b"gzip"), second]) == (decoder.size, decoder.entries)


# --- Properties against the library -------------------------------------------------------------------------------------------------

NAMES = st.sampled_from(
    (b":path", b":authority", b"content-type", b"grpc-timeout", b"x-request-id", b"authorization", b"", b"n" * 126, b"n" * 127, b"0" * 140)
)
VALUES = st.sampled_from((b"", b"4999m", b"trailers", b"v" * 126, b"v" * 127, b"0" * 128, b"w" * 300, b"v" * 4100)) | st.binary(max_size=40)
FIELDS = st.lists(st.tuples(NAMES | st.binary(max_size=20), VALUES, st.booleans()), max_size=8)


@settings(max_examples=500)
@given(st.lists(st.tuples(FIELDS, st.booleans(), st.none() | st.integers(0, 4096) | st.sampled_from((0, 31, 32, 33, 100))), max_size=4))
def test_rfc7541_any_sequence_of_blocks_decodes_to_what_was_encoded(blocks: list[Any]) -> None:
    """The library encodes, with and without Huffman, sensitive fields and table sizes that change; lists and tables agree throughout."""
    encoder, decoder = hpack.Encoder(), make_decoder()
    for fields, coded, size in blocks:
        if size is not None:
            encoder.header_table_size = size
        block = encoder.encode(fields, huffman=coded)
        before = decoder.generation, decoder.entries, decoder.limit
        assert [(name, value) for name, value, _ in fields] == decoder.decode(block)
        assert [*encoder.header_table.dynamic_entries] == decoder.entries
        assert encoder.header_table._current_size == decoder.size
        if (decoder.entries, decoder.limit) != before[1:]:
            assert decoder.generation > before[0]


REPRESENTATIONS = st.lists(
    st.tuples(
        st.sampled_from(("indexed", "inserted", "plain", "never")),
        st.integers(0, 300),  # index, or a new name where it comes to 0
        st.binary(max_size=12),
        VALUES,
        st.booleans(),
        st.booleans(),
    ),
    max_size=12,
)
FORMS = {"inserted": (6, 0x40), "plain": (4, 0x00), "never": (4, 0x10)}


def write(parts: list[Any], entries: int) -> bytes:
    """A block of every representation of RFC 7541 §6, with indices inside both tables as far as nothing is evicted on the way."""
    block = b""
    for kind, number, name, value, name_coded, value_coded in parts:
        index = number % (len(STATIC) + entries + 1)
        if kind == "indexed":
            block += integer(max(1, index), 7, 0x80)
            continue
        block += integer(index, *FORMS[kind])
        entries += kind == "inserted"
        if index == 0:
            block += string(name, coded=name_coded)
        block += string(value, coded=value_coded)
    return block


@settings(max_examples=500)
@given(st.lists(REPRESENTATIONS, max_size=4), st.sampled_from((0, 64, 300, 4096, 60_000)))
def test_rfc7541_6_every_representation_decodes_as_in_the_library(blocks: list[list[Any]], table: int) -> None:
    """Indices of one and more octets, all literals, mixed plain and Huffman-coded strings, tables that evict and large ones."""
    decoder, oracle = make_decoder(table=table), make_oracle()
    oracle.max_allowed_table_size = table
    start = integer(table, 5, 0x20)
    for parts in blocks:
        if not agree(decoder, oracle, start + write(parts, len(oracle.header_table.dynamic_entries))):
            return
        start = b""
    assert list(oracle.header_table.dynamic_entries) == decoder.entries


def agree(decoder: Decoder, oracle: hpack.Decoder, block: bytes) -> bool:
    """Both decode the block to the same fields, or both refuse it; tells whether they decoded it."""
    try:
        expected: Fields | None = [(bytes(name), bytes(value)) for name, value in oracle.decode(block, raw=True)]
    except hpack.HPACKError:
        expected = None
    try:
        actual: Fields | None = decoder.decode(block)
    except HpackError:
        actual = None
    assert expected == actual
    return actual is not None


@settings(max_examples=1000)
@given(st.lists(st.binary(max_size=64), min_size=1, max_size=4))
def test_rfc7541_garbage_is_refused_exactly_where_the_library_refuses_it(blocks: list[bytes]) -> None:
    """Arbitrary octets never raise anything but HpackError, and mean what the library says they mean."""
    decoder, oracle = make_decoder(), make_oracle()
    for block in blocks:
        if not agree(decoder, oracle, block):
            return
    assert list(oracle.header_table.dynamic_entries) == decoder.entries


@settings(max_examples=500)
@given(REPRESENTATIONS, st.data())
def test_rfc7541_damaged_blocks_are_refused_exactly_where_the_library_refuses_them(parts: list[Any], data: st.DataObject) -> None:
    """One octet changed, or the end cut off: the near misses that garbage does not reach."""
    block = bytearray(write(parts, 0))
    if block:
        position = data.draw(st.integers(0, len(block) - 1))
        block[position] = data.draw(st.integers(0, 255))
        del block[data.draw(st.integers(0, len(block))) :]
    agree(make_decoder(), make_oracle(), bytes(block))


# --- Errors -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("block", "message"),
    [
        ("80", "index 0"),  # §6.1
        ("be", "beyond"),  # §2.3.3: the dynamic table is empty
        ("ff00", "beyond"),  # 127
        ("ffffffff0f", "beyond"),
        ("ff8080808080", "too long"),  # §5.1
        ("7e0161", "beyond"),  # the name's index
        ("0f2f0161", "beyond"),
        ("0fffffffffff01", "too long"),
        ("ff", "truncated"),
        ("0f", "truncated"),
        ("40", "truncated"),
        ("4001", "truncated"),
        ("400161", "truncated"),
        ("40016102", "truncated"),
        ("4001610262", "truncated"),
        ("447f", "truncated"),
        ("447f8080808080", "too long"),
        ("447f02" + "61" * 128, "truncated"),
        ("4483ffff", "truncated"),
        ("4481ff", "malformed"),  # §5.2: eight bits of padding
        ("448118", "malformed"),  # §5.2: padding other than ones
        ("4484ffffffff", "malformed"),  # §5.2: EOS
        ("408118", "malformed"),
        ("3fe21f", "above the limit"),  # §6.3: 4097
        ("3fffffffffff", "too long"),
        ("3f", "truncated"),
        ("8220", "behind a field"),  # §4.2
        ("820161", "truncated"),
    ],
)
def test_rfc7541_malformed_blocks_are_compression_errors(block: str, message: str) -> None:
    """Each kind of malformed block is refused with a text that names it."""
    with pytest.raises(HpackError, match=message):
        decode(make_decoder(), block)


def test_rfc7541_4_2_a_smaller_table_must_be_taken_up_by_the_next_block() -> None:
    """After our limit fell below the table's, a block without a size update is refused, one with it goes on."""
    decoder = make_decoder()
    decoder.set_max_table_bytes(100)
    with pytest.raises(HpackError, match="update missing"):
        decode(decoder, "82")
    decoder = make_decoder()
    decode(decoder, "4001610162", "4001630164", "4001650166", "4001670168")
    decoder.set_max_table_bytes(100)
    assert decode(decoder, "3f45", "be") == [(b"g", b"h")]
    assert (100, [(b"g", b"h"), (b"e", b"f")]) == (decoder.limit, decoder.entries)
    assert decode(decoder, "82") == [(b":method", b"GET")]
    with pytest.raises(HpackError, match="above the limit"):
        decode(decoder, "3f46")


def test_rfc7541_4_2_a_larger_table_needs_no_update_until_the_peer_wants_it() -> None:
    """The peer starts with 4096 bytes whatever we allow, and may then go up to our limit."""
    decoder = make_decoder(table=65_536)
    assert decoder.limit == 4096
    assert decode(decoder, "82") == [(b":method", b"GET")]
    decoder.decode(integer(65_536, 5, 0x20))
    assert decoder.limit == 65_536


def test_rfc7541_4_4_an_entry_larger_than_the_table_empties_it() -> None:
    """No error: the field is delivered, the table is empty, and the generation moves."""
    decoder = make_decoder()
    decode(decoder, "4001610162")
    mark = decoder.generation
    large = b"v" * 4096
    assert decoder.decode(b"\x40" + string(b"n") + string(large)) == [(b"n", large)]
    assert (0, []) == (decoder.size, decoder.entries)
    assert decoder.generation > mark


def test_rfc7541_4_4_entries_may_fill_the_table_to_its_last_byte() -> None:
    """One entry of the table's size stays, as do two that fill it together; one byte more evicts."""
    decoder = make_decoder(table=100)
    for sizes, kept in (((68,), 1), ((18, 18), 2), ((68,), 1), ((18, 19), 1), ((69,), 0)):
        for size in sizes:
            decoder.decode(b"\x40" + string(b"") + string(b"v" * size))
        assert kept == len(decoder.entries)


def test_rfc7541_4_3_shrinking_a_full_table_forgets_the_oldest() -> None:
    """From 113 entries down to none, one at a time: the last index left is valid, the next is not."""
    decoder = make_decoder()
    for number in range(113):
        decoder.decode(b"\x40" + string(b"n") + string(b"%03d" % number))
    for count in range(112, 0, -1):
        size_update = integer(36 * count, 5, 0x20)
        assert decoder.decode(size_update + integer(61 + count, 7, 0x80)) == [(b"n", b"%03d" % (113 - count))]
        with pytest.raises(HpackError, match="beyond"):
            decoder.decode(integer(62 + count, 7, 0x80))


def test_rfc7541_2_3_3_entries_move_out_of_reach_of_one_octet_and_are_found() -> None:
    """With more than 65 dynamic entries the indices 126, 127 and 128 are three neighbours, before and after evictions."""
    decoder = make_decoder()
    for number in range(300):
        decoder.decode(b"\x40" + string(b"n") + string(b"%03d" % number))
        newest = len(decoder.entries)
        assert newest == min(number + 1, 4096 // 36)
        for index in (62, 126, 127, 128, 61 + newest):
            if index < 62 + newest:
                assert decoder.decode(integer(index, 7, 0x80)) == [(b"n", b"%03d" % (number - index + 62))]
        with pytest.raises(HpackError, match="beyond"):
            decoder.decode(integer(62 + newest, 7, 0x80))


# --- Generation ---------------------------------------------------------------------------------------------------------------------


def test_rfc7541_generation_moves_with_the_table_and_only_then() -> None:
    """Blocks may be remembered while it stands still: indexed fields and unindexed literals leave it, insertions and sizes move it."""
    decoder = make_decoder()
    decode(decoder, "4001610162")
    mark = decoder.generation
    decode(decoder, "82", "be", "0001610162", "1001610162", "0f2f0163")
    assert mark == decoder.generation
    decode(decoder, "4001610163")
    assert mark < decoder.generation
    mark = decoder.generation
    decode(decoder, "3fe11f")
    assert mark < decoder.generation


def test_rfc7541_7_1_the_same_octets_of_two_tenants_never_mix() -> None:
    """Through one proxy connection the same block means another tenant's credentials after an insertion; the generation tells."""
    decoder = make_decoder()
    decoder.decode(b"\x57" + string(b"tenant-a"))
    mark = decoder.generation
    assert decode(decoder, "82be") == [(b":method", b"GET"), (b"authorization", b"tenant-a")]
    decoder.decode(b"\x57" + string(b"tenant-b"))
    assert decode(decoder, "82be") == [(b":method", b"GET"), (b"authorization", b"tenant-b")]
    assert mark != decoder.generation


# --- Limits -------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("coded", [False, True])
def test_rfc9113_10_5_1_header_lists_are_refused_one_byte_over_the_limit(coded: bool) -> None:
    """Name, value and 32 for each field are counted; the limit itself is allowed; the connection goes on."""
    decoder = make_decoder(header_bytes=2000)
    field = b"\x40" + string(b"n" * 30) + string(b"v" * 38, coded=coded)
    assert len(decoder.decode(field + b"\xbe" * 19)) == 20
    with pytest.raises(HeaderListTooLarge, match="2000 bytes"):
        decoder.decode(b"\xbe" * 19 + b"\x00" + string(b"n" * 30, coded=coded) + string(b"v" * 39, coded=coded))
    assert decode(decoder, "be") == [(b"n" * 30, b"v" * 38)]


@pytest.mark.parametrize("more", [b"", b"\x00" + string(b"n") + string(b"v" * 2000)], ids=["short", "long"])
def test_rfc9113_10_5_1_header_lists_are_refused_one_field_over_the_limit(more: bytes) -> None:
    """Fields are counted in blocks of any length; size updates are not fields."""
    count = 64 - bool(more)
    updates = b"\x3f\xe1\x1f" * 5
    assert len(make_decoder(headers=64).decode(updates + b"\x82" * count + more)) == 64
    assert len(make_decoder(headers=64).decode(updates + more + b"\x82" * count)) == 64
    for block in (b"\x82" * (count + 1) + more, more + b"\x82" * (count + 1), more * 65 + b"\x82" * 65):
        with pytest.raises(HeaderListTooLarge, match="64 header fields"):
            make_decoder(headers=64).decode(block)


def test_rfc9113_10_5_1_a_refused_list_leaves_the_table_in_step() -> None:
    """Insertions before and behind the limit both happen; the next block decodes as in the library."""
    decoder, oracle = make_decoder(headers=64), make_oracle()
    kind = b"\x5f" + string(b"application/grpc")
    inserts = b"".join([b"\x40" + string(b"k%d" % number) + string(b"v%d" % number, coded=number % 2 == 0) for number in range(50)])
    block = kind + inserts + b"\x82" * 2000 + inserts
    oracle.decode(block)
    with pytest.raises(HeaderListTooLarge) as raised:
        decoder.decode(block)
    assert [(b"content-type", b"application/grpc"), (b"k0", b"v0")] == raised.value.fields[:2]
    assert 64 == len(raised.value.fields)
    assert list(oracle.header_table.dynamic_entries) == decoder.entries
    assert decode(decoder, "be") == [(b"k49", b"v49")]


def test_rfc9113_10_5_1_a_size_update_behind_dropped_fields_is_still_an_error() -> None:
    """Dropping fields does not make the place a block's start again."""
    for count in range(1295, 1305):  # 1300 is a multiple of the 65 fields that are kept at a time
        with pytest.raises(HpackError, match="behind a field"):
            make_decoder(headers=64).decode(b"\x82" * count + b"\x20")


def test_rfc7541_7_3_hpack_bomb_costs_no_more_memory_than_its_literals_could_need() -> None:
    """A table entry of 4 KiB, referenced 10^5 times, stands for 400 MB; it is decoded, refused and not kept."""
    decoder = make_decoder(header_bytes=16_384, headers=64)
    decoder.decode(b"\x40" + string(b"n") + string(b"v" * 4000))
    bomb = b"\xbe" * 100_000
    tracemalloc.start()
    with pytest.raises(HeaderListTooLarge):
        decoder.decode(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * len(bomb) + 4 * 16_384  # room for literals and for one list, twice; nothing for what the indices stand for
    assert decode(decoder, "be") == [(b"n", b"v" * 4000)]


def test_rfc7541_7_3_many_small_literals_cost_bounded_memory() -> None:
    """Huffman-coded and plain literals of four octets, 25,000 of each."""
    decoder = make_decoder(header_bytes=16_384, headers=64)
    for block in (b"\x00\x01a\x00" * 25_000, b"\x40\x81\x1f\x00" * 25_000):
        tracemalloc.start()
        with pytest.raises(HeaderListTooLarge):
            decoder.decode(block)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 5 * len(block)


# --- Encoding -----------------------------------------------------------------------------------------------------------------------


@settings(max_examples=500)
@given(st.lists(st.tuples(NAMES | st.binary(max_size=200), VALUES) | st.sampled_from(STATIC), max_size=12))
def test_rfc7541_6_encoded_headers_decode_and_leave_no_trace(fields: Fields) -> None:
    """The library reads them as they were, and its dynamic table stays empty."""
    oracle = make_oracle()
    decoded = oracle.decode(encode_headers(fields), raw=True)
    assert [tuple(field) for field in decoded] == fields
    assert not oracle.header_table.dynamic_entries
    assert make_decoder().decode(b"".join([encode_literal(*field) for field in fields])) == fields


def test_rfc7541_6_encoded_headers_are_the_shortest_static_form() -> None:
    """A whole static entry takes an octet, a static name one or two, and a literal is a literal even where an index would do."""
    assert encode_headers([(b":status", b"200"), (b":status", b"503")]).hex() == "880803353033"
    assert encode_headers([(b"content-type", b"a"), (b"grpc-status", b"0")]).hex() == "0f100161000b677270632d7374617475730130"
    assert encode_literal(b":status", b"200").hex() == "0803323030"
    assert encode_literal(b"n", b"v" * 1337).hex() == "00016e7fba09" + "76" * 1337
