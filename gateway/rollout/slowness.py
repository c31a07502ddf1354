"""Whether the candidate is slower, among runs of equal size: how often runs are above one bound, or above any of twelve edges.

Each unit of the sample counts by its first call in the rollout, and each run once, by one of those. A call that failed was never answered:
no time is long enough for it. Of an event that names flags too, those calls are above the bound as well. Ratios here are of odds, which are
farther from 1 than those of rates: a candidate whose odds are shown to be within a margin has its rate within it. See
`kernels.strata` for what is assumed.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from gateway.rollout.plan import Metric
from gateway.rollout.stage import Stage
from gateway.rollout.thresholds import GRAIN_S
from gateway.rollout.verdict import Found, Rule, Top, finite
from kernels import odds, strata
from kernels.evidence import log_mean_exp

SCOUTS = 256  # calls of both arms, before their arms are looked at, whose quantiles become the edges
_QUANTILES = (0.1, 0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)  # at which a pass is asked for
_BEYOND = (1.5, 3.0)  # times the last of them: a tail that was not there before
_NO_MARGIN = 0.5  # of a metric without one, whose capital nobody reads


class Slowness:
    """The calls of one metric. `bounds`: seconds; none for edges that the calls themselves suggest."""

    STATE = (
        "edges", "scouts", "scouted", "waiting", "waiting_ours", "filled", "hits", "log_mass", "log_capital", "hits_before",
        "log_mass_before", "looked_at", "above", "step_looked_at", "step_above",
    )  # fmt: skip

    def __init__(self, stage: Stage, metric: Metric, bounds: tuple[float, ...] = ()) -> None:
        self._stage, self._metric, arms = stage, metric, stage.arms
        self._points = _Points(metric)
        # Of a bound that a plan names the bound is the tolerance.
        self._slower, self._grain_s = (1.0, 0.0) if bounds else (metric.tolerate.slower, GRAIN_S)
        margin = metric.pass_if.or_abs if metric.pass_if else None
        self._margin = _NO_MARGIN if margin is None else margin
        self.edges = np.array(bounds, np.float64) if bounds else np.full(len(_QUANTILES) + len(_BEYOND), np.nan)
        edges = len(self.edges)
        self._asked = edges if bounds else len(_QUANTILES)  # the first so many edges
        # Calls that came before the edges were known: latency, arm, stratum.
        self.scouts, self.scouted = np.zeros((SCOUTS, 3)), 0
        self.waiting = np.zeros((arms - 1, strata.STRATA, strata.BLOCK))
        self.waiting_ours = np.zeros(self.waiting.shape, np.bool_)
        self.filled = np.zeros((arms - 1, strata.STRATA), np.int64)
        self.hits, self.log_mass = np.zeros((arms - 1, edges)), np.zeros((arms - 1, edges, len(self._points.log)))
        self.hits_before, self.log_mass_before = self.hits.copy(), self.log_mass.copy()
        self.log_capital = np.zeros((arms - 1, edges, strata.STAKES))  # of this step
        self.looked_at, self.above = np.zeros(arms, np.int64), np.zeros((arms, edges), np.int64)
        self.step_looked_at, self.step_above = self.looked_at.copy(), self.above.copy()

    def enter(self) -> None:
        """Another step has begun, with another split: no block may hold calls of both."""
        if self.scouted and not self._ready:
            self.scouted = 0
        for arm in range(1, self._stage.arms):
            strata.close_blocks(*self._blocks(arm), *self._state(arm))
        self.hits_before, self.log_mass_before = self.hits.copy(), self.log_mass.copy()
        self.log_capital[:] = 0.0
        self.step_looked_at[:] = 0
        self.step_above[:] = 0

    def add(self, latency_s: np.ndarray, arms: np.ndarray, batch_rows: np.ndarray) -> None:
        """One first call of a unit of each run, in this step. latency_s: [n], inf for one that failed."""
        where = strata.strata_of(batch_rows)
        latency_s = np.where(arms == 0, latency_s, (latency_s - self._grain_s) / self._slower)
        if not self._ready:
            taken = min(SCOUTS - self.scouted, len(arms))
            self.scouts[self.scouted : self.scouted + taken] = np.stack((latency_s[:taken], arms[:taken], where[:taken]), axis=1)
            self.scouted += taken
            if self.scouted < SCOUTS:
                return
            self.edges[:] = _edges_of(self.scouts[:, 0])
            self._count(*(self.scouts[:, column].copy() for column in range(3)))
            latency_s, arms, where = latency_s[taken:], arms[taken:], where[taken:]
        self._count(latency_s, arms, where)

    def look(self, arm: int, rule: Rule) -> Top:
        """Where the evidence stands now."""
        margin = self._metric.pass_if
        passes, within = 0.0, False
        if margin is not None and margin.ratio is not None:
            passes = float(self._passes(arm)[: self._asked].min())
        if margin is not None and margin.or_abs is not None:
            capital = [log_mean_exp(one) for one in self.log_capital[arm - 1, : self._asked]]
            within = min(capital) >= rule.pass_at
        return Top(fail=log_mean_exp(self._fails(arm)), passes=passes, within=within)

    def found(self, arm: int, rule: Rule) -> Found:
        """What it comes to, at the bound or at the edge with the strongest evidence."""
        now, margin = self.look(arm, rule), self._metric.pass_if
        worst = int(np.argmax(self._fails(arm)))
        ratio, low, high = self._points.interval(self.hits[arm - 1, worst], self.log_mass[arm - 1, worst], rule.pass_at)
        known = margin is not None and margin.ratio is not None
        return Found(
            units=(int(self.looked_at[arm]), int(self.looked_at[0])),
            events=(int(self.above[arm, worst]), int(self.above[0, worst])),
            step_units=(int(self.step_looked_at[arm]), int(self.step_looked_at[0])),
            step_events=(int(self.step_above[arm, worst]), int(self.step_above[0, worst])),
            ratio=finite(ratio),
            ratio_low=low,
            ratio_high=finite(high),
            log_e_fail=now.fail,
            log_e_pass=now.passes if known else None,
            detail=f"over {1e3 * self.edges[worst]:.3g} ms" if self._ready else "",
        )

    @property
    def _ready(self) -> bool:
        return not math.isnan(self.edges[0])

    def _count(self, latency_s: np.ndarray, arms: np.ndarray, where: np.ndarray) -> None:
        arms, where = arms.astype(np.int64), where.astype(np.int64)
        above = latency_s[:, None] > self.edges
        for arm in range(self._stage.arms):
            own = arms == arm
            self.looked_at[arm] += np.count_nonzero(own)
            self.step_looked_at[arm] += np.count_nonzero(own)
            self.above[arm] += above[own].sum(axis=0)
            self.step_above[arm] += above[own].sum(axis=0)
            if arm:
                compared = own | (arms == 0)
                strata.add_calls(latency_s[compared], own[compared], where[compared], *self._blocks(arm), *self._state(arm))

    def _blocks(self, arm: int) -> tuple[Any, ...]:
        return self.waiting[arm - 1], self.waiting_ours[arm - 1], self.filled[arm - 1]

    def _state(self, arm: int) -> tuple[Any, ...]:
        at = arm - 1
        return self.edges, self._points.log, self._margin, self.hits[at], self.log_mass[at], self.log_capital[at]

    def _fails(self, arm: int) -> np.ndarray:
        """ln E of each edge."""
        return self._points.against(self._points.fail, self.hits[arm - 1], self.log_mass[arm - 1])

    def _passes(self, arm: int) -> np.ndarray:
        hits, mass = self.hits[arm - 1] - self.hits_before[arm - 1], self.log_mass[arm - 1] - self.log_mass_before[arm - 1]
        return self._points.against(self._points.passes, hits, mass)


class _Points:
    """The odds at which likelihoods are kept: those that are tested, their alternatives, and a grid for what is likeliest."""

    def __init__(self, metric: Metric) -> None:
        margin = metric.pass_if.ratio if metric.pass_if and metric.pass_if.ratio else 1.0
        grids = (odds.above(metric.tolerate.ratio), odds.below(margin), odds.BOTH_SIDES)
        self.log = np.log(np.concatenate(([metric.tolerate.ratio, margin], *grids)))
        first = 2 + np.cumsum([0, *map(len, grids)])
        self.fail, self.passes = (0, slice(first[0], first[1])), (1, slice(first[1], first[2]))
        self._grid = slice(first[2], first[3])

    def against(self, test: tuple[int, slice], hits: np.ndarray, log_mass: np.ndarray) -> np.ndarray:
        """ln E of each edge: a mean over alternatives of likelihood ratios to the tested odds. hits: [edges]; log_mass: [edges, points]."""
        tested, others = test
        likelihood = hits[:, None] * self.log - log_mass
        ratios = likelihood[:, others] - likelihood[:, [tested]]
        top = ratios.max(axis=1)
        return np.asarray(top + np.log(np.exp(ratios - top[:, None]).mean(axis=1)))

    def interval(self, hits: float, log_mass: np.ndarray, log_level: float) -> tuple[float, float, float]:
        """(likeliest, low, high) odds on the grid, the bounds outwards to its next point; 0 or inf beyond it."""
        likelihood = (hits * self.log - log_mass)[self._grid]
        if not likelihood.any():
            return math.nan, 0.0, math.inf
        inside = np.flatnonzero(log_mean_exp(likelihood) - likelihood < log_level)
        grid = np.exp(self.log[self._grid])
        low = grid[inside[0] - 1] if inside[0] > 0 else 0.0
        high = grid[inside[-1] + 1] if inside[-1] + 1 < len(grid) else math.inf
        return float(grid[likelihood.argmax()]), float(low), float(high)


def _edges_of(latency_s: np.ndarray) -> np.ndarray:
    """Quantiles of calls of both arms, of those that were answered, and beyond."""
    answered = latency_s[np.isfinite(latency_s)]
    quantiles = np.quantile(answered, _QUANTILES) if len(answered) else np.ones(len(_QUANTILES))
    return np.concatenate((quantiles, [quantiles[-1] * times for times in _BEYOND]))
