"""How long labels took to arrive: counts by bounds, as a histogram of the metrics page. Pure."""

from __future__ import annotations

import numpy as np

BOUNDS_S = (1, 10, 60, 600, 3_600, 21_600, 86_400, 259_200, 604_800, 2_592_000)


class Delays:
    """Of one model, from a request to the arrival of its label."""

    def __init__(self) -> None:
        self.counts = np.zeros(len(BOUNDS_S) + 1, np.int64)  # up to each bound, beyond the one before; the last: beyond all
        self.sum_s = 0.0

    def add(self, delays_us: np.ndarray) -> None:
        """Microseconds [n]. A clock that is behind makes one below 0, which is none."""
        seconds = np.maximum(delays_us, 0) / 1e6
        self.counts += np.bincount(np.searchsorted(BOUNDS_S, seconds, side="left"), minlength=len(self.counts))
        self.sum_s += float(seconds.sum())

    def values(self, model: str) -> list[tuple[tuple[str, ...], float]]:
        """As the page takes a histogram: what is up to each bound, and the sum."""
        bounds = [*map(str, map(float, BOUNDS_S)), "+Inf"]
        found = [((model, bound), float(count)) for bound, count in zip(bounds, np.cumsum(self.counts).tolist(), strict=True)]
        return [*found, ((model, "sum"), self.sum_s)]
