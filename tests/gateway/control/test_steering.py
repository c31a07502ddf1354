"""From wishes and reports to messages, with workers that are lists of what they were told. `deciding` has its own tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest

from gateway.clock import SystemClock
from gateway.control import steering
from gateway.control.messages import Hold, Report, Reports, Route, Table
from gateway.control.steering import Outcome, Steering
from gateway.errors import Code, TidegateError
from gateway.serving.explicit import NOT_LOADED, Explicit
from gateway.serving.lifecycle import Desired, Failure, State, Wanted
from gateway.serving.sources import Wish

ONE, TWO = Wanted("m", 1, "a/0"), Wanted("m", 2, "b/0")


def wished(*versions: Wanted, champion: int | None = None, undecided: bool = False) -> Wish:
    labels = {"m": {"champion": champion}} if champion else {}
    defaults = {"m": champion} if champion else {}
    return Wish(Desired(frozenset(versions), labels, defaults), labels, frozenset({"m"} if undecided else ()))


class Floor:
    """A server without processes: `told[worker]` is all that a worker was sent."""

    def __init__(self, workers: int = 1) -> None:
        self.told: dict[int, list[msgspec.Struct]] = {}
        self.ended: list[int] = []
        self.slots: dict[tuple[str, int], int] = {}
        self.closed: list[tuple[str, int]] = []
        self.unblocked: list[Wanted] = []
        self.tables: list[Table] = []
        self.trials: dict[Wanted, asyncio.Future[Outcome]] = {}
        self.steering = Steering(self, SystemClock(), workers=workers, budget_bytes=None, routed=self.tables.append)

    # --- actions ---------------------------------------------------------------------------------------------------------------

    def verify(self, wanted: Wanted) -> asyncio.Future[Outcome]:
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.trials[wanted] = future
        return future

    def tell(self, message: msgspec.Struct, worker: int | None = None) -> None:
        for number in [worker] if worker is not None else list(self.told):
            self.told[number].append(message)

    def end(self, worker: int) -> None:
        self.ended.append(worker)

    def open_slot(self, model: str, version: int) -> int:
        return self.slots.setdefault((model, version), 2 + len(self.slots))

    def close_slot(self, model: str, version: int) -> None:
        self.closed.append((model, version))

    def bundle(self, identity: str) -> int:
        return -1

    def open_block(self, wanted: Wanted) -> tuple[int, str]:
        return -1, ""

    def close_block(self, wanted: Wanted) -> None:
        self.unblocked.append(wanted)

    # --- what tests do ---------------------------------------------------------------------------------------------------------

    def join(self, worker: int) -> None:
        self.told[worker] = []
        self.steering.joined(worker)

    async def settle(self) -> None:
        """Until nothing is due any more."""
        while self.steering._due_s < float("inf"):  # noqa: ASYNC110 - a timer of the loop is what is waited for
            await asyncio.sleep(0.001)

    async def verified(self, wanted: Wanted, outcome: Outcome = Outcome()) -> None:  # noqa: B008 - immutable
        await self.settle()
        self.trials.pop(wanted).set_result(outcome)
        await asyncio.sleep(0)
        await self.settle()

    async def report(self, worker: int, *states: tuple[Wanted, State], reason: str = "", unreachable: bool = False) -> None:
        reports = tuple(Report(*msgspec_key(one), state, reason, unreachable=unreachable) for one, state in states)
        self.steering.reported(worker, Reports(self.holds(worker).number, reports))
        await self.settle()

    def holds(self, worker: int) -> Hold:
        return [message for message in self.told[worker] if isinstance(message, Hold)][-1]

    def table(self, worker: int) -> Table:
        return [message for message in self.told[worker] if isinstance(message, Route)][-1].table


def msgspec_key(wanted: Wanted) -> tuple[str, int, str]:
    return wanted.model, wanted.version, wanted.identity


def steered(deed: Callable[[Floor], Awaitable[None]]) -> None:
    async def run() -> None:
        floor = Floor()
        await deed(floor)
        floor.steering.close()

    asyncio.run(run())


async def serving(floor: Floor, *workers: int) -> None:
    """Version 1 serves in all workers."""
    for worker in workers:
        floor.join(worker)
    floor.steering.wants(wished(ONE, champion=1))
    await floor.verified(ONE)
    for worker in workers:
        await floor.report(worker, (ONE, State.READY))


def test_a_first_worker_takes_connections_before_anything_is_known() -> None:
    """By a table that is partial and not ready: health can be asked for."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        assert (True, False, {}) == (floor.table(1).partial, floor.table(1).ready, floor.table(1).models)

    steered(deed)


