"""How a plan becomes a rollout: its versions are pinned by digest, it gets its number, and its place before or behind others.

The number is what makes it safe to apply from two places at once: whoever takes a number has seen every rollout with a lower one, so of
two that would not tolerate each other the second sees the first.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway.errors import invalid
from gateway.rollout.champion import Champion
from gateway.rollout.deciding import admit, entry_of, said
from gateway.rollout.machine import Event, Phase
from gateway.rollout.observation import Observation
from gateway.rollout.plan import WEIGHT_UNITS, Plan, Target, weight_units
from gateway.rollout.standing import Begun, Pin, PinnedArm, Standing, fold
from registry.errors import Kind, RegistryError, damaged
from registry.names import check_reason
from registry.rollout_entries import RolloutEntry, RolloutJournal, moment, rollout_id
from registry.store import Store

_CHAMPION = "champion"  # where the plan names stable by number
_REMEMBERED = 32  # rollouts that are looked through for one that failed with the same candidate; the alias log has its own mark
_BAD = {Phase.ROLLED_BACK.value, Phase.FAILED.value}


class Admission:
    """The entrance of one registry."""

    def __init__(self, store: Store, *, salts: Callable[[], str]) -> None:
        self._store = store
        self._rollouts = store.rollouts
        self._salts = salts

    def apply(
        self, plan: Plan, *, actor: str, reason: str, force: bool, commit: str, operation_id: str, now_s: float
    ) -> tuple[RolloutJournal, bool]:
        """The rollout that stands for the plan, and whether this call began it. Raises as `Operations.apply`."""
        check_plan(plan)
        model, digest = plan.spec.model, stored_plan(self._store, plan)
        begun = self._begun(plan, digest, force=force, commit=commit, operation_id=operation_id)
        while True:
            last, open_ = self._rollouts.last(model), self._rollouts.open(model)
            found = next((journal for journal in [*open_, last] if _is_same(journal, begun)), None)
            if found is not None:
                return found, False
            if not plan.spec.strategy.ab:
                self._check_candidate(plan, begun, last)
            if open_ and plan.spec.on_supersede == "reject":
                raise RegistryError(Kind.CONFLICT, f"rollout {open_[0].id} is open, and the plan says to be rejected then")
            number = last.number + 1
            entry = _first(model, number, begun, actor=actor, reason=reason, now_s=now_s)
            journal = self._rollouts.begin(model, number, entry)
            if journal is not None:
                return self._placed(plan, journal, actor, now_s), True

    def _begun(self, plan: Plan, digest: str, *, force: bool, commit: str, operation_id: str) -> Begun:
        spec = plan.spec
        arms = () if spec.strategy.ab is None else spec.strategy.ab.arms
        pinned = tuple(PinnedArm(arm.name, self._pin(spec.model, Target(version=arm.version)), weight_units(arm.weight)) for arm in arms)
        candidate = pinned[0].pin if pinned else self._pin(spec.model, spec.candidate or Target(version=1))
        return Begun(
            plan=digest,
            salt=self._salts(),
            alias=spec.stable.alias or _CHAMPION,
            candidate=candidate,
            arms=pinned,
            publisher=self._store.record(spec.model, candidate.version).publisher,
            commit=commit,
            forced=force,
            operation_id=operation_id,
        )

    def _pin(self, model: str, target: Target) -> Pin:
        """Raises `Kind.NOT_FOUND`."""
        version = self._store.resolve(model, target.alias if target.alias is not None else str(target.version))
        return Pin(version, self._store.record(model, version).manifest)

    def _check_candidate(self, plan: Plan, begun: Begun, last: RolloutJournal) -> None:
        champion, candidate = Champion(self._store, plan.spec.model, begun.alias), begun.candidate
        found = champion.pin()
        if found is not None and found.version == candidate.version:
            text = f"version {candidate.version} of model '{plan.spec.model}' is what alias '{begun.alias}' stands for already"
            raise RegistryError(Kind.CONFLICT, text)
        if not begun.forced:
            objection = self._objection(champion, plan.spec.model, candidate, last)
            if objection:
                raise RegistryError(
                    Kind.POLICY, f"version {candidate.version} of model '{plan.spec.model}' {objection}; force tries it again"
                )

    def _objection(self, champion: Champion, model: str, candidate: Pin, last: RolloutJournal) -> str:
        """Why the version is not to be tried again."""
        for number in range(last.number, max(last.number - _REMEMBERED, 0), -1):
            entries = self._rollouts.journal(model, number).entries
            if entries[-1].to_phase in _BAD and begun_of(entries[0]).candidate == candidate:
                why = next((entry.reason for entry in reversed(entries) if entry.event in {"fail", "fast", "load_failed"}), "")
                return f"came to nothing in rollout {rollout_id(model, number)}" + (f" ({why})" if why else "")
        people = champion.rejected_by(candidate.version)
        return f"is rejected by {', '.join(people)}" if people else ""

    def _placed(self, plan: Plan, journal: RolloutJournal, actor: str, now_s: float) -> RolloutJournal:
        """Those before it make room where the plan says so; who is first is admitted. A controller does the same, should this stop here."""
        before = [other for other in self._rollouts.open(journal.model) if other.number < journal.number]
        if plan.spec.on_supersede == "replace":
            before = [other for other in before if not self._made_room(other, journal.id, actor, now_s)]
        if before:
            return journal
        standing = fold(plan, journal.entries)
        draft = admit(standing, Observation(champion=self.champion(standing).pin(), recent=self.recent(standing)))
        return self._rollouts.append(journal, entry_of(standing, draft, actor=actor, now_s=now_s)) or self._rollouts.read(journal.id)

    def _made_room(self, other: RolloutJournal, by: str, actor: str, now_s: float) -> bool:
        standing = fold(read_plan(self._store, other), other.entries)
        if standing.phase not in {Phase.QUEUED, Phase.ADMITTED, Phase.PREPARING, Phase.STEP, Phase.PAUSED} or standing.tried:
            return False  # the alias is under way: it ends by itself, and soon
        draft = said(standing, Event.SUPERSEDE, f"rollout {by} takes its place")
        return self._rollouts.append(other, entry_of(standing, draft, actor=actor, now_s=now_s)) is not None

    def champion(self, standing: Standing) -> Champion:
        """The alias of a rollout."""
        return Champion(self._store, standing.model, standing.begun.alias)

    def recent(self, standing: Standing) -> bool:
        """Whether the candidate was one of the champions that the plan lets one go back to without steps."""
        return standing.begun.candidate.version in self.champion(standing).before(standing.plan.spec.rollback_window)


def check_plan(plan: Plan) -> None:
    """What the types of a plan do not say. Raises `TidegateError`."""
    spec = plan.spec
    if (spec.candidate is None) != (spec.strategy.ab is not None):
        raise invalid("a rollout names a candidate, and an A/B names its versions as arms instead")
    if spec.strategy.ab is not None and sum(weight_units(arm.weight) for arm in spec.strategy.ab.arms) > WEIGHT_UNITS:
        raise invalid("the arms of an A/B have more than 100 % of the traffic")


def stored_plan(store: Store, plan: Plan) -> str:
    """The digest of the plan's blob, which is there afterwards. Raises `Kind.STORAGE`."""
    return store.put_blob(msgspec.json.encode(plan, order="deterministic"))[0]


