"""Workers and a supervisor without processes: messages lie in queues until delivered, and each worker checks what it is told."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from gateway.serving.deciding import Decision, applied, decide
from gateway.serving.lifecycle import Event, Failure, RouteTable, Snapshot, State, Wanted, step

NEXT = {State.VERIFY: Event.VERIFIED, State.LOAD: Event.LOADED, State.WARM: Event.WARMED, State.GOLDEN: Event.PASSED}


@dataclass
class FakeWorker:
    """What a worker really has, which the supervisor only hears of."""

    number: int
    budget_bytes: int | None
    sizes: dict[Wanted, int]
    held: dict[Wanted, State] = field(default_factory=dict)
    table: RouteTable | None = None
    inbox: deque = field(default_factory=deque)
    outbox: deque = field(default_factory=deque)

    def take(self) -> None:
        """Obey the oldest message."""
        what = self.inbox.popleft()
        if isinstance(what, RouteTable):
            assert self.table is None or self.table.generation < what.generation
            assert all(self.held.get(wanted) is State.READY for wanted in what.routed()), "a route to what is not ready here"
            self.table = what
            return
        for wanted in self.held.keys() - what:
            assert self.table is None or wanted not in self.table.routed(), "told to let go of what is routed"
            self.held[wanted] = State.DRAIN
        for wanted in what:
            assert self.held.get(wanted) is not State.DRAIN, "told to hold what it is letting go of"
            self.held.setdefault(wanted, State.VERIFY)
        if self.budget_bytes is not None:
            assert self.budget_bytes >= sum(self.sizes.get(wanted, 0) for wanted in self.held)

    def movable(self) -> list[Wanted]:
        """Versions that something is being done to."""
        return sorted(wanted for wanted, state in self.held.items() if state in NEXT or state is State.DRAIN)

    def move(self, wanted: Wanted, *, fails: bool = False) -> None:
        """Finish what is being done to a version, and report it."""
        state = self.held[wanted]
        event = Event.RELEASED if state is State.DRAIN else Event.FAIL if fails else NEXT[state]
        self.held[wanted] = step(state, event)
        if event is Event.RELEASED:
            del self.held[wanted]
        self.outbox.append((wanted, event))


class Fleet:
    """The shell around `decide`, as a supervisor is: it decides after everything that happens and carries it out."""

    def __init__(self, *, budget_bytes: int | None = None, sizes: dict[Wanted, int] | None = None, workers: int = 0) -> None:
        self.sizes = sizes or {}
        self.workers: dict[int, FakeWorker] = {}
        self.snapshot = Snapshot(budget_bytes=budget_bytes, sizes=self.sizes)
        self.decision: Decision = decide(self.snapshot)
        self.tables = [self.snapshot.routes]
        self._numbers = 0
        for _ in range(workers):
            self.join()

    def happened(self, snapshot: Snapshot) -> None:
        """Decide and carry out."""
        before = self.snapshot
        decision = self.decision = decide(snapshot)
        self.snapshot = applied(snapshot, decision)
        unrouted = before.routes.models.keys() - decision.routes.models.keys()
        stranded = not snapshot.serving and any(known.state is State.FAILED for known in decision.known.values())
        assert stranded or unrouted.isdisjoint({wanted.model for wanted in snapshot.desired.versions}), "a model lost its last version"
        if decision.routes is not before.routes:
            self.tables.append(decision.routes)
        for worker in decision.serving:
            if decision.routes is not before.routes or worker not in before.serving:
                self.workers[worker].inbox.append(decision.routes)
        for worker in self.workers.values():
            if worker.number not in before.workers or decision.hold != self.held_before:
                worker.inbox.append(decision.hold)
        self.held_before = decision.hold
        for number in decision.broken:
            self.die(number)

    held_before: frozenset[Wanted] = frozenset()

    def join(self) -> int:
        self._numbers += 1
        self.workers[self._numbers] = FakeWorker(self._numbers, self.snapshot.budget_bytes, self.sizes)
        self.happened(self.snapshot.joined(self._numbers))
        return self._numbers

    def die(self, number: int) -> None:
        del self.workers[number]
        self.happened(self.snapshot.died(number))

    def listen(self, number: int, *, failure: Failure = Failure.MODEL) -> None:
        """Take the oldest report of a worker."""
        wanted, event = self.workers[number].outbox.popleft()
        reason = "it is bad" if event is Event.FAIL else None
        self.happened(self.snapshot.reported(number, wanted, event, failure=failure, reason=reason))

    def verify(self, wanted: Wanted, failure: Failure | None = None) -> None:
        if failure is None:
            self.happened(self.snapshot.verified(wanted))
        else:
            self.happened(self.snapshot.unverified(wanted, failure, "it is bad"))

    def settle(self) -> None:
        """Let everything happen, and well, until nothing does any more."""
        for _ in range(10_000):
            if not self._something():
                return
        raise AssertionError("it does not come to rest")

    def _something(self) -> bool:
        if self.snapshot.verifying:
            self.verify(min(self.snapshot.verifying))
            return True
        for worker in list(self.workers.values()):
            if worker.inbox:
                worker.take()
            elif worker.outbox:
                self.listen(worker.number)
            elif worker.movable():
                worker.move(worker.movable()[0])
            else:
                continue
            return True
        return False