def test_a_version_is_verified_then_held_then_routed_once_all_have_it() -> None:
    """The table is sent when the last worker is ready, with the slot of its counters before."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        floor.join(2)
        floor.steering.wants(wished(ONE, champion=1))
        await floor.settle()
        assert () == floor.holds(1).versions
        assert ({"m": (1,)}, {}) == (floor.table(1).loading, floor.table(1).failed)
        await floor.verified(ONE)
        assert [("m", 1, "a/0", 2)] == [(one.model, one.version, one.identity, one.slot) for one in floor.holds(2).versions]
        for state in (State.LOAD, State.WARM, State.GOLDEN, State.READY):
            await floor.report(1, (ONE, state))
        assert ({}, False) == (floor.table(1).models, floor.steering.table.ready)
        await floor.report(2, (ONE, State.READY))
        expected = ({"m": {1: "a/0"}}, {"m": {"champion": 1}}, {"m": 1}, {}, {}, True)
        for worker in (1, 2):
            table = floor.table(worker)
            assert expected == (table.models, table.aliases, table.defaults, table.failed, table.loading, table.ready)

    steered(deed)


def test_the_new_one_is_loaded_before_the_old_one_goes() -> None:
    """Routes change first, then what to hold; the slot is free when the last worker has let go."""

    async def deed(floor: Floor) -> None:
        await serving(floor, 1, 2)
        floor.steering.wants(wished(TWO, champion=2))
        await floor.verified(TWO)
        assert [1, 2] == [one.version for one in floor.holds(1).versions]
        await floor.report(1, (ONE, State.READY), (TWO, State.READY))
        assert {"m": {1: "a/0"}} == floor.table(1).models
        await floor.report(2, (ONE, State.READY), (TWO, State.READY))
        assert ({"m": {2: "b/0"}}, {"m": 2}) == (floor.table(1).models, floor.table(1).defaults)
        assert [Route, Hold] == [type(message) for message in floor.told[1][-2:]]
        assert [2] == [one.version for one in floor.holds(1).versions]
        await floor.report(1, (ONE, State.DRAIN), (TWO, State.READY))
        await floor.report(1, (TWO, State.READY))
        assert ([], {"m": (1,)}) == (floor.closed, floor.table(1).unloading)
        await floor.report(2, (TWO, State.READY))
        assert ([("m", 1)], {}) == (floor.closed, floor.table(1).unloading)

    steered(deed)


def test_an_answer_to_an_older_list_releases_nothing() -> None:
    """A report that was under way when a version was let go says nothing of it."""

    async def deed(floor: Floor) -> None:
        await serving(floor, 1)
        old = floor.holds(1).number
        floor.steering.wants(wished(TWO, champion=2))
        await floor.verified(TWO)
        await floor.report(1, (ONE, State.READY), (TWO, State.READY))
        floor.steering.reported(1, Reports(old, ((Report("m", 2, "b/0", State.READY)),)))
        await floor.settle()
        assert [] == floor.closed
        await floor.report(1, (TWO, State.READY))
        assert [("m", 1)] == floor.closed

    steered(deed)


def test_a_version_that_fails_anywhere_leaves_the_old_one_routed_with_the_reason() -> None:
    """In verification or in a worker; callers of the new one are told."""

    async def deed(floor: Floor) -> None:
        await serving(floor, 1)
        floor.steering.wants(wished(TWO, champion=2))
        await floor.verified(TWO, Outcome("golden request 1 fails"))
        assert ({"m": {1: "a/0"}}, {"m": 1}) == (floor.table(1).models, floor.table(1).defaults)
        assert {"m": {2: "golden request 1 fails"}} == floor.table(1).failed
        assert [1] == [one.version for one in floor.holds(1).versions]
        floor.steering.retry()
        await floor.verified(TWO)
        await floor.report(1, (ONE, State.READY), (TWO, State.FAILED), reason="no memory")
        assert ({"m": {1: "a/0"}}, {"m": {2: "no memory"}}) == (floor.table(1).models, floor.table(1).failed)

    steered(deed)


def test_the_server_is_ready_when_all_workers_are_or_a_while_after_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the first callers find them all; one that never comes does not hold the others up for ever."""
    monkeypatch.setattr(steering, "_LATE_WORKERS_S", 0.05)

    async def deed(_: Floor) -> None:
        for others in (True, False):
            floor = Floor(workers=2)
            floor.join(1)
            floor.steering.wants(wished(ONE, champion=1))
            await floor.verified(ONE)
            await asyncio.sleep(0)
            floor.steering.reported(1, Reports(floor.holds(1).number, (Report("m", 1, "a/0", State.READY),)))
            await asyncio.sleep(0.01)
            assert not floor.steering.table.ready
            if others:
                floor.join(2)
                await floor.report(2, (ONE, State.READY))
            else:
                await floor.settle()
            assert floor.steering.table.ready
            floor.steering.close()

    steered(deed)


