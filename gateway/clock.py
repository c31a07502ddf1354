"""Time and randomness, passed in everywhere else: the only importer of `time` and `random` in the gateway."""

from __future__ import annotations

import random
import time
from typing import Protocol


class Clock(Protocol):
    """What a component may ask about time. Durations come from `now`, records carry `wall`."""

    def now(self) -> float:
        """Monotonic seconds."""
        ...

    def wall(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...


class SystemClock:
    """The machine's clocks."""

    now = staticmethod(time.monotonic)  # the kernel's, the same in all processes of a machine
    wall = staticmethod(time.time)


class SinceClock:
    """Another clock's time as if it had been `wall_s` (seconds since the Unix epoch) when this one was made."""

    def __init__(self, wall_s: float, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._start_s, self._began_s = wall_s, self._clock.now()

    def now(self) -> float:
        """As `Clock`."""
        return self._clock.now()

    def wall(self) -> float:
        """As `Clock`; never jumps."""
        return self._start_s + self._clock.now() - self._began_s


_OF_A_PROCESS = 2  # CPUCLOCK_SCHED, the last bits of the clock that the kernel keeps of a process: linux/posix-timers.h
thread_cpu_s = time.thread_time  # processor seconds of the calling thread
process_cpu_s = time.process_time  # and of this process, all its threads


def cpu_s(pid: int) -> float:
    """Processor seconds of any process, all its threads; 0 where it is gone."""
    try:
        return time.clock_gettime(~pid << 3 | _OF_A_PROCESS)
    except OSError:
        return 0.0


def seeded_random(seed: int | None = None) -> random.Random:
    """A private generator; `None` seeds it from the operating system."""
    return random.Random(seed)  # noqa: S311 - jitter and sampling, never secrets
