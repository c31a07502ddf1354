"""Fields of a gRPC request in one pass, against the same rules written down plainly."""

from __future__ import annotations

import re
import struct

import hpack as library
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from kernels import hpack
from kernels.request_fields import ABSENT, MALFORMED, UNUSUAL, read_request, timeout_of

Fields = list[tuple[bytes, bytes]]
ROUTING = {
    b"te", b"host", b"content-type", b"user-agent", b"authorization", b"content-length", b"grpc-encoding", b"accept-encoding",
    b"grpc-accept-encoding",
}  # fmt: skip
FORBIDDEN = {b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"}
UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def read(fields: Fields) -> tuple[Fields, int, float, bool]:
    """The kernel's answer, its bytes taken apart."""
    block = library.Encoder().encode([(name, value, True) for name, value in fields])
    table, store = hpack.new_table(largest=4096, header_bytes=1 << 16, headers=100)
    table[hpack.LIMIT] = table[hpack.CEILING] = 4096
    out = np.empty(hpack.room_for(len(block), largest=4096, header_bytes=1 << 16), np.uint8)
    size, front, timeout, changed = read_request(block, table, store, out)
    return unpack(out[:size].tobytes()), front, timeout, changed


def unpack(text: bytes) -> Fields:
    found = []
    while text:
        name, value = struct.unpack_from("<II", text)
        found.append((text[8 : 8 + name], text[8 + name : 8 + name + value]))
        text = text[8 + name + value :]
    return found


def is_routing(name: bytes) -> bool:
    return name[:1] == b":" or name in ROUTING


def is_unusual(fields: Fields) -> bool:
    """Whether a block must be looked at in full."""
    metadata = [(name, value) for name, value in fields if not is_routing(name)]
    first = next((i for i, (name, _) in enumerate(fields) if not is_routing(name)), len(fields))
    return (
        any(name[:1] == b":" for name, _ in fields[first:])
        or any(name in FORBIDDEN or not re.fullmatch(rb"[!#$%&'*+\-.^_`|~0-9a-z]+", name) for name, _ in metadata)
        or any(value.strip() != value or re.search(rb"[\0\r\n]", value) for _, value in metadata)
        or sum(name == b"grpc-timeout" for name, _ in metadata) > 1
        or any(name == b"grpc-timeout" and not re.fullmatch(rb"[0-9]{1,8}[HMSmun]", value) for name, value in metadata)
    )


NAMES = st.sampled_from(
    (b":path", b":method", b"te", b"user-agent", b"content-type", b"grpc-encoding", b"grpc-timeout", b"x-request-id", b"upgrade")
)
VALUES = st.sampled_from((b"", b"1", b"12S", b"99999999u", b"100000000u", b"5s", b" a", b"a ", b"a\tb", b"a\nb", b"\0", b"abc", b"\xff"))


@settings(max_examples=1000)
@given(st.lists(st.tuples(NAMES | st.binary(min_size=1, max_size=12), VALUES | st.binary(max_size=20)), max_size=8))
@example([(b"x-a", b"1"), (b"te", b"trailers"), (b"x-b", b"2"), (b"user-agent", b"u")])
@example([(b"te", b"trailers"), (b":path", b"/")])
@example([(b"x-a", b"1"), (b":path", b"/")])
@example([(b"grpc-timeout", b"1S"), (b"grpc-timeout", b"2S")])
def test_routing_fields_come_first_and_only_harmless_metadata_is_taken(fields: Fields) -> None:
    """Order within each kind is kept, nothing is lost, and what breaks a rule is left to who reads all of it."""
    found, front, timeout, changed = read(fields)
    assert not changed
    if is_unusual(fields):
        assert UNUSUAL == front
        assert sorted(fields) == sorted(found)
        return
    routing = [field for field in fields if is_routing(field[0])]
    assert routing + [field for field in fields if not is_routing(field[0])] == found
    assert sum(8 + len(name) + len(value) for name, value in routing) == front
    expected = next((int(value[:-1]) * UNITS[value[-1:]] for name, value in fields if name == b"grpc-timeout"), ABSENT)
    assert expected == timeout


def test_a_block_that_enters_the_table_says_so() -> None:
    """The same bytes may mean other fields from then on."""
    table, store = hpack.new_table(largest=4096, header_bytes=1 << 16, headers=100)
    table[hpack.LIMIT] = table[hpack.CEILING] = 4096
    out = np.empty(1 << 17, np.uint8)
    assert read_request(b"\x40\x01a\x01b", table, store, out)[3]
    assert not read_request(b"\xbe", table, store, out)[3]


def test_long_blocks_are_not_reordered() -> None:
    """Every move costs up to their size: a request that would make us do it often is read the long way."""
    fields = [(b"x-a", b"v" * 5000), (b"te", b"trailers")]
    assert UNUSUAL == read(fields)[1]


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (b"1H", 3600.0), (b"2M", 120.0), (b"3S", 3.0), (b"4m", 0.004), (b"5u", 5e-6), (b"6n", 6e-9), (b"00000001S", 1.0), (b"0S", 0.0),
        (b"", ABSENT), (b"S", MALFORMED), (b"1", MALFORMED), (b"1s", MALFORMED), (b"-1S", MALFORMED), (b"+1S", MALFORMED),
        (b"1.5S", MALFORMED),
        (b"123456789S", MALFORMED), (b" 1S", MALFORMED), (b"1 S", MALFORMED), (b"\xd9\xa3S", MALFORMED), (b"1S ", MALFORMED),
    ],
)  # fmt: skip
def test_timeouts_are_one_to_eight_digits_and_a_unit(value: bytes, seconds: float) -> None:
    """gRPC over HTTP/2: TimeoutValue and TimeoutUnit."""
    assert pytest.approx(seconds) == timeout_of(value)


def test_a_long_credential_is_moved_to_the_front() -> None:
    """Behind a timeout, where gRPC libraries write it: it is as long as a token of an issuer."""
    token = (b"authorization", b"Bearer " + b"t" * 1500)
    fields = [(b"te", b"trailers"), (b"grpc-timeout", b"1S"), (b"x-id", b"7"), token]
    found, front, timeout, _ = read(fields)
    assert [fields[0], token, *fields[1:3]] == found
    assert (sum(8 + len(name) + len(value) for name, value in found[:2]), 1.0) == (front, timeout)
