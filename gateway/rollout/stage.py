"""Where a rollout is: its steps, with which probabilities they assign units to arms, and how many units were seen."""

from __future__ import annotations

import numpy as np

from gateway.rollout.plan import WEIGHT_UNITS, Plan, weight_units


class Stage:
    """The steps of one plan. A step's weights are known once it has been entered."""

    STATE = ("step", "entered_s", "entered", "weights", "seen", "step_seen")

    def __init__(self, plan: Plan) -> None:
        steps, split = plan.steps(), plan.spec.strategy.ab
        self.plan = plan
        self.names = ("canary",) if split is None else tuple(arm.name for arm in split.arms)  # of arms 1 …
        self._shares: dict[int, np.ndarray] = {}
        self._split = None if split is None else np.array([weight_units(arm.weight) for arm in split.arms], np.float64)
        self.arms = 1 + len(self.names)
        self.paired = np.array([step.shadow is not None for step in steps], np.bool_)
        self.step, self.entered_s = -1, 0.0
        self.entered = np.zeros(len(steps), np.bool_)
        self.weights = np.zeros((len(steps), self.arms))
        self.seen, self.step_seen = np.zeros(self.arms), np.zeros(self.arms)  # units by arm: ever, in this step; of pairs, as candidate's

    @property
    def steps(self) -> int:
        """How many there are."""
        return len(self.paired)

    @property
    def in_shadow(self) -> bool:
        """Whether this step compares pairs."""
        return self.step >= 0 and bool(self.paired[self.step])

    def enter(self, step: int, weight: int, now_s: float) -> None:
        """A step begins. weight: of all arms beside stable, in `WEIGHT_UNITS`. Raises `ValueError` for one that contradicts the plan or
        what the step's weight was before."""
        if not 0 <= step < self.steps:
            raise ValueError(f"step {step} of a plan of {self.steps}")
        weights = self._weights_of(weight)
        if self.entered[step] and not np.array_equal(weights, self.weights[step]):
            raise ValueError(f"step {step} had another weight than {weight} before")
        self.weights[step], self.entered[step] = weights, True
        self.step, self.entered_s = step, now_s
        self._shares.clear()
        self.step_seen[:] = 0

    def shares(self, arm: int) -> np.ndarray:
        """Of each step the probability with which a unit of this arm or stable is this arm's, [steps]; ½ of pairs, else 0 before it."""
        if arm not in self._shares:
            both = self.weights[:, 0] + self.weights[:, arm]
            self._shares[arm] = np.divide(self.weights[:, arm], both, out=np.zeros(self.steps), where=both > 0)
            self._shares[arm][self.paired] = 0.5
        return self._shares[arm]

    def _weights_of(self, weight: int) -> np.ndarray:
        if not 0 <= weight <= WEIGHT_UNITS:
            raise ValueError(f"a weight of {weight}, and the whole is {WEIGHT_UNITS}")
        if self._split is None:
            return np.array([WEIGHT_UNITS - weight, weight]) / WEIGHT_UNITS
        if weight not in (0, int(self._split.sum())):
            raise ValueError(f"a weight of {weight}, and the plan's arms have {int(self._split.sum())}")
        arms = self._split if weight else np.zeros_like(self._split)
        return np.array([WEIGHT_UNITS - weight, *arms]) / WEIGHT_UNITS
