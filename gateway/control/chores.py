"""What is done again and again beside serving. A chore that fails once is done again: what it keeps fresh must not stay stale for good."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

_log = logging.getLogger(__name__)


async def every(period_s: float, chore: Callable[[], Awaitable[None]]) -> None:
    """Do it after each `period_s` seconds, until cancelled."""
    while True:
        await asyncio.sleep(period_s)
        try:
            await chore()
        except Exception:  # a fault of ours; the log says which chore it was
            _log.exception("internal error: %s failed, and is tried again in %g s", chore.__qualname__, period_s)
