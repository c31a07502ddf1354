"""A rollout as people and programs ask for it: plain values that a table, JSON and a message can carry. Pure but for two look-ups."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from gateway.rollout.directive import directive
from gateway.rollout.plan import WEIGHT_UNITS, Step
from gateway.rollout.standing import Standing, Trip
from gateway.rollout.waiting import waiting
from registry.rollout_entries import RolloutJournal, moment, rollout_id
from registry.rollouts import Rollouts


class ArmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a rollout."""

    name: str  # stable, candidate, or as the plan calls it
    version: int
    manifest: str
    percent: float  # of the traffic now


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """Where a rollout stands."""

    id: str
    model: str
    name: str  # in the plan
    phase: str
    final: bool
    cause: str  # of a pause; "" else
    reason: str  # of the last entry that gave one
    waiting: str  # for what, as a sentence; "" once it is over
    step: int  # from 0; `steps` once none is left
    steps: int
    step_kind: str  # shadow, setWeight, pause, approve; "" outside of the steps
    mode: str  # what the data plane does, as `directive.Mode`
    percent: float  # of the traffic that goes to the candidate, or to all arms, now
    arms: tuple[ArmStatus, ...]
    alias: str
    skip: str  # why there are no steps: initial, window
    elapsed_s: float  # of the step or the bake, without pauses
    started: datetime
    changed: datetime  # when the phase was entered
    starter: str
    publisher: str
    approvals: tuple[str, ...]  # of this step
    approvals_wanted: int
    tripped: tuple[Trip, ...]
    accepted: tuple[str, ...]
    passed: tuple[int, ...]  # steps, by verdict
    waived: tuple[int, ...]  # steps, by somebody's word
    held: bool
    plan: str  # digest of its blob
    salt: str
    commit: str
    forced: bool
    report: str | None  # digest of the newest verdict
    controller: str  # who holds the claim; "" for nobody
    entries: int
    ahead: tuple[str, ...]  # open rollouts of the model before it


class HistoryEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One entry of a journal."""

    seq: int
    time: datetime
    actor: str
    event: str
    from_phase: str
    to_phase: str
    step: int
    reason: str
    evidence: tuple[str, ...]
    checkpoint: str | None
    token: int
    counts: bool  # False for the word of a controller that had been taken over
    details: dict[str, Any]


class History(msgspec.Struct, frozen=True, kw_only=True):
    """A whole journal, oldest entry first."""

    id: str
    model: str
    entries: tuple[HistoryEntry, ...]


def status_of(standing: Standing, journal: RolloutJournal, rollouts: Rollouts, now_s: float) -> Status:
    """The status of a rollout. Raises `RegistryError`."""
    steps, asked = standing.plan.steps(), directive(standing)
    step = steps[standing.step] if standing.step < len(steps) else None
    claim = None if standing.final else rollouts.claims(journal.model, journal.number).newest()
    begun = standing.begun
    return Status(
        id=journal.id,
        model=standing.model,
        name=standing.plan.metadata.name,
        phase=standing.phase.value,
        final=standing.final,
        cause=standing.cause.value if standing.cause else "",
        reason=standing.reason,
        waiting=waiting(standing, now_s),
        step=standing.step,
        steps=len(steps),
        step_kind=kind_of(step),
        mode=asked.mode.value,
        percent=asked.weight * 100 / WEIGHT_UNITS,
        arms=_arms(standing, asked.weight),
        alias=begun.alias,
        skip=standing.skip,
        elapsed_s=standing.elapsed_s(now_s),
        started=journal.entries[0].time,
        changed=moment(standing.entered_s),
        starter=standing.starter,
        publisher=begun.publisher,
        approvals=tuple(approval.actor for approval in standing.approvals),
        approvals_wanted=step.approve.count if step and step.approve else 0,
        tripped=standing.tripped,
        accepted=tuple(sorted(standing.accepted)),
        passed=tuple(sorted(standing.passed)),
        waived=tuple(sorted(standing.waived)),
        held=standing.held,
        plan=begun.plan,
        salt=begun.salt,
        commit=begun.commit,
        forced=begun.forced,
        report=next((entry.evidence[-1] for entry in reversed(journal.entries) if entry.seq > 1 and entry.evidence), None),
        controller=claim.holder if claim is not None and claim.expires > moment(now_s) else "",
        entries=journal.seq,
        ahead=() if standing.final else tuple(other.id for other in rollouts.open(journal.model) if other.number < journal.number),
    )


def history_of(journal: RolloutJournal) -> History:
    """Everything that was written, also what does not count."""
    counting = {entry.seq for entry in journal.entries}
    entries = tuple(
        HistoryEntry(
            seq=entry.seq,
            time=entry.time,
            actor=entry.actor,
            event=entry.event,
            from_phase=entry.from_phase or "",
            to_phase=entry.to_phase,
            step=entry.step,
            reason=entry.reason,
            evidence=entry.evidence,
            checkpoint=entry.checkpoint,
            token=entry.token,
            counts=entry.seq in counting,
            details=entry.details,
        )
        for entry in (link.entry for link in journal.links)
    )
    return History(id=rollout_id(journal.model, journal.number), model=journal.model, entries=entries)


def kind_of(step: Step | None) -> str:
    """As a plan writes it."""
    if step is None:
        return ""
    kinds = {"shadow": step.shadow, "setWeight": step.set_weight, "pause": step.pause, "approve": step.approve}
    return next(name for name, value in kinds.items() if value is not None)


def _arms(standing: Standing, units: int) -> tuple[ArmStatus, ...]:
    percent = units * 100 / WEIGHT_UNITS
    stable = standing.stable
    first = () if stable is None else (ArmStatus(name="stable", version=stable.version, manifest=stable.manifest, percent=100 - percent),)
    if not standing.begun.arms:
        pin = standing.begun.candidate
        return (*first, ArmStatus(name="candidate", version=pin.version, manifest=pin.manifest, percent=percent))
    return first + tuple(
        ArmStatus(
            name=arm.name, version=arm.pin.version, manifest=arm.pin.manifest, percent=arm.units * 100 / WEIGHT_UNITS if units else 0.0
        )
        for arm in standing.begun.arms
    )
