"""Work that can wait, beside work that cannot: looking into a new version must not cost the callers of the one that serves.

Linux gives each thread a niceness of its own, and processes that share a session share a niceness above it where the kernel groups them by
session (`sched_autogroup_enabled`): without that one, a child that leads a session would get half a core, however nice it is itself.
Sources: man 7 sched, "SCHED_IDLE" and "The autogroup feature"; man 2 setpriority; kernel documentation scheduler/sched-stats,
/proc/<pid>/schedstat.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path

STEPS = 10  # about a tenth of a core beside a thread that would take all of it, the whole core beside one that sleeps
NICEST = 19  # a seventieth beside such a thread


def give_way(pid: int = 0, *, steps: int = STEPS) -> None:
    """Let the process `pid` of one thread, and the session that it leads, have what others leave; 0 is the calling thread alone.

    Who has given way can give way more, and not less. A system that does not allow it, or a process that is gone, is left as it is.
    """
    if not pid and sys.platform != "linux":  # elsewhere it would be the whole process
        return
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, min(NICEST, os.getpriority(os.PRIO_PROCESS, pid) + steps))
    with suppress(OSError):
        if pid and os.getsid(pid) == pid:
            Path(f"/proc/{pid}/autogroup").write_text(str(steps), "ascii")


def stand_aside(pid: int) -> None:
    """Let all threads that a process has have a core only where nobody else wants one, as far as the system goes: the class SCHED_IDLE,
    which whoever wakes up displaces at once. A system without it, or a process that is gone, is left with its niceness."""
    give_way(pid, steps=NICEST)
    if sys.platform != "linux":
        return
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def kept_waiting_s(pid: int) -> float:
    """Seconds for which the first thread of a process could have run and had no core; 0 where nobody counts them."""
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text("ascii").split()[1]) / 1e9
    except (OSError, ValueError, IndexError):
        return 0.0


class Waits:
    """What the thread that made it has waited for a core: as `kept_waiting_s`, in 2 µs a look."""

    def __init__(self) -> None:
        self._fd = -1
        with suppress(OSError):
            self._fd = os.open("/proc/thread-self/schedstat", os.O_RDONLY)

    def seconds(self) -> float:
        """Until now; 0 where nobody counts. From any thread, of the one that made it."""
        try:
            return int(os.pread(self._fd, 96, 0).split()[1]) / 1e9
        except (OSError, ValueError, IndexError):
            return 0.0

    def close(self) -> None:
        """A second call does nothing."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
