"""Triggers that a person or a policy writes: with ids that follow from what is asked, so that asking twice is asking once."""

from __future__ import annotations

from datetime import UTC, datetime

from registry.rollout_entries import sentence
from registry.store import Store
from registry.triggers import Trigger, Window
from retrain.deciding import Decision, Situation

MANUAL = "manual"
_MANUAL_BUCKET_S = 1.0  # who asks by hand again means it


def by_hand(store: Store, model: str, version: int, *, reason: str, actor: str, now_s: float) -> Trigger:
    """A trigger of this second. Raises `Kind.NOT_FOUND` for a version that is not there, else as `Triggers.propose`."""
    moment = datetime.fromtimestamp(now_s, UTC)
    return store.triggers.propose(
        model,
        version,
        manifest=store.record(model, version).manifest,
        rule=MANUAL,
        reason=reason,
        features=(),
        evidence={},
        window=Window(start=moment, end=moment, rows=0),
        proposer=actor,
        now_s=now_s,
        bucket_s=_MANUAL_BUCKET_S,
    )[0]


def by_rule(store: Store, now: Situation, decision: Decision, *, proposer: str) -> Trigger:
    """The trigger of a rule that is met, which may be there already. Raises as `Triggers.propose`."""
    end = datetime.fromtimestamp(decision.at_s, UTC)
    return store.triggers.propose(
        now.model,
        now.version,
        manifest=now.manifest,
        rule=decision.rule,
        reason=sentence(decision.reason),
        features=(),
        evidence=dict(decision.evidence),
        window=Window(start=end, end=end, rows=decision.rows),
        proposer=proposer,
        now_s=decision.at_s,
        bucket_s=decision.bucket_s,
    )[0]
