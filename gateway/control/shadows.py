"""The shadows of one worker: one for each rollout that is in a shadow step, kept from table to table while it stays the same."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gateway.clock import Clock, cpu_s, process_cpu_s, thread_cpu_s
from gateway.observe.metrics import Metrics
from gateway.rollout.crowd import Crowd
from gateway.rollout.ring import Ring
from gateway.rollout.usage import Usage
from gateway.serving.deadlines import Loop
from gateway.serving.isolated import IsolatedModel
from gateway.serving.routing import Routes
from gateway.serving.splits import Split
from gateway.serving.versions import Version
from registry.niceness import kept_waiting_s, stand_aside

if TYPE_CHECKING:
    from gateway.rollout.shadow import Shadow

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Shadowed:
    """Who is beside whom, and how."""

    split: Split
    stable: Version
    candidate: Version


class Meter:
    """What a shadow uses: all processes that its candidate had, as far as they were seen, and the thread that asks."""

    def __init__(self, pid: Callable[[], int | None], of: Callable[[int], tuple[float, float]], own: Callable[[], float]) -> None:
        """`of(pid)`: seconds for which a process ran and waited; `own()`: for which the calling thread ran."""
        self._pid_of, self._of, self._own = pid, of, own
        self._pid: int | None = None
        self._gone, self._last = (0.0, 0.0), (0.0, 0.0)

    def usage(self) -> Usage:
        """Until now. A process that is new gives way as far as can be from here on: it is loaded."""
        pid = self._pid_of()
        if pid != self._pid:
            self._pid, self._gone, self._last = pid, (self._gone[0] + self._last[0], self._gone[1] + self._last[1]), (0.0, 0.0)
            if pid is not None:
                stand_aside(pid)
        if pid is not None:
            ran_s, waited_s = self._of(pid)
            self._last = max(self._last[0], ran_s), max(self._last[1], waited_s)
        return Usage(self._gone[0] + self._last[0] + self._own(), self._gone[1] + self._last[1])


class Shadows:
    """By who is beside whom."""

    def __init__(self, ring: Ring, metrics: Metrics, loop: Loop, clock: Clock) -> None:
        self._ring, self._metrics, self._loop, self._clock = ring, metrics, loop, clock
        self.crowd = Crowd(loop, clock.now, lambda: process_cpu_s() - thread_cpu_s(), cores=len(os.sched_getaffinity(0)))
        self._running: dict[_Shadowed, Shadow] = {}

    def follow(self, routes: Routes) -> None:
        """A new table: shadows that it does not ask for end, before any version of theirs is let go of."""
        wanted = [_shadowed(split, routes) for split in routes.splits.values() if split.mode == "shadow" and split.shadow_percent > 0]
        for gone in [one for one in self._running if one not in wanted]:
            self._end(gone)
        for one in wanted:
            if one not in self._running:
                self._begin(one)

    def close(self) -> None:
        """The worker ends."""
        for one in list(self._running):
            self._end(one)

    def _begin(self, one: _Shadowed) -> None:
        model = one.candidate.model
        if not isinstance(model, IsolatedModel):
            _log.error("version %d of model '%s' is no shadow: it has no process of its own", one.candidate.number, one.candidate.name)
            return
        from gateway.rollout.mirror import Mirror  # kernels, which were loaded with the version
        from gateway.rollout.shadow import Bounds, Shadow

        clock, crowd = self._clock, self.crowd
        mirror = Mirror(
            one.split, one.stable, one.candidate, model, now=clock.now, wall=clock.wall, yields=lambda: crowd.crowded
        )  # fmt: skip
        shadow = Shadow(
            one.stable.signature, mirror, crowd, Bounds(share=one.split.shadow_share), loop=self._loop, now=clock.now,
            usage=Meter(lambda: model.status.pid, _used, thread_cpu_s).usage, wait_s=lambda: model.status.wait_s,
            counts=self._metrics.slab(one.candidate).shadow, emit=self._ring.append,
        )  # fmt: skip
        one.stable.shadow = self._running[one] = shadow
        shadow.begin()

    def _end(self, one: _Shadowed) -> None:
        one.stable.shadow = None
        self._running.pop(one).end()


def _used(pid: int) -> tuple[float, float]:
    return cpu_s(pid), kept_waiting_s(pid)


def _shadowed(split: Split, routes: Routes) -> _Shadowed:
    known = routes.versions[split.model]
    return _Shadowed(split, known[split.stable], known[split.arms[0].version])
