"""Everything at once: changes, reports, deaths, failures and messages under way in any order, and what must hold all the same."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.serving.deciding import applied, decide
from gateway.serving.lifecycle import Desired, Event, Failure, RouteTable, Snapshot, State, Wanted
from tests.gateway.serving.fleet import NEXT, Fleet

MODELS = ("a", "b")
NUMBERS = st.integers(1, 3)
CONTENTS = st.dictionaries(NUMBERS, st.sampled_from(("x", "y")), max_size=3)
LABELS = st.dictionaries(st.sampled_from(("prod", "next")), NUMBERS, max_size=2)
SIZES = {Wanted(model, number, identity): 10 * number for model in MODELS for number in (1, 2, 3) for identity in "xy"}


def desired_of(contents: dict[str, dict[int, str]], labels: dict[str, dict[str, int]], defaults: dict[str, int]) -> Desired:
    return Desired(frozenset(Wanted(model, *item) for model, numbers in contents.items() for item in numbers.items()), labels, defaults)


class Mixes(RuleBasedStateMachine):
    """A supervisor and workers, with messages under way."""

    @initialize(budget=st.sampled_from((None, 60, 120)))
    def start(self, budget: int | None) -> None:
        self.fleet = Fleet(budget_bytes=budget, sizes=SIZES)
        self.routed_before: dict[str, dict[int, str]] = {}

    @rule(
        contents=st.dictionaries(st.sampled_from(MODELS), CONTENTS), labels=st.dictionaries(st.sampled_from(MODELS), LABELS), data=st.data()
    )
    def want(self, contents: dict[str, dict[int, str]], labels: dict[str, dict[str, int]], data: st.DataObject) -> None:
        defaults = data.draw(st.dictionaries(st.sampled_from(MODELS), NUMBERS, max_size=1))
        self.fleet.happened(self.fleet.snapshot.wants(desired_of(contents, labels, defaults)))

    @precondition(lambda self: len(self.fleet.workers) < 3)
    @rule()
    def join(self) -> None:
        self.fleet.join()

    @precondition(lambda self: self.fleet.workers)
    @rule(data=st.data())
    def die(self, data: st.DataObject) -> None:
        self.fleet.die(data.draw(st.sampled_from(sorted(self.fleet.workers))))

    @precondition(lambda self: self.fleet.snapshot.verifying)
    @rule(data=st.data(), failure=st.sampled_from((None, None, None, Failure.MODEL, Failure.UNREACHABLE)))
    def verify(self, data: st.DataObject, failure: Failure | None) -> None:
        self.fleet.verify(data.draw(st.sampled_from(sorted(self.fleet.snapshot.verifying))), failure)

    @precondition(lambda self: any(worker.inbox for worker in self.fleet.workers.values()))
    @rule(data=st.data(), count=st.integers(1, 4))
    def deliver(self, data: st.DataObject, count: int) -> None:
        worker = self.fleet.workers[data.draw(st.sampled_from(self._with("inbox")))]
        for _ in range(min(count, len(worker.inbox))):
            worker.take()

    @precondition(lambda self: any(worker.outbox for worker in self.fleet.workers.values()))
    @rule(data=st.data(), failure=st.sampled_from((Failure.MODEL, Failure.UNREACHABLE)))
    def listen(self, data: st.DataObject, failure: Failure) -> None:
        self.fleet.listen(data.draw(st.sampled_from(self._with("outbox"))), failure=failure)

    def _with(self, queue: str) -> list[int]:
        return [number for number, worker in self.fleet.workers.items() if getattr(worker, queue)]

    @precondition(lambda self: any(worker.movable() for worker in self.fleet.workers.values()))
    @rule(data=st.data(), steps=st.integers(1, 4), fails=st.sampled_from((False, False, False, True)))
    def work(self, data: st.DataObject, steps: int, fails: bool) -> None:
        worker = self.fleet.workers[data.draw(st.sampled_from([n for n, one in self.fleet.workers.items() if one.movable()]))]
        wanted = data.draw(st.sampled_from(worker.movable()))
        for _ in range(steps):
            if wanted in worker.movable():
                worker.move(wanted, fails=fails and worker.held[wanted] is not State.DRAIN)

    @rule()
    def reload(self) -> None:
        self.fleet.happened(self.fleet.snapshot.reloaded())

    @rule(seconds=st.sampled_from((0.5, 5.0, 120.0)))
    def wait(self, seconds: float) -> None:
        self.fleet.happened(self.fleet.snapshot.at(self.fleet.snapshot.now_s + seconds))

    @invariant()
    def a_route_leads_to_what_is_ready_everywhere(self) -> None:
        """As the supervisor knows it; that it is so in each worker is checked where the worker takes the table."""
        snapshot = self.fleet.snapshot
        for wanted in snapshot.routes.routed():
            assert snapshot.known[wanted].state is State.READY
            assert all(snapshot.known[wanted].ready_on(worker) for worker in snapshot.serving)
        assert snapshot.serving <= snapshot.workers == set(self.fleet.workers)

    @invariant()
    def generations_only_grow(self) -> None:
        """By one, and only where something differs."""
        tables = self.fleet.tables
        assert [table.generation for table in tables] == list(range(len(tables)))
        assert all(replace(a, generation=0) != replace(b, generation=0) for a, b in pairwise(tables))

    @invariant()
    def names_lead_to_routed_versions(self) -> None:
        """Every label and every default."""
        table = self.fleet.snapshot.routes
        for model, labels in table.labels.items():
            assert set(labels.values()) <= table.models[model].keys()
        assert all(number in table.models[model] for model, number in table.defaults.items())
        explicit = self.fleet.snapshot.desired.defaults.keys()
        assert set(table.models) - explicit <= set(table.defaults)

    @invariant()
    def deciding_again_changes_nothing(self) -> None:
        """A decision is a replacement, not a command."""
        snapshot, decision = self.fleet.snapshot, self.fleet.decision
        again = decide(snapshot)
        assert (again.hold, again.routes, again.serving, again.known) == (decision.hold, decision.routes, decision.serving, decision.known)
        assert set(again.verify) == set(decision.verify)
        assert len(again.verify) <= snapshot.parallel

    def teardown(self) -> None:
        """Without further trouble, the table is what is desired and nothing else is held."""
        if not hasattr(self, "fleet"):
            return
        fleet = self.fleet
        if not fleet.workers:
            fleet.join()
        for _ in range(3):
            fleet.settle()
            fleet.happened(fleet.snapshot.reloaded())
        fleet.settle()
        if fleet.snapshot.budget_bytes is None:
            self._is_as_desired()
        assert fleet.snapshot.serving == fleet.snapshot.workers

    def _is_as_desired(self) -> None:
        snapshot, table = self.fleet.snapshot, self.fleet.snapshot.routes
        assert snapshot.desired.versions == table.routed() == set(snapshot.known) == self.fleet.decision.hold
        for worker in self.fleet.workers.values():
            assert set(worker.held) == table.routed()
            assert worker.table == table
        for model, numbers in table.models.items():
            labels = snapshot.desired.labels.get(model, {})
            assert {label: number for label, number in labels.items() if number in numbers} == table.labels.get(model, {})
            default = snapshot.desired.defaults.get(model, max(numbers))
            assert table.defaults.get(model) == (default if default in numbers else None)


TestMixes = Mixes.TestCase
TestMixes.settings = settings(max_examples=60, stateful_step_count=60, derandomize=True)


ONE, TWO = Wanted("a", 1, "x"), Wanted("a", 2, "x")
WISHES = tuple(Desired(frozenset(versions), {"a": {"prod": target}}) for versions, target in (((ONE,), 1), ((TWO,), 2), ((ONE, TWO), 2)))
Troubles = tuple[int, int, int]  # changes of what is desired, failures, deaths that may still come
Place = tuple[Snapshot, Troubles]
CALM: Troubles = (0, 0, 0)


def after(snapshot: Snapshot) -> Snapshot:
    """Decided and carried out at once."""
    decision = decide(snapshot)
    return applied(snapshot, replace(decision, routes=replace(decision.routes, generation=0)))


def progress(snapshot: Snapshot) -> Iterator[Snapshot]:
    """Everything that may happen next without trouble."""
    yield from (snapshot.verified(wanted) for wanted in sorted(snapshot.verifying))
    for wanted, known in sorted(snapshot.known.items(), key=lambda item: item[0]):
        for worker, state in sorted(known.by_worker.items()):
            if state in NEXT or state is State.DRAIN:
                yield snapshot.reported(worker, wanted, NEXT.get(state, Event.RELEASED))


def trouble(snapshot: Snapshot, left: Troubles) -> Iterator[Place]:
    """Everything else."""
    changes, failures, deaths = left
    if changes:
        yield from ((snapshot.wants(wish), (changes - 1, failures, deaths)) for wish in WISHES if wish != snapshot.desired)
    if failures:
        fewer = (changes, failures - 1, deaths)
        yield from ((snapshot.unverified(wanted, Failure.MODEL, "bad"), fewer) for wanted in snapshot.verifying)
        for wanted, known in snapshot.known.items():
            loading = (worker for worker, state in known.by_worker.items() if state in NEXT)
            yield from ((snapshot.reported(worker, wanted, Event.FAIL, reason="bad"), fewer) for worker in loading)
    if deaths:
        fewer = (changes, failures, deaths - 1)
        for worker in snapshot.workers:
            yield snapshot.died(worker).joined(max(snapshot.workers) + 1), fewer


def check_ends(snapshot: Snapshot, checked: set[object]) -> None:
    """Where it comes to without more trouble. `checked` holds the places from which that is known."""
    for _ in range(60):
        if (here := key((snapshot, CALM))) in checked:
            return
        checked.add(here)
        following = next(progress(snapshot), None)
        if following is None:
            check_rest(snapshot)
            return
        snapshot = after(following)
    raise AssertionError("it does not come to rest")


def key(place: Place) -> object:
    """Equal for places from which the same can happen."""
    snapshot, left = place
    known = frozenset(
        (wanted, one.state, one.failure, one.deaths, frozenset(one.by_worker.items())) for wanted, one in snapshot.known.items()
    )
    return left, known, snapshot.desired.versions, repr(snapshot.routes), snapshot.workers, snapshot.serving, snapshot.verifying


@pytest.mark.parametrize("left", [(2, 1, 0), (1, 1, 1)])
def test_all_that_can_happen_to_two_versions_on_two_workers(left: Troubles) -> None:
    """Every order of every event, with so many changes of mind, failures and deaths among them."""
    start = after(after(Snapshot().joined(1)).joined(2))
    found: dict[object, Place] = {}
    waiting: list[Place] = [(after(start.wants(WISHES[0])), left)]
    while waiting:
        place = waiting.pop()
        if found.setdefault(key(place), place) is not place:
            continue
        snapshot, left = place
        for following, fewer in [*((one, left) for one in progress(snapshot)), *trouble(snapshot, left)]:
            now = after(following)
            check_step(following, now)
            waiting.append((now, fewer))
    checked: set[object] = set()
    for snapshot, _ in found.values():
        check_ends(snapshot, checked)
    assert len(found) > 1_000, "most of what can happen is not looked at"


def check_step(before: Snapshot, now: Snapshot) -> None:
    """Of one decision."""
    assert not before.routes.models or now.routes.models or not before.serving
    for wanted in now.routes.routed():
        assert all(now.known[wanted].ready_on(worker) for worker in now.serving)
    assert set(now.routes.labels.get("a", {}).values()) <= now.routes.models.get("a", {}).keys()
    assert after(now) == now


def check_rest(snapshot: Snapshot) -> None:
    """Of what it comes to."""
    failed = {wanted for wanted, known in snapshot.known.items() if known.state is State.FAILED}
    assert snapshot.desired.versions - failed <= snapshot.routes.routed()
    if not failed:
        assert (
            RouteTable(0, {"a": {one.version: one.identity for one in sorted(snapshot.desired.versions)}}, *_names(snapshot))
            == snapshot.routes
        )
        assert snapshot.desired.versions == set(snapshot.known)
    assert snapshot.workers - snapshot.serving == decide(snapshot).broken, "a worker serves, or is to be replaced"


def _names(snapshot: Snapshot) -> tuple[dict[str, dict[str, int]], dict[str, int]]:
    highest = max(one.version for one in snapshot.desired.versions)
    return dict(snapshot.desired.labels), {"a": highest}
