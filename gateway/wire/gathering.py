"""A request's body that comes in pieces. Where its size is told by its beginning, pieces go where they stay, so that nothing is joined at
the end: a join of 8 MiB would hold up everybody else for a millisecond, and for five where the memory is new."""

from __future__ import annotations

import numpy as np

_EIGHTH = 3  # as a shift: so much must be here before the rest gets its place, or five bytes could reserve 32 MiB


class Gathering:
    """The pieces of one body."""

    __slots__ = ("_buffer", "_expected", "_laid", "_pieces", "size")

    def __init__(self, expected: int) -> None:
        """`expected` bytes in all, as its sender says; 0 where that is not known. It may be wrong, and is believed little by little."""
        self.size = 0
        self._expected = expected
        self._pieces: list[bytes] = []  # what has no place in the buffer
        self._buffer: memoryview | None = None
        self._laid = 0  # bytes in it

    def add(self, piece: bytes) -> None:
        """One more; more than was expected is kept too."""
        self.size += len(piece)
        if self._buffer is not None and self.size <= self._expected:
            self._lay(self._buffer, piece)
            return
        self._pieces.append(piece)
        if self._buffer is None and 0 < self._expected >> _EIGHTH <= self.size <= self._expected:
            self._buffer = memoryview(np.empty(self._expected, np.uint8))  # type: ignore[arg-type]
            for each in self._pieces:
                self._lay(self._buffer, each)
            self._pieces = []

    def _lay(self, buffer: memoryview, piece: bytes) -> None:
        buffer[self._laid : self._laid + len(piece)] = piece
        self._laid += len(piece)

    def whole(self, last: bytes = b"") -> bytes | memoryview:
        """The body, with its last piece: a view that nobody can write through, or bytes."""
        self.add(last)
        if self._buffer is None:
            return b"".join(self._pieces)
        laid = self._buffer[: self._laid].toreadonly()
        return b"".join([laid, *self._pieces]) if self._pieces else laid
