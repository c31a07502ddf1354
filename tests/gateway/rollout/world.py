"""A registry, a clock and controllers whose evidence and readiness are set by hand."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from gateway.rollout.controller import Controller
from gateway.rollout.observation import Overall, Reading
from gateway.rollout.operations import Operations
from gateway.rollout.standing import Pin, Standing, Trip
from registry.entries import AliasMoved
from registry.rollout_entries import RolloutEntry, RolloutJournal
from registry.rollouts import Rollouts
from registry.store import Store
from tests.gateway.rollout.rolled import Clock, operations


class Counted:
    """Evidence whose verdict is what the test says; it counts how often it was read."""

    def __init__(self, said: Said, saved: bytes | None) -> None:
        self.said = said
        self.step: int | None = None
        self.entered: list[tuple[int, int, float]] = []
        self.saved = saved
        if saved is not None:
            self.step = msgspec.json.decode(saved)["step"]

    def enter(self, step: int, weight: int, now_s: float) -> None:
        self.step = step
        self.entered.append((step, weight, now_s))
        self.said.entered.append((step, weight))

    def reading(self, now_s: float) -> Reading:
        said = self.said
        step = -1 if self.step is None else self.step
        return Reading(step, said.overall, said.units, said.tripped, said.fast, said.invalid, said.sentence)

    def report(self) -> bytes:
        return msgspec.json.encode({"overall": self.said.overall.value, "step": self.step})

    def document(self) -> bytes:
        return msgspec.json.encode({"step": self.step})


@dataclass
class Said:
    """What the evidence says, what is ready, what was opened: the `Evidences` and the `Readiness` of a controller."""

    overall: Overall = Overall.PASS
    units: int = 1_000
    tripped: tuple[Trip, ...] = ()
    fast: str | None = None
    invalid: str | None = None
    sentence: str = "as good"
    ready_versions: set[int] | None = None  # None: all
    failures: dict[int, str] = field(default_factory=dict)
    opened: list[bytes | None] = field(default_factory=list)
    entered: list[tuple[int, int]] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)

    def open(self, standing: Standing, saved: bytes | None) -> Counted:
        self.opened.append(saved)
        return Counted(self, saved)

    def close(self, rollout: str) -> None:
        self.closed.append(rollout)

    def ready(self, model: str, pin: Pin) -> bool:
        return self.ready_versions is None or pin.version in self.ready_versions

    def failure(self, model: str, pin: Pin) -> str | None:
        return self.failures.get(pin.version)


class Tip:
    """The journal of the newest rollout of m, looked at again and again: only what is new is read, and nothing is made of it."""

    def __init__(self, rollouts: Rollouts) -> None:
        self._rollouts, self._known = rollouts, rollouts.last("m")

    @property
    def journal(self) -> RolloutJournal:
        known = self._known
        number = max(self._rollouts.numbers("m"), default=0)
        self._known = self._rollouts.journal("m", number, known if known.number == number else None) if number else known
        return self._known

    @property
    def phase(self) -> str:
        """Nothing before it begins."""
        entries = self.journal.entries
        return entries[-1].to_phase if entries else ""

    @property
    def step(self) -> int:
        return self.journal.entries[-1].step


class World:
    """One server beside its registry."""

    def __init__(self, store: Store, *, clock: Clock | None = None, said: Said | None = None, holder: str = "server-1") -> None:
        self.store = store
        self.clock = clock or Clock()
        self.said = said or Said()
        self.holder = holder
        self.told: list[RolloutJournal] = []
        self.operations: Operations = operations(store, self.clock)
        self.tip = Tip(store.rollouts)
        self.restart()

    def restart(self, *, look_s: float = 0.0) -> None:
        """Another process on the same machine."""
        self.controller = Controller(
            self.store,
            holder=self.holder,
            evidences=self.said,
            readiness=self.said,
            applied=self.told.append,
            claim_s=15.0,
            look_s=look_s,
        )

    def tick(self, seconds: float = 0.0) -> tuple[RolloutEntry, ...]:
        """After so many seconds."""
        self.clock.now_s += seconds
        return self.controller.tick(self.clock.now_s)

    def run(self, *, most: int = 200, seconds: float = 10.0) -> None:
        """Tick until nothing is open."""
        for _ in range(most):
            if not self.store.rollouts.active():
                return
            self.tick(seconds)
        raise AssertionError(f"still open: {[self.phase(journal.id) for journal in self.store.rollouts.active()]}")

    def phase(self, which: str = "m") -> str:
        return self.operations.status(which).phase

    def events(self, which: str = "m") -> list[str]:
        return [entry.event for entry in self.operations.history(which).entries]

    def champion(self) -> int | None:
        return self.store.aliases("m").all().get("champion")

    def moves(self) -> list[tuple[int | None, int]]:
        """Every move of the alias."""
        return [(entry.from_version, entry.to) for entry in self.store.history("m") if isinstance(entry, AliasMoved)]