def begun_of(entry: RolloutEntry) -> Begun:
    """What a first entry says. Raises `Kind.DAMAGED`."""
    try:
        return msgspec.convert(entry.details, Begun)
    except msgspec.ValidationError as error:
        raise damaged(f"the first entry of rollout {entry.rollout} is none: {error}") from error


def read_plan(store: Store, journal: RolloutJournal) -> Plan:
    """The plan that a journal names. Raises `Kind.DAMAGED`."""
    digest = begun_of(journal.links[0].entry).plan
    try:
        return msgspec.json.decode(store.read_blob(digest), type=Plan)
    except msgspec.DecodeError as error:
        raise damaged(f"the plan of rollout {journal.id} cannot be read: {error}") from error


def _first(model: str, number: int, begun: Begun, *, actor: str, reason: str, now_s: float) -> RolloutEntry:
    pins = tuple(arm.pin.version for arm in begun.arms) or (begun.candidate.version,)
    return RolloutEntry(
        rollout=rollout_id(model, number),
        model=model,
        time=moment(now_s),
        actor=actor,
        event=Event.APPLY.value,
        to_phase=Phase.QUEUED.value,
        reason=check_reason(reason),
        evidence=(begun.plan,),
        pins=pins,
        details=msgspec.to_builtins(begun),
    )


def _is_same(journal: RolloutJournal, begun: Begun) -> bool:
    """The same plan for the same versions, open or come to its end as planned; or the same operation, whatever became of it."""
    if not journal.links:
        return False
    other = begun_of(journal.links[0].entry)
    if begun.operation_id and other.operation_id == begun.operation_id:
        return True
    succeeded = journal.entries[-1].to_phase == Phase.SUCCEEDED.value
    return (not journal.final or succeeded) and (other.plan, other.candidate, other.arms) == (begun.plan, begun.candidate, begun.arms)
