"""The rules of a decision, one at a time."""

from __future__ import annotations

import math

from gateway.serving.deciding import MAX_DEATHS
from gateway.serving.lifecycle import Desired, Failed, Failure, State, Wanted
from tests.gateway.serving.fleet import Fleet


def one(number: int, identity: str = "x", model: str = "a") -> Wanted:
    return Wanted(model, number, identity)


def want(fleet: Fleet, *versions: Wanted, labels: dict[str, int] | None = None, default: int | None = None) -> None:
    """All of one model 'a', but for `versions` of others."""
    desired = Desired(frozenset(versions), {"a": labels} if labels else {}, {} if default is None else {"a": default})
    fleet.happened(fleet.snapshot.wants(desired))


def serving(
    *versions: Wanted, workers: int = 2, budget_bytes: int | None = None, sizes: dict[Wanted, int] | None = None, **names: object
) -> Fleet:
    """A fleet at rest that serves some versions."""
    fleet = Fleet(workers=workers, budget_bytes=budget_bytes, sizes=sizes)
    want(fleet, *versions, **names)
    fleet.settle()
    return fleet


def routes(fleet: Fleet) -> dict[int, str]:
    return dict(fleet.snapshot.routes.models.get("a", {}))


def fail(fleet: Fleet, wanted: Wanted, *, worker: int = 1) -> None:
    """Verify it, let one worker fail to load it, and let everything else come to rest."""
    if wanted in fleet.snapshot.verifying:
        fleet.verify(wanted)
    while fleet.workers[worker].inbox:
        fleet.workers[worker].take()
    fleet.workers[worker].move(wanted, fails=True)
    fleet.settle()


class TestReplacing:
    """Load new before unloading old."""

    def test_the_old_serves_until_the_new_is_ready_on_every_worker(self) -> None:
        """Then the one goes and the other comes in the same table."""
        fleet = serving(one(1))
        want(fleet, one(2))
        fleet.verify(one(2))
        first, second = fleet.workers.values()
        for worker in (first, second):
            worker.take()
            while worker.held[one(2)] is not State.READY:
                assert {1: "x"} == routes(fleet)
                worker.move(one(2))
        for worker, expected in ((first, {1: "x"}), (second, {2: "x"})):
            while worker.outbox:
                assert {1: "x"} == routes(fleet)
                fleet.listen(worker.number)
            assert expected == routes(fleet)
        assert State.DRAIN is fleet.snapshot.known[one(1)].state
        fleet.settle()
        assert {one(2)} == set(fleet.snapshot.known)

    def test_one_that_fails_keeps_the_old(self) -> None:
        """With the reason in the table, and nothing of it in any worker."""
        fleet = serving(one(1))
        want(fleet, one(2), one(3))
        fail(fleet, one(2))
        assert {1: "x", 3: "x"} == routes(fleet)
        assert (Failed("a", "it is bad", 2),) == fleet.snapshot.routes.failed
        assert all(one(2) not in worker.held for worker in fleet.workers.values())

    def test_once_what_failed_is_no_longer_wanted_the_old_goes(self) -> None:
        """Everything that is wanted is ready then."""
        fleet = serving(one(1))
        want(fleet, one(2), one(3))
        fail(fleet, one(2))
        want(fleet, one(3))
        fleet.settle()
        assert ({3: "x"}, {one(3)}) == (routes(fleet), set(fleet.snapshot.known))

    def test_another_content_of_a_number_replaces_it(self) -> None:
        """Loaded beside it; what fails leaves the old content in its place."""
        fleet = serving(one(1))
        want(fleet, one(1, "y"))
        fail(fleet, one(1, "y"))
        assert {1: "x"} == routes(fleet)
        want(fleet, one(1, "z"))
        fleet.verify(one(1, "z"))
        assert {one(1), one(1, "z")} == fleet.decision.hold
        fleet.settle()
        assert ({1: "z"}, {one(1, "z")}) == (routes(fleet), set(fleet.snapshot.known))

    def test_another_content_takes_its_place_without_waiting_for_other_numbers(self) -> None:
        """A number has one place."""
        fleet = serving(one(1))
        want(fleet, one(1, "y"), one(2))
        fail(fleet, one(2))
        assert ({1: "y"}, {one(1, "y"), one(2)}) == (routes(fleet), set(fleet.snapshot.known))

    def test_a_model_that_is_gone_is_unrouted_drained_and_closed(self) -> None:
        """At once, with its labels."""
        fleet = serving(one(1), labels={"prod": 1})
        want(fleet)
        assert ({}, {}, {}) == (fleet.snapshot.routes.models, fleet.snapshot.routes.labels, fleet.snapshot.routes.defaults)
        assert State.DRAIN is fleet.snapshot.known[one(1)].state
        fleet.settle()
        assert {} == fleet.snapshot.known

    def test_what_drains_is_loaded_anew_only_after_it_is_closed(self) -> None:
        """A report from before would otherwise be taken for one of the new."""
        fleet = serving(one(1))
        want(fleet)
        want(fleet, one(1))
        assert ((), frozenset()) == (fleet.decision.verify, fleet.decision.hold)
        fleet.settle()
        assert {1: "x"} == routes(fleet)


