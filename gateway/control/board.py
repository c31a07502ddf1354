"""What the workers of one server know of each other: how many connections each holds, and when it last spoke.

A page of shared memory and one doorbell (an eventfd) for each place. Whoever's count changes rings the others, which then look whether it
is their turn to take connections; nobody polls. Everything is made by the supervisor and inherited.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from collections.abc import Iterator

PLACES = 64  # workers and spares of one server
ABSENT = (1 << 62) - 1  # as a count: nobody is there, or nobody who takes connections
_PLACE = struct.Struct("=qd")  # connections, heartbeat in seconds of the monotonic clock
_ONE = (1).to_bytes(8, "little")


class Board:
    """The page. Each word is written by its own process, and by the supervisor once that process is gone."""

    def __init__(self, fd: int, bells: tuple[int, ...]) -> None:
        self.fd = fd
        self.bells = bells
        self._page = mmap.mmap(fd, PLACES * _PLACE.size)

    @classmethod
    def create(cls, places: int) -> Board:
        """A page where everybody is absent, with a bell for each of `places`."""
        fd = os.memfd_create("tidegate-board", os.MFD_CLOEXEC)
        os.ftruncate(fd, PLACES * _PLACE.size)
        board = cls(fd, tuple(os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(places)))
        for place in range(PLACES):
            board.leave(place)
        return board

    def enter(self, place: int, connections: int) -> None:
        """Say how many connections the process at `place` holds, and wake the others."""
        struct.pack_into("=q", self._page, place * _PLACE.size, connections)
        for other, bell in enumerate(self.bells):
            if other != place:
                ring(bell)

    def leave(self, place: int) -> None:
        """Nobody takes connections there any more."""
        self.enter(place, ABSENT)

    def beat(self, place: int, now: float) -> None:
        """The event loop at `place` turns."""
        struct.pack_into("=d", self._page, place * _PLACE.size + 8, now)

    def connections(self, place: int) -> int:
        """As last said; `ABSENT` where nobody is."""
        return int(_PLACE.unpack_from(self._page, place * _PLACE.size)[0])

    def heartbeat(self, place: int) -> float:
        """When the event loop there last turned."""
        return float(_PLACE.unpack_from(self._page, place * _PLACE.size)[1])

    def others(self, place: int, *, since: float) -> Iterator[int]:
        """Counts of the others that are there and have turned since then."""
        for other in range(len(self.bells)):
            count, beat = _PLACE.unpack_from(self._page, other * _PLACE.size)
            if other != place and count < ABSENT and beat >= since:
                yield count

    def close(self) -> None:
        """Let go of page and bells."""
        self._page.close()
        for fd in (self.fd, *self.bells):
            os.close(fd)


def ring(bell: int) -> None:
    """Wake whoever waits at a bell. One that rings already rings once."""
    with contextlib.suppress(BlockingIOError):
        os.write(bell, _ONE)


def answer(bell: int) -> None:
    """It has been heard."""
    with contextlib.suppress(BlockingIOError):
        os.read(bell, 8)
