"""Answers that turned out right or wrong, once labels are there. Each unit counts by its first labelled answer in the rollout."""

from __future__ import annotations

import msgspec
import numpy as np

from gateway.rollout.hits import Hits, sides_of
from gateway.rollout.plan import Metric
from gateway.rollout.records import Kind
from gateway.rollout.stage import Stage
from gateway.rollout.units import FIRST, Units
from gateway.rollout.verdict import Found, Rule

LABELLED = np.dtype(
    [
        ("unit", "<u8"),  # as in the record of the call
        ("step", "u1"),
        ("arm", "u1"),  # whose answer it is; of a pair, the shadow's
        ("kind", "u1"),  # `records.Kind`
        ("wrong", "?"),
        ("other_wrong", "?"),  # of a pair: stable's
    ]
)


class Labels:
    """The labelled answers of one metric."""

    STATE = ("hits", "units", "labelled")

    def __init__(self, stage: Stage, metric: Metric) -> None:
        self._stage = stage
        self.units, self.labelled = Units(), np.zeros(stage.arms, np.int64)
        self.hits = Hits(stage, metric, self.labelled)
        self.enter, self.look = self.hits.enter, self.hits.look
        self.none = ""  # why there is no label, where somebody knows

    def add(self, answers: np.ndarray) -> None:
        """Labelled answers [n] of `LABELLED`, of steps that have been entered."""
        marks = np.where(answers["kind"] == Kind.PAIR, np.uint32(2), np.uint32(1))
        fresh = self.units.mark(np.ascontiguousarray(answers["unit"]), marks)
        first = answers[(fresh & ~FIRST) != 0]
        self._add_calls(first[first["kind"] == Kind.CALL])
        self._add_pairs(first[first["kind"] == Kind.PAIR])

    def found(self, arm: int, rule: Rule) -> Found:
        """As `counting.Counter`."""
        return msgspec.structs.replace(self.hits.found(arm, rule), detail=self.none)

    def _add_calls(self, calls: np.ndarray) -> None:
        arms, wrong = calls["arm"].astype(np.int64), calls["wrong"]
        self.labelled += np.bincount(arms, minlength=len(self.labelled))
        self.hits.add_events(calls["step"][wrong], arms[wrong])
        now = calls["step"] == self._stage.step
        self.hits.add_units(arms[now], wrong[now])

    def _add_pairs(self, pairs: np.ndarray) -> None:
        self.labelled[:2] += len(pairs)
        wrong, sides = pairs["wrong"] | pairs["other_wrong"], sides_of(pairs["wrong"], pairs["other_wrong"])
        self.hits.add_pair_events(pairs["step"][wrong], sides[wrong])
        now = pairs["step"] == self._stage.step
        self.hits.add_pairs(int(np.count_nonzero(now)), sides[now & wrong])
