"""The shared file that workers count into: its layout, what attaching refuses, what it costs."""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterator

import numpy as np
import pytest

from gateway.observe import arena as layout
from gateway.observe.arena import COUNTERS, GAUGES, Arena, ArenaError
from gateway.observe.slabs import DURATION_EDGES_S, ROWS_EDGES, SLAB_WORDS
from kernels.buckets import add_batch

SEALS = fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL


@pytest.fixture
def arena() -> Iterator[Arena]:
    """Two workers, ten slots."""
    made = Arena.create(workers=2, slots=10)
    yield made
    made.close()


def resident(arena: Arena) -> int:
    return os.fstat(arena.fd).st_blocks * 512


def test_what_one_process_writes_the_other_reads(arena: Arena) -> None:
    """Every word of every slab of every worker is one place, which no other overlaps."""
    other = Arena.attach(os.dup(arena.fd))
    assert (2, 10) == (other.workers, other.slots)
    number = 0
    for worker in range(2):
        for name in (*GAUGES, *COUNTERS):
            number += 1
            arena.region(worker)[name] = number
        for slot in range(10):
            slab = arena.region(worker).slab(slot)
            for array in (slab.requests, slab.counts, slab.sums):
                array[...] = np.arange(number + 1, number + 1 + array.size).reshape(array.shape)
                number += array.size
    read: list[float] = []
    for worker in range(2):
        read += [other.region(worker)[name] for name in (*GAUGES, *COUNTERS)]
        for slot in range(10):
            slab = other.region(worker).slab(slot)
            read += [value for array in (slab.requests, slab.counts, slab.sums) for value in array.ravel().tolist()]
    assert list(range(1, number + 1)) == read
    other.close()


def test_the_kernel_writes_into_a_slab_as_it_is(arena: Arena) -> None:
    """Its arrays have the types and the order that the kernel was compiled for."""
    slab = arena.region(1).slab(9)
    add_batch(np.array([1.0, 2.0]), 3.0, 4.0, 0.25, 0.5, 9.0, 2, DURATION_EDGES_S, ROWS_EDGES, slab.counts, slab.sums)
    seen = Arena.attach(os.dup(arena.fd)).region(1).slab(9)
    assert ([2, 2, 1, 1], [5.0, 3.0, 1.0, 2.0, 0.5, 1.0, 9.0]) == (seen.counts.sum(axis=1).tolist(), seen.sums.tolist())


def test_a_name_that_no_region_has_is_an_error(arena: Arena) -> None:
    """Not a word of somebody else."""
    with pytest.raises(KeyError):
        arena.region(0)["latency"]
    with pytest.raises(KeyError):
        arena.region(0)["latency"] = 1


def test_what_is_not_touched_costs_nothing() -> None:
    """A region of 100,000 slots is as large as the slots that were written; clearing gives that back and touches no neighbour."""
    arena = Arena.create(workers=64, slots=100_000)
    assert resident(arena) <= mmap.PAGESIZE
    assert os.fstat(arena.fd).st_size > 64 * 100_000 * 8 * SLAB_WORDS
    for worker in (0, 1, 2):
        arena.region(worker)["pid"] = 5 + worker
        arena.region(worker).slab(2).requests[0, 0] = 7
        arena.region(worker).slab(99_999).requests[0, 0] = 9
    before = resident(arena)
    assert before <= (1 + 3 * 3 + 3) * mmap.PAGESIZE
    arena.region(1).clear()
    assert resident(arena) < before
    assert [5, 0, 7] == [arena.region(worker)["pid"] for worker in range(3)]
    assert [(7, 9), (0, 0), (7, 9)] == [
        tuple(int(arena.region(worker).slab(slot).requests[0, 0]) for slot in (2, 99_999)) for worker in range(3)
    ]
    arena.close()


def test_nobody_changes_its_size(arena: Arena) -> None:
    """A map of a file that shrank kills whoever reads it."""
    for size in (0, mmap.PAGESIZE, 1 << 30):
        with pytest.raises(PermissionError):
            os.ftruncate(arena.fd, size)


@pytest.mark.parametrize(("workers", "slots"), [(0, 10), (-1, 10), (2, 1), (1_025, 10), (1, (1 << 20) + 1)])
def test_sizes_out_of_range_are_refused(workers: int, slots: int) -> None:
    """By what they may be."""
    with pytest.raises(ArenaError, match=f"1 to 1024 workers and 2 to 1048576 slots, not {workers} and {slots}"):
        Arena.create(workers=workers, slots=slots)


def memory(words: list[int], *, size: int, seals: int = SEALS) -> int:
    fd = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(fd, size)
    os.pwrite(fd, np.array(words, np.int64).tobytes(), 0)
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, seals)
    return fd


_SIZE = layout._size(2, 10)
_WORDS = [layout._MAGIC, layout.FORMAT, layout.LAYOUT, 2, 10]


@pytest.mark.parametrize(
    ("words", "size", "seals", "text"),
    [
        (_WORDS, _SIZE, 0, "is no arena: .* seals 0x0"),
        (_WORDS, _SIZE, fcntl.F_SEAL_SEAL | fcntl.F_SEAL_GROW, "is no arena"),
        (_WORDS, 64, SEALS, "is no arena: 64 bytes"),
        ([0, *_WORDS[1:]], _SIZE, SEALS, "is no arena"),
        ([_WORDS[0], 1, *_WORDS[2:]], _SIZE, SEALS, "has format 1 and layout"),
        ([*_WORDS[:2], 77, *_WORDS[3:]], _SIZE, SEALS, "layout 0x4d, this program 2"),
        ([*_WORDS[:3], 3, 10], _SIZE, SEALS, "says 3 workers and 10 slots, which are not"),
        ([*_WORDS[:3], 2, 1 << 40], _SIZE, SEALS, "says 2 workers"),
        ([*_WORDS[:3], -2, -10], _SIZE, SEALS, "says -2 workers"),
        (_WORDS, _SIZE + mmap.PAGESIZE, SEALS, "says 2 workers"),
    ],
)
def test_what_is_no_arena_of_this_program_is_refused(words: list[int], size: int, seals: int, text: str) -> None:
    """By what is wrong with it, before anything is read or written there."""
    fd = memory(words, size=size, seals=seals)
    with pytest.raises(ArenaError, match=text):
        Arena.attach(fd)
    os.close(fd)


def test_other_descriptors_are_refused() -> None:
    """A pipe, and one that is closed."""
    reader, writer = os.pipe()
    for fd in (reader, writer):
        with pytest.raises(ArenaError, match="is no memory file"):
            Arena.attach(fd)
        os.close(fd)
        with pytest.raises(ArenaError, match="Bad file descriptor"):
            Arena.attach(fd)
