"""A chore goes on after a failure, which is told, and ends when it is cancelled."""

from __future__ import annotations

import asyncio
import logging

import pytest

from gateway.control.chores import every


def test_a_chore_that_fails_is_done_again(caplog: pytest.LogCaptureFixture) -> None:
    """With a line in the log that names it."""
    done: list[int] = []
    enough = asyncio.Event()

    async def keep_fresh() -> None:
        done.append(len(done))
        if len(done) == 2:
            raise KeyError("gone")
        if len(done) == 5:
            enough.set()

    async def story() -> None:
        task = asyncio.get_running_loop().create_task(every(0.0, keep_fresh))
        await asyncio.wait_for(enough.wait(), 10.0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    with caplog.at_level(logging.ERROR):
        asyncio.run(story())
    assert 1 == len(caplog.records)
    assert "keep_fresh failed" in caplog.text
