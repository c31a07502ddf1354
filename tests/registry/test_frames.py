"""Frames: what was written whole is read whole, and nothing behind a tear is believed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.frames import HEAD_BYTES, MAX_PAYLOAD, framed, frames, whole_bytes

PAYLOADS = st.lists(st.tuples(st.integers(0, 65_535), st.binary(max_size=40)), max_size=6)


def read(content: bytes) -> list[tuple[int, bytes]]:
    return [(frame.kind, bytes(frame.payload)) for frame in frames(content)]


@given(PAYLOADS, st.data())
def test_what_is_torn_ends_the_file(payloads: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """Cut anywhere, all whole frames before the cut are there, and nothing else."""
    pieces = [framed(kind, payload) for kind, payload in payloads]
    content = b"".join(pieces)
    cut = data.draw(st.integers(0, len(content)))
    ends = [sum(map(len, pieces[: count + 1])) for count in range(len(pieces))]
    whole = [pair for pair, end in zip(payloads, ends, strict=True) if end <= cut]
    assert whole == read(content[:cut])
    assert whole_bytes(content[:cut]) == max([0, *[end for end in ends if end <= cut]])


@given(PAYLOADS.filter(bool), st.data())
def test_a_bit_that_flips_is_noticed(payloads: list[tuple[int, bytes]], data: st.DataObject) -> None:
    """What stands before it is read, the rest is not."""
    pieces = [framed(kind, payload) for kind, payload in payloads]
    content = bytearray(b"".join(pieces))
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    ends = [sum(map(len, pieces[: count + 1])) for count in range(len(pieces))]
    assert read(bytes(content)) == [pair for pair, end in zip(payloads, ends, strict=True) if end <= at]


def test_zeros_and_noise_behind_frames_are_no_frames() -> None:
    """As a file that was extended before its data came."""
    content = framed(1, b"ab", b"", b"cd")
    for tail in (bytes(100), b"\xff" * 100, content[: HEAD_BYTES - 1]):
        assert [(1, b"abcd")] == read(content + tail)


def test_a_frame_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever reads does not believe a length beyond it, whoever writes is refused."""
    monkeypatch.setattr("registry.frames.MAX_PAYLOAD", 8)
    with pytest.raises(ValueError, match="9 bytes are more than a frame holds"):
        framed(1, b"123456789")
    monkeypatch.setattr("registry.frames.MAX_PAYLOAD", MAX_PAYLOAD)
    content = framed(1, b"123456789")
    monkeypatch.setattr("registry.frames.MAX_PAYLOAD", 8)
    assert [] == read(content)
