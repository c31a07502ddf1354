"""A rollout without a registry: its journal in a list, verbs and observations one after the other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from gateway.rollout.deciding import Draft, decide, entry_of
from gateway.rollout.machine import Event, Phase
from gateway.rollout.observation import Observation
from gateway.rollout.plan import Plan
from gateway.rollout.standing import Admitted, Begun, Pin, PinnedArm, Standing, fold
from registry.rollout_entries import RolloutEntry, moment
from tests.gateway.rollout.rolled import NOW_S

STABLE, CANDIDATE, OTHER = (Pin(number, f"sha256:{number:064d}") for number in (1, 2, 3))
SERVER = "server-1"


class Play:
    """Rollout m-1 of a plan, admitted unless told otherwise."""

    def __init__(self, plan: Plan, *, stable: Pin | None = STABLE, skip: str = "", admitted: bool = True, starter: str = "ann") -> None:
        arms = () if plan.spec.strategy.ab is None else plan.spec.strategy.ab.arms
        begun = Begun(
            plan="sha256:" + "a" * 64,
            salt="0" * 32,
            alias="champion",
            candidate=CANDIDATE,
            arms=tuple(PinnedArm(arm.name, Pin(arm.version, f"sha256:{arm.version:064d}"), round(arm.weight * 100)) for arm in arms),
            publisher="pat",
        )
        self.plan = plan
        self.now_s = NOW_S
        self.token = 1
        self.entries = [
            RolloutEntry(
                rollout="m-1",
                model="m",
                seq=1,
                time=moment(NOW_S),
                actor=starter,
                event=Event.APPLY.value,
                to_phase=Phase.QUEUED.value,
                details=msgspec.to_builtins(begun),
            )
        ]
        if admitted:
            details = msgspec.to_builtins(Admitted(stable=stable, skip=skip))
            self.add(Draft(event=Event.ADMIT, step=0, reason="", details=details), actor=starter, token=0)

    @property
    def standing(self) -> Standing:
        return fold(self.plan, self.entries)

    @property
    def events(self) -> list[str]:
        return [entry.event for entry in self.entries]

    def add(self, draft: Draft, *, actor: str = SERVER, token: int | None = None) -> None:
        token = self.token if token is None else token
        self.entries.append(entry_of(self.standing, draft, actor=actor, now_s=self.now_s, token=token))

    def see(self, seconds: float = 0.0, **seen: Any) -> list[str]:
        """The events that follow from a look after so many seconds; stable is champion and everything is ready unless told otherwise."""
        self.now_s += seconds
        observation = Observation(**{"ready": True, "champion": self.serving(), **seen})
        drafts = decide(self.standing, observation, self.now_s)
        for draft in drafts:
            self.add(draft)
        return [draft.event.value for draft in drafts]

    def serving(self) -> Pin | None:
        """What the alias stands for as long as nobody else moves it."""
        standing = self.standing
        return CANDIDATE if standing.phase in {Phase.BAKING, Phase.SUCCEEDED} else standing.stable

    def do(self, verb: Callable[[Standing], Draft | None], actor: str = "ann") -> bool:
        """A verb: whether it changed anything."""
        draft = verb(self.standing)
        if draft is not None:
            self.add(draft, actor=actor, token=0)
        return draft is not None
