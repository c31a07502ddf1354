"""Windows of the reference, each scored as a window of traffic is: by the mean PSI of its features. Pure.

What such a score means is known only beside the scores of windows that are clean, at the same hour of the week where the hour is known:
rows of one window depend on each other in ways that no count of bins shows.
"""

from __future__ import annotations

import numpy as np

from registry.profile import HOURS_OF_WEEK, Windows

ROWS = 500  # of a window: at 32 bins, noise alone has a mean PSI of 0.06
LEAST_ROWS, LEAST_WINDOWS = 50, 20  # a smaller reference has none
_FIRST_HOUR = 3 * 24  # of the week: the Unix epoch was a Thursday
_HOUR_S = 3_600


class Clean:
    """Adjacent windows of the rows in their order; those at the end that fill none are in no window."""

    def __init__(self, rows: int, times_s: np.ndarray | None) -> None:
        """`times_s`: [rows] seconds since the Unix epoch."""
        self._size = min(ROWS, rows // LEAST_WINDOWS)
        self._count = rows // self._size if self._size >= LEAST_ROWS else 0
        self._hours = hours_of_week(times_s) if times_s is not None else np.full(rows, -1)
        self._scores = np.zeros(self._count)
        self._features = 0

    def add(self, slots: np.ndarray, number: int) -> None:
        """One feature: the slot of each row, int64 [rows], one of `number`.

        A window is held against all other rows, as a window of traffic is held against rows that it does not have.
        """
        from kernels.divergence import psi

        inside = slots[: self._count * self._size].reshape(self._count, self._size)
        places = inside + number * np.arange(self._count)[:, None]
        live = np.bincount(places.ravel(), minlength=self._count * number).reshape(self._count, number).astype(np.float64)
        others = np.bincount(slots, minlength=number) - live
        self._scores += [psi(window, other) for window, other in zip(live, others, strict=True)]
        self._features += 1

    def windows(self) -> Windows | None:
        """None where there are too few rows."""
        if not self._count or not self._features:
            return None
        middles = np.arange(self._count) * self._size + self._size // 2
        scores = self._scores / self._features
        return Windows(rows=self._size, hours=tuple(self._hours[middles].tolist()), scores=tuple(scores.tolist()))


def hours_of_week(times_s: np.ndarray) -> np.ndarray:
    """0 … 167 for seconds since the Unix epoch; in UTC, from Monday 0 h on."""
    hours: np.ndarray = (np.floor_divide(times_s, _HOUR_S).astype(np.int64) + _FIRST_HOUR) % HOURS_OF_WEEK
    return hours
