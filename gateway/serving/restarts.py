"""When a process that ended may be started again: at once while its runs get answers, ever later while they do not. Pure."""

from __future__ import annotations

_FREE = 8  # runs lost one after another, each of which may have been the fault of its request
_FIRST_S = 1.0
_LONGEST_S = 60.0


class Restarts:
    """Backoff of one process. An answered run ends it; a process that does not even start knows no free tries."""

    def __init__(self, *, free: int = _FREE, first_s: float = _FIRST_S, longest_s: float = _LONGEST_S) -> None:
        self._free = free
        self._first_s = first_s
        self._longest_s = longest_s
        self._in_a_row = 0
        self._not_before = 0.0

    def answered(self) -> None:
        """A run was answered: the process is worth its restarts."""
        self._in_a_row = 0

    def lost(self, now: float) -> None:
        """The process ended while it ran or waited."""
        self._delay(now, self._in_a_row + 1)

    def failed(self, now: float) -> None:
        """The process ended before it was ready."""
        self._delay(now, max(self._in_a_row, self._free) + 1)

    def wait_s(self, now: float) -> float:
        """Seconds until the next start is allowed."""
        return max(self._not_before - now, 0.0)

    def _delay(self, now: float, in_a_row: int) -> None:
        self._in_a_row = in_a_row
        beyond = in_a_row - self._free
        if beyond > 0:
            self._not_before = now + min(self._first_s * 2.0 ** min(beyond - 1, 32), self._longest_s)
