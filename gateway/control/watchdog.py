"""For how long processes have been silent, as far as anybody was there to hear them. Knows no process."""

from __future__ import annotations

from collections.abc import Mapping

_LATE = 2.0  # looks further apart than so many periods count as these


class Watchdog:
    """Called once a period with everybody's latest sign of life.

    Only time in which the watchdog itself turned counts: a machine that stood still as a whole (a paused guest, a stopped process group)
    accuses nobody, where the clock alone would.
    """

    def __init__(self, period_s: float) -> None:
        self._longest_s = _LATE * period_s
        self._looked: float | None = None
        self._silent: dict[int, tuple[float, float]] = {}  # by number: the latest sign, and seconds since it was first seen

    def look(self, now: float, signs: Mapping[int, float]) -> dict[int, float]:
        """Seconds of silence by number. `signs`: any value that changes with every sign of life, by number."""
        passed = 0.0 if self._looked is None else min(now - self._looked, self._longest_s)
        self._looked = now
        self._silent = {number: self._heard(number, sign, passed) for number, sign in signs.items()}
        return {number: silent_s for number, (_, silent_s) in self._silent.items()}

    def _heard(self, number: int, sign: float, passed: float) -> tuple[float, float]:
        last, silent_s = self._silent.get(number, (None, 0.0))
        return sign, silent_s + passed if sign == last else 0.0
