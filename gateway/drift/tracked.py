"""One version, followed: its plan, what workers have counted of it, and the watch over that. As one document for a file, and back."""

from __future__ import annotations

import logging

import msgspec
import numpy as np

from gateway.drift import saved as documents
from gateway.drift.display import violations
from gateway.drift.documents import findings_of, gauges_of
from gateway.drift.findings import Findings, Gauges, Rule, Violations
from gateway.drift.learned import Tensor, kept
from gateway.drift.plans import WatchPlan
from gateway.drift.policy import Policy
from gateway.drift.rings import MINUTE_S
from gateway.drift.saved import SavedError
from gateway.drift.tally import SavedTally, Tally
from gateway.drift.watch import Watch

_log = logging.getLogger(__name__)


class SavedTracked(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """For a file: the watch and the tally at one moment."""

    document: bytes  # of the watch; empty where there is none
    rules: bytes  # int64 [rules, 2] of a version that has only those
    tally: SavedTally


class Tracked:
    """Of one version by one profile."""

    def __init__(self, name: str, plan: WatchPlan, policy: Policy, content: bytes | None, wall_s: float) -> None:
        """`content`: what was saved, to go on from. One that cannot be read is as none; the log says so."""
        self.name, self.plan = name, plan
        self.rules = tuple([Rule(input=rule.port, rule=rule.kind, mode=rule.mode) for rule in plan.rules])
        self.changed = False  # since it was saved
        self._gauges: Gauges | None = None  # as of the last look
        self._looked = (-1, -1, -1)  # rows, broken rules and minute of the last look
        saved = _decoded(name, content)
        self._broken = np.zeros((len(plan.rules), 2), np.int64)
        self.watch = None if plan.profile is None else self._watch(policy, saved, wall_s)
        if saved is not None and len(saved.rules) == self._broken.nbytes:
            self._broken = np.frombuffer(saved.rules, np.int64).reshape(-1, 2).copy()
        self.tally = Tally(plan.layout, None if saved is None else saved.tally)

    def _watch(self, policy: Policy, saved: SavedTracked | None, wall_s: float) -> Watch:
        plan = self.plan
        assert plan.profile is not None
        if saved is not None and saved.document:
            try:
                return documents.restore(saved.document, plan.profile, policy, segments=plan.segments, rules=self.rules)
            except SavedError as error:
                _log.error("drift of %s begins anew: %s", self.name, error)
        return Watch(plan.profile, policy, segments=plan.segments, rules=self.rules, wall_s=wall_s)

    def look(self, wall_s: float) -> bool:
        """Conclude from what has been counted. Whether anything may have changed."""
        now = (self.tally.rows(), self.tally.broken(), int(wall_s // MINUTE_S))
        if now == self._looked:
            return False
        self._looked, self.changed, self._gauges = now, True, None
        return self.watch is None or self.watch.look(self.tally.total(), wall_s)

    def saved(self) -> bytes:
        """As of now, whatever was looked at last."""
        total, tally = self.tally.taken()
        if self.watch is not None:
            self.watch.look(total, self.watch.looked_s)
        broken = self._broken + total.rules
        document = b"" if self.watch is None else documents.save(self.watch)
        self.changed = False
        return msgspec.msgpack.encode(SavedTracked(document=document, rules=broken.tobytes(), tally=tally))

    def findings(self) -> Findings | None:
        """None where there is no profile to compare with."""
        return None if self.watch is None else findings_of(self.watch)

    def gauges(self) -> Gauges | None:
        """As of the last look; None before the first, and where there is no profile."""
        if self._gauges is None and self.watch is not None and self.watch.signs is not None:
            self._gauges = gauges_of(self.watch)
        return self._gauges

    def violations(self) -> tuple[Violations, ...]:
        """What broke the contract, of a version without a profile."""
        return violations(self.rules, self._broken + self.tally.total().rules)

    def learned(self) -> tuple[tuple[Tensor, ...], list[np.ndarray]] | None:
        """The rows that were kept for a profile, once there are as many as wanted: the tensors, and all rows of each."""
        found = [one for views in self.tally.regions() if (one := kept(views)) is not None]
        same = [one for one in found if one[0] == found[0][0]]
        if not same or sum(len(arrays[0]) for _, arrays in same) < self.plan.learn_rows:
            return None
        return same[0][0], [np.concatenate(arrays) for arrays in zip(*[arrays for _, arrays in same], strict=True)]


def _decoded(name: str, content: bytes | None) -> SavedTracked | None:
    if content is None:
        return None
    try:
        return msgspec.msgpack.decode(content, type=SavedTracked)
    except msgspec.DecodeError as error:
        _log.error("drift of %s begins anew: what was saved cannot be read: %s", name, error)
        return None
