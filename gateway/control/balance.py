"""Which worker takes the next connection: one that holds the fewest. Connections stay where they are; only new ones even things out.

A plain shared accept leaves it to chance which worker wakes first, and with few long-lived connections chance is unfair.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.control.board import ABSENT, Board

DEAF_S = 1.5  # a worker whose loop has not turned for so long takes no connections, whatever its count says


class Balance:
    """`accepting.Gate` of the worker at one place."""

    def __init__(self, board: Board, place: int, now: Callable[[], float]) -> None:
        self.counted: Callable[[int], None] = lambda _connections: None  # called with every new count
        self.turn: Callable[[], None] = lambda: None  # called when it may be this worker's turn again
        self._board = board
        self._place = place
        self._now = now
        self._held = 0
        self._present = False

    def may_accept(self) -> bool:
        """Nobody who is there holds fewer."""
        return self._present and self._held <= min(self._board.others(self._place, since=self._now() - DEAF_S), default=ABSENT)

    def holds(self, connections: int) -> None:
        """Tell the others, and look again where there are fewer than before."""
        fewer, self._held = connections < self._held, connections
        self.counted(connections)
        if self._present:
            self._board.enter(self._place, connections)
            if fewer:
                self.turn()

    def begin(self) -> None:
        """Take connections from now on."""
        self._present = True
        self._board.beat(self._place, self._now())
        self._board.enter(self._place, self._held)
        self.turn()

    def end(self) -> None:
        """Take none any more."""
        self._present = False
        self._board.leave(self._place)

    def beat(self) -> None:
        """Called a few times a second."""
        self._board.beat(self._place, self._now())
        if self._present:
            self.turn()