class TestNames:
    """Labels and defaults follow to what is ready."""

    def test_a_label_and_the_default_stay_until_their_target_is_ready(self) -> None:
        """And move with the table that routes it."""
        fleet = serving(one(1), labels={"prod": 1}, default=1)
        want(fleet, one(1), one(2), labels={"prod": 2}, default=2)
        assert ({"prod": 1}, 1) == (fleet.snapshot.routes.labels["a"], fleet.snapshot.routes.defaults["a"])
        fleet.settle()
        assert ({"prod": 2}, 2) == (fleet.snapshot.routes.labels["a"], fleet.snapshot.routes.defaults["a"])

    def test_names_without_a_target_that_was_ever_ready_are_absent_and_named(self) -> None:
        """What fails is not ready; what nobody wants does not serve either."""
        fleet = serving(one(1))
        want(fleet, one(1), one(2), labels={"prod": 2, "next": 7}, default=2)
        fail(fleet, one(2))
        table = fleet.snapshot.routes
        assert ({}, {"a": 1}) == (table.labels, table.defaults)
        assert [
            "the label 'next' points to version 7, which is not among those that shall serve",
            "the label 'prod' points to version 2, which is not ready",
            "it is bad",
        ] == [failed.reason for failed in table.failed]

    def test_a_label_keeps_no_version(self) -> None:
        """It goes with what it pointed to, where what it shall point to is not among the wanted."""
        fleet = serving(one(1), labels={"prod": 1}, default=1)
        want(fleet, one(2), labels={"prod": 7}, default=7)
        assert ({"a": {"prod": 1}}, {"a": 1}) == (fleet.snapshot.routes.labels, fleet.snapshot.routes.defaults)
        fleet.settle()
        assert ({2: "x"}, {}, {}) == (routes(fleet), fleet.snapshot.routes.labels, fleet.snapshot.routes.defaults)
        assert ["the default", "the label 'prod'"] == [one.reason.partition(" points")[0] for one in fleet.snapshot.routes.failed]

    def test_a_default_that_somebody_chose_is_not_guessed(self) -> None:
        """At the start, where no other was before."""
        fleet = serving(one(1), default=7)
        assert {} == fleet.snapshot.routes.defaults
        assert (Failed("a", "the default points to version 7, which is not among those that shall serve"),) == fleet.snapshot.routes.failed

    def test_without_a_choice_the_highest_is_the_default(self) -> None:
        """Of those that are ready where the highest fails; and it does not go back to a lower one in between."""
        fleet = serving(one(1), one(2))
        assert {"a": 2} == fleet.snapshot.routes.defaults
        want(fleet, one(1), one(3))
        fail(fleet, one(3))
        assert {"a": 2} == fleet.snapshot.routes.defaults
        want(fleet, one(1))
        assert {"a": 1} == fleet.snapshot.routes.defaults

    def test_a_label_does_not_move_to_an_old_content_of_its_target(self) -> None:
        """It is the new one that somebody pointed at."""
        fleet = serving(one(1), one(2), labels={"prod": 1})
        want(fleet, one(1), one(2, "y"), labels={"prod": 2})
        assert {"prod": 1} == fleet.snapshot.routes.labels["a"]
        fleet.settle()
        assert {"prod": 2} == fleet.snapshot.routes.labels["a"]


