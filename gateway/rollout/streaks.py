"""Failures in a row, which no statistics need to be waited for: the candidate's calls fail one after the other while stable's do not.

A row counts units, not calls: one unit whose every call fails is one. And it is longer where calls fail anyway: so long that in all calls
so far, at the rate at which stable's fail over all and just now, chance would make one with probability 1e-3 at most.
"""

from __future__ import annotations

import math

import numpy as np

_CHANCE = 1e-3
_RECENT = 64  # calls of stable
_NAMED = 32  # units of a row that are told from one another


class Streak:
    """The row of one arm."""

    STATE = ("length", "longest", "units", "calls", "stable_calls", "stable_failures", "recent", "crashed")

    def __init__(self, needed: int) -> None:
        self._needed = needed
        self.length = 0  # units whose calls failed, no call in between having been answered
        self.longest = 0  # of the rows that were long enough
        self.units = np.zeros(_NAMED, np.uint64)  # the newest of the row, the newest last
        self.calls = self.stable_calls = self.stable_failures = 0
        self.recent = np.zeros(_RECENT, np.bool_)  # stable's last calls: whether they failed
        self.crashed = False

    def add(self, units: np.ndarray, ours: np.ndarray, failed: np.ndarray, crashed: np.ndarray) -> None:
        """Calls of the arm and of stable, by time: unit, whether it is the arm's, whether it failed, whether that was the process's end."""
        own, theirs = failed[ours], failed[~ours]
        self.crashed |= bool((ours & crashed).any())
        self.calls += len(own)
        self.stable_calls += len(theirs)
        self.stable_failures += int(np.count_nonzero(theirs))
        self.recent = np.concatenate((self.recent, theirs[-_RECENT:]))[-_RECENT:]
        if own.any():
            self._follow(units[ours], own)
        elif len(own):
            self.length = 0

    @property
    def enough(self) -> int:
        """How long a row has to be by now."""
        overall = (self.stable_failures + 1) / (self.stable_calls + 2)
        rate = min(max(overall, float(self.recent.mean())), 0.99)
        return max(self._needed, math.ceil(math.log(max(self.calls, 1) / _CHANCE) / -math.log(rate)))

    def reason(self, arm: str) -> str | None:
        """Why to go back at once, or None. It stays."""
        if self.crashed:
            return f"the process of the {arm} ended"
        if self.longest:
            return f"{self.longest} calls of the {arm} in a row failed, each of another unit, while stable answered"
        return None

    def _follow(self, units: np.ndarray, failed: np.ndarray) -> None:
        enough = self.enough
        for unit, bad in zip(units, failed.tolist(), strict=True):
            if not bad:
                self.length = 0
            elif not self.length or unit not in self.units[-min(self.length, _NAMED) :]:
                self.units = np.append(self.units[1:], unit)
                self.length += 1
                if self.length >= enough:
                    self.longest = max(self.longest, self.length)
