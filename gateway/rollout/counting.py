"""From records to counts: which of them count, of which units they are the first, and who is told of them.

A record with an event counts if its unit had none of that kind yet in the rollout, sampled or not. One of a sampled unit counts as that
unit's first call ever (latencies, mixes, the sample ratio), and as its first in this step (rates of units). Pairs likewise, apart from
calls: what a shadow has shown of a unit says nothing about its arm.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import numpy as np

from gateway.rollout.agreement import Agreement
from gateway.rollout.events import Condition, parse
from gateway.rollout.hits import Hits, sides_of
from gateway.rollout.labels import Labels
from gateway.rollout.mixes import Mixes
from gateway.rollout.plan import Metric, seconds
from gateway.rollout.queries import Queries
from gateway.rollout.records import CANDIDATE, STABLE, Flag, Kind
from gateway.rollout.slowness import Slowness
from gateway.rollout.stage import Stage
from gateway.rollout.streaks import Streak
from gateway.rollout.thresholds import is_latency
from gateway.rollout.units import FIRST, Units
from gateway.rollout.verdict import Found, Rule, Top

RATES = 15  # of flags, in one plan: each needs two marks of a unit
_PAIR_MARKS = 16  # where those of pairs begin
_NONE, _IN_STEP = np.uint32(0), np.uint32(1 << 30)
_SAMPLED, _CRASHED, _REJECTED, _SERVER_ERROR = map(np.uint16, (Flag.SAMPLED, Flag.CRASHED, Flag.REJECTED_INPUT, Flag.SERVER_ERROR))
_FAILED = np.uint16(Flag.SERVER_ERROR | Flag.BAD_OUTPUT)
_PAIR = np.uint8(Kind.PAIR)
_EXCLUDED = ("elsewhere", "warm_up", "repeated", "thinned")


class Counter(Protocol):
    """What one metric counts."""

    def enter(self) -> None:
        """Another step has begun."""

    def look(self, arm: int, rule: Rule) -> Top:
        """Where its evidence stands now."""

    def found(self, arm: int, rule: Rule) -> Found:
        """What it comes to."""


class Counting:
    """All counts of one rollout."""

    STATE = (
        "stage",
        "events",
        "calls",
        "pairs",
        "known",
        "arrived",
        "recorded",
        "warm",
        "warmed_up",
        "elsewhere",
        "warm_up",
        "repeated",
        "thinned",
    )

    def __init__(self, stage: Stage) -> None:
        """Raises `ValueError` for a plan with more rates than marks."""
        self.stage, analysis = stage, stage.plan.spec.analysis
        self._analysis = analysis
        self.events, self.calls, self.pairs = Units(), Units(), Units()
        self.arrived = np.zeros((stage.steps, stage.arms), np.int64)  # sampled units, by the step and arm of their first call
        self.recorded = np.zeros(stage.arms, np.int64)  # calls of sampled units
        self.warm, self.warmed_up = False, 0  # whether the warm-up is over, and calls of the arms beside stable in it
        self.elsewhere = self.warm_up = self.repeated = self.thinned = 0
        self.known = np.zeros((2, 256), np.bool_)  # calls and pairs of which steps count
        tolerated = max((metric.tolerate.ratio for metric in analysis.metrics), default=1.0)
        self.streaks = [Streak(analysis.consecutive_failures, tolerated) for _ in stage.names]
        self.counters: list[Counter] = [self._counter(metric) for metric in analysis.metrics]
        flagged = [(parse(metric.event), one) for metric, one in self._each() if isinstance(one, Hits)]
        if len(flagged) > RATES:
            raise ValueError(f"a plan has at most {RATES} rates of flags, and this one has {len(flagged)}")
        self._flagged: list[tuple[Condition, Hits]] = [(condition, one) for condition, one in flagged if isinstance(one, Hits)]
        # The marks of each combination of the first three flags, which are the events.
        self._marks = np.array(
            [sum(1 << bit for bit, (condition, _) in enumerate(self._flagged) if flags & condition.flags) for flags in range(8)], np.uint32
        )

    def enter(self, step: int, weight: int, now_s: float) -> None:
        """A step begins. Raises `ValueError`, as `Stage.enter`."""
        self.stage.enter(step, weight, now_s)
        self.known[0, : self.stage.steps] = self.stage.entered & ~self.stage.paired
        self.known[1, : self.stage.steps] = self.stage.entered & self.stage.paired
        self.calls.forget(int(_IN_STEP))
        self.pairs.forget(int(_IN_STEP))
        for counter in self.counters:
            counter.enter()

    def add(self, records: np.ndarray) -> None:
        """Records [n] of `RECORD`."""
        records = self._here(records)
        is_pair = records["kind"] == _PAIR
        if is_pair.any():
            self._add_pairs(records[is_pair])
            records = records[~is_pair]
        if len(records):
            self._follow(records)
            records = self._without_warm_up(records)
            self._add_events(records)
            self._add_calls(records[(records["flags"] & _SAMPLED) != 0])

    def excluded(self) -> dict[str, int]:
        """Records that did not count, by reason."""
        return {name: getattr(self, name) for name in _EXCLUDED if getattr(self, name)}

    def _counter(self, metric: Metric) -> Counter:
        if metric.type == "dominance":
            return Slowness(self.stage, metric)
        if metric.type == "rate":
            bound = parse(metric.event).above_s
            return Slowness(self.stage, metric, (bound,)) if is_latency(metric) else Hits(self.stage, metric, self.stage.seen)
        kinds: dict[str, Any] = {"distribution": Mixes, "agreement": Agreement, "label": Labels, "query": Queries}
        counter: Counter = kinds[metric.type](self.stage, metric)
        return counter

    def _each(self) -> list[tuple[Metric, Counter]]:
        return list(zip(self._analysis.metrics, self.counters, strict=True))

    def _here(self, records: np.ndarray) -> np.ndarray:
        """Those of steps that were entered and of arms that there are, pairs of shadow steps and calls of others."""
        step = records["step"]
        here = self.known[(records["kind"] == _PAIR).view(np.uint8), step] & (records["arm"] < self.stage.arms)
        self.elsewhere += len(records) - int(np.count_nonzero(here))
        return records if here.all() else np.asarray(records[here])

    def _without_warm_up(self, calls: np.ndarray) -> np.ndarray:
        if self.warm:
            return calls
        rule = self._analysis.warmup
        until_s = self.stage.entered_s + seconds(rule.duration) if seconds(rule.duration) else -math.inf
        candidates = (calls["arm"] != STABLE) & ((calls["flags"] & _SAMPLED) != 0)
        before = (self.warmed_up + np.cumsum(candidates) - candidates) / self._analysis.sample
        early = (before < rule.requests) | (calls["time_s"] < until_s)
        self.warmed_up += int(np.count_nonzero(candidates))
        self.warm_up += int(np.count_nonzero(early))
        self.warm = not early[-1]
        return np.asarray(calls[~early])

    def _follow(self, calls: np.ndarray) -> None:
        """Rows of failures are of sampled units, of whom what did not fail is known too, and of their order in time."""
        sampled = (calls["flags"] & _SAMPLED) != 0
        self.recorded += np.bincount(calls["arm"][sampled], minlength=self.stage.arms)
        told = calls[sampled | ((calls["flags"] & _CRASHED) != 0)]
        told = told[np.argsort(told["time_s"], kind="stable")]
        self._follow_ordered(told["unit"], told["arm"], (told["flags"] & _FAILED) != 0, (told["flags"] & _CRASHED) != 0)

    def _follow_ordered(self, units: np.ndarray, arms: np.ndarray, failed: np.ndarray, crashed: np.ndarray) -> None:
        alone = self.stage.in_shadow or not self.stage.weights[self.stage.step, STABLE]
        for arm, streak in enumerate(self.streaks, CANDIDATE):
            compared = (arms == STABLE) | (arms == arm)
            streak.add(units[compared], arms[compared] == arm, failed[compared], crashed[compared], alone=alone)

    def _add_events(self, calls: np.ndarray) -> None:
        marks = self._marks[calls["flags"] & 7]
        calls, marks = calls[marks != 0], marks[marks != 0]
        fresh = self._marked(self.events, calls["unit"], marks)
        for bit, (_, hits) in enumerate(self._flagged):
            first = (fresh & (1 << bit)) != 0
            if first.any():
                hits.add_events(calls["step"][first], calls["arm"][first])

    def _add_calls(self, calls: np.ndarray) -> None:
        """Of sampled units."""
        stage = self.stage
        arms = calls["arm"].astype(np.int64)
        now = calls["step"] == stage.step
        fresh = self._marked(self.calls, calls["unit"], (np.uint32(1) << calls["arm"].astype(np.uint32)) | np.where(now, _IN_STEP, _NONE))
        ever = (fresh & FIRST) != 0
        units = 1 / (self._analysis.sample * self.calls.share)
        np.add.at(self.arrived, (calls["step"][ever], arms[ever]), 1)
        in_arm = (fresh & ~(FIRST | _IN_STEP)) != 0
        stage.seen += units * np.bincount(arms[in_arm], minlength=stage.arms)
        in_step = (fresh & _IN_STEP) != 0
        stage.step_seen += units * np.bincount(arms[in_step], minlength=stage.arms)
        for condition, hits in self._flagged:
            hits.add_units(arms[in_step], (calls["flags"][in_step] & np.uint16(condition.flags)) != 0)
        self._compare(calls[ever], now[ever])

    def _compare(self, calls: np.ndarray, now: np.ndarray) -> None:
        """First calls of units ever, and which of them are of this step."""
        answered = (calls["flags"] & (_SERVER_ERROR | _REJECTED)) == 0
        timed = calls[now & ((calls["flags"] & _REJECTED) == 0)]
        for metric, counter in self._each():
            if isinstance(counter, Slowness):
                times = _times(metric, timed)
                chosen = _one_a_run(timed, times)
                counter.add(times[chosen], timed["arm"][chosen], timed["batch_rows"][chosen])
            elif isinstance(counter, Mixes):
                told = calls[answered]
                counter.add(told["value"].astype(np.float64), told["arm"].astype(np.int64), told["step"].astype(np.int64))

    def _add_pairs(self, pairs: np.ndarray) -> None:
        stage = self.stage
        failed, other = pairs["flags"], pairs["other_flags"]
        if self.streaks:  # of what stable could answer
            fair = pairs[((other & _FAILED) == 0) & (((failed & _SAMPLED) != 0) | ((failed & _CRASHED) != 0))]
            fair = fair[np.argsort(fair["time_s"], kind="stable")]
            bad, crashed = (fair["flags"] & _FAILED) != 0, (fair["flags"] & _CRASHED) != 0
            self._follow_ordered(fair["unit"], np.full(len(fair), CANDIDATE, np.uint8), bad, crashed)
        ours, theirs = self._marks[failed & 7], self._marks[other & 7]
        self._add_pair_events(pairs, ours, theirs)
        sampled = (failed & _SAMPLED) != 0
        now = pairs["step"][sampled] == stage.step
        fresh = self._marked(self.pairs, pairs["unit"][sampled], np.where(now, _IN_STEP | np.uint32(1), np.uint32(1)))
        units = 1 / (self._analysis.sample * self.pairs.share)
        stage.seen[: CANDIDATE + 1] += units * np.count_nonzero(fresh & FIRST)
        first = np.flatnonzero(sampled)[(fresh & _IN_STEP) != 0]
        stage.step_seen[: CANDIDATE + 1] += units * len(first)
        self._add_first_pairs(pairs[first], ours[first], theirs[first])

    def _add_pair_events(self, pairs: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> None:
        either = ours | theirs
        told = either != 0
        fresh = self._marked(self.events, pairs["unit"][told], either[told] << np.uint32(_PAIR_MARKS))
        for bit, (_, hits) in enumerate(self._flagged):
            first = np.flatnonzero(told)[(fresh >> np.uint32(_PAIR_MARKS) & (1 << bit)) != 0]
            if len(first):
                hits.add_pair_events(pairs["step"][first], sides_of(*((of[first] & (1 << bit)) != 0 for of in (ours, theirs))))

    def _add_first_pairs(self, pairs: np.ndarray, ours: np.ndarray, theirs: np.ndarray) -> None:
        """Pairs of units by their first in this step."""
        for bit, (_, hits) in enumerate(self._flagged):
            candidate, stable = (ours & (1 << bit)) != 0, (theirs & (1 << bit)) != 0
            hits.add_pairs(len(pairs), sides_of(candidate, stable)[candidate | stable])
        for counter in self.counters:
            if isinstance(counter, Agreement):
                flags = pairs["flags"]
                counter.add((flags & Flag.AGREES) != 0, (flags & Flag.CLASS_CHANGED) != 0)

    def _marked(self, kept: Units, units: np.ndarray, marks: np.ndarray) -> np.ndarray:
        before = kept.passed_over
        fresh = kept.mark(np.ascontiguousarray(units), marks)
        self.thinned += kept.passed_over - before
        self.repeated += int(np.count_nonzero(fresh == 0)) - (kept.passed_over - before)
        return fresh


def _times(metric: Metric, calls: np.ndarray) -> np.ndarray:
    """Latencies in seconds: inf of a call that was never answered in time, or that had another event of the metric."""
    condition = Condition(Flag.SERVER_ERROR) if metric.type == "dominance" else parse(metric.event)
    late = (calls["flags"] & np.uint16(condition.flags)) != 0
    return np.where(late, math.inf, calls["latency_s"].astype(np.float64))


def _one_a_run(calls: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Which calls speak for their runs, in order: all of a run took as long, so that many of them say no more than one.

    Of those that failed one speaks, too. Calls that nobody waited for have no time (NaN), and say nothing.
    """
    known = np.flatnonzero(~np.isnan(times))
    run = np.stack((calls["time_s"][known], calls["arm"][known], np.isinf(times[known])))
    order = np.lexsort(run)
    first = np.ones(len(known), np.bool_)
    first[1:] = (np.diff(run[:, order], axis=1) != 0).any(axis=0)
    return np.sort(known[order[first]])