def test_what_could_not_be_reached_is_tried_again_by_itself() -> None:
    """After a while; not at once."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        floor.steering.wants(wished(ONE, champion=1))
        await floor.settle()
        floor.trials.pop(ONE).set_result(Outcome("the store did not answer", Failure.UNREACHABLE))
        await asyncio.sleep(0.02)
        assert {"m": {1: "the store did not answer"}} == floor.table(1).failed
        assert {} == floor.trials
        assert floor.steering._due_s < float("inf")

    steered(deed)


def test_a_worker_that_comes_later_serves_once_it_holds_what_is_routed() -> None:
    """Until then it gets no table, so it takes no connections."""

    async def deed(floor: Floor) -> None:
        await serving(floor, 1)
        floor.join(2)
        assert [1] == [one.version for one in floor.holds(2).versions]
        assert not [message for message in floor.told[2] if isinstance(message, Route)]
        await floor.report(2, (ONE, State.READY))
        assert floor.steering.table == floor.table(2)
        floor.steering.died(1)
        await floor.settle()
        assert frozenset({2}) == floor.steering.snapshot.serving

    steered(deed)


def test_a_request_without_a_version_is_refused_where_nobody_decided() -> None:
    """The table says so of the model."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        floor.steering.wants(wished(ONE, undecided=True))
        await floor.verified(ONE)
        await floor.report(1, (ONE, State.READY))
        assert {"m": None} == floor.table(1).defaults

    steered(deed)


def test_a_server_that_drains_tells_its_workers_and_decides_nothing_more() -> None:
    """Not ready, the routes as they are."""

    async def deed(floor: Floor) -> None:
        await serving(floor, 1)
        floor.steering.drain()
        table = floor.table(1)
        assert (False, {"m": {1: "a/0"}}) == (table.ready, table.models)
        count = len(floor.told[1])
        floor.steering.wants(wished(TWO, champion=2))
        await asyncio.sleep(0.01)
        assert count == len(floor.told[1])

    steered(deed)


