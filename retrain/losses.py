"""The loss of a version on labels that have come, in windows of time, each with a lower bound. Pure.

The bound is the empirical Bernstein inequality (Maurer and Pontil 2009, theorem 4) for losses from 0 to 1: it holds for any distribution,
of rows that are independent. A window is looked at once, when it is over.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Window:
    """Rows of one stretch of time."""

    start_s: float
    end_s: float
    rows: int
    mean: float
    lower: float


def windows_of(times_s: np.ndarray, losses: np.ndarray, *, window_s: float, until_s: float, count: int, confidence: float) -> list[Window]:
    """The last `count` whole windows before `until_s`, oldest first; they begin at multiples of `window_s` since the Unix epoch.

    times_s, losses: [rows]; a loss lies between 0 and 1. A window without rows is among them.
    """
    last = math.floor(until_s / window_s)
    places = np.floor(times_s / window_s).astype(np.int64)
    found = []
    for place in range(last - count, last):
        inside = losses[places == place]
        mean = float(inside.mean()) if len(inside) else math.nan
        found.append(Window(place * window_s, (place + 1) * window_s, len(inside), mean, lower_bound(inside, confidence)))
    return found


def lower_bound(losses: np.ndarray, confidence: float) -> float:
    """Of the mean; -inf of fewer than two rows."""
    n = len(losses)
    if n < 2:
        return -math.inf
    log = math.log(2.0 / (1.0 - confidence))
    return float(losses.mean() - math.sqrt(2.0 * losses.var(ddof=1) * log / n) - 7.0 * log / (3.0 * (n - 1)))
