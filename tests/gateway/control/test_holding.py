"""What one worker holds: loaded once, moved to other blocks, drained, and gone only when nothing of it is written any more."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import msgspec

from gateway.control.holding import Holding
from gateway.control.messages import Held, Report
from gateway.errors import Code
from gateway.serving.lifecycle import State
from gateway.serving.model import RunFault
from gateway.serving.sessions import Placement


class Fake:
    """A version that is idle when the test says so."""

    def __init__(self, events: list[str], held: Held) -> None:
        self.events, self.idle = events, True
        self.name = held.model
        self.description = SimpleNamespace(placement=Placement())
        self.watch: Any = SimpleNamespace(end=lambda: events.append(f"counted {held.model}"))

    def close(self) -> None:
        self.events.append(f"closed {self.name}")

    def end(self) -> None:
        self.events.append(f"ended {self.name}")


class Yard:
    """A worker's versions, and what happened to them."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.reports: list[tuple[Report, ...]] = []
        self.go_on = threading.Event()  # loads wait for it
        self.go_on.set()
        self.loading = threading.Event()
        self.fault: Exception | None = None
        self.made: dict[str, Fake] = {}
        self.holding = Holding(self._load, self._move, self.reports.append, lambda version: None, lambda: None)

    def _load(self, held: Held, _say: Any) -> tuple[Any, int]:
        self.events.append(f"loads {held.model} {held.block}")
        self.loading.set()
        assert self.go_on.wait(20)
        if self.fault is not None:
            raise self.fault
        version = self.made[held.model] = Fake(self.events, held)
        return version, 7

    def _move(self, held: Held, version: Any) -> None:
        assert version is self.made[held.model]
        self.events.append(f"moves {held.model} {held.block}")

    @property
    def states(self) -> dict[str, State]:
        return {report.model: report.state for report in self.reports[-1]} if self.reports else {}

    async def until(self, reached: Callable[[], bool]) -> None:
        async with asyncio.timeout(20):
            while not reached():  # noqa: ASYNC110 - both the loop's and the thread's doing
                await asyncio.sleep(0.001)


def yarded(deed: Callable[[Yard], Awaitable[None]]) -> None:
    async def run() -> None:
        yard = Yard()
        await deed(yard)
        yard.go_on.set()
        yard.holding.close()

    asyncio.run(run())


def held(model: str, block: int = -1) -> Held:
    return Held(model, 1, "i", 0, -1, block)


def test_a_version_moves_once_for_each_other_block() -> None:
    """Others do not."""

    async def deed(yard: Yard) -> None:
        yard.holding.hold([held("a", 0), held("b", 512)])
        await yard.until(lambda: {"a": State.READY, "b": State.READY} == yard.states)
        yard.holding.hold([held("a", 0), held("b", 1024)])
        yard.holding.hold([held("a", 0), held("b", 1024)])
        yard.holding.hold([held("b", 1024), held("a", 0), held("c")])
        await yard.until(lambda: yard.states.get("c") is State.READY)
        assert ["loads a 0", "loads b 512", "moves b 1024", "loads c -1"] == yard.events

    yarded(deed)


def test_a_version_that_is_told_of_another_block_while_it_loads_moves_afterwards() -> None:
    """To the last of them."""

    async def deed(yard: Yard) -> None:
        yard.go_on.clear()
        yard.holding.hold([held("a", 0)])
        await asyncio.to_thread(yard.loading.wait, 20)
        yard.holding.hold([held("a", 512)])
        yard.holding.hold([held("a", 1024)])
        yard.go_on.set()
        await yard.until(lambda: len(yard.events) == 2)
        assert ["loads a 0", "moves a 1024"] == yard.events

    yarded(deed)


def test_a_version_is_gone_when_its_last_batch_is_counted() -> None:
    """The report of its end gives its block to others: whatever waits for the thread that counts comes before."""

    async def deed(yard: Yard) -> None:
        yard.holding.hold([held("a", 0)])
        await yard.until(lambda: {"a": State.READY} == yard.states)
        yard.made["a"].idle = False
        yard.holding.hold([])
        await yard.until(lambda: {"a": State.DRAIN} == yard.states)
        yard.made["a"].idle = True
        await yard.until(lambda: {} == yard.states)
        assert ["loads a 0", "closed a", "counted a", "ended a"] == yard.events

    yarded(deed)


def test_a_version_that_is_not_watched_ends_all_the_same() -> None:
    """Nothing waits."""

    async def deed(yard: Yard) -> None:
        yard.holding.hold([held("a")])
        await yard.until(lambda: {"a": State.READY} == yard.states)
        yard.made["a"].watch = None
        yard.holding.hold([])
        await yard.until(lambda: {} == yard.states)
        assert ["loads a -1", "closed a", "ended a"] == yard.events

    yarded(deed)


def test_a_version_that_cannot_be_loaded_says_why_and_comes_again_when_it_is_wanted_again() -> None:
    """In its new block."""

    async def deed(yard: Yard) -> None:
        yard.fault = RunFault(Code.INTERNAL, "no")
        yard.holding.hold([held("a", 0)])
        await yard.until(lambda: {"a": State.FAILED} == yard.states)
        yard.holding.hold([])
        await yard.until(lambda: {} == yard.states)
        yard.fault = None
        yard.holding.hold([msgspec.structs.replace(held("a"), block=512)])
        await yard.until(lambda: {"a": State.READY} == yard.states)
        assert ["loads a 0", "loads a 512"] == yard.events

    yarded(deed)
