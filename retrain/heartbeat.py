"""A claim that is kept alive while its job runs, in a thread of its own; and what a job asks before it does what cannot be undone."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import TracebackType

from registry.errors import RegistryError
from registry.triggers import Claim, Triggers
from retrain.errors import ClaimLost


class Heartbeat:
    """Renews a claim every `ttl_s` / 3 seconds inside the block, and gives it back at its end."""

    def __init__(self, triggers: Triggers, model: str, claim: Claim, *, wall: Callable[[], float], ttl_s: float) -> None:
        """`wall` gives seconds since the Unix epoch."""
        self.claim = claim
        self._triggers, self._model, self._wall, self._ttl_s = triggers, model, wall, ttl_s
        self._ended = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, name="retrain-heartbeat", daemon=True)

    def check(self) -> None:
        """Raises `ClaimLost` where another job has taken over, or the claim could not be renewed in time."""
        if self._lost or self._wall() >= self.claim.expires.timestamp():
            raise ClaimLost(f"the claim of trigger {self.claim.trigger} is no longer held: token {self.claim.token}")

    def renew(self) -> None:
        """One beat. What the store refuses is tried again at the next one, while the claim lasts."""
        try:
            renewed = self._triggers.renew(self._model, self.claim, now_s=self._wall(), ttl_s=self._ttl_s)
        except RegistryError:
            return
        if renewed is None:
            self._lost = True
        else:
            self.claim = renewed

    def __enter__(self) -> Heartbeat:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()
        if not self._lost:
            try:
                self._triggers.renew(self._model, self.claim, now_s=self._wall(), ttl_s=0.0)
            except RegistryError:
                return  # it runs out by itself

    def _beat(self) -> None:
        while not self._lost and not self._ended.wait(self._ttl_s / 3):
            self.renew()
