"""What a version goes through, as a transition table, and what is known of all versions, as one value that reports change. Pure: no I/O,
no clock, no randomness.

A `Snapshot` is all that a decision depends on. Its methods give the next snapshot for one thing that happened; `deciding.decide` says
what to do about it. The diagram of docs/lifecycle.md is `diagram()`.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

RETRY_FIRST_S, RETRY_MOST_S = 1.0, 60.0  # between attempts to reach what could not be reached; doubles


class State(enum.Enum):
    """Of a version as a whole, and of a version in one worker."""

    VERIFY = "VERIFY"  # as a whole: files are checked and it is tried in a child process; in a worker: it waits for its turn
    LOAD = "LOAD"  # workers make a session
    WARM = "WARM"  # runs of real shapes, for allocations and the first figures of its cost
    GOLDEN = "GOLDEN"  # its golden requests are asked
    READY = "READY"
    DRAIN = "DRAIN"  # no route leads to it any more; requests that have it are answered
    CLOSED = "CLOSED"  # nothing of it is left
    FAILED = "FAILED"


class Event(enum.Enum):
    """What moves a version on."""

    VERIFIED = "verified"  # also said by a worker that has checked the files and now begins to load
    LOADED = "loaded"
    WARMED = "warmed"
    PASSED = "passed"  # its golden requests
    FAIL = "fail"
    REFUSE = "refuse"  # it does not fit into memory beside what is there
    LOST = "lost"  # workers that served it have died, and no other can load it
    RETRY = "retry"
    DROP = "drop"  # nobody wants it and no route leads to it
    RELEASED = "released"  # the last request that had it is answered and its memory is given back


STARTING = (State.VERIFY, State.LOAD, State.WARM, State.GOLDEN)
LOADING = STARTING[1:]
STEPS = (Event.VERIFIED, Event.LOADED, Event.WARMED, Event.PASSED)
TABLE: Mapping[tuple[State, Event], State] = {
    **dict(zip(zip(STARTING, STEPS, strict=True), (*STARTING[1:], State.READY), strict=True)),
    **{(state, event): State.FAILED for state in STARTING for event in (Event.FAIL, Event.REFUSE)},
    (State.READY, Event.LOST): State.FAILED,
    (State.FAILED, Event.RETRY): State.VERIFY,
    **{(state, Event.DROP): State.DRAIN for state in (*STARTING, State.READY, State.FAILED)},
    # A worker's report that was on its way when it was told to let go.
    **{(State.DRAIN, event): State.DRAIN for event in (*STEPS, Event.FAIL)},
    (State.DRAIN, Event.RELEASED): State.CLOSED,
}


REPORTS = frozenset({*STEPS, Event.FAIL, Event.RELEASED})  # what a worker says; the rest is decided


class IllegalTransitionError(Exception):
    """An event that cannot happen in this state: whoever reported it is not to be believed."""


def step(state: State, event: Event) -> State:
    """The next state. Raises `IllegalTransitionError`."""
    after = TABLE.get((state, event))
    if after is None:
        raise IllegalTransitionError(f"'{event.value}' cannot happen to a version in {state.value}")
    return after


def diagram() -> str:
    """The table as a state diagram in Mermaid; events between the same two states share an arrow."""
    arrows: dict[tuple[State, State], list[str]] = {}
    for (state, event), after in TABLE.items():
        arrows.setdefault((state, after), []).append(event.value)
    lines = [f"    {state.value} --> {after.value}: {', '.join(events)}" for (state, after), events in arrows.items()]
    return "\n".join(["stateDiagram-v2", "    [*] --> VERIFY", *lines, "    CLOSED --> [*]"]) + "\n"


class Failure(enum.Enum):
    """What kind of failure; it decides when a version is tried again."""

    MODEL = "model"  # its files or answers are wrong: when it is another version, or on an explicit reload
    UNREACHABLE = "unreachable"  # the storage did not give the files: after a while that doubles
    MEMORY = "memory"  # as soon as it fits


@dataclass(frozen=True, slots=True, order=True)
class Wanted:
    """One content of a version. The same number with another identity is another one, and replaces it."""

    model: str
    version: int
    identity: str  # digest of the manifest, or a text that stands for the content of a Triton-style directory


@dataclass(frozen=True, slots=True)
class Desired:
    """What shall serve, whole. A model without a default of its own has its highest version as the default.

    A label or default does not keep a version: what it points to has to be among `versions`.
    """

    versions: frozenset[Wanted] = frozenset()  # at most one for a model and number
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)  # model → label → version
    defaults: Mapping[str, int] = field(default_factory=dict)  # model → version

    def __post_init__(self) -> None:
        assert len({(wanted.model, wanted.version) for wanted in self.versions}) == len(self.versions)


@dataclass(frozen=True, slots=True)
class Known:
    """What is known of one content of a version."""

    wanted: Wanted
    state: State = State.VERIFY
    reason: str | None = None  # of the last failure
    failure: Failure = Failure.MODEL
    by_worker: Mapping[int, State] = field(default_factory=dict)  # workers that were told to hold it and have not yet let go
    bytes: int | None = None  # in one worker, measured once it was loaded
    attempts: int = 0  # that ended with `Failure.UNREACHABLE`
    retry_at_s: float = math.inf  # while in FAILED; of a clock that never goes back
    deaths: int = 0  # of workers while they were loading it

    def after(self, event: Event) -> Known:
        """Moved on as a whole. Raises `IllegalTransitionError`."""
        return replace(self, state=step(self.state, event), retry_at_s=math.inf)

    def failed(self, failure: Failure, reason: str, now_s: float, *, event: Event = Event.FAIL) -> Known:
        """Moved to FAILED, with when it may be tried again. Raises `IllegalTransitionError`."""
        unreachable = failure is Failure.UNREACHABLE
        wait_s = min(RETRY_FIRST_S * 2.0 ** min(self.attempts, 30), RETRY_MOST_S) if unreachable else math.inf
        attempts = self.attempts + unreachable
        return replace(self.after(event), failure=failure, reason=reason, attempts=attempts, retry_at_s=now_s + wait_s, deaths=0)

    def in_worker(self, worker: int, state: State | None) -> Known:
        """With another state in one worker; None where that holds nothing of it any more."""
        others = {index: known for index, known in self.by_worker.items() if index != worker}
        return replace(self, by_worker=others if state in {None, State.CLOSED} else others | {worker: state})

    def ready_on(self, worker: int) -> bool:
        """Whether that worker can serve it."""
        return self.by_worker.get(worker) is State.READY


@dataclass(frozen=True, slots=True, order=True)
class Failed:
    """Why a version, a label or (where both are None) the default of a model does not serve."""

    model: str
    reason: str
    version: int | None = None
    label: str | None = None


@dataclass(frozen=True, slots=True)
class RouteTable:
    """Which contents serve under which names; the same in all workers. Never changed, replaced whole."""

    generation: int = 0
    models: Mapping[str, Mapping[int, str]] = field(default_factory=dict)  # model → version → identity
    labels: Mapping[str, Mapping[str, int]] = field(default_factory=dict)
    defaults: Mapping[str, int] = field(default_factory=dict)
    failed: tuple[Failed, ...] = ()

    def routed(self) -> frozenset[Wanted]:
        """Everything that a route leads to."""
        return frozenset(Wanted(model, *item) for model, numbers in self.models.items() for item in numbers.items())


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a decision depends on. The methods give what it is after something happened."""

    desired: Desired = Desired()
    known: Mapping[Wanted, Known] = field(default_factory=dict)
    routes: RouteTable = RouteTable()
    workers: frozenset[int] = frozenset()  # that live; numbers are never used again
    serving: frozenset[int] = frozenset()  # of these, those that take requests by `routes`
    budget_bytes: int | None = None  # for all versions that one worker holds; None: no bound
    sizes: Mapping[Wanted, int] = field(default_factory=dict)  # estimates before a version is loaded; none counts as 0
    verifying: frozenset[Wanted] = frozenset()  # being verified now
    parallel: int = 2  # verifications at once
    now_s: float = 0.0

    def wants(self, desired: Desired, sizes: Mapping[Wanted, int] | None = None) -> Snapshot:
        """Another state is desired."""
        return replace(self, desired=desired, sizes=self.sizes if sizes is None else sizes)

    def at(self, now_s: float) -> Snapshot:
        """Time has passed."""
        return replace(self, now_s=now_s)

    def reloaded(self, models: frozenset[str] | None = None) -> Snapshot:
        """Somebody asks to try again what failed, of these models or of all."""
        due = {
            wanted: replace(known, retry_at_s=-math.inf)
            for wanted, known in self.known.items()
            if known.state is State.FAILED and (models is None or wanted.model in models)
        }
        return self._with(due)

    def verified(self, wanted: Wanted) -> Snapshot:
        """A verification ended well. One that nobody waits for any more changes nothing."""
        if wanted not in self.verifying:
            return self
        known = self.known[wanted].after(Event.VERIFIED)
        return replace(self._with({wanted: known}), verifying=self.verifying - {wanted})

    def unverified(self, wanted: Wanted, failure: Failure, reason: str) -> Snapshot:
        """A verification failed. One that nobody waits for any more changes nothing."""
        if wanted not in self.verifying:
            return self
        known = self.known[wanted].failed(failure, reason, self.now_s)
        return replace(self._with({wanted: known}), verifying=self.verifying - {wanted})

    def joined(self, worker: int) -> Snapshot:
        """A worker was started. It serves once a decision says so."""
        assert worker not in self.workers
        return replace(self, workers=self.workers | {worker})

    def died(self, worker: int) -> Snapshot:
        """A worker is gone, with all that it held."""
        left = {wanted: _left(known, worker) for wanted, known in self.known.items() if worker in known.by_worker}
        return replace(self._with(left), workers=self.workers - {worker}, serving=self.serving - {worker})

    def reported(
        self,
        worker: int,
        wanted: Wanted,
        event: Event,
        *,
        bytes_held: int | None = None,
        failure: Failure = Failure.MODEL,
        reason: str | None = None,
    ) -> Snapshot:
        """A worker says how far it is. `failure` and `reason` go with `Event.FAIL`.

        Raises `IllegalTransitionError` for what the worker was not told to hold, cannot have come to, or has not to say.
        """
        known = self.known.get(wanted)
        if event not in REPORTS or known is None or worker not in known.by_worker:
            raise IllegalTransitionError(f"worker {worker} reports '{event.value}' of a version that it was not told to hold")
        moved = known.in_worker(worker, step(known.by_worker[worker], event))
        if bytes_held is not None:
            moved = replace(moved, bytes=max(bytes_held, known.bytes or 0))
        if event is Event.FAIL and known.state is not State.FAILED:
            moved = replace(moved, reason=reason, failure=failure)
        return self._with({wanted: moved})

    def size(self, wanted: Wanted) -> int:
        """Bytes of one version in one worker, as far as is known."""
        known = self.known.get(wanted)
        measured = None if known is None else known.bytes
        return self.sizes.get(wanted, 0) if measured is None else measured

    def _with(self, changed: Mapping[Wanted, Known]) -> Snapshot:
        return replace(self, known={**self.known, **changed}) if changed else self


def _left(known: Known, worker: int) -> Known:
    loading = known.by_worker[worker] in LOADING and known.state in LOADING
    return replace(known.in_worker(worker, None), deaths=known.deaths + loading)
