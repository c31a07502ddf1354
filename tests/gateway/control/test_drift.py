"""Blocks and the process that evaluates them, joined: a real one."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable
from pathlib import Path

from gateway.clock import SystemClock
from gateway.control.drift import Drift
from gateway.drift.layout import ROWS
from gateway.drift_settings import Drift as DriftSettings
from gateway.observe.page import GAUGES
from tests.gateway.control.observed import World, normal


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not reached():  # noqa: ASYNC110 - another process's doing
            await asyncio.sleep(0.005)


async def killed(drift: Drift) -> None:
    """Another process has taken its place."""
    pid = drift.evaluators.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)
    await until(lambda: drift.evaluators.pid not in {None, pid})


def test_rows_come_to_the_page_through_deaths_and_the_end_cleans_up(tmp_path: Path) -> None:
    """Without a state directory what is known lives as long as the server, whatever dies before."""
    world = World(tmp_path, drift=DriftSettings(evaluate_s=0.1))

    async def run() -> None:
        drift = Drift(world.config, world.blocks, SystemClock(), state=None, moved=lambda: None)
        world.observing = drift.observing
        assert {"tidegate_drift_unwatched_total": 0.0} == drift.gauges()
        wanted = world.wanted()
        world.verify(wanted)
        start = world.held(wanted).block
        served = world.load(1, wanted)

        def rows() -> float:
            values = drift.gauges().get("tidegate_drift_rows_total", {})
            assert isinstance(values, dict)
            return values.get(("rows", "1"), 0.0)

        served.serve(normal(30))
        await until(lambda: rows() == 30)
        assert drift.gauges().keys() <= GAUGES.keys()
        await killed(drift)
        served.serve(normal(12))
        await until(lambda: rows() == 42)
        drift.observing.close(wanted)
        await until(lambda: not drift.observing.watched)
        assert 0 == world.blocks.block(1, start, 8)[ROWS]
        await killed(drift)
        world.verify(wanted)
        world.load(2, wanted).serve(normal(3))
        await until(lambda: rows() == 45)
        folder = drift._temporary
        assert folder is not None
        assert Path(folder.name).exists()  # noqa: ASYNC240
        await drift.end()
        assert (None, False) == (drift.evaluators.pid, Path(folder.name).exists())  # noqa: ASYNC240
        await asyncio.sleep(0)

    asyncio.run(run())
