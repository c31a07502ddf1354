"""The wire-format kernels against protobuf itself."""

from __future__ import annotations

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.pb import inference_pb2 as pb
from kernels.protobuf import CONFLICT, DONE, LEAF, LENGTH, MALFORMED, MAX_GROUPS, PACKED, SPAN, VARINT, collect, scan, varints

INT64, UINT, STRING = (pb.InferTensorContents.DESCRIPTOR.fields_by_name[f"{n}_contents"].number for n in ("int64", "uint", "bytes"))
ELEMENTS = np.full(9, -1, np.int64)
ELEMENTS[[INT64, UINT]] = VARINT
ELEMENTS[STRING] = LENGTH


def view(message: bytes) -> np.ndarray:
    return np.frombuffer(message, np.uint8)


def decoded(data: bytes, room: int) -> tuple[int, list[int]]:
    out = np.zeros(room, np.uint64)
    return varints(data, out), out.tolist()


@settings(max_examples=300)
@given(st.lists(st.integers(-(1 << 63), (1 << 63) - 1), max_size=20))
def test_varints_are_protobufs(values: list[int]) -> None:
    """Signed 64-bit numbers of a packed field come back as their two's complement."""
    [field] = pb.InferTensorContents(int64_contents=values).ListFields() or [None]
    packed = pb.InferTensorContents(int64_contents=values).SerializeToString()[2 if field else 0 :]
    packed = packed if len(packed) < 128 else packed[1:]
    assert (len(values), [value % (1 << 64) for value in values]) == decoded(packed, len(values))


def test_varints_that_do_not_end_or_do_not_fit() -> None:
    """A truncated varint, one of eleven bytes, and more varints than there is room for."""
    assert MALFORMED == decoded(b"\x01\x80", 2)[0]
    assert MALFORMED == decoded(b"\x80" * 10 + b"\x01", 2)[0]
    assert (1, [1 << 63]) == decoded(b"\x80" * 9 + b"\x01", 1)
    assert (3, [1, 2]) == decoded(b"\1\2\3\4", 2)
    assert (0, []) == decoded(b"", 0)


def collected(message: bytes, wanted: int) -> int | bytes:
    out = np.zeros(2 * len(message), np.uint8)
    size = collect(view(message), wanted, ELEMENTS, out)
    return size if size < 0 else out[:size].tobytes()


def test_collect_joins_packed_and_unpacked_elements() -> None:
    """Chunks, single elements and unknown fields between them give one packed run."""
    key = INT64 << 3
    message = bytes([key | 2, 2, 1, 2, key, 3, 0x7A, 1, 0xFF, 0x78, 5, key | 2, 0, key | 2, 3, 0x80, 0x01, 4])
    assert b"\1\2\3\x80\1\4" == collected(message, INT64)
    assert [1, 2, 3, 128, 4] == list(pb.InferTensorContents.FromString(message).int64_contents)


def test_collect_writes_strings_with_their_lengths() -> None:
    """Each string is preceded by four bytes of length, an empty one too."""
    message = pb.InferTensorContents(bytes_contents=[b"", b"ab" * 200]).SerializeToString()
    assert bytes(4) + b"\x90\x01\0\0" + b"ab" * 200 == collected(message, STRING)


def test_collect_refuses_a_second_field_with_elements() -> None:
    """Another known field is a conflict if it has elements; a packed field without any has none."""
    wanted = bytes([INT64 << 3, 1])
    assert CONFLICT == collected(wanted + bytes([UINT << 3, 1]), INT64)
    assert CONFLICT == collected(wanted + bytes([STRING << 3 | 2, 0]), INT64)
    assert b"\1" == collected(wanted + bytes([UINT << 3 | 2, 0]), INT64)
    assert b"\1" == collected(wanted + bytes([UINT << 3 | 5, 0, 0, 0, 0]), INT64)  # another wire type is an unknown field


@settings(max_examples=300)
@given(st.binary(max_size=60))
def test_collect_agrees_with_protobuf_on_garbage(message: bytes) -> None:
    """What protobuf refuses within one level is malformed here; the elements of what it takes are the same."""
    try:
        parsed = pb.InferTensorContents.FromString(message)
    except DecodeError:
        return  # collect is laxer: it does not look into packed data, nor at which group an end belongs to
    got = collected(message, INT64)
    assert MALFORMED != got
    if isinstance(got, bytes):
        count, values = decoded(got, len(parsed.int64_contents))
        assert (len(parsed.int64_contents), [value % (1 << 64) for value in parsed.int64_contents]) == (count, values)


