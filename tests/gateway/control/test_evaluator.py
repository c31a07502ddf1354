"""The evaluating process from its start to its end, on a channel, in this process."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.config import encode
from gateway.control.channel import Channel
from gateway.control.drift_messages import Closed, End, Evaluate, EvaluatorInheritance, FromEvaluator, Gauges, Learned, Tell, Told, Watch
from gateway.control.evaluator import Evaluator
from gateway.drift_settings import Drift
from gateway.protocol.drift_message import VersionMessage
from tests.gateway.control.observed import World, normal

QUICK = Drift(evaluate_s=0.1)


class Line:
    """The supervisor's end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.heard: list[Any] = []
        self.ended = asyncio.Event()
        self.changed = asyncio.Event()
        self.channel: Channel[FromEvaluator] = Channel(FromEvaluator, self._hear, self.ended.set)

    def _hear(self, message: Any) -> None:
        self.heard.append(message)
        self.changed.set()

    async def until(self, kind: type, holds: Callable[[Any], bool] = lambda _: True) -> Any:
        """The first message of a kind that holds."""
        async with asyncio.timeout(20):
            while True:
                for message in self.heard:
                    if isinstance(message, kind) and holds(message):
                        return message
                self.changed.clear()
                await self.changed.wait()

    def watch(self) -> None:
        self.channel.send(Watch(self.world.observing.watched))


def evaluated(world: World, deed: Callable[[Line], Awaitable[None]], *, config: bool = True) -> None:
    async def run() -> None:
        ours, theirs = socket.socketpair()
        given = EvaluatorInheritance(
            channel=theirs.detach(), blocks=os.dup(world.blocks.fd), run="r", state=str(world.folder),
            learned=str(world.folder / "learned"),
        )  # fmt: skip
        line = Line(world)
        task = asyncio.create_task(Evaluator(given).live())
        await line.channel.open(ours)
        if config:
            line.channel.send(Evaluate(encode(world.config)))
        await deed(line)
        line.channel.send(End())
        await asyncio.wait_for(task, 20)
        await asyncio.wait_for(line.ended.wait(), 20)
        line.channel.close()
        for _ in range(3):  # both ends close
            await asyncio.sleep(0)
        os.close(given.blocks)

    asyncio.run(run())


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, drift=QUICK)


def test_blocks_are_looked_at_told_of_and_acknowledged(world: World) -> None:
    """Gauges, findings as JSON and as messages, and the serial of what is closed."""
    wanted = world.wanted()
    world.verify(wanted)
    served = world.load(0, wanted)
    served.serve(normal(300, seed=2))

    async def deed(line: Line) -> None:
        line.watch()
        gauges = await line.until(Gauges, lambda message: "tidegate_drift_rows_total" in message.families)
        assert [(("rows", "1"), 300.0)] == gauges.families["tidegate_drift_rows_total"]
        line.channel.send(Tell(1, "rows"))
        line.channel.send(Tell(2, "rows", messages=True))
        line.channel.send(Tell(3, "other"))
        plain, messages, other = [await line.until(Told, lambda told, n=number: told.number == n) for number in (1, 2, 3)]
        (found,) = json.loads(plain.content)
        assert ("1", 300, "[]") == (found["version"], found["rows"], other.content)
        assert ["1"] == [one.version for one in msgspec.json.decode(messages.content, type=list[VersionMessage])]
        world.observing.close(wanted)
        line.watch()
        closed = await line.until(Closed)
        assert [closed.serial] == [one.serial for one in world.observing.watched]

    evaluated(world, deed)


def test_its_last_look_is_saved(world: World) -> None:
    """What came just before the end is there for the next one."""
    wanted = world.wanted()
    world.verify(wanted)
    served = world.load(0, wanted)

    async def counts(line: Line) -> None:
        line.watch()
        line.channel.send(Tell(1, "rows"))
        await line.until(Told)
        served.serve(normal(40))

    async def finds(line: Line) -> None:
        line.channel.send(Watch(()))
        line.watch()
        line.channel.send(Tell(1, "rows"))
        assert 40 == json.loads((await line.until(Told)).content)[0]["rows"]

    evaluated(world, counts)
    evaluated(world, finds)


def test_a_learned_profile_is_told(tmp_path: Path) -> None:
    """As soon as there are rows enough."""
    world = World(tmp_path, drift=Drift(evaluate_s=0.1, learn_rows=200), profile=False)
    world.verify(world.wanted())
    world.load(0, world.wanted()).serve(normal(250))

    async def deed(line: Line) -> None:
        line.watch()
        learned = await line.until(Learned)
        assert (("rows", 1), True) == ((learned.model, learned.version), Path(learned.path).exists())  # noqa: ASYNC240

    evaluated(world, deed)


def test_a_fault_of_the_last_look_costs_nothing_that_was_known(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is saved all the same, and the supervisor does not wait."""
    world.verify(world.wanted())
    world.load(0, world.wanted()).serve(normal(40))

    async def breaks(line: Line) -> None:
        line.watch()
        await line.until(Gauges, lambda message: "tidegate_drift_rows_total" in message.families)
        monkeypatch.setattr("gateway.control.drift_desk.Desk.look", None)

    evaluated(world, breaks)
    assert 1 == len([*(tmp_path / "drift").iterdir()])


def test_it_ends_with_the_supervisor(world: World) -> None:
    """Without settings too, and without a word."""

    async def deed(line: Line) -> None:
        line.channel.send(Tell(1, "rows"))
        assert "[]" == (await line.until(Told)).content

    evaluated(world, deed, config=False)

    async def left(line: Line) -> None:
        line.channel.close()

    evaluated(world, left)
