"""Looking at a rollout again and again until it is over or paused, or somebody's patience is over; and the exit code that follows."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterator

from gateway.client import CallError
from gateway.clock import Clock
from gateway.commands.output import UsageError
from gateway.errors import Code
from gateway.rollout.analysis import Outcome, outcome
from gateway.rollout.plan import seconds
from gateway.rollout.status import Status

LOOK_S = 1.0
_DURATION = re.compile(r"(0|[1-9][0-9]*)(ms|s|m|h|d)")


class Waited(enum.IntEnum):
    """Exit codes of `--wait`, documented in docs/rollout-verbs.md."""

    GOOD = 0  # it succeeded, or an A/B has its report
    BAD = 1  # it failed, was rolled back, aborted or superseded
    STOPPED = 2  # it is paused: nothing goes on without people
    LATE = 3  # it goes on, and the time is over


_CODES = {Outcome.GOOD: Waited.GOOD, Outcome.BAD: Waited.BAD, Outcome.STOPPED: Waited.STOPPED, Outcome.OPEN: Waited.LATE}


def code_of(status: Status) -> Waited:
    """What a pipeline learns from the last look."""
    return _CODES[outcome(status)]


def patience_s(text: str | None) -> float:
    """A duration such as `30m`; without one, for ever. Raises `UsageError`."""
    if text is None:
        return float("inf")
    if not _DURATION.fullmatch(text):
        raise UsageError(f"--within: expected a duration such as 90s, 30m or 6h, got {text!r}")
    return seconds(text)


def looks(
    look: Callable[[], Status], *, clock: Clock, sleep: Callable[[float], object], patience_s: float, through_pauses: bool = False
) -> Iterator[Status]:
    """A status about once a second until it is over or paused, or `patience_s` are; the last is the one that counts.

    A server that is not there for a moment, once it was, is asked again. Raises as `look`.
    """
    until, seen = clock.now() + patience_s, False
    while True:
        try:
            status = look()
        except CallError as error:
            if not seen or error.code not in (Code.UNAVAILABLE, Code.OVERLOADED, Code.DEADLINE_EXCEEDED) or clock.now() >= until:
                raise
        else:
            seen = True
            yield status
            if outcome(status) not in ((Outcome.OPEN, Outcome.STOPPED) if through_pauses else (Outcome.OPEN,)):
                return
        if clock.now() >= until:
            return
        sleep(min(LOOK_S, until - clock.now()))