SLOTS = np.array([[-1, 0, 1, 2, -1], [-1, 3, -1, -1, -1]], np.int64)
ACTIONS = np.array([[0, 1, PACKED, SPAN, LEAF], [0, LEAF, LEAF, LEAF, LEAF]], np.int64)
OWNERS = np.array([-1, -1, -1, 1], np.int64)
A_LONG_WAY = 1 << 40


def scanned(message: bytes, caps: tuple[int, ...] = (4, 9, 4, 2), max_fields: int = 100) -> tuple[int, list[int], list[list[int]]]:
    """Field 1 is a message whose field 1 is counted for each, field 2 integers, field 3 noted."""
    counts, spans = np.zeros(4, np.int64), np.zeros((4, 3), np.int64)
    status = scan(view(message), SLOTS, ACTIONS, OWNERS, np.array(caps, np.int64), counts, spans, max_fields)
    return status, counts.tolist(), spans[: counts[2]].tolist()


def test_scan_counts_and_notes_places() -> None:
    """Submessages, packed and single integers, and the places of spans; a per-message counter holds the last message's."""
    inner = bytes([0x0A, 1, 65, 0x0A, 0])
    message = bytes([0x0A, 5]) + inner + bytes([0x0A, 0, 0x12, 4, 1, 2, 0x80, 3, 0x10, 7, 0x1A, 2, 8, 9])
    assert (DONE, [2, 4, 1, 0], [[17, 19, 21]]) == scanned(message)
    assert b"\x08\x09" == message[19:21]


@pytest.mark.parametrize(
    ("message", "counter"),
    [(b"\x0a\0" * 5, 0), (b"\x12\x0a" + b"\1" * 10, 1), (b"\x10\1" * 10, 1), (b"\x1a\0" * 5, 2), (b"\x0a\6" + b"\x0a\0" * 3, 3)],
)
def test_scan_ends_at_the_first_excess(message: bytes, counter: int) -> None:
    """The counter that is over its cap is named, whatever follows."""
    assert counter == scanned(message + b"\xff" * 20)[0]


def test_scan_starts_a_messages_counters_afresh() -> None:
    """Two messages with two fields each are within a cap of two for each message."""
    assert DONE == scanned((b"\x0a\4" + b"\x0a\0" * 2) * 2)[0]


def test_scan_bounds_all_fields() -> None:
    """Unknown fields count, also within groups."""
    assert DONE == scanned(b"\x7a\0" * 100)[0]
    assert len(OWNERS) == scanned(b"\x7a\0" * 101)[0]
    assert len(OWNERS) == scanned(b"\x7b" + b"\x78\0" * 100 + b"\x7c")[0]


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a",
        b"\x0a\5ab",
        b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\1",
        b"\x10",
        b"\x10\x80",
        b"\x15\0\0\0",
        b"\x11" + bytes(7),
        b"\x00",
        b"\x07\1",
        b"\x7c",
        b"\x7b",
        b"\x0a\1\x7b\x7c",  # a group that would end outside its message
        b"\x80\x80\x80\x80\x10\0",  # a key of more than 32 bits
        b"\x0a\2\x0a\1a",  # a submessage's field that ends after it
        b"\x7b" * (MAX_GROUPS + 1) + b"\x7c" * (MAX_GROUPS + 1),
    ],
    ids=lambda message: message[:6].hex(),
)
def test_scan_finds_what_is_malformed(message: bytes) -> None:
    """Ends that are missing, lengths beyond the data, impossible keys and groups; protobuf agrees."""
    assert MALFORMED == scanned(message, max_fields=A_LONG_WAY)[0]
    with pytest.raises(DecodeError):
        pb.ModelStreamInferResponse.FromString(message.replace(b"\x0a", b"\x12", 1))


@settings(max_examples=300)
@given(st.binary(max_size=80))
def test_scan_takes_what_protobuf_takes(message: bytes) -> None:
    """No message that protobuf reads is malformed here."""
    try:
        pb.ServerLiveRequest.FromString(message)
    except DecodeError:
        return
    counts, spans, table = np.zeros(1, np.int64), np.zeros((1, 3), np.int64), np.full((1, 1), -1, np.int64)
    assert DONE == scan(view(message), table, table, counts - 1, counts, counts, spans, A_LONG_WAY)