class TestWorkers:
    """They come and go."""

    def test_one_that_joins_serves_once_it_holds_everything_routed(self) -> None:
        """What is only being loaded does not keep it."""
        fleet = serving(one(1))
        want(fleet, one(1), one(2))
        third = fleet.join()
        while third not in fleet.snapshot.serving:
            worker = fleet.workers[third]
            if worker.inbox:
                worker.take()
            else:
                worker.move(one(1))
                fleet.listen(third)
        assert [State.READY] == [fleet.workers[third].held[one(1)]]
        fleet.settle()
        assert {1: "x", 2: "x"} == routes(fleet)

    def test_a_death_changes_nothing_for_the_others(self) -> None:
        """Neither the table nor what they hold; what waited for the dead one goes on."""
        fleet = serving(one(1), workers=3)
        table, hold = fleet.snapshot.routes, fleet.decision.hold
        fleet.die(3)
        assert (table, hold) == (fleet.snapshot.routes, fleet.decision.hold)
        want(fleet, one(2))
        fleet.verify(one(2))
        first, second = fleet.workers.values()
        for _ in range(5):
            first.take() if first.inbox else first.move(one(2))
        while first.outbox:
            fleet.listen(1)
        assert {1: "x"} == routes(fleet)
        fleet.die(second.number)
        assert {2: "x"} == routes(fleet)

    def test_after_all_have_died_the_table_waits_for_the_next(self) -> None:
        """Nothing becomes ready on nobody, and nothing is forgotten."""
        fleet = serving(one(1), workers=1)
        fleet.die(1)
        assert {1: "x"} == routes(fleet)
        fleet.join()
        assert frozenset() == fleet.snapshot.serving
        fleet.settle()
        assert ({2}, {1: "x"}) == (fleet.snapshot.serving, routes(fleet))

    def test_one_that_cannot_load_what_is_routed_is_to_be_replaced(self) -> None:
        """The version goes on serving on the others."""
        fleet = serving(one(1))
        third = fleet.join()
        fleet.workers[third].take()
        fleet.workers[third].move(one(1), fails=True)
        fleet.listen(third)
        assert third not in fleet.workers
        assert ({1, 2}, {1: "x"}) == (fleet.snapshot.serving, routes(fleet))

    def test_where_all_have_died_and_none_can_load_a_version_the_others_serve(self) -> None:
        """One bad version costs no other; the reason is in the table."""
        fleet = serving(one(1), one(1, model="b"), workers=1)
        fleet.die(1)
        second = fleet.join()
        fleet.workers[second].take()
        fleet.workers[second].move(one(1), fails=True)
        fleet.settle()
        assert {"b": {1: "x"}} == fleet.snapshot.routes.models
        assert ({second}, (Failed("a", "it is bad", 1),)) == (fleet.snapshot.serving, fleet.snapshot.routes.failed)

    def test_a_version_that_ends_every_worker_is_given_up(self) -> None:
        """It passed its trial, and kills whoever loads it; one that only waits for its turn is not blamed."""
        fleet = serving(one(1))
        want(fleet, one(2), one(3))
        fleet.verify(one(2))
        fleet.verify(one(3))
        for _ in range(MAX_DEATHS):
            worker = fleet.workers[min(fleet.workers)]
            while one(2) not in worker.held:
                worker.take()
            worker.move(one(2))
            fleet.listen(worker.number)
            fleet.die(worker.number)
            fleet.join()
        fleet.settle()
        assert {1: "x", 3: "x"} == routes(fleet)
        assert (Failed("a", f"{MAX_DEATHS} workers died while they loaded it", 2),) == fleet.snapshot.routes.failed


class TestFailures:
    """When a version is tried again."""

    def test_a_bad_one_only_when_asked(self) -> None:
        """Time alone does not mend it, nor does what happens to others; a reload of its model tries it."""
        fleet = serving(one(1))
        want(fleet, one(2))
        fleet.verify(one(2), Failure.MODEL)
        fleet.happened(fleet.snapshot.at(1e6))
        fleet.happened(fleet.snapshot.reloaded(frozenset({"b"})))
        assert ((), math.inf) == (fleet.decision.verify, fleet.decision.wake_at_s)
        fleet.happened(fleet.snapshot.reloaded(frozenset({"a"})))
        assert (one(2),) == fleet.decision.verify

    def test_an_unreachable_one_after_a_while(self) -> None:
        """The decision says when."""
        fleet = serving(one(1))
        want(fleet, one(2))
        for began, wait in ((0.0, 1.0), (1.0, 2.0)):
            fleet.verify(one(2), Failure.UNREACHABLE)
            assert (began + wait, ()) == (fleet.decision.wake_at_s, fleet.decision.verify)
            fleet.happened(fleet.snapshot.at(began + wait - 0.01))
            assert () == fleet.decision.verify
            fleet.happened(fleet.snapshot.at(began + wait))
            assert (one(2),) == fleet.decision.verify

    def test_what_has_served_begins_with_the_shortest_wait(self) -> None:
        """Earlier failures are forgotten."""
        fleet = Fleet(workers=1)
        want(fleet, one(1))
        for _ in range(3):
            fleet.verify(one(1), Failure.UNREACHABLE)
            fleet.happened(fleet.snapshot.at(fleet.decision.wake_at_s))
        fleet.settle()
        fleet.die(1)
        worker = fleet.workers[fleet.join()]
        worker.take()
        worker.move(one(1), fails=True)
        fleet.listen(worker.number, failure=Failure.UNREACHABLE)
        assert fleet.snapshot.now_s + 1 == fleet.decision.wake_at_s

    def test_only_once_no_worker_holds_anything_of_it(self) -> None:
        """A reload waits for the last to let go."""
        fleet = serving(one(1))
        want(fleet, one(2))
        fleet.verify(one(2))
        first = fleet.workers[1]
        first.take()
        first.move(one(2), fails=True)
        fleet.listen(1)
        fleet.happened(fleet.snapshot.reloaded())
        assert (State.FAILED, ()) == (fleet.snapshot.known[one(2)].state, fleet.decision.verify)
        assert math.inf == fleet.decision.wake_at_s
        fleet.settle()
        assert {2: "x"} == routes(fleet)

    def test_verifications_are_bounded(self) -> None:
        """What has begun goes on, also beside what sorts before it."""
        fleet = Fleet(workers=1)
        want(fleet, one(1, model="m"), one(1, model="n"), one(1, model="o"))
        assert [one(1, model="m"), one(1, model="n")] == list(fleet.decision.verify)
        want(fleet, one(1), one(1, model="m"), one(1, model="n"))
        assert [one(1, model="m"), one(1, model="n")] == list(fleet.decision.verify)
        fleet.verify(one(1, model="m"))
        assert [one(1, model="n"), one(1)] == list(fleet.decision.verify)


