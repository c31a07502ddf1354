"""A request's body that comes in pieces. Where its size is told by its beginning, pieces go where they stay, so that nothing is joined at
the end: a join of 8 MiB would hold up everybody else for a millisecond."""

from __future__ import annotations

import numpy as np


class Gathering:
    """The pieces of one body."""

    __slots__ = ("_buffer", "_pieces", "size")

    def __init__(self, expected: int) -> None:
        """`expected` bytes in all, as its sender says; 0 where that is not known. Memory is used as it fills, whatever the sender says."""
        self.size = 0
        self._pieces: list[bytes] = []
        self._buffer = memoryview(np.empty(expected, np.uint8)) if expected else None  # type: ignore[arg-type]

    def add(self, piece: bytes) -> None:
        """One more; more than was expected is kept too."""
        buffer, at = self._buffer, self.size
        self.size += len(piece)
        if buffer is None or self._pieces or self.size > len(buffer):
            self._pieces.append(piece)
        else:
            buffer[at : self.size] = piece

    def whole(self, last: bytes = b"") -> bytes | memoryview:
        """The body, with its last piece: a view that nobody can write through, or bytes."""
        self.add(last)
        if self._buffer is None:
            return b"".join(self._pieces)
        if self._pieces:
            return b"".join([self._buffer[: self.size - sum(map(len, self._pieces))], *self._pieces])
        return self._buffer[: self.size].toreadonly()
