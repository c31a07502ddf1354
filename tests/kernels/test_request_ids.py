"""Ids of requests, held against the standard library's idea of a UUID."""

from __future__ import annotations

import uuid

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from kernels.request_ids import TEXT_BYTES, identify


def made(count: int, milliseconds: int, counters: np.ndarray) -> tuple[np.ndarray, list[str]]:
    ids, texts = np.empty((count, 16), np.uint8), np.empty((count, TEXT_BYTES), np.uint8)
    identify(ids, texts, milliseconds, counters)
    return ids, [bytes(row).decode() for row in texts]


@given(st.integers(0, (1 << 48) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1), st.integers(0, 70))
@settings(max_examples=50)
def test_they_are_of_version_7_and_written_as_they_are(milliseconds: int, first: int, second: int, count: int) -> None:
    """Version, variant and time are in their places, and text and bytes are the same id."""
    ids, texts = made(count, milliseconds, np.array([first, second], np.uint64))
    for octets, text in zip(ids, texts, strict=True):
        identity = uuid.UUID(bytes=octets.tobytes())
        assert (7, uuid.RFC_4122, milliseconds, str(identity)) == (identity.version, identity.variant, identity.int >> 80, text)


def test_no_two_are_the_same_and_every_bit_varies() -> None:
    """Counters go on from one call to the next; of 20,000 ids each random bit is set in about half."""
    counters = np.array([1, 2], np.uint64)
    parts = [made(count, 5, counters)[0] for count in (1, 9_999, 10_000)]
    ids = np.concatenate(parts)
    assert len(ids) == len(np.unique(ids, axis=0))
    bits = np.unpackbits(ids, axis=1)[:, 48:].mean(axis=0)
    fixed = {0, 1, 2, 3, 16, 17}
    assert all(0.47 < share < 0.53 for place, share in enumerate(bits) if place not in fixed)
    assert [0, 1, 1, 1, 1, 0] == [bits[place] for place in sorted(fixed)]