class TestMemory:
    """Refused rather than unloaded first."""

    SIZES = {one(1): 60, one(2): 50, one(3): 30, one(1, model="b"): 40}

    def test_old_and_new_have_to_fit_together(self) -> None:
        """The figures are in the reason, and nothing was verified for it."""
        fleet = serving(one(1), budget_bytes=100, sizes=self.SIZES)
        want(fleet, one(2))
        assert () == fleet.decision.verify
        assert (Failed("a", "it needs 50 bytes in a worker, where 60 of 100 are taken", 2),) == fleet.snapshot.routes.failed
        assert {1: "x"} == routes(fleet)

    def test_what_did_not_fit_is_tried_once_it_does(self) -> None:
        """Without being asked: the room came from another model."""
        fleet = serving(one(3), one(1, model="b"), budget_bytes=100, sizes=self.SIZES)
        want(fleet, one(2), one(1, model="b"))
        assert State.FAILED is fleet.snapshot.known[one(2)].state
        want(fleet, one(2))
        fleet.settle()
        assert ({2: "x"}, ()) == (routes(fleet), fleet.snapshot.routes.failed)

    def test_what_fits_after_a_drain_waits_for_it(self) -> None:
        """That is no failure."""
        fleet = serving(one(1), budget_bytes=100, sizes=self.SIZES)
        want(fleet, one(1, model="b"), one(2, model="b"))
        fleet.snapshot.sizes[one(2, model="b")] = 30
        want(fleet, one(1, model="b"), one(2, model="b"))
        assert ((one(1, model="b"),), ()) == (fleet.decision.verify, fleet.snapshot.routes.failed)
        fleet.settle()
        assert {"b": {1: "x", 2: "x"}} == fleet.snapshot.routes.models

    def test_what_has_begun_is_not_refused_for_what_sorts_before_it(self) -> None:
        """Room is given in the order of beginning."""
        sizes = {one(1): 60, one(1, model="m"): 60}
        fleet = Fleet(workers=1, budget_bytes=100, sizes=sizes)
        want(fleet, one(1, model="m"))
        want(fleet, one(1), one(1, model="m"))
        assert (one(1, model="m"),) == fleet.decision.verify
        assert ["a"] == [failed.model for failed in fleet.snapshot.routes.failed]

    def test_what_is_refused_while_it_is_held_takes_room_until_it_is_closed(self) -> None:
        """The next waits for that."""
        fleet = serving(one(1), budget_bytes=100, sizes={one(1): 30, one(2): 10, one(3): 40})
        want(fleet, one(1), one(2), one(3))
        fleet.verify(one(2))
        fleet.workers[1].take()
        for measured in (None, 80):
            fleet.workers[1].move(one(2))
            wanted, event = fleet.workers[1].outbox.popleft()
            fleet.happened(fleet.snapshot.reported(1, wanted, event, bytes_held=measured))
        assert () == fleet.decision.verify
        fleet.sizes[one(2)] = 0  # the worker's own sum goes by estimates
        fleet.settle()
        assert {1: "x", 3: "x"} == routes(fleet)

    def test_a_version_that_turns_out_larger_is_refused_before_it_serves(self) -> None:
        """By what a worker measured; one that serves already is left alone."""
        fleet = serving(one(1), budget_bytes=100, sizes={})
        want(fleet, one(1), one(2))
        fleet.verify(one(2))
        fleet.workers[1].take()
        fleet.workers[1].move(one(2))
        fleet.listen(1)
        fleet.workers[1].move(one(2))
        wanted, event = fleet.workers[1].outbox.popleft()
        fleet.happened(fleet.snapshot.reported(1, wanted, event, bytes_held=101))
        assert (Failed("a", "it needs 101 bytes in a worker, where 0 of 100 are taken", 2),) == fleet.snapshot.routes.failed
        fleet.settle()
        assert {1: "x"} == routes(fleet)
