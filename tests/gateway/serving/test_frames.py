"""Frames between a worker and the process of a model: what goes in comes out, and what is no frame is said to be none."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.protocol.tensors import DATATYPES
from gateway.serving.frames import (
    HEADER_BYTES,
    INLINE_BYTES,
    Frame,
    FrameFault,
    Kind,
    TooLargeFault,
    decode,
    decode_head,
    encode,
)

REGION = np.zeros(1 << 20, np.uint8)
NUMERIC = [name for name in DATATYPES if name != "BYTES"]


def sent(frame: Frame, *, max_bytes: int = 1 << 30) -> bytes:
    return encode(frame, lambda size: (REGION, False), max_bytes)


def received(octets: bytes, region: np.ndarray | None = REGION) -> Frame:
    head = decode_head(octets)
    assert head.size == len(octets)
    return decode(head, octets, region, copy=True)


@st.composite
def tensors(draw) -> tuple[str, np.ndarray]:
    datatype = draw(st.sampled_from(list(DATATYPES)))
    shape = draw(arrays.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=5))
    if datatype == "BYTES":
        return datatype, draw(arrays.arrays(object, shape, elements=st.text(max_size=9), fill=st.nothing()))
    return datatype, draw(arrays.arrays(DATATYPES[datatype].numpy, shape))


@given(st.lists(tensors(), min_size=1, max_size=5), st.integers(0, 2**64 - 1), st.booleans())
def test_what_goes_in_comes_out(made: list[tuple[str, np.ndarray]], number: int, last: bool) -> None:
    """Every datatype, every shape, every bit."""
    datatypes, values = [name for name, _ in made], [value for _, value in made]
    got = received(sent(Frame(Kind.OUTPUTS, number, last, datatypes=datatypes, tensors=values)))
    assert (Kind.OUTPUTS, number, last, datatypes) == (got.kind, got.number, got.last, got.datatypes)
    for name, value, back in zip(datatypes, values, got.tensors, strict=True):
        assert (value.shape, DATATYPES[name].numpy) == (back.shape, back.dtype)
        assert value.tolist() == back.tolist() if name == "BYTES" else value.tobytes() == back.tobytes()


@pytest.mark.parametrize("size", [INLINE_BYTES, INLINE_BYTES + 1])
def test_large_tensors_lie_in_the_region(size: int) -> None:
    """From one byte past the bound; what is copied stays when the region is used again."""
    value = np.arange(size, dtype=np.uint64).astype(np.uint8)
    octets = sent(Frame(Kind.RUN, 1, datatypes=["UINT8", "INT8"], tensors=[value, np.ones(3, np.int8)]))
    assert (len(octets) > size) == (size <= INLINE_BYTES)
    first, second = received(octets).tensors
    REGION[:] = 0
    assert (value == first).all()
    assert [1, 1, 1] == second.tolist()


def test_tensors_that_are_views_are_sent_by_value() -> None:
    """Transposed and with gaps."""
    value = np.arange(12, dtype=np.float32).reshape(3, 4).T[::2]
    assert value.tolist() == received(sent(Frame(Kind.RUN, datatypes=["FP32"], tensors=[value]))).tensors[0].tolist()


def test_more_than_a_frame_may_carry_is_not_sent() -> None:
    """By bytes and by count."""
    with pytest.raises(TooLargeFault, match="2 tensors of 1025 bytes"):
        sent(Frame(Kind.RUN, datatypes=["UINT8"] * 2, tensors=[np.zeros(1024, np.uint8), np.zeros(1, np.uint8)]), max_bytes=1024)
    with pytest.raises(TooLargeFault, match="257 tensors"):
        sent(Frame(Kind.RUN, datatypes=["UINT8"] * 257, tensors=[np.zeros(1, np.uint8)] * 257))


GOOD = sent(Frame(Kind.OUTPUTS, 7, datatypes=["FP32", "BYTES"], tensors=[np.ones((2, 2), np.float32), np.array(["a", "ü"], object)]))


@given(st.data())
def test_any_bytes_are_a_frame_or_refused(data) -> None:
    """A frame with bytes changed: nothing but FrameFault, and never a tensor that has not its shape's bytes."""
    octets = bytearray(GOOD)
    for _ in range(data.draw(st.integers(1, 6))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    try:
        head = decode_head(octets)
        frame = decode(head, bytes(octets), None, copy=False)
    except FrameFault:
        return
    for name, tensor in zip(frame.datatypes, frame.tensors, strict=True):
        assert tensor.dtype == DATATYPES[name].numpy


@given(st.binary(min_size=HEADER_BYTES, max_size=200))
def test_noise_is_no_frame(noise: bytes) -> None:
    """By its first bytes already, and behind a right header by its length."""
    with pytest.raises(FrameFault):
        decode_head(noise)
    with pytest.raises(FrameFault, match="another length"):
        decode(decode_head(GOOD), GOOD + noise, None, copy=False)


def one(
    *, datatype: int = 10, rank: int = 1, place: int = 0, at: int = 0, size: int = 8, dims: tuple[int, ...] = (2,), data=b"\0" * 8
) -> bytes:
    """A frame of one tensor, as described."""
    described = struct.pack("<BBB5xQQ", datatype, rank, place, at, size) + struct.pack(f"<{len(dims)}Q", *dims)
    return struct.pack("<4sBBHQII8x", b"TgF1", Kind.OUTPUTS, 0, 1, 1, len(described), len(data)) + described + data


TEXTS = 13  # the number of BYTES


@pytest.mark.parametrize(
    ("octets", "reason"),
    [
        (one(datatype=14), "no tensor of the protocol"),
        (one(rank=33), "no tensor of the protocol"),
        (one(rank=2), "no tensor of the protocol"),
        (one(rank=0, size=4), "describes more"),
        (one()[:6] + b"\2" + one()[7:], "describes fewer"),
        (one(place=2), "outside"),
        (one(place=1, at=1 << 20), "outside"),
        (one(at=2**64 - 1), "outside"),
        (one(size=9), "outside"),
        (one(size=4), "has 4 bytes"),
        (one(dims=(2**62,)), "has 8 bytes"),
        (one(dims=(2**41, 0), rank=2, size=0), "has 0 bytes"),
        (one(datatype=TEXTS, dims=(3,)), "too short"),
        (one(datatype=TEXTS, data=struct.pack("<II", 1, 0)), "other lengths"),
        (one(datatype=TEXTS, data=struct.pack("<II", 2**32 - 1, 2**32 - 1)), "other lengths"),
        (one(datatype=TEXTS, dims=(1,), size=5, data=struct.pack("<I", 1) + b"\xff"), "not UTF-8"),
        (struct.pack("<4sBBHQII8x", b"TgF1", Kind.OUTPUTS, 0, 0, 1, 8, 0) + bytes(8), "describes no tensor"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_a_wrong_description_is_named(octets: bytes, reason: str) -> None:
    """Each bound by itself."""
    with pytest.raises(FrameFault, match=reason):
        received(octets)
    assert [0.0, 0.0] == received(one()).tensors[0].tolist()


@pytest.mark.parametrize(
    "fields",
    [(b"TgF2", 4, 0, 1, 0, 0), (b"TgF1", 0, 0, 1, 0, 0), (b"TgF1", 6, 0, 1, 0, 0), (b"TgF1", 4, 4, 1, 0, 0), (b"TgF1", 4, 0, 257, 0, 0),
     (b"TgF1", 4, 0, 1, 1 << 17, 0), (b"TgF1", 4, 0, 1, 0, 1 << 24)],
)  # fmt: skip
def test_a_header_out_of_bounds_is_refused_before_anything_is_read(fields: tuple) -> None:
    """Magic, kind, flags, and the three lengths."""
    magic, kind, flags, count, descriptions, inline = fields
    with pytest.raises(FrameFault):
        decode_head(struct.pack("<4sBBHQII8x", magic, kind, flags, count, 1, descriptions, inline))


@pytest.mark.parametrize("seconds", [-1.0, float("nan"), float("inf")])
def test_a_time_that_cannot_be_is_refused(seconds: float) -> None:
    """What was measured is there and back as it is."""
    with pytest.raises(FrameFault, match="no time"):
        decode_head(struct.pack("<4sBBHQIId", b"TgF1", Kind.OUTPUTS, 0, 0, 1, 0, 0, seconds))
    frame = Frame(Kind.OUTPUTS, 1, seconds=0.25, datatypes=["FP32"], tensors=[np.ones(1, np.float32)])
    assert 0.25 == received(encode(frame, lambda size: (np.zeros(size, np.uint8), False), 1 << 20)).seconds
