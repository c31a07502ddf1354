"""Requests for a model that is being awakened wait for the next route table, no longer than their deadlines, and not without bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gateway.errors import Code, TidegateError
from gateway.serving.admission import EXPIRED
from gateway.serving.deadlines import Loop

MAX_REQUESTS = 1_024
_SWEEP_S = 0.05
CROWDED = TidegateError(Code.OVERLOADED, "too many requests wait for models that are being loaded")
LATE = TidegateError(Code.DEADLINE_EXCEEDED, EXPIRED)
ENDING = TidegateError(Code.UNAVAILABLE, "the server is shutting down")


class Waiting(Protocol):
    """One request that waits."""

    size: int  # bytes
    deadline: float

    @property
    def cancelled(self) -> bool:
        """The caller is gone."""
        ...

    def again(self) -> None:
        """Try once more; it may be parked anew."""
        ...

    def fail(self, error: TidegateError) -> None:
        """Answer with an error."""
        ...

    def gone(self) -> None:
        """Its caller is gone, and it is forgotten."""
        ...


class Parking:
    """All that wait in one worker."""

    def __init__(self, loop: Loop, now: Callable[[], float], wake: Callable[[str], None], *, max_bytes: int) -> None:
        """`wake(model)` is called for every request that comes, once between two tables for each model."""
        self._loop = loop
        self._now = now
        self._wake = wake
        self._max_bytes = max_bytes
        self._waiting: list[Waiting] = []
        self._bytes = 0
        self._asked: set[str] = set()
        self._sweeping = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def park(self, model: str, request: Waiting) -> None:
        """Have a request wait for `model`; it fails at once where too much waits already, or none is loaded any more."""
        if self._closed:
            request.fail(ENDING)
            return
        if len(self._waiting) >= MAX_REQUESTS or self._bytes + request.size > self._max_bytes:
            request.fail(CROWDED)
            return
        self._waiting.append(request)
        self._bytes += request.size
        self.rouse(model)
        if not self._sweeping:
            self._sweeping = True
            self._loop.call_later(_SWEEP_S, self._sweep)

    def rouse(self, model: str) -> None:
        """Awaken a model without waiting for it."""
        if model not in self._asked:
            self._asked.add(model)
            self._wake(model)

    def table_changed(self) -> None:
        """There is another route table: everybody tries again."""
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        self._asked.clear()
        for request in waiting:
            if request.cancelled:
                request.gone()
            else:
                request.again()

    def close(self) -> None:
        """Nothing more is loaded: whoever waits is told, another replica may answer."""
        self._closed = True
        waiting, self._waiting, self._bytes = self._waiting, [], 0
        for request in waiting:
            if request.cancelled:
                request.gone()
            else:
                request.fail(ENDING)

    def _sweep(self) -> None:
        """Those whose caller is gone or whose time is up."""
        now = self._now()
        gone = [request for request in self._waiting if request.cancelled]
        late = [request for request in self._waiting if not request.cancelled and request.deadline <= now]
        self._waiting = [request for request in self._waiting if not request.cancelled and request.deadline > now]
        self._bytes = sum([request.size for request in self._waiting])
        for request in gone:
            request.gone()
        for request in late:
            request.fail(LATE)
        self._sweeping = bool(self._waiting)
        if self._sweeping:
            self._loop.call_later(_SWEEP_S, self._sweep)
