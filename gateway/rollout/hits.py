"""Units that something happened to, by step and arm, and the evidence in them: of a ratio of rates, and of their difference.

A unit counts once in a rollout, at the step of its first event. The difference is of this step alone, of units by their first call in it:
one observation each, made once and for all. Pairs count likewise, by which side had the event. Rates are of units, not of calls: who fails
a hundred times failed once.
"""

from __future__ import annotations

import numpy as np

from gateway.rollout.plan import Metric
from gateway.rollout.stage import Stage
from gateway.rollout.verdict import Found, Level, Rule, Top, finite
from kernels import odds, proportions

ONLY_CANDIDATE, ONLY_STABLE, BOTH = 0, 1, 2  # columns of pairs


class Hits:
    """The counts of one metric."""

    STATE = ("events", "pairs", "events_before", "pairs_before", "looked_at", "hit", "paired", "pairs_hit")

    def __init__(self, stage: Stage, metric: Metric, seen: np.ndarray) -> None:
        """seen: [arms] units that were looked at since the rollout began, which somebody else counts."""
        self._stage, self._metric, self._seen = stage, metric, seen
        self._ratio, self._above = metric.tolerate.ratio, odds.above(metric.tolerate.ratio)
        self._margin = metric.pass_if.ratio if metric.pass_if else None
        self._below = odds.below(self._margin or 1.0)
        self.events, self.pairs = np.zeros((stage.steps, stage.arms), np.int64), np.zeros((stage.steps, 3), np.int64)
        self.events_before, self.pairs_before = self.events.copy(), self.pairs.copy()  # this step began
        self.looked_at, self.hit = np.zeros(stage.arms, np.int64), np.zeros(stage.arms, np.int64)  # units by their first call in this step
        self.paired, self.pairs_hit = 0, np.zeros(3, np.int64)

    def enter(self) -> None:
        """Another step has begun: what speaks for the candidate begins anew, what speaks against it goes on."""
        self.events_before, self.pairs_before = self.events.copy(), self.pairs.copy()
        self.looked_at[:] = self.hit[:] = self.pairs_hit[:] = 0
        self.paired = 0

    def add_events(self, steps: np.ndarray, arms: np.ndarray) -> None:
        """Units with their first event: step and arm of each."""
        np.add.at(self.events, (steps, arms), 1)

    def add_units(self, arms: np.ndarray, hit: np.ndarray) -> None:
        """Units by their first call in this step: arm, and whether it had the event."""
        self.looked_at += np.bincount(arms, minlength=self._stage.arms)
        self.hit += np.bincount(arms[hit], minlength=self._stage.arms)

    def add_pair_events(self, steps: np.ndarray, sides: np.ndarray) -> None:
        """Units with their first pair of which a side had the event: step, and which (`ONLY_CANDIDATE` …)."""
        np.add.at(self.pairs, (steps, sides), 1)

    def add_pairs(self, count: int, sides: np.ndarray) -> None:
        """Units by their first pair in this step: how many, and the sides of those where one had the event."""
        self.paired += count
        self.pairs_hit += np.bincount(sides, minlength=3)

    def look(self, arm: int, rule: Rule) -> Top:
        """Where the evidence stands now."""
        margin = self._metric.pass_if
        fail = odds.log_odds(*self._columns(arm), self._above, self._ratio)
        passes, within = 0.0, False
        if self._margin is not None:
            passes = odds.log_odds(*self._columns(arm, this_step=True), self._below, self._margin)
        if margin is not None and margin.or_abs is not None:
            within = self._difference(arm, rule.pass_at)[1] < margin.or_abs
        return Top(fail=fail, passes=passes, within=within)

    def found(self, arm: int, rule: Rule) -> Found:
        """What it all comes to; bounds are as sure as a pass has to be."""
        columns, now = self._columns(arm), self.look(arm, rule)
        low, high = odds.ratio_bounds(*columns, odds.BOTH_SIDES, rule.pass_at)
        compared = (self.looked_at[0] and self.looked_at[arm]) or self.paired
        difference = self._difference(arm, rule.pass_at) if compared else (None, None)
        shadow = self._stage.in_shadow
        sides = self.pairs_hit[[ONLY_CANDIDATE, ONLY_STABLE]] + self.pairs_hit[BOTH]
        return Found(
            levels=self._levels(arm),
            units=(round(self._seen[arm]), round(self._seen[0])),
            events=(int((columns[0] + columns[2]).sum()), int((columns[1] + columns[2]).sum())),
            step_units=(self.paired, self.paired) if shadow else (int(self.looked_at[arm]), int(self.looked_at[0])),
            step_events=(int(sides[0]), int(sides[1])) if shadow else (int(self.hit[arm]), int(self.hit[0])),
            ratio=finite(odds.ratio_estimate(*columns)),
            ratio_low=low,
            ratio_high=finite(high),
            difference_low=difference[0],
            difference_high=difference[1],
            log_e_fail=now.fail,
            log_e_pass=None if self._margin is None else now.passes,
        )

    def _columns(self, arm: int, *, this_step: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """a, b, both, w of the odds test, one level for each step."""
        events, pairs, shares = self.events, self.pairs, self._stage.shares(arm)
        if this_step:
            at = slice(self._stage.step, self._stage.step + 1)
            events, pairs, shares = (events - self.events_before)[at], (pairs - self.pairs_before)[at], shares[at]
        ours, theirs = events[:, arm] + pairs[:, ONLY_CANDIDATE], events[:, 0] + pairs[:, ONLY_STABLE]
        return ours.astype(np.float64), theirs.astype(np.float64), pairs[:, BOTH].astype(np.float64), shares

    def _difference(self, arm: int, log_level: float) -> tuple[float, float]:
        """Bounds on the candidate's rate less stable's in this step; of pairs, of those that only one side failed."""
        if self._stage.in_shadow:
            ours, theirs = (float(self.pairs_hit[side]) for side in (ONLY_CANDIDATE, ONLY_STABLE))
            return proportions.difference_bounds(ours, float(self.paired), theirs, float(self.paired), log_level)
        ours, theirs = float(self.hit[arm]), float(self.hit[0])
        return proportions.difference_bounds(ours, float(self.looked_at[arm]), theirs, float(self.looked_at[0]), log_level)

    def _levels(self, arm: int) -> tuple[Level, ...]:
        shares, stage = self._stage.shares(arm), self._stage
        return tuple(Level(step, float(shares[step]), *self._sides(step, arm)) for step in range(stage.steps) if stage.entered[step])

    def _sides(self, step: int, arm: int) -> tuple[int, int, int]:
        if self._stage.paired[step]:
            ours, theirs, both = (int(count) for count in self.pairs[step])
            return ours, theirs, both
        return int(self.events[step, arm]), int(self.events[step, 0]), 0


def sides_of(candidate: np.ndarray, stable: np.ndarray) -> np.ndarray:
    """Which column of `Hits.pairs` each pair belongs to, int64 [n]; of those where neither had the event, any."""
    return np.where(candidate & stable, BOTH, np.where(candidate, ONLY_CANDIDATE, ONLY_STABLE))
