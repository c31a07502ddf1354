"""The shell around `deciding`: look, decide, and do what was decided. One look at a time; who calls says when."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from registry.errors import Kind, RegistryError
from registry.trigger_entries import TriggerJournal
from retrain.deciding import Decision, decide
from retrain.desk import Desk, Rollout
from retrain.policy import Policy
from retrain.proposing import by_rule
from retrain.situation import situation


@dataclass(frozen=True, slots=True)
class Done:
    """One decision and what came of it."""

    decision: Decision
    trigger: str | None
    journal: TriggerJournal | None  # where something was done


def look(desk: Desk, policy: Policy, *, rollout: Rollout | None = None, told: Callable[[Done], None] = lambda _: None) -> list[Done]:
    """One look. `told` hears of each decision when it has been carried out. Raises `RetrainError`, `RegistryError`.

    A trigger that another job has in hand is left to it.
    """
    now = situation(desk.store, policy, now_s=desk.clock.wall())
    found = []
    for decision in decide(policy, now):
        trigger = None if decision.trigger is None else desk.store.triggers.read(now.model, decision.trigger)
        if trigger is None and decision.what in ("run", "propose"):
            trigger = by_rule(desk.store, now, decision, proposer=desk.holder)
        journal = None
        if trigger is not None and decision.what == "expire":
            journal = desk.expire(trigger, decision.reason)
        elif trigger is not None and decision.what == "run":
            journal = _performed(desk, policy, trigger.id, rollout)
        found.append(Done(decision, trigger.id if trigger else None, journal))
        told(found[-1])
    return found


def _performed(desk: Desk, policy: Policy, trigger: str, rollout: Rollout | None) -> TriggerJournal | None:
    asked = desk.store.triggers.read(policy.wish.model, trigger)
    assert asked is not None, "it was written or read a moment ago"
    base = None if policy.wish.base.isdigit() else policy.wish.base
    try:
        return desk.perform(asked, policy.wish, rollout=rollout, base=base)
    except RegistryError as error:
        if error.kind is not Kind.CONFLICT:
            raise
        return None
