"""Numbers from elsewhere against constants: the answers to one query, one after the other. Whoever asks tells; nothing is asked here.

A number is no evidence with a known error rate, so one breach is none: `BREACHES` in a row fail, and so many without one pass.
"""

from __future__ import annotations

import math

from gateway.rollout.plan import Metric
from gateway.rollout.stage import Stage
from gateway.rollout.verdict import CERTAIN, Found, Rule, Top

BREACHES = 3


class Queries:
    """The answers of one metric."""

    STATE = ("value", "breaches", "kept", "answers", "errors", "error")

    def __init__(self, stage: Stage, metric: Metric) -> None:
        self._below = math.inf if metric.below is None else metric.below
        self._above = -math.inf if metric.above is None else metric.above
        self.value = math.nan
        self.breaches = self.kept = self.answers = self.errors = 0  # the first two and the last in a row
        self.error = ""

    def enter(self) -> None:
        """Another step has begun."""
        self.breaches = self.kept = self.answers = self.errors = 0
        self.value, self.error = math.nan, ""

    def answered(self, value: float) -> None:
        """A number; NaN, which is what an empty answer comes to, is none."""
        if math.isnan(value):
            self.failed("the query has no value")
            return
        self.value, self.errors, self.error = value, 0, ""
        self.answers += 1
        fine = self._above < value < self._below
        self.breaches, self.kept = (0, self.kept + 1) if fine else (self.breaches + 1, 0)

    def failed(self, reason: str) -> None:
        """It could not be asked. That breaks neither row."""
        self.errors += 1
        self.error = reason

    def look(self, arm: int, rule: Rule) -> Top:
        """Whether a row is long enough: certain, or nothing."""
        return Top(
            fail=CERTAIN if self.breaches >= BREACHES else 0.0,
            passes=CERTAIN if self.kept >= BREACHES and not self.errors else 0.0,
        )

    def found(self, arm: int, rule: Rule) -> Found:
        """The newest number."""
        bounds = [f"below {self._below:g}"] * math.isfinite(self._below) + [f"above {self._above:g}"] * math.isfinite(self._above)
        told = f"{self.value:g}, and should be {' and '.join(bounds)}" if self.answers else ""
        if self.breaches:
            told += f": {self.breaches} in a row are not"
        error = (
            f"{self.errors} answers in a row are missing: {self.error}"
            if self.errors >= BREACHES or (self.errors and not self.answers)
            else ""
        )
        return Found(units=(self.answers, self.answers), detail=told, error=error)
