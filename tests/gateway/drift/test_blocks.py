"""Blocks in shared memory: what one process writes another reads, and a place that was given back is empty for the next."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.drift.blocks import Blocks, BlocksError, Extents

PAGE = 512  # words


def test_what_is_written_through_one_map_is_read_through_another() -> None:
    """In the region that it was written to, and in no other."""
    blocks = Blocks.create(regions=2, words=4 * PAGE)
    other = Blocks.attach(os.dup(blocks.fd))
    blocks.block(1, PAGE, 8)[:] = range(8)
    assert other.block(1, PAGE, 8).tolist() == list(range(8))
    assert not other.block(0, PAGE, 8).any()


def test_a_block_is_cleared_in_every_region_and_its_neighbours_stay() -> None:
    """Whole pages, as blocks are given out."""
    blocks = Blocks.create(regions=2, words=4 * PAGE)
    for region in range(2):
        blocks.block(region, 0, 4 * PAGE)[:] = 7
    blocks.clear(PAGE, PAGE + 1)  # two pages
    for region in range(2):
        assert blocks.block(region, 0, PAGE).all()
        assert not blocks.block(region, PAGE, 2 * PAGE).any()
        assert blocks.block(region, 3 * PAGE, PAGE).all()


@pytest.mark.parametrize("words", [0, -1, (1 << 31) + 1])
def test_sizes_that_cannot_be_are_refused(words: int) -> None:
    """Nothing, less, and more than anybody has."""
    with pytest.raises(BlocksError, match="regions of up to"):
        Blocks.create(regions=1, words=words)


def test_other_descriptors_are_no_blocks(tmp_path) -> None:  # type: ignore[no-untyped-def]
    """Files, memory that can shrink, and none at all."""
    path = tmp_path / "file"
    path.write_bytes(bytes(8192))
    with path.open("rb") as file, pytest.raises(BlocksError, match="no memory file"):
        Blocks.attach(os.dup(file.fileno()))
    with pytest.raises(BlocksError, match="holds no blocks"):
        Blocks.attach(os.memfd_create("other"))
    with pytest.raises(BlocksError, match="no memory file"):
        Blocks.attach(10_000)


@given(st.lists(st.tuples(st.integers(1, 3 * PAGE), st.booleans()), max_size=40))
def test_extents_never_overlap_and_all_of_it_comes_back(steps: list[tuple[int, bool]]) -> None:
    """Whatever is taken and given back in which order."""
    extents = Extents(16 * PAGE)
    held: dict[int, int] = {}
    for words, gives_back in steps:
        if gives_back and held:
            start = next(iter(held))
            extents.give_back(start)
            del held[start]
            continue
        start = extents.take(words)
        if start is None:
            continue
        assert start % PAGE == 0
        assert start + words <= 16 * PAGE
        assert all(start + words <= other or other + size <= start for other, size in held.items())
        held[start] = words
    for start in held:
        extents.give_back(start)
    assert extents.used == 0
    assert extents.take(16 * PAGE) == 0


def test_what_nobody_has_cannot_be_given_back() -> None:
    """A fault of the caller, not of the next one who takes it."""
    with pytest.raises(ValueError, match="no extent"):
        Extents(PAGE).give_back(0)


def test_where_there_is_no_room_nothing_is_taken() -> None:
    """And what is there can still be had."""
    extents = Extents(2 * PAGE)
    assert extents.take(3 * PAGE) is None
    assert extents.take(2 * PAGE) == 0
    assert extents.take(1) is None


def test_reading_does_not_touch_memory_that_nobody_wrote() -> None:
    """A server with room for thousands of versions pays for those that it has."""
    blocks = Blocks.create(regions=1, words=1 << 20)
    before = os.fstat(blocks.fd).st_blocks
    assert not np.any(blocks.block(0, 0, 8))
    assert os.fstat(blocks.fd).st_blocks - before <= 16  # a page or two, of 8 MiB
