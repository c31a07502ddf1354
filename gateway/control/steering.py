"""From what shall serve to what workers hold and serve: carries out what `deciding.decide` says, and tells it what came of it.

Knows no process and no file: verifying, telling workers and slots of counters are passed in. All of it runs on the supervisor's event loop.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from typing import Protocol

import msgspec

from gateway.clock import Clock
from gateway.control.messages import Held, Hold, Report, Reports, Route, Table
from gateway.control.tables import table_of
from gateway.errors import Code, TidegateError
from gateway.serving.deciding import Decision, applied, decide
from gateway.serving.drowsing import Drowsing
from gateway.serving.explicit import Explicit
from gateway.serving.lifecycle import STARTING, STEPS, Event, Failure, RouteTable, Snapshot, State, Wanted
from gateway.serving.sources import Wish

_log = logging.getLogger(__name__)
_LEAST_S, _SHARE = 0.002, 3.0  # between two decisions: so long, and so many times what the last one took
_LATE_WORKERS_S = 5.0  # that the first ones wait for the others before the server is ready
_AHEAD = 32  # versions handed over to be verified, one after the other: the next need not wait for a decision
_ORDER = (*STARTING, State.READY)
_SETTLED = frozenset((State.READY, State.FAILED))

Done = Callable[[TidegateError | None], None]


class Outcome(msgspec.Struct, frozen=True):
    """What came of a verification. `reason` is None where it went well."""

    reason: str | None = None
    failure: Failure = Failure.MODEL
    size_bytes: int = 0  # of its files


class Actions(Protocol):
    """What a decision needs done."""

    def verify(self, wanted: Wanted) -> asyncio.Future[Outcome]:
        """Begin to look into a version. Cancelled where nobody wants to know any more."""
        ...

    def tell(self, message: msgspec.Struct, worker: int | None = None) -> None:
        """Send a message to one worker, or to all."""
        ...

    def end(self, worker: int) -> None:
        """Have another worker in its place."""
        ...

    def open_slot(self, model: str, version: int) -> int:
        """Where a version counts."""
        ...

    def close_slot(self, model: str, version: int) -> None:
        """It counts no more."""
        ...

    def bundle(self, identity: str) -> int:
        """The descriptor of what came with the load of a version; -1 for none."""
        ...

    def open_block(self, wanted: Wanted) -> tuple[int, str, int]:
        """Where the traffic of a version is counted for drift, and how: `Held.block`, `Held.learned`, `Held.checksum`."""
        ...

    def close_block(self, wanted: Wanted) -> None:
        """Nobody counts there any more."""
        ...


class Steering:
    """The versions of one server."""

    def __init__(
        self, actions: Actions, clock: Clock, *, workers: int, budget_bytes: int | None, routed: Callable[[Table], None],
        explicit: Explicit | None = None,
    ) -> None:  # fmt: skip
        """`workers` are expected; `routed` is told of every new table. With `explicit`, callers say what is loaded."""
        self.snapshot = Snapshot(budget_bytes=budget_bytes, parallel=_AHEAD)
        self.table = Table()
        self.ready = False  # everything that was wanted first is there, or has failed
        self._actions = actions
        self._clock = clock
        self._routed = routed
        self._explicit = explicit
        self._whole = self._wish = Wish.nothing()  # of the repository, and what is left of it for explicit control
        self._awaited: list[tuple[str, bool, Done]] = []
        self._drowsing = Drowsing(budget_bytes)
        self._wished = False
        self._workers = workers
        self._first_s = math.inf  # when the first of them served
        self._draining = False
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due_s = math.inf
        self._pause_s = _LEAST_S
        self._lists = 0  # sent to workers
        self._held: frozenset[Wanted] = frozenset()
        self._left_at: dict[Wanted, int] = {}  # since which list it is not in it
        self._verifying: dict[Wanted, asyncio.Future[Outcome]] = {}

    # --- what happens ----------------------------------------------------------------------------------------------------------

    def wants(self, wish: Wish) -> None:
        """Another state is wanted."""
        if self._explicit is not None and not self._wished and (absent := self._explicit.absent(wish)):
            _log.warning("repository.load_models names what the repository has no version of: %s", ", ".join(absent))
        self._whole, self._wished = wish, True
        self._rouse()

    def check_load(self, model: str, wish: Wish) -> None:
        """Whether a model could be loaded, were this wished. Raises TidegateError for one that cannot be."""
        self._controlled().check(model, wish)

    def load(self, model: str, done: Done) -> None:
        """Somebody wants a model loaded; `done` is told when its versions are, or why not. Raises TidegateError for one that cannot be."""
        self._controlled().load(model, self._whole)
        self._awaited.append((model, True, done))
        self.snapshot = self.snapshot.reloaded()
        self._rouse()

    def unload(self, model: str, done: Done) -> None:
        """Somebody wants a model unloaded; `done` is told when no request reaches it. Raises TidegateError for an unknown one."""
        self._controlled().unload(model, self._whole)
        self._awaited.append((model, False, done))
        self._rouse()

    def _controlled(self) -> Explicit:
        if self._explicit is None or self._draining:
            raise TidegateError(Code.UNAVAILABLE, "models are not loaded or unloaded now")
        return self._explicit

    def wake(self, model: str) -> None:
        """Somebody asks for a model that is loaded on demand."""
        if model in self._wish.lazy and self._drowsing.wake(model, self._clock.now()):
            self._rouse()

    @property
    def lazy(self) -> bool:
        """Whether any model is loaded on demand."""
        return bool(self._wish.lazy)

    def tell_again(self) -> None:
        """Something else is to be told of versions that are held."""
        self._lists += 1
        self._actions.tell(self._hold_message())

    def used(self, models: Iterable[str]) -> None:
        """These were asked since the last time."""
        now = self._clock.now()
        for model in models:
            self._drowsing.used(model, now)

    def _rouse(self) -> None:
        """What is desired is the wish without those that sleep."""
        wish = self._wish = self._whole if self._explicit is None else self._explicit.of(self._whole)
        sizes: dict[str, int] = {}
        for one in wish.desired.versions:
            sizes[one.model] = sizes.get(one.model, 0) + self.snapshot.size(one)
        lazy = {model: sizes.pop(model) for model in wish.lazy}
        asleep = wish.lazy - self._drowsing.awake(lazy, sum(sizes.values()))
        versions = frozenset(one for one in wish.desired.versions if one.model not in asleep)
        self.snapshot = self.snapshot.wants(replace(wish.desired, versions=versions))
        self._soon()

    def retry(self) -> None:
        """Somebody asks to try again what failed."""
        self.snapshot = self.snapshot.reloaded()
        self._soon()

    def joined(self, worker: int) -> None:
        """A worker has begun. It is told all there is to know; it serves once it holds what is routed."""
        self.snapshot = self.snapshot.joined(worker)
        self._actions.tell(self._hold_message(), worker)
        self._decide()

    def died(self, worker: int) -> None:
        """A worker is gone."""
        if worker in self.snapshot.workers:
            self.snapshot = self.snapshot.died(worker)
            self._soon()

    def reported(self, worker: int, reports: Reports) -> None:
        """A worker says what it holds."""
        if worker not in self.snapshot.workers:
            return
        told = {Wanted(one.model, one.version, one.identity): one for one in reports.versions}
        for wanted, known in self.snapshot.known.items():
            state = known.by_worker.get(worker)
            if state is not None and wanted in told:
                self._advance(worker, wanted, state, told[wanted])
            elif state is State.DRAIN and reports.number >= self._left_at.get(wanted, 0):
                self.snapshot = self.snapshot.reported(worker, wanted, Event.RELEASED)
        self._soon()

    def _advance(self, worker: int, wanted: Wanted, before: State, report: Report) -> None:
        """One report as the events that led there."""
        if before not in _ORDER:
            return
        if report.state is State.FAILED:
            failure = Failure.UNREACHABLE if report.unreachable else Failure.MODEL
            if before is not State.READY:
                self.snapshot = self.snapshot.reported(worker, wanted, Event.FAIL, failure=failure, reason=report.reason)
        elif report.state in _ORDER:
            for event in STEPS[_ORDER.index(before) : _ORDER.index(report.state)]:
                self.snapshot = self.snapshot.reported(worker, wanted, event, bytes_held=report.size_bytes or None)

    def _verified(self, wanted: Wanted, future: asyncio.Future[Outcome]) -> None:
        if future.cancelled():
            return
        self._verifying.pop(wanted, None)
        outcome = future.result()
        self.snapshot = self.snapshot.at(self._clock.now())
        if outcome.reason is None:
            self.snapshot = self.snapshot.verified(wanted)
        else:
            self.snapshot = self.snapshot.unverified(wanted, outcome.failure, outcome.reason)
        if outcome.size_bytes:
            sizes = {one: size for one, size in self.snapshot.sizes.items() if one in self._wish.desired.versions}
            self.snapshot = self.snapshot.wants(self.snapshot.desired, sizes | {wanted: outcome.size_bytes})
        self._rouse()  # now that its size is known, another may have to make room

    def drain(self) -> None:
        """The server stops: not ready from now on, and nothing is loaded any more."""
        self._draining = True
        waiting, self._awaited = self._awaited, []
        for _, _, done in waiting:
            done(TidegateError(Code.UNAVAILABLE, "the server is shutting down"))
        self._publish(self.snapshot.routes)
        self.close()

    def close(self) -> None:
        """Decide nothing more."""
        for future in self._verifying.values():
            future.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = -math.inf

    # --- what is done about it -------------------------------------------------------------------------------------------------

    def _soon(self, delay_s: float = 0.0) -> None:
        """Decide in a moment, so that many things that happen at once are one decision."""
        at_s = self._loop.time() + max(delay_s, self._pause_s)
        if at_s >= self._due_s:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due_s = at_s
        self._timer = self._loop.call_at(at_s, self._decide)

    def _decide(self) -> None:
        if self._draining:
            return
        started = self._clock.now()
        self._due_s = math.inf
        before = self.snapshot.at(started)
        decision = decide(before)
        self.snapshot = applied(before, decision)
        self._log_changes(before, decision)
        self._verify(decision.verify)
        self._tell(before, decision)
        for worker in decision.broken:
            self._actions.end(worker)
        self._close_slots(before)
        self._answer()
        self._pause_s = max(_LEAST_S, _SHARE * (self._clock.now() - started))
        if decision.wake_at_s < math.inf:
            self._soon(decision.wake_at_s - started)

    def _answer(self) -> None:
        """Tell those that wait for a load or unload, if it is over. An unload is, too, where a load came after it."""
        waiting, self._awaited = self._awaited, []
        for model, load, done in waiting:
            versions = [one for one in self.snapshot.desired.versions if one.model == model]
            known = [self.snapshot.known[one] for one in versions] if load else []
            if any(one.state not in _SETTLED for one in known) or (not load and not versions and model in self.snapshot.routes.models):
                self._awaited.append((model, load, done))
            elif load and not known:
                done(TidegateError(Code.FAILED_PRECONDITION, f"failed to load '{model}': it was unloaded or removed meanwhile"))
            elif failed := [one for one in known if one.state is State.FAILED]:
                text = f"failed to load '{model}': version {failed[0].wanted.version}: {failed[0].reason}"
                done(TidegateError(Code.FAILED_PRECONDITION, text))
            else:
                done(None)

    def _verify(self, wanted: tuple[Wanted, ...]) -> None:
        for one in self._verifying.keys() - set(wanted):
            self._verifying.pop(one).cancel()
        for one in wanted:
            if one not in self._verifying:
                future = self._verifying[one] = self._actions.verify(one)
                future.add_done_callback(lambda future, one=one: self._verified(one, future))  # type: ignore[misc]

    def _tell(self, before: Snapshot, decision: Decision) -> None:
        """Routes first, then what to hold: what is let go of serves no more by then."""
        ready = self.ready or self._complete(decision)
        newly = decision.serving - before.serving
        self.ready = ready
        if not self._publish(decision.routes):
            for worker in newly:
                self._actions.tell(Route(self.table), worker)
        if decision.hold != self._held:
            self._lists += 1
            self._left_at |= dict.fromkeys(self._held - decision.hold, self._lists)
            self._held = decision.hold
            self._actions.tell(self._hold_message())

    def _complete(self, decision: Decision) -> bool:
        """All that was wished for first is there, or has failed; in all workers, or in those that are there a while after the first."""
        if not decision.serving or not self._wished or any(known.state not in _SETTLED for known in decision.known.values()):
            return False
        self._first_s = min(self._first_s, self.snapshot.now_s)
        left_s = self._first_s + _LATE_WORKERS_S - self.snapshot.now_s
        if len(decision.serving) >= self._workers or left_s <= 0:
            return True
        self._soon(left_s)
        return False

    def _publish(self, routes: RouteTable) -> bool:
        """Send the table to those that serve, if it is another one than before."""
        ready = self.ready and not self._draining
        table = table_of(
            self._wish, routes, self.snapshot.desired, generation=self.table.generation, partial=not self._wished, ready=ready,
            draining=[one for one, known in self.snapshot.known.items() if known.state is State.DRAIN],
        )  # fmt: skip
        if table == self.table:
            return False
        self.table = msgspec.structs.replace(table, generation=table.generation + 1)
        self._routed(self.table)
        for worker in self.snapshot.serving:
            self._actions.tell(Route(self.table), worker)
        return True

    def _hold_message(self) -> Hold:
        do = self._actions
        held = [
            Held(one.model, one.version, one.identity, do.open_slot(one.model, one.version), do.bundle(one.identity), *do.open_block(one))
            for one in sorted(self._held)
        ]
        return Hold(self._lists, tuple(held))

    def _close_slots(self, before: Snapshot) -> None:
        here = {(one.model, one.version) for one in self.snapshot.known}
        for model, version in {(one.model, one.version) for one in before.known} - here:
            self._actions.close_slot(model, version)
        for one in before.known.keys() - self.snapshot.known.keys():
            self._actions.close_block(one)
        self._left_at = {one: number for one, number in self._left_at.items() if one in self.snapshot.known}

    def _log_changes(self, before: Snapshot, decision: Decision) -> None:
        was: Mapping[Wanted, State | None] = {one: known.state for one, known in before.known.items()}
        for one, known in decision.known.items():
            if was.get(one) is known.state:
                continue
            if known.state is State.FAILED:
                _log.error("version failed: %s/%d: %s", one.model, one.version, known.reason)
            elif known.state is State.READY:
                _log.info("version ready: %s/%d", one.model, one.version)
            else:
                _log.debug("version %s: %s/%d", known.state.value, one.model, one.version)
        if decision.routes is not before.routes:
            _log.info("routes %d: %s", decision.routes.generation, _shown(decision.routes))


def _shown(routes: RouteTable) -> str:
    versions = [f"{model}/{number}" for model, numbers in routes.models.items() for number in numbers]
    return ", ".join(versions[:8]) + (f", … ({len(versions)})" if len(versions) > 8 else "") if versions else "nothing"
