"""Whether classes or scores come in another mix from the candidate. Each unit of the sample counts by its first answer in the rollout.

Classes, and the bins of scores, are those of the first answers of both arms together, before anybody looks at the arms: whatever is made of
them then, units of each are still the candidate's with the probability of their step.
"""

from __future__ import annotations

import math

import numpy as np

from gateway.rollout.plan import Metric
from gateway.rollout.stage import Stage
from gateway.rollout.verdict import Found, Rule, Top
from kernels import mixes

SCOUTS = 256
CLASSES = 20  # the most frequent, the last one for all others
_BINS = 10  # of scores


class Mixes:
    """The answers of one metric. Counts are of this step, since a mix may move; evidence goes on."""

    STATE = ("borders", "kinds", "scouts", "scouted", "counts", "log_e", "top")

    def __init__(self, stage: Stage, metric: Metric) -> None:
        self._stage, self._metric = stage, metric
        self.borders = np.full(CLASSES - 1, np.nan)  # classes themselves, ascending, or upper bounds of bins
        self.kinds = 0  # how many of them there are, the rest included; 0 until they are known
        self.scouts, self.scouted = np.zeros((SCOUTS, 3)), 0  # value, arm, step
        self.counts = np.zeros((stage.arms - 1, 2, CLASSES), np.int64)
        self.log_e, self.top = np.zeros(stage.arms - 1), np.zeros(stage.arms - 1)

    def enter(self) -> None:
        """Another step has begun."""
        self.counts[:] = 0

    def add(self, values: np.ndarray, arms: np.ndarray, steps: np.ndarray) -> None:
        """First answers of units: class or score, arm, step. Those without a value are passed over."""
        known = np.isfinite(values)
        values, arms, steps = values[known], arms[known], steps[known]
        if not self.kinds:
            taken = min(SCOUTS - self.scouted, len(arms))
            self.scouts[self.scouted : self.scouted + taken] = np.stack((values[:taken], arms[:taken], steps[:taken]), axis=1)
            self.scouted += taken
            if self.scouted < SCOUTS:
                return
            self._learn(self.scouts[:, 0])
            self._count(self.scouts[:, 0], self.scouts[:, 1].astype(np.int64), self.scouts[:, 2].astype(np.int64))
            values, arms, steps = values[taken:], arms[taken:], steps[taken:]
        self._count(values, arms, steps)

    def look(self, arm: int, rule: Rule) -> Top:
        """The strongest that it was at any unit."""
        return Top(fail=float(self.top[arm - 1]))

    def found(self, arm: int, rule: Rule) -> Found:
        """How far the mixes are apart in this step."""
        counts = self.counts[arm - 1][:, : max(self.kinds, 1)]
        distance, chance = mixes.total_variation(counts)
        units = int(counts[1].sum()), int(counts[0].sum())
        detail = (
            ""
            if math.isnan(distance)
            else f"{self._largest(counts)}; {100 * distance:.2g} points in all, of which chance alone makes {100 * chance:.2g}"
        )
        return Found(units=units, step_units=units, log_e_fail=float(self.log_e[arm - 1]), detail=detail)

    def _learn(self, values: np.ndarray) -> None:
        if self._metric.of == "score":
            borders = np.unique(np.quantile(values, np.arange(1, _BINS) / _BINS))
        else:
            kinds, counts = np.unique(values, return_counts=True)
            borders = np.sort(kinds[np.argsort(-counts, kind="stable")[: CLASSES - 1]])
        self.borders[: len(borders)] = borders
        self.kinds = len(borders) + 1

    def _classes(self, values: np.ndarray) -> np.ndarray:
        borders = self.borders[: self.kinds - 1]
        at = np.searchsorted(borders, values)
        if self._metric.of == "score":
            return at
        return np.where(borders[np.minimum(at, len(borders) - 1)] == values, at, len(borders))

    def _count(self, values: np.ndarray, arms: np.ndarray, steps: np.ndarray) -> None:
        classes = self._classes(values)
        for arm in range(1, self._stage.arms):
            compared = (arms == arm) | (arms == 0)
            ours, weights = arms[compared] == arm, self._stage.shares(arm)[steps[compared]]
            counts = np.ascontiguousarray(self.counts[arm - 1][:, : self.kinds])
            bets = (classes[compared], ours, weights, counts, float(self.log_e[arm - 1]), float(self.top[arm - 1]))
            self.log_e[arm - 1], self.top[arm - 1] = mixes.add_mix(*bets)
            self.counts[arm - 1][:, : self.kinds] = counts

    def _largest(self, counts: np.ndarray) -> str:
        """The class whose share differs most."""
        shares = counts / counts.sum(axis=1, keepdims=True)
        k = int(np.abs(shares[1] - shares[0]).argmax())
        return f"{self._name(k)} went from {100 * shares[0, k]:.3g} % to {100 * shares[1, k]:.3g} %"

    def _name(self, k: int) -> str:
        if k == self.kinds - 1:
            return "all other classes" if self._metric.of == "class" else f"scores above {self.borders[k - 1]:.3g}"
        return f"class {self.borders[k]:.0f}" if self._metric.of == "class" else f"scores up to {self.borders[k]:.3g}"
