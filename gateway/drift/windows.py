"""The second layer: whole windows of traffic among clean windows of the reference, which dependence of rows within a window cannot deceive.

A live window's score, the mean PSI over features less what it is by chance, is ranked among those of the reference of the same hour of the
week and the live ones before it, and bets are laid on low ranks (kernels/betting.py). A tick may bring more rows than a window of the
reference has: by chance a longer window has less PSI and less spread, so its rank is seldom low, and bets are lost rather than won.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from gateway.drift.cells import Cells
from kernels.betting import bet, conformal_p, new_capital
from kernels.divergence import psi, psi_null_mean
from registry.profile import HOURS_OF_WEEK, Windows

LEAST_WINDOWS = 19  # of the reference in a stratum: with fewer no window can be rarer than 1 in 20
MOST_LIVE = 10_000  # live scores that are ranked among; those after them are ranked but not kept
LOOKING_BACK = 20  # windows that have to be ordinary before the bets begin anew
_THURSDAY = 72  # hour of the week in which the epoch began


@dataclass(slots=True)
class Bets:
    """What must be remembered of the layer: all that was seen, and the capital."""

    base: np.ndarray  # int64 [C] cumulative counts where the open window began
    row: int
    capital: np.ndarray  # of this arm
    arm: int = 1
    log_e: float = 0.0  # of this arm
    hours: list[int] = field(default_factory=list)  # of the week, of live windows
    scores: list[float] = field(default_factory=list)
    last: list[float] = field(default_factory=list)  # p of the last windows in this arm


class WindowLayer:
    """Of a version whose profile has clean windows."""

    def __init__(self, cells: Cells, windows: Windows, *, counts: np.ndarray, row: int) -> None:
        self._cells, self._rows = cells, windows.rows
        self._filled = cells.sums((cells.reference > 0).astype(np.int64))
        self._hours = np.array(windows.hours, np.int64)
        self._scores = np.array(windows.scores) - self._by_chance(windows.rows)
        self.bets = Bets(counts.copy(), row, new_capital())

    def look(self, counts: np.ndarray, row: int, wall_s: float) -> float:
        """Log of what the layer's stake has grown to. The open window ends where it has rows enough."""
        bets = self.bets
        if row - bets.row >= self._rows:
            self._rank(self.score(counts - bets.base) - self._by_chance(row - bets.row), hour_of_week(wall_s))
            bets.base, bets.row = counts.copy(), row
        return bets.log_e - math.log(bets.arm * (bets.arm + 1))

    def calm(self) -> bool:
        """Whether the last windows by themselves are ordinary."""
        return len(self.bets.last) >= LOOKING_BACK and _log_e(self.bets.last) < 0

    def again(self) -> None:
        """Begin the bets anew at the next smaller stake."""
        self.bets.arm, self.bets.capital, self.bets.log_e, self.bets.last = self.bets.arm + 1, new_capital(), 0.0, []

    def score(self, counts: np.ndarray) -> float:
        """Mean PSI over features of counts [C]."""
        return mean_psi(self._cells, counts)

    def _by_chance(self, rows: int) -> float:
        reference = float(self._cells.reference[self._cells.of(0)].sum())
        return float(np.mean([psi_null_mean(bins, rows, reference) for bins in self._filled.tolist()]))

    def _rank(self, score: float, hour: int) -> None:
        bets = self.bets
        p = self._p(score, hour)
        bets.log_e = bet(bets.capital, p)
        bets.last = [*bets.last[1 - LOOKING_BACK :], p]
        if len(bets.scores) < MOST_LIVE:
            bets.hours.append(hour)
            bets.scores.append(score)

    def _p(self, score: float, hour: int) -> float:
        """The rank among windows of that hour of the week, or of the day, or all, whichever has enough of the reference; 1 if none has."""
        live_hours, live = np.array(self.bets.hours, np.int64), np.array(self.bets.scores)
        for period in (HOURS_OF_WEEK, 24, 1):
            alike = (self._hours % period == hour % period) & ((self._hours >= 0) | (period == 1))
            if int(alike.sum()) >= LEAST_WINDOWS:
                clean = np.concatenate([self._scores[alike], live[live_hours % period == hour % period]])
                return float(conformal_p(score, clean))
        return 1.0


def hour_of_week(wall_s: float) -> int:
    """UTC; Monday 0 h is 0."""
    return (int(wall_s // 3600) + _THURSDAY) % HOURS_OF_WEEK


def mean_psi(cells: Cells, counts: np.ndarray) -> float:
    """Mean PSI over features of counts, [C]."""
    return float(np.mean(each_psi(cells, counts)))


def each_psi(cells: Cells, counts: np.ndarray) -> np.ndarray:
    """PSI of every feature, of counts [C]: [F]."""
    live = counts.astype(np.float64)
    return np.array([psi(live[slots], cells.reference[slots]) for slots in map(cells.of, range(len(cells.features)))])


def _log_e(p_values: Sequence[float]) -> float:
    capital, log_e = new_capital(), 0.0
    for p in p_values:
        log_e = bet(capital, p)
    return float(log_e)
