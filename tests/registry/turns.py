"""Several parties that change one registry at once, in an order that is drawn: each file call of a party is one turn."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable
from typing import Any


class Party:
    """File calls of one party; each waits for its turn. What is synced stays in memory: nobody loses power here."""

    def __init__(self) -> None:
        self.turn, self.paused = threading.Semaphore(0), threading.Semaphore(0)
        self.finished = False
        self.failure: BaseException | None = None

    def __getattr__(self, name: str) -> Any:
        call = (lambda fd: None) if name == "fsync" else getattr(os, name)

        def waiting(*arguments: Any, **options: Any) -> Any:
            self.paused.release()
            self.turn.acquire()
            return call(*arguments, **options)

        return waiting

    def run(self, deed: Callable[[Party], object]) -> None:
        """In a thread of its own."""
        self.turn.acquire()
        try:
            deed(self)
        except BaseException as failure:
            self.failure = failure
        self.finished = True
        self.paused.release()


def play(deeds: list[Callable[[Party], object]], chance: random.Random, *, stickiness: float = 0.7) -> list[BaseException | None]:
    """Run all `deeds`, one file call at a time; the failure of each, if any. A party keeps the turn with probability `stickiness`."""
    parties = [Party() for _ in deeds]
    threads = [threading.Thread(target=party.run, args=(deed,), daemon=True) for party, deed in zip(parties, deeds, strict=True)]
    for thread in threads:
        thread.start()
    going, current = parties, parties[0]
    while going := [party for party in going if not party.finished]:
        if current.finished or chance.random() > stickiness:
            current = chance.choice(going)
        current.turn.release()
        assert current.paused.acquire(timeout=60), "a party waits for something else than its turn"
    for thread in threads:
        thread.join(60)
    return [party.failure for party in parties]
