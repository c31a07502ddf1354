"""Rollouts that somebody watches: looked at about once a second for all who watch the same one, and told again when they have changed.

Bounded by `MAX_WATCHES`. A watch ends when its rollout is over, when nobody knows it, and when the server stops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.control.errands import ENDING, Errands
from gateway.control.rollout_work import Work
from gateway.errors import Code, TidegateError
from gateway.rollout.status import Status

LOOK_S = 1.0
MAX_WATCHES = 256
CROWDED = TidegateError(Code.OVERLOADED, "too many watch rollouts")
_PASSING = frozenset((Code.UNAVAILABLE, Code.OVERLOADED))  # the registry may be there again at the next look

Later = Callable[..., Any]  # (seconds, callback)


class Watch:
    """One watcher. `tell` gets a status when it is news, `over` the end: None, or why it ends before the rollout does."""

    __slots__ = ("_forget", "_last", "over", "tell")

    def __init__(
        self, tell: Callable[[Status], None], over: Callable[[TidegateError | None], None], forget: Callable[[Watch], None]
    ) -> None:
        self.tell = tell
        self.over = over
        self._forget = forget
        self._last: tuple[int, str] | None = None

    def seen(self, status: Status) -> None:
        """What the journal says: another entry, or another controller, is news; that time passes is none."""
        mark = status.entries, status.controller
        if mark != self._last:
            self._last = mark
            self.tell(status)

    def end(self) -> None:
        """The watcher went away. A second time is no matter."""
        self._forget(self)


class RolloutWatches:
    """All watches of one event loop."""

    def __init__(self, errands: Errands, work: Work, later: Later) -> None:
        self._errands = errands
        self._work = work
        self._later = later
        self._watches: dict[str, set[Watch]] = {}  # by what they call the rollout

    def watch(self, rollout: str, tell: Callable[[Status], None], over: Callable[[TidegateError | None], None]) -> Watch:
        """Begin. Raises OVERLOADED."""
        if sum(map(len, self._watches.values())) >= MAX_WATCHES:
            raise CROWDED

        def forget(watch: Watch) -> None:
            self._watches.get(rollout, set()).discard(watch)

        watch = Watch(tell, over, forget)
        if rollout in self._watches:  # the next look is on its way; this one is told then
            self._watches[rollout].add(watch)
        else:
            self._watches[rollout] = {watch}
            self._look(rollout)
        return watch

    def close(self) -> None:
        """The server stops."""
        watches, self._watches = self._watches, {}
        for watch in [one for of_one in watches.values() for one in of_one]:
            watch.over(ENDING)

    def _look(self, rollout: str) -> None:
        """Nobody left: no more looks."""
        if not self._watches.get(rollout):
            self._watches.pop(rollout, None)
            return
        self._errands.run(
            lambda: self._work.status(rollout), lambda status: self._found(rollout, status), lambda error: self._missed(rollout, error)
        )

    def _found(self, rollout: str, status: Status) -> None:
        for watch in tuple(self._watches.get(rollout, ())):  # a send may fail and end its watch
            watch.seen(status)
        if status.final:
            self._end(rollout, None)
        else:
            self._later(LOOK_S, self._look, rollout)

    def _missed(self, rollout: str, error: TidegateError) -> None:
        if error.code in _PASSING:
            self._later(LOOK_S, self._look, rollout)
        else:
            self._end(rollout, error)

    def _end(self, rollout: str, error: TidegateError | None) -> None:
        for watch in tuple(self._watches.pop(rollout, ())):
            watch.over(error)
