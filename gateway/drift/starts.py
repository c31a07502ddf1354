"""Where tests began: the arm of each feature, the windows in which a change may have begun since, and the stakes that are spent on them.

Every test of a feature divides one stake of 1 over all that it will ever try. The k-th arm gets 1 / k (k + 1), which is 1 for all arms
together; of that a half goes to the test of everything since the arm began, and half / i (i + 1) to the one that begins with the i-th
window after it. What a stake grew to is an e-value: the sum of all is at least 1/α at any time ever with probability α at most, since
each of them is a martingale from its start and all began with 1. Terms that are left out only make the sum smaller, so windows may
be forgotten (only dyadic ones are kept, as in Shin, Ramdas, Rinaldo, arXiv 2203.03532) and features may begin anew.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from kernels.evidence import dyadic_starts

HALF = math.log(0.5)
ARM_START = -1  # as an index of `Starts`: the begin of the arm


@dataclass(slots=True)
class Arms:
    """Since when each of F features is tested. C slots of all features."""

    number: np.ndarray  # int64 [F] from 1
    window: np.ndarray  # int64 [F] that was open then
    row: np.ndarray  # int64 [F]
    wall_s: np.ndarray  # float64 [F]
    base: np.ndarray  # int64 [C] cumulative counts then

    @classmethod
    def first(cls, features: int, counts: np.ndarray, row: int, wall_s: float) -> Arms:
        """All features begin now."""
        whole = np.zeros(features, np.int64)
        return cls(whole + 1, whole.copy(), whole + row, np.full(features, wall_s), counts.copy())

    def again(self, feature: int, slots: slice, counts: np.ndarray, *, window: int, row: int, wall_s: float) -> None:
        """The next arm of one feature."""
        self.number[feature] += 1
        self.window[feature], self.row[feature], self.wall_s[feature] = window, row, wall_s
        self.base[slots] = counts[slots]

    def stakes(self) -> np.ndarray:
        """Log of what tests since the begin of the arms began with, [F]."""
        return np.asarray(HALF - np.log(self.number * (self.number + 1.0)))


@dataclass(slots=True)
class Starts:
    """Windows that a change may have begun with: cumulative counts where each began, oldest first."""

    window_rows: int
    number: np.ndarray  # int64 [J], of the window, from 1
    row: np.ndarray  # int64 [J]
    wall_s: np.ndarray  # float64 [J]
    counts: np.ndarray  # int64 [J, C]
    opened: int = 0  # the last window that began
    opened_row: int = 0

    @classmethod
    def none(cls, window_rows: int, cells: int, row: int) -> Starts:
        """Before the first window."""
        return cls(window_rows, np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0), np.zeros((0, cells), np.int64), 0, row)

    def advance(self, counts: np.ndarray, row: int, wall_s: float) -> bool:
        """Begin a window where the open one has rows enough; forget those that have become old. Whether one began."""
        if row - self.opened_row < self.window_rows:
            return False
        self.opened, self.opened_row = self.opened + 1, row
        stays = np.isin(self.number, dyadic_starts(self.opened))
        self.number = np.append(self.number[stays], self.opened)
        self.row = np.append(self.row[stays], row)
        self.wall_s = np.append(self.wall_s[stays], wall_s)
        self.counts = np.concatenate([self.counts[stays], counts[None]])
        return True

    def log_stakes(self, arms: Arms) -> np.ndarray:
        """Log of what a test of each feature began with at each start, [J, F]; -inf for starts that lie before the feature's arm."""
        later = (self.number[:, None] - arms.window).astype(np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            stakes = arms.stakes() - np.log(later * (later + 1))
        return np.where(later >= 1, stakes, -np.inf)
