"""How long to go on with something that another machine may refuse for a moment: bounded attempts, pauses that double, full jitter.

Waiting and chance are passed in, so that a test waits for nothing and every pause is known.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_CHANCES = 1 << 32


def _wait(seconds: float) -> None:
    threading.Event().wait(seconds)


def _chance() -> float:
    return secrets.randbelow(_CHANCES) / _CHANCES


@dataclass(frozen=True, slots=True)
class Patience:
    """At most `attempts`, with pauses drawn evenly from 0 to `first_s`, 2 · `first_s` and so on up to `longest_s`."""

    attempts: int = 6
    first_s: float = 0.1
    longest_s: float = 5.0
    wait: Callable[[float], None] = _wait
    chance: Callable[[], float] = _chance  # 0 ≤ x < 1

    def tries(self) -> Iterator[bool]:
        """One turn per attempt, having waited before all but the first; the value says whether it is the last."""
        for attempt in range(self.attempts):
            if attempt:
                self.wait(self.chance() * min(self.longest_s, self.first_s * 2 ** (attempt - 1)))
            yield attempt == self.attempts - 1
