"""Whether a worker has no time to spare: looked at now and then, by whoever asks nothing of callers and yields to them.

A thread's demand is what it ran and what it would have run had it had a core. An event loop whose demand is near the whole of the time is
what its callers wait for; so is a process whose runs in threads fill its cores. Between the two bounds nothing changes, so that who yields
is not called back by having yielded.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.serving.deadlines import Handle, Loop

LOOK_S = 0.05
CROWDED, ROOMY = 0.85, 0.7  # shares of the time: crowded from the one on, until it is below the other


class Crowd:
    """Of one worker. Looks while somebody is interested."""

    def __init__(self, loop: Loop, now: Callable[[], float], demands: Callable[[], tuple[float, float]]) -> None:
        """`demands()`: seconds until now for which the event loop's thread ran or would have, and for which a core of the process was busy,
        of one core. It is called on the event loop."""
        self.crowded = False
        self._loop, self._now, self._demands = loop, now, demands
        self._last = (0.0, 0.0, 0.0)
        self._interested = 0
        self._timer: Handle | None = None

    def begin(self) -> None:
        """One more is interested."""
        self._interested += 1
        if self._timer is None:
            self._last = (self._now(), *self._demands())
            self._timer = self._loop.call_later(LOOK_S, self._look)

    def end(self) -> None:
        """One less is."""
        self._interested -= 1
        if not self._interested and self._timer is not None:
            self._timer.cancel()
            self._timer, self.crowded = None, False

    def _look(self) -> None:
        now, loop_s, cores_s = found = (self._now(), *self._demands())
        before, loop_before_s, cores_before_s = self._last
        if now > before:
            share = max(loop_s - loop_before_s, cores_s - cores_before_s) / (now - before)
            self.crowded = share >= CROWDED or (self.crowded and share >= ROOMY)
            self._last = found
        self._timer = self._loop.call_later(LOOK_S, self._look)
