"""How often shadow and stable say the same, against what the plan asks for. Each unit of the sample counts by its first pair in a step."""

from __future__ import annotations

import numpy as np

from gateway.rollout.plan import Metric
from gateway.rollout.stage import Stage
from gateway.rollout.verdict import Found, Rule, Top
from kernels.evidence import log_rate
from kernels.proportions import proportion_bounds


class Agreement:
    """The pairs of one metric: evidence that they agree too rarely of all steps, that they agree often enough of this one."""

    STATE = ("pairs", "agreeing", "pairs_before", "agreeing_before", "changed")

    def __init__(self, stage: Stage, metric: Metric) -> None:
        self._stage, self._least = stage, metric.min
        self.pairs = self.agreeing = self.pairs_before = self.agreeing_before = 0
        self.changed = 0  # pairs of which the classes differ

    def enter(self) -> None:
        """Another step has begun."""
        self.pairs_before, self.agreeing_before = self.pairs, self.agreeing

    def add(self, agrees: np.ndarray, changed: np.ndarray) -> None:
        """First pairs of units in this step: whether they agree, and whether the class is another."""
        self.pairs += len(agrees)
        self.agreeing += int(np.count_nonzero(agrees))
        self.changed += int(np.count_nonzero(changed))

    def look(self, arm: int, rule: Rule) -> Top:
        """Where the evidence stands now."""
        now, agreeing = self.pairs - self.pairs_before, self.agreeing - self.agreeing_before
        fail = log_rate(float(self.pairs - self.agreeing), float(self.pairs), 1.0 - self._least, 1.0)
        return Top(fail=fail, passes=log_rate(float(agreeing), float(now), self._least, 1.0))

    def found(self, arm: int, rule: Rule) -> Found:
        """The rate and its bounds in this step, or in all so far if this one is no shadow. There is no other arm to compare it with."""
        now, agreeing = self.pairs, self.agreeing
        if self._stage.in_shadow:
            now, agreeing = now - self.pairs_before, agreeing - self.agreeing_before
        low, high = proportion_bounds(float(agreeing), float(now), rule.pass_at)
        top = self.look(arm, rule)
        share = f"{agreeing:,} of {now:,} pairs agree ({100 * low:.4g} to {100 * high:.4g} %), and {100 * self._least:.4g} % should"
        return Found(
            units=(self.pairs, self.pairs),
            events=(self.pairs - self.agreeing, 0),
            step_units=(now, now),
            step_events=(now - agreeing, 0),
            difference_low=1.0 - high,
            difference_high=1.0 - low,
            log_e_fail=top.fail,
            log_e_pass=top.passes,
            detail=share + (f"; the class is another in {self.changed:,}" if self.changed else ""),
        )
