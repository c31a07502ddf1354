"""The rounds of a postman: a thread beside whoever decides about rollouts, because receivers of webhooks may keep one waiting.

It dies with its process in the middle of whatever it does; the outbox is made for that.
"""

from __future__ import annotations

import logging
import threading

from gateway.clock import Clock, seeded_random
from gateway.rollout.controller import Controller
from gateway.rollout.posting import Poster
from gateway.rollout.postman import Postman
from gateway.rollout.seals import Secrets
from gateway.webhook_settings import Webhooks
from registry.store import Store

_log = logging.getLogger(__name__)
PAUSE_S = 2.0  # between two rounds


class Rounds:
    """Of one server."""

    def __init__(self, postman: Postman, clock: Clock) -> None:
        self._postman = postman
        self._clock = clock
        self._over = threading.Event()
        self._problems: dict[str, str] = {}  # of the last round, so that each is said once

    @classmethod
    def of(cls, settings: Webhooks, store: Store, controller: Controller, holder: str, clock: Clock) -> Rounds:
        """As the settings say: to whom, and with which secrets."""
        poster = Poster(networks=settings.networks, authorities=settings.ca, timeout_s=settings.timeout_s, now=clock.now)
        secrets = Secrets(settings.secrets)
        postman = Postman(store, holder=holder, leads=controller.leads, post=poster.post, secrets=secrets.read, rng=seeded_random())
        return cls(postman, clock)

    def begin(self) -> None:
        """Until `end`, or the end of the process."""
        threading.Thread(target=self._walk, name="postman", daemon=True).start()

    def end(self) -> None:
        """The round that is under way is the last."""
        self._over.set()

    def once(self) -> None:
        """One round. A fault of ours costs that round, not the next."""
        try:
            self._postman.tick(self._clock.wall())
        except Exception:
            _log.exception("a round of the postman failed")
        for rollout, problem in self._postman.problems.items():
            if self._problems.get(rollout) != problem:
                _log.error("webhooks: rollout %s: %s", rollout or "registry", problem)
        self._problems = dict(self._postman.problems)

    def _walk(self) -> None:
        while not self._over.wait(PAUSE_S):
            self.once()
