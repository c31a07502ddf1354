"""The evidence of one rollout: takes what workers recorded of single requests, each unit once, and says at any time what follows from it.

Owns the counts, and what evidence has been at its strongest. Knows no clock, no ring and no journal: times and records are handed in. All
tests may be looked at as often as one likes. What speaks for the candidate begins anew with each step, what speaks against it goes on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

import msgspec
import numpy as np

from gateway.rollout.counting import Counting
from gateway.rollout.labels import Labels
from gateway.rollout.plan import Plan, Until
from gateway.rollout.queries import Queries
from gateway.rollout.records import RECORD, Kind
from gateway.rollout.saved import SavedError, SavedPart, put, taken
from gateway.rollout.sentences import metric_sentence, ratio_sentence, step_sentence
from gateway.rollout.stage import Stage
from gateway.rollout.thresholds import rule_of
from gateway.rollout.verdict import CERTAIN, MetricVerdict, Rule, SampleRatio, StepVerdict, Top, judge, judge_step
from kernels.assignment import CONCENTRATION, log_sample_ratio

FORMAT = 1
Told = TypeVar("Told", Labels, Queries)  # what is told otherwise than by records


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """All of it, for a file."""

    format: int = FORMAT
    plan: str  # digest
    tally: SavedPart
    counting: SavedPart
    counters: tuple[SavedPart, ...]
    streaks: tuple[SavedPart, ...]


class _Head(msgspec.Struct):
    format: int
    plan: str


class Tally:
    """What is known of one rollout. Raises `ValueError` for a plan whose metrics cannot be counted."""

    STATE = ("fail", "passes", "within", "ratio", "assigned_calls", "ended_calls")

    def __init__(self, plan: Plan) -> None:
        self._plan, self._analysis = plan, plan.spec.analysis
        self._stage = Stage(plan)
        self._counting = Counting(self._stage)
        shape = len(self._analysis.metrics), len(self._stage.names)
        self.fail, self.passes, self.within = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_)  # at their strongest
        self._rules = [
            [
                [rule_of(metric, self._analysis, name, arms=shape[1], shadow=shadow) for shadow in (False, True)]
                for name in self._stage.names
            ]
            for metric in self._analysis.metrics
        ]
        self.ratio = 0.0  # the strongest evidence against the sample ratio
        self.assigned_calls, self.ended_calls = np.zeros(self._stage.arms, np.int64), np.zeros(self._stage.arms, np.int64)
        # In what verdicts are made of, here and not in a document: while it stays the same, so do they, but for their time.
        self.changes = 0
        self._looked = -1  # changes when evidence was looked at last

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms beside stable."""
        return tuple(self._stage.names)

    @property
    def step(self) -> int:
        """The one that was entered last; −1 before any."""
        return self._stage.step

    def enter(self, step: int, weight: int, now_s: float) -> None:
        """A step begins in which requests are divided or copied, waiting ones included. weight: of all arms beside stable, in
        `plan.WEIGHT_UNITS`; 0 of a shadow. Raises `ValueError` for a step or weight that contradicts the plan or what was before."""
        self.changes += 1
        self._counting.enter(step, weight, now_s)
        self.passes[:] = 0.0
        self.within[:] = False

    def add(self, records: np.ndarray) -> None:
        """Records [n] of `RECORD`, of this rollout, in about the order of time. Raises `ValueError` for another dtype."""
        if records.dtype != RECORD:
            raise ValueError(f"records of {records.dtype}, and not of gateway.rollout.records.RECORD")
        if len(records):
            self.changes += 1
            self._counting.add(records)
            self._look()

    def assigned(self, assigned: Sequence[int], ended: Sequence[int]) -> None:
        """Requests by arm since the rollout began, as workers count all of them: assigned, and ended in any way. They tell where units are
        missing; the sample ratio itself is of units, since requests of one unit all go to one arm."""
        before = self.assigned_calls.tolist(), self.ended_calls.tolist()
        self.assigned_calls[:], self.ended_calls[:] = assigned, ended
        self.changes += before != (list(assigned), list(ended))

    def labelled(self, metric: str, answers: np.ndarray) -> None:
        """Labels of earlier answers came: [n] of `labels.LABELLED`, of which a unit's first counts however often it is told. Raises
        `KeyError` for no metric of labels."""
        self.changes += 1
        here = self._counting.known[(answers["kind"] == Kind.PAIR).astype(np.intp), answers["step"]]
        self._counter(metric, Labels).add(answers[here & (answers["arm"] < self._stage.arms)])
        self._look()

    def unlabelled(self, metric: str, why: str) -> None:
        """No label will come. Raises `KeyError` for no metric of labels."""
        self.changes += 1
        self._counter(metric, Labels).none = why

    def queried(self, metric: str, value: float | None, error: str = "") -> None:
        """A query was answered, or could not be. Raises `KeyError` for no query."""
        self.changes += 1
        counter = self._counter(metric, Queries)
        if value is None:
            counter.failed(error)
        else:
            counter.answered(value)
        self._look()

    def verdicts(self, now_s: float) -> StepVerdict:
        """What follows for the step that was entered last. Raises `ValueError` before any."""
        if self.step < 0:
            raise ValueError("no step has been entered")
        self._look()
        metrics = tuple(self._verdict(index, arm) for index in range(len(self._analysis.metrics)) for arm in range(1, self._stage.arms))
        ratio, until = self._ratio(), self._plan.steps()[self.step].until or Until()
        fast = next((reason for reason in map(self._fast, range(1, self._stage.arms)) if reason), None)
        units = int(self._stage.step_seen.min())
        verdict = judge_step(metrics, fast=fast, invalid=ratio.tripped, units=units, min_units=until.min_units)
        pausing = [one.sentence for one in metrics if one.tripped and not one.dry_run and not one.critical]
        return StepVerdict(
            step=self.step,
            weight=float(self._stage.weights[self.step, 1:].sum()),
            time_s=now_s,
            verdict=verdict,
            units=units,
            min_units=until.min_units,
            metrics=metrics,
            sample_ratio=ratio,
            fast=fast,
            pause=pausing[0] if pausing else None,
            excluded=self._counting.excluded(),
            sentence=step_sentence(metrics, verdict, ratio, fast=fast, units=units, min_units=until.min_units),
        )

    def document(self) -> bytes:
        """Everything, to go on from."""
        counting = self._counting
        document = Document(
            plan=_digest(self._plan),
            tally=taken(self),
            counting=taken(counting),
            counters=tuple(map(taken, counting.counters)),
            streaks=tuple(map(taken, counting.streaks)),
        )
        return msgspec.msgpack.encode(document)

    @classmethod
    def restore(cls, plan: Plan, content: bytes) -> Tally:
        """The tally as it was. Raises `SavedError` for a document of another plan or format, or that contradicts itself."""
        document = _document(content, plan)
        tally = cls(plan)
        counting = tally._counting
        try:
            put(tally, document.tally)
            put(counting, document.counting)
            for part, saved in zip(counting.counters, document.counters, strict=True):
                put(part, saved)
            for streak, saved in zip(counting.streaks, document.streaks, strict=True):
                put(streak, saved)
        except (ValueError, IndexError) as error:
            raise SavedError(f"the saved evidence contradicts itself: {error}") from error
        return tally

    def _look(self) -> None:
        """Remember evidence where it is stronger than ever. With a wrong sample ratio none is worth anything."""
        if self._looked == self.changes:
            return
        self._looked = self.changes
        self.ratio = max(self.ratio, self._log_ratio())
        if self.step < 0 or self._is_invalid:
            return
        for index, counter in enumerate(self._counting.counters):
            for arm in range(1, self._stage.arms):
                now = counter.look(arm, self._rule(index, arm))
                at = index, arm - 1
                self.fail[at], self.passes[at] = max(self.fail[at], now.fail), max(self.passes[at], now.passes)
                self.within[at] |= now.within

    @property
    def _is_invalid(self) -> bool:
        return self.ratio >= -math.log(self._analysis.alpha.srm)

    def _log_ratio(self) -> float:
        stage = self._stage
        divided = stage.entered & ~stage.paired
        if not divided.any():
            return 0.0
        log_e = log_sample_ratio(self._counting.arrived[divided].astype(np.float64), stage.weights[divided], CONCENTRATION)
        return min(log_e, CERTAIN)

    def _rule(self, index: int, arm: int) -> Rule:
        return self._rules[index][arm - 1][self._stage.in_shadow]

    def _verdict(self, index: int, arm: int) -> MetricVerdict:
        rule, at = self._rule(index, arm), (index, arm - 1)
        found = self._counting.counters[index].found(arm, rule)
        top = Top(fail=float(self.fail[at]), passes=float(self.passes[at]), within=bool(self.within[at]))
        verdict = judge(rule, found, top, invalid=self._is_invalid)
        return MetricVerdict(
            metric=rule.metric.name,
            type=rule.metric.type,
            arm=rule.arm,
            verdict=verdict,
            critical=not rule.pauses,
            dry_run=rule.metric.dry_run,
            has_say=rule.has_say,
            tripped=top.fail >= rule.fail_at,
            found=found,
            greatest_log_e_fail=top.fail,
            greatest_log_e_pass=top.passes,
            fail_at=rule.fail_at,
            pass_at=rule.pass_at,
            sentence=metric_sentence(rule, found, top, verdict, arm="the shadow" if self._stage.in_shadow else rule.arm),
        )

    def _ratio(self) -> SampleRatio:
        level, log_e = -math.log(self._analysis.alpha.srm), self._log_ratio()
        arrived, stage = self._counting.arrived.sum(axis=0), self._stage
        weights = ", ".join(f"{name} {int(count):,}" for name, count in zip(("stable", *stage.names), arrived, strict=True))
        sentence = ratio_sentence(self.ratio, level, weights, self._missing())
        return SampleRatio(tripped=self._is_invalid, log_e=log_e, at=level, sentence=sentence)

    def _missing(self) -> str:
        """Where units get lost, as far as counts of all requests tell."""
        lost = self.assigned_calls - self.ended_calls
        if not self.assigned_calls.any():
            return "nothing is known of where they are lost"
        told = [
            f"{int(lost[arm]):,} of {int(self.assigned_calls[arm]):,} requests of {name}"
            for arm, name in enumerate(("stable", *self._stage.names))
        ]
        between = f"between assignment and answer {' and '.join(told)} are missing"
        return (
            between if lost.any() else "every request that was assigned has ended, so records are lost after the answer, or requests before"
        )

    def _fast(self, arm: int) -> str | None:
        name = "shadow" if self._stage.in_shadow else self._stage.names[arm - 1]
        return self._counting.streaks[arm - 1].reason(name)

    def _counter(self, metric: str, kind: type[Told]) -> Told:
        for one, counter in zip(self._analysis.metrics, self._counting.counters, strict=True):
            if one.name == metric and isinstance(counter, kind):
                return counter
        raise KeyError(metric)


def _document(content: bytes, plan: Plan) -> Document:
    try:
        found = msgspec.msgpack.decode(content, type=_Head)
        if found.format != FORMAT:
            raise SavedError(f"the saved evidence has format {found.format}, and this release reads {FORMAT}")
        if found.plan != _digest(plan):
            raise SavedError("the saved evidence is of another plan")
        return msgspec.msgpack.decode(content, type=Document)
    except msgspec.DecodeError as error:
        raise SavedError(f"the saved evidence cannot be read: {error}") from error


def _digest(plan: Plan) -> str:
    return sha256(msgspec.json.encode(plan, order="sorted")).hexdigest()
