"""Shared memory for the blocks of all versions: one anonymous file, a region for each place of a worker, equal offsets in every region.

A block is added to by one worker and read by others. It outlives its writer: who takes the place of a worker that died goes on adding to
the same words, so nothing has to be folded and nothing can be counted twice.
"""

from __future__ import annotations

import mmap
import os

import numpy as np

from gateway.observe import shared_memory

FORMAT = 1
MAX_REGIONS, MAX_WORDS = 1_024, 1 << 31

_MAGIC = int.from_bytes(b"driftage", "little")
_PAGE_WORDS = mmap.PAGESIZE // 8


class BlocksError(Exception):
    """A descriptor behind which there are no blocks; the text says why."""


class Blocks:
    """The regions of all places, each int64 [words]. `fd` is for passing on, and for `attach` there."""

    def __init__(self, fd: int, memory: mmap.mmap, *, regions: int, words: int) -> None:
        self.fd, self.regions, self.words = fd, regions, words
        self._memory = memory
        self._arrays = [np.frombuffer(memory, np.int64, words, mmap.PAGESIZE + 8 * words * index) for index in range(regions)]

    @classmethod
    def create(cls, *, regions: int, words: int) -> Blocks:
        """New ones, all 0, with `words` rounded up to whole pages. Raises `OSError`."""
        words = _in_pages(words)
        if not (1 <= regions <= MAX_REGIONS and 0 < words <= MAX_WORDS):
            raise BlocksError(f"there are 1 to {MAX_REGIONS} regions of up to {MAX_WORDS} words, not {regions} of {words}")
        fd, memory = shared_memory.create("tidegate-drift", _size(regions, words))
        np.frombuffer(memory, np.int64, 4)[:] = _MAGIC, FORMAT, regions, words
        return cls(fd, memory, regions=regions, words=words)

    @classmethod
    def attach(cls, fd: int) -> Blocks:
        """Those behind an inherited descriptor, which is taken over. Raises `BlocksError`."""
        memory = shared_memory.attach(fd, BlocksError, "holds no blocks")
        magic, number, regions, words = np.frombuffer(memory, np.int64, 4).tolist()
        if (magic, number) != (_MAGIC, FORMAT):
            raise BlocksError(f"descriptor {fd} holds no blocks of format {FORMAT}")
        if not (1 <= regions <= MAX_REGIONS and 0 < words <= MAX_WORDS and len(memory) == _size(regions, words)):
            raise BlocksError(f"{regions} regions of {words} words are not {len(memory)} bytes")
        return cls(fd, memory, regions=regions, words=words)

    def block(self, region: int, start: int, words: int) -> np.ndarray:
        """int64 [words] of one place, in place."""
        return self._arrays[region][start : start + words]

    def clear(self, start: int, words: int) -> None:
        """In every region the block is 0 and its memory given back. `start` is a page's first word, as `Extents` gives them."""
        for index in range(self.regions):
            self._memory.madvise(mmap.MADV_REMOVE, mmap.PAGESIZE + 8 * (self.words * index + start), 8 * _in_pages(words))

    def close(self) -> None:
        """Close the descriptor. The memory lives as long as somebody has it mapped."""
        os.close(self.fd)


class Extents:
    """Which words are whose: first fit, in whole pages. Pure."""

    def __init__(self, words: int) -> None:
        self._words = words
        self._taken: list[tuple[int, int]] = []  # start and end, ascending

    def take(self, words: int) -> int | None:
        """The start of so many words that nobody has, or None where there is no such room."""
        need, at = _in_pages(words), 0
        for place, (start, end) in enumerate([*self._taken, (self._words, self._words)]):
            if start - at >= need:
                self._taken.insert(place, (at, at + need))
                return at
            at = end
        return None

    def give_back(self, start: int) -> None:
        """Nobody has what began there. Raises `ValueError` where nothing did."""
        places = [place for place, taken in enumerate(self._taken) if taken[0] == start]
        if not places:
            raise ValueError(f"no extent begins at {start}")
        del self._taken[places[0]]

    @property
    def used(self) -> int:
        """Words that somebody has."""
        return sum(end - start for start, end in self._taken)


def _in_pages(words: int) -> int:
    return -(-words // _PAGE_WORDS) * _PAGE_WORDS


def _size(regions: int, words: int) -> int:
    return mmap.PAGESIZE + 8 * regions * words
