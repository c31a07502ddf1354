"""Which requests are logged: by their unit, so that a unit is logged whole or not at all; those without one by chance.

Neither looks at what became of a request. Chance is the number of requests until the next one, so what is not logged costs a subtraction.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

from gateway.serving.splits import limit_of, mixed

_STREAM = 3  # of hashes of units: another one than of the rollout's sample, and of its shadow's
_LEAST = 1e-12


class Draws:
    """Of one version."""

    def __init__(self, share: float, rng: random.Random) -> None:
        self.whole = share >= 1.0
        self._rng = rng
        self._limit = limit_of(share)
        self._scale = 0.0 if self.whole else math.log1p(-max(share, _LEAST))
        self._next = 0 if self.whole else self._gap()

    def _gap(self) -> int:
        """Requests that are passed over before the next one: geometric, since each is taken by itself."""
        return int(math.log(1.0 - self._rng.random()) / self._scale)

    def of(self, count: int) -> list[int]:
        """Which of so many requests without a unit, ascending."""
        if self.whole:
            return list(range(count))
        found, at = [], self._next
        while at < count:
            found.append(at)
            at += 1 + self._gap()
        self._next = at - count
        return found

    def by_unit(self, units: Sequence[int]) -> list[int]:
        """Which of these, by the hash of each one's unit; 0 is none."""
        chosen = set(self.of(units.count(0)))
        found, without = [], 0
        for at, unit in enumerate(units):
            if unit:
                taken = self.whole or mixed(unit, _STREAM) < self._limit
            else:
                taken, without = without in chosen, without + 1
            if taken:
                found.append(at)
        return found
