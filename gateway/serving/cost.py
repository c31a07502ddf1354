"""What a run of a version costs: latency = a * rows + b, learned from its own runs (Clockwork, OSDI'20: inference time is predictable)."""

from __future__ import annotations

_OUTLIER = 3.0
_NOISE_S = 2e-5
_MEMORY = 0.98  # weight that a run keeps after the next one: about the last 50 runs count


class Cost:
    """Exponentially weighted least squares over (rows, seconds). Never negative in either term."""

    __slots__ = ("_n", "_x", "_xx", "_xy", "_y", "per_row_s", "per_run_s")

    def __init__(self) -> None:
        self._n = self._x = self._y = self._xx = self._xy = 0.0
        self.per_row_s = 0.0
        self.per_run_s = 0.0

    def learn(self, rows: int, seconds: float) -> None:
        """Add one run. A run that took far longer than runs do was interrupted: it counts as `_OUTLIER` times the prediction."""
        if self._n >= 2.0:
            seconds = min(seconds, _OUTLIER * self.predict(rows) + _NOISE_S)
        self._n = self._n * _MEMORY + 1.0
        self._x = self._x * _MEMORY + rows
        self._y = self._y * _MEMORY + seconds
        self._xx = self._xx * _MEMORY + rows * rows
        self._xy = self._xy * _MEMORY + rows * seconds
        spread = self._n * self._xx - self._x * self._x
        if spread > 1e-9 * self._xx * self._n:
            self.per_row_s = max((self._n * self._xy - self._x * self._y) / spread, 0.0)
        else:  # all runs had the same size: nothing is known about the slope, so the mean is all per run
            self.per_row_s = 0.0
        self.per_run_s = max((self._y - self.per_row_s * self._x) / self._n, 0.0)
        if self.per_run_s == 0.0 and self._x:
            self.per_row_s = self._y / self._x

    def predict(self, rows: int) -> float:
        """Seconds that a run of `rows` rows will take; 0 before the first run."""
        return self.per_run_s + self.per_row_s * rows

    def drain_time(self, rows: int, max_rows: int) -> float:
        """Seconds to work off `rows` rows in runs of at most `max_rows`."""
        runs = -(-rows // max_rows) if max_rows else rows
        return self.per_run_s * runs + self.per_row_s * rows
