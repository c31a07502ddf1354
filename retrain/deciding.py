"""Whether a model is trained again now: a pure function of a policy and of what is so. Nobody is asked and nothing is written here.

A rule that is met wants a job. Its trigger's id follows from the version, the rule and the time that it is about, so two watchers want the
same one. What holds a job back is said with it: nothing is dropped in silence.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from registry.trigger_entries import FINAL, State
from registry.triggers import trigger_id
from retrain.cron import schedule
from retrain.losses import Window
from retrain.policy import Age, Cron, Drift, Loss, Policy, Rule, Volume, When, k_of_n, seconds

DAY_S = 86_400.0
WEEK_S = 7 * DAY_S


@dataclass(frozen=True, slots=True)
class Past:
    """A trigger of the model that there is."""

    id: str
    version: int
    rule: str
    state: State
    created_s: float
    started_s: float | None  # when it was accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """What is so at one moment. Times are seconds since the Unix epoch."""

    now_s: float
    model: str
    version: int  # that serves
    manifest: str
    published_s: float
    training_losses: Mapping[str, float] = field(default_factory=dict)  # of that version's own hold-out, by metric
    windows: Mapping[str, tuple[Window, ...]] = field(default_factory=dict)  # by the name of a loss rule, oldest first
    past: tuple[Past, ...] = ()
    new_rows: int | None = None  # labelled, which that version has not seen; None where nobody knows
    violations: float | None = None
    drops: float | None = None
    open_rollout: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do about one rule, or one trigger."""

    what: Literal["run", "propose", "wait", "expire"]
    rule: str
    reason: str
    trigger: str | None = None  # one that there is
    at_s: float = 0.0  # of a new one: the time that it is about, and the stretch in which there is one
    bucket_s: float = DAY_S
    evidence: Mapping[str, float] = field(default_factory=dict)
    rows: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Want:
    """A rule that is met."""

    rule: str
    action: str
    reason: str
    at_s: float
    bucket_s: float
    trigger: str | None = None
    evidence: Mapping[str, float] = field(default_factory=dict)
    rows: int = 0


def decide(policy: Policy, now: Situation) -> list[Decision]:
    """At most one job to run, with everything that is proposed, expires or has to wait; the order of the rules is their rank."""
    when, held, found = policy.when, holds(policy.when, now), [*_expired(policy.when, now)]
    over = {decision.trigger for decision in found}
    running = False
    for want in (want for rule in when.rules for want in _wants(rule, now, when)):
        known = next((past for past in now.past if past.id == want.trigger), None)
        if want.trigger in over or (known is not None and (known.state in FINAL or known.state != "proposed")):
            continue
        if want.action == "propose":
            found += [] if known is not None else [_decision("propose", want, want.reason, known)]
        elif held or running:
            why = held[0] if held else "another rule comes first"
            found.append(_decision("wait", want, f"{want.reason}; held back: {why}", known))
        else:
            running = True
            found.append(_decision("run", want, want.reason, known))
    return found


def holds(when: When, now: Situation) -> list[str]:
    """Why no job may start at the moment, in sentences."""
    block, found = when.block_if, []
    started = [past.started_s for past in now.past if past.started_s is not None]
    busy = next((past for past in now.past if past.state in ("accepted", "running")), None)
    if busy is not None:
        found.append(f"trigger {busy.id} is {busy.state}")
    if block.open_rollout and now.open_rollout is not None:
        found.append(f"rollout {now.open_rollout} is open")
    for name, limit, value in (("break the contract", block.violations, now.violations), ("were lost by the log", block.drops, now.drops)):
        if limit is not None and value is not None and value > limit:
            found.append(f"{value:.2%} of the latest rows {name}, more than {limit:.2%}")
    if started and now.now_s - max(started) < seconds(when.cooldown):
        found.append(f"the last job began less than {when.cooldown} ago")
    recent = sum(now.now_s - at < WEEK_S for at in started)
    if recent >= when.max_per_week:
        found.append(f"{recent} jobs began within a week, and {when.max_per_week} are allowed")
    if now.new_rows is not None and now.new_rows < when.min_new_rows:
        found.append(f"{now.new_rows:,} labelled rows are new, fewer than {when.min_new_rows:,}")
    return found


