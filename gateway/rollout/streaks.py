"""Failures in a row, which no statistics need to be waited for: the candidate's calls fail one after the other while stable's do not.

A row counts units, not calls: one unit whose every call fails is one. And it is longer where calls fail anyway: so long that in all calls
so far, at the rate at which stable's fail over all and while the row lasts, chance would make such a row with probability 1e-3 at most.
"""

from __future__ import annotations

import math

import numpy as np

_CHANCE = 1e-3
_NAMED = 32  # units of a row that are told from one another


class Streak:
    """The row of one arm."""

    STATE = ("length", "longest", "units", "calls", "stable_calls", "stable_failures", "begun_calls", "begun_failures", "crashed")

    def __init__(self, needed: int, tolerated: float = 1.0) -> None:
        """needed: units at least. tolerated: how many times as often as stable's the candidate's calls may fail."""
        self._needed, self._tolerated = needed, tolerated
        self.length = 0  # units whose calls failed, no call in between having been answered
        self.longest = 0  # of the rows that were long enough
        self.units = np.zeros(_NAMED, np.uint64)  # the newest of the row, the newest last
        self.calls = self.stable_calls = self.stable_failures = 0
        self.begun_calls = self.begun_failures = 0  # stable's, when the row began
        self.crashed = False

    def add(self, units: np.ndarray, ours: np.ndarray, failed: np.ndarray, crashed: np.ndarray, *, alone: bool = False) -> None:
        """Calls of the arm and of stable, by time: unit, whether it is the arm's, whether it failed, whether that was the process's end.
        alone: stable has no calls of its own to compare with just now."""
        self.crashed |= bool((ours & crashed).any())
        theirs = np.cumsum(~ours) + self.stable_calls
        theirs_failed = np.cumsum(~ours & failed) + self.stable_failures
        if (ours & failed).any():
            at = np.flatnonzero(ours)
            self._follow(units[at], failed[at].tolist(), theirs[at].tolist(), theirs_failed[at].tolist(), alone=alone)
        elif ours.any():
            self.length = 0
        self.calls += int(np.count_nonzero(ours))
        if len(ours):
            self.stable_calls, self.stable_failures = int(theirs[-1]), int(theirs_failed[-1])

    def reason(self, arm: str) -> str | None:
        """Why to go back at once, or None. It stays."""
        if self.crashed:
            return f"the process of the {arm} ended"
        if self.longest:
            return f"{self.longest} calls of the {arm} in a row failed, each of another unit, while stable answered"
        return None

    def _follow(self, units: np.ndarray, failed: list[bool], theirs: list[int], theirs_failed: list[int], *, alone: bool) -> None:
        for place, (unit, bad) in enumerate(zip(units, failed, strict=True)):
            if not bad:
                self.length = 0
                continue
            if not self.length:
                self.begun_calls, self.begun_failures = theirs[place], theirs_failed[place]
            elif unit in self.units[-min(self.length, _NAMED) :]:
                continue
            self.units = np.append(self.units[1:], unit)
            self.length += 1
            likely = self.length * math.log(min(self._tolerated * (theirs_failed[place] + 1) / (theirs[place] + 2), 0.99))
            if not alone:
                likely = max(likely, self._while_it_lasts(theirs[place] - self.begun_calls, theirs_failed[place] - self.begun_failures))
            if self.length >= self._needed and likely <= _log_chance(self.calls + place + 1):
                self.longest = max(self.longest, self.length)

    def _while_it_lasts(self, calls: int, failures: int) -> float:
        """ln of the probability that so many calls in a row fail at the rate of these of stable, which may be any (uniform beforehand)."""
        answered = calls - failures + 1
        return _log_beta(failures + 1 + self.length, answered) - _log_beta(failures + 1, answered)


def _log_chance(calls: int) -> float:
    """ln of the share of 1e-3 that one call has: calls 1, 2 and 3, 4 to 7 and so on share parts that sum to it."""
    return math.log(_CHANCE * 6 / math.pi**2 / calls / (1 + math.log2(calls)) ** 2)


def _log_beta(a: int, b: int) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
