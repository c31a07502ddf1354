"""Rings of records: order, bounds, late readers, and who may attach."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.rollout.records import RECORD
from gateway.rollout.ring import ARMS, CAPACITY, SLOTS, Rings, RingsError


def records(first: int, count: int) -> np.ndarray:
    found = np.zeros(count, RECORD)
    found["unit"] = np.arange(first, first + count)
    return found


@given(st.lists(st.tuples(st.integers(0, CAPACITY), st.booleans()), max_size=6))
def test_a_reader_gets_everything_once_or_is_told_how_much_it_lost(writes: list[tuple[int, bool]]) -> None:
    """Whatever the sizes of writes and the moments of reads."""
    ring = Rings.create(1).ring(0)
    since = written = seen = lost = 0
    for count, reads in [*writes, (0, True)]:
        ring.append(records(written, count))
        written += count
        if reads:
            taken, since, missed = ring.read(since)
            seen, lost = seen + len(taken), lost + missed
            assert (np.diff(taken["unit"].astype(np.int64)) >= 1).all()
    assert (written, written) == (since, seen + lost)


def test_of_a_write_beyond_the_ring_the_last_records_are_there() -> None:
    """The first never get in."""
    ring = Rings.create(1).ring(0)
    ring.append(records(0, CAPACITY + 2))
    taken, since, lost = ring.read(0)
    assert (2, CAPACITY, CAPACITY, 0) == (int(taken["unit"][0]), len(taken), since, lost)


def test_what_one_writes_the_other_process_reads() -> None:
    """Through the descriptor, each worker in its own ring."""
    ours = Rings.create(2)
    theirs = Rings.attach(os.dup(ours.fd))
    ours.ring(1).append(records(7, 3))
    ours.ring(1).assigned[2 * ARMS + 1] += 5
    taken, since, lost = theirs.ring(1).read(0)
    assert ([7, 8, 9], 3, 0) == (taken["unit"].tolist(), since, lost)
    assert 5 == theirs.ring(1).counts()["assigned"][2, 1]
    assert (SLOTS, ARMS) == theirs.ring(0).counts()["failed"].shape
    assert not len(theirs.ring(0).read(0)[0])


def test_a_reader_from_before_the_ring_was_made_begins_anew() -> None:
    """Its position is of another server's life."""
    taken, since, lost = Rings.create(1).ring(0).read(1000)
    assert (0, 0, 0) == (len(taken), since, lost)


def test_what_holds_no_rings_is_refused() -> None:
    """By name."""
    with pytest.raises(RingsError, match="no memory file"):
        Rings.attach(os.open("/dev/null", os.O_RDONLY))
    strange = os.memfd_create("strange", os.MFD_ALLOW_SEALING)
    os.ftruncate(strange, 1 << 16)
    with pytest.raises(RingsError, match="holds no rings"):
        Rings.attach(strange)