def _expired(when: When, now: Situation) -> list[Decision]:
    """Triggers that nobody took up: too old, or about a version that no longer serves."""
    found = []
    for past in now.past:
        if past.state != "proposed":
            continue
        if past.version != now.version:
            found.append(Decision(what="expire", rule=past.rule, trigger=past.id, reason=f"version {now.version} serves by now"))
        elif now.now_s - past.created_s > seconds(when.expire_after):
            found.append(Decision(what="expire", rule=past.rule, trigger=past.id, reason=f"nobody took it up within {when.expire_after}"))
    return found


def _decision(what: Literal["run", "propose", "wait"], want: _Want, reason: str, known: Past | None) -> Decision:
    return Decision(
        what=what, rule=want.rule, reason=reason, trigger=known.id if known else None, at_s=want.at_s, bucket_s=want.bucket_s,
        evidence=want.evidence, rows=want.rows,
    )  # fmt: skip


def _wants(rule: Rule, now: Situation, when: When) -> list[_Want]:
    match rule:
        case Drift():
            return _drifted(rule, now)
        case Loss():
            return _lost(rule, now, when)
        case Volume():
            new = now.new_rows or 0
            met = new >= rule.rows
            return [_want(rule.name, rule.action, f"{new:,} labelled rows are new", now, when, rows=new)] if met else []
        case Age():
            old = now.now_s - now.published_s
            met = old >= seconds(rule.older_than)
            return [_want(rule.name, rule.action, f"version {now.version} is {old / DAY_S:.1f} days old", now, when)] if met else []
        case Cron():
            return _due(rule, now)


def _drifted(rule: Drift, now: Situation) -> list[_Want]:
    """The newest of the triggers that servers wrote, where enough of the last days have one. Servers have proposed it already."""
    k, n = k_of_n(rule.windows)
    mine = [past for past in now.past if past.rule in rule.rules and past.version == now.version]
    recent = [past for past in mine if now.now_s - past.created_s < n * DAY_S]
    days = {math.floor(past.created_s / DAY_S) for past in recent}
    open_ = [past for past in recent if past.state == "proposed"]
    if len(days) < k or not open_:
        return []
    last = max(open_, key=lambda past: (past.created_s, past.id))
    reason = f"{last.rule} on {len(days)} of the last {n} days"
    return [_Want(rule=last.rule, action=rule.action, reason=reason, at_s=last.created_s, bucket_s=DAY_S, trigger=last.id)]


def _lost(rule: Loss, now: Situation, when: When) -> list[_Want]:
    k, n = k_of_n(rule.windows)
    trained = now.training_losses.get(rule.metric)
    if rule.level is None and trained is None:
        return []  # nobody knows what the version was worth
    level = rule.level if rule.level is not None else (trained or 0.0) + (rule.above_training or 0.0)
    windows = [window for window in now.windows.get(rule.name, ()) if window.rows >= rule.min_rows][-n:]
    worse = [window for window in windows if window.lower > level]
    if len(worse) < k:
        return []
    reason = (
        f"{rule.metric} is surely above {level:.4f} in {len(worse)} of {len(windows)} windows, {worse[-1].mean:.4f} in the last of them"
    )
    evidence = {"level": level, "mean": worse[-1].mean, "lower": worse[-1].lower}
    return [
        _want(rule.name, rule.action, reason, now, when, at_s=worse[-1].end_s, evidence=evidence, rows=sum(one.rows for one in windows))
    ]


def _due(rule: Cron, now: Situation) -> list[_Want]:
    at_s = schedule(rule.cron).last(now.now_s)
    if at_s is None or at_s < now.published_s or now.now_s - at_s >= DAY_S:
        return []
    trigger = trigger_id(now.model, now.manifest, rule.name, bucket=int(at_s // 60))
    return [_Want(rule=rule.name, action=rule.action, reason=f"the schedule {rule.cron}", at_s=at_s, bucket_s=60.0, trigger=trigger)]


def _want(
    rule: str,
    action: str,
    reason: str,
    now: Situation,
    when: When,
    *,
    at_s: float | None = None,
    evidence: Mapping[str, float] | None = None,
    rows: int = 0,
) -> _Want:
    """A want of this stretch of time: as long as the cool-down, and a day at least, one job of a rule is enough."""
    bucket_s, at_s = max(seconds(when.cooldown), DAY_S), now.now_s if at_s is None else at_s
    trigger = trigger_id(now.model, now.manifest, rule, bucket=int(at_s // bucket_s))
    return _Want(rule=rule, action=action, reason=reason, at_s=at_s, bucket_s=bucket_s, trigger=trigger, evidence=evidence or {}, rows=rows)
