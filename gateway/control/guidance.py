"""What the open rollouts of a registry ask of this server: their journals, as far as they were read, to versions to hold and splits.

Every server that follows a registry comes to the same, without asking another one: all of it stands in the journals.
"""

from __future__ import annotations

import logging

from gateway.rollout.admission import read_plan
from gateway.rollout.directive import Directive, Mode, directive
from gateway.rollout.plan import Plan
from gateway.rollout.ring import ARMS, SLOTS
from gateway.rollout.standing import Standing, fold
from gateway.serving.splits import Arm, Guide, Pin, Split
from registry.discovery import Source
from registry.errors import Kind, RegistryError
from registry.rollout_entries import RolloutJournal
from registry.rollout_tips import RolloutTips
from registry.store import Store

_log = logging.getLogger(__name__)
CANARY = "canary"  # what answers call the one candidate


class Guidance:
    """Of one registry, for one server."""

    def __init__(self, store: Store) -> None:
        self.guides: tuple[Guide, ...] = ()
        self.problems: tuple[str, ...] = ()  # one sentence each
        self.open = False  # any rollout is not over, whether it asks anything yet or not
        self._store = store
        self._tips = RolloutTips(store.rollouts)
        self._seen: tuple[RolloutJournal, ...] = ()
        self._plans: dict[str, Plan] = {}
        self._slots = Slots()

    def look(self) -> bool:
        """Read what is new. Whether anything is. Raises `Kind.STORAGE` where the registry cannot be reached."""
        journals = self._tips.look()
        if journals == self._seen and self._tips.problems == self.problems[: len(self._tips.problems)]:
            return False
        guides, problems, plans = [], [*self._tips.problems], self._plans
        self._plans = {}
        self._slots.keep([journal.id for journal in journals])
        for journal in journals:
            try:
                standing = self._standing(journal, plans)
                guides += guide_of(directive(standing), self._slots)
            except RegistryError as error:
                if error.kind is Kind.STORAGE:
                    self._plans = plans
                    raise
                problems.append(f"rollout {journal.id} stands still: {error.message}")
        self.guides, self.problems, self._seen = tuple(guides), tuple(problems), journals
        self.open = bool(journals)
        return True

    def _standing(self, journal: RolloutJournal, plans: dict[str, Plan]) -> Standing:
        digest = str(journal.entries[0].details.get("plan", ""))
        plan = self._plans[digest] = plans.get(digest) or read_plan(self._store, journal)
        return fold(plan, journal.entries)


def guidance_of(source: Source) -> Guidance | None:
    """Of a source; None where it keeps no decisions."""
    try:
        return Guidance(source.registry())
    except RegistryError as error:
        if error.kind is not Kind.UNSUPPORTED:
            raise
        return None


class Slots:
    """Where records of each rollout are told apart from those of others."""

    def __init__(self) -> None:
        self._taken: dict[str, int] = {}

    def keep(self, rollouts: list[str]) -> None:
        """All others are over."""
        self._taken = {name: slot for name, slot in self._taken.items() if name in rollouts}

    def of(self, rollout: str) -> int | None:
        """The slot of a rollout, the same until it is over; None where too many others go on."""
        slot = self._taken.get(rollout)
        if slot is None:
            free = set(range(SLOTS)) - set(self._taken.values())
            slot = min(free) if free else None
            if slot is not None:
                self._taken[rollout] = slot
        return slot


def guide_of(asked: Directive, slots: Slots) -> list[Guide]:
    """What a directive asks; nothing where it is over."""
    if asked.mode is Mode.OVER:
        return []
    stable = (Pin(asked.stable, asked.stable_manifest),) if asked.stable else ()
    named = [(version, manifest) for (_, version, _), manifest in zip(asked.arms, asked.arm_manifests, strict=True)]
    others = [Pin(*one, asked.isolated, asked.gives_way) for one in named or [(asked.candidate, asked.candidate_manifest)]]
    return [Guide(rollout=asked.rollout, model=asked.model, pins=(*stable, *others), split=_split(asked, slots))]


def _split(asked: Directive, slots: Slots) -> Split | None:
    if asked.mode not in (Mode.SHADOW, Mode.CANARY) or not asked.stable:
        return None
    slot = slots.of(asked.rollout)
    if slot is None or len(asked.arms) >= ARMS:
        _log.error("rollout %s: this server counts %d rollouts of up to %d arms already", asked.rollout, SLOTS, ARMS - 1)
        return None
    arms = tuple(Arm(*arm) for arm in asked.arms) or (Arm(CANARY, asked.candidate, asked.weight),)
    return Split(
        rollout=asked.rollout,
        model=asked.model,
        slot=slot,
        step=asked.step,
        mode="shadow" if asked.mode is Mode.SHADOW else "canary",
        salt=asked.salt,
        stable=asked.stable,
        arms=arms,
        sources=asked.unit_sources,
        fallback=asked.fallback,
        sample=asked.sample,
        slo_s=asked.slo_s,
        score=asked.score,
        shadow_percent=asked.shadow_percent,
        shadow_qps=asked.shadow_qps,
        shadow_share=asked.shadow_share,
        atol=asked.atol,
        rtol=asked.rtol,
    )