def test_many_things_at_once_are_one_decision() -> None:
    """A hundred versions that are ready in one message make one table."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        many = [Wanted(f"m{number:03}", 1, "a/0") for number in range(100)]
        floor.steering.wants(Wish(Desired(frozenset(many)), {}))
        for wanted in many:
            await floor.verified(wanted)
        before = len(floor.tables)
        await floor.report(1, *[(wanted, State.READY) for wanted in many])
        assert before + 1 == len(floor.tables)
        assert 100 == len(floor.tables[-1].models)

    steered(deed)


def test_many_versions_are_handed_over_to_be_verified_at_once() -> None:
    """With a thousand models a decision takes a while, and so does the pause after it: a verification does not wait for the next one."""

    async def deed(floor: Floor) -> None:
        floor.join(1)
        many = [Wanted(f"m{number:03}", 1, "a/0") for number in range(100)]
        floor.steering.wants(Wish(Desired(frozenset(many)), {}, frozenset()))
        await floor.settle()
        assert many[:32] == sorted(floor.trials)
        for wanted in many[:31]:
            floor.trials[wanted].set_result(Outcome())
        await asyncio.sleep(0)
        await floor.settle()
        assert set(many[:63]) == set(floor.trials)

    steered(deed)


def controlled(deed: Callable[[Floor], Awaitable[None]]) -> None:
    async def run() -> None:
        floor = Floor()
        floor.steering = Steering(floor, SystemClock(), workers=1, budget_bytes=None, routed=floor.tables.append, explicit=Explicit(()))
        floor.join(1)
        floor.steering.wants(wished(ONE, champion=1))
        await floor.settle()
        await deed(floor)
        floor.steering.close()

    asyncio.run(run())


def test_a_load_is_answered_when_the_version_serves_and_an_unload_when_it_does_not() -> None:
    """The server is ready without any model; what is not loaded says so."""

    async def deed(floor: Floor) -> None:
        said: list[object] = []
        assert (True, {"m": NOT_LOADED}, {}) == (floor.table(1).ready, floor.table(1).idle, floor.table(1).models)
        floor.steering.load("m", said.append)
        await floor.verified(ONE)
        assert [] == said
        await floor.report(1, (ONE, State.READY))
        assert ([None], {"m": {1: "a/0"}}) == (said, floor.table(1).models)
        floor.steering.load("m", said.append)  # once more
        await floor.settle()
        floor.steering.unload("m", said.append)
        await floor.settle()
        assert ([None] * 3, {}, {"m": NOT_LOADED}) == (said, floor.table(1).models, floor.table(1).idle)
        assert {"m": (1,)} == floor.table(1).unloading
        await floor.report(1)
        assert {} == floor.table(1).unloading
        floor.steering.unload("m", said.append)
        await floor.settle()
        assert [None] * 4 == said

    controlled(deed)


def test_a_load_that_fails_says_why_and_may_be_tried_again() -> None:
    """A version that was refused is looked into again by the next load."""

    async def deed(floor: Floor) -> None:
        said: list[object] = []
        floor.steering.load("m", said.append)
        await floor.verified(ONE, Outcome("it is no model"))
        (error,) = said
        assert isinstance(error, TidegateError)
        assert (Code.FAILED_PRECONDITION, "failed to load 'm': version 1: it is no model") == (error.code, error.message)
        assert {"m": {1: "it is no model"}} == floor.table(1).failed
        floor.steering.load("m", said.append)
        await floor.verified(ONE)
        await floor.report(1, (ONE, State.READY))
        assert said[1:] == [None]

    controlled(deed)


def test_an_unload_that_is_undone_meanwhile_is_answered() -> None:
    """By a load that came after it, before anybody has seen the model gone: both were done, one after the other."""

    async def deed(floor: Floor) -> None:
        said: list[object] = []
        floor.steering.load("m", said.append)
        await floor.verified(ONE)
        await floor.report(1, (ONE, State.READY))
        floor.steering.unload("m", said.append)
        floor.steering.load("m", said.append)
        await floor.settle()
        assert ([None] * 3, {"m": {1: "a/0"}}) == (said, floor.table(1).models)

    controlled(deed)


def test_a_load_that_is_undone_meanwhile_did_not_load() -> None:
    """By an unload, or because the model is gone from the repository: nobody is told that it serves."""

    async def deed(floor: Floor) -> None:
        said: list[object] = []
        floor.steering.load("m", said.append)
        floor.steering.unload("m", said.append)
        await floor.settle()
        floor.steering.load("m", said.append)
        floor.steering.wants(wished())
        await floor.settle()
        text = "failed to load 'm': it was unloaded or removed meanwhile"
        assert [text, "None", text] == [str(error) for error in said]

    controlled(deed)


def test_what_is_to_be_loaded_first_and_is_not_there_is_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Once, with its name."""

    async def deed() -> None:
        floor = Floor()
        explicit = Explicit(("typo", "m"))
        floor.steering = Steering(floor, SystemClock(), workers=1, budget_bytes=None, routed=floor.tables.append, explicit=explicit)
        for _ in range(2):
            floor.steering.wants(wished(ONE))
        floor.steering.close()

    asyncio.run(deed())
    assert ["repository.load_models names what the repository has no version of: typo"] == [
        record.getMessage() for record in caplog.records if record.levelname == "WARNING"
    ]


def test_loads_end_with_the_server_and_are_no_business_of_others() -> None:
    """Who waits is told; a model that nobody knows is refused at once; without explicit control there is none."""

    async def deed(floor: Floor) -> None:
        said: list[object] = []
        floor.steering.load("m", said.append)
        with pytest.raises(TidegateError, match="no such model"):
            floor.steering.load("nobody", said.append)
        floor.steering.drain()
        assert ["the server is shutting down"] == [str(error) for error in said]
        with pytest.raises(TidegateError, match="now"):
            floor.steering.unload("m", said.append)

    controlled(deed)

    async def other(floor: Floor) -> None:
        with pytest.raises(TidegateError, match="now"):
            floor.steering.load("m", lambda error: None)

    steered(other)
