"""The contract of a version at work in one worker: who must not run, and what is counted and said of those who did.

Values of a request that is refused are counted when it is refused, those of others after their answers are out.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence

import numpy as np

from gateway.drift.door import Door
from gateway.serving.batch import Item, starts_of

_log = logging.getLogger(__name__)
_WARN_EVERY_S = 60.0
_BITS = 32


class Entrance:
    """`serving.batch.Door` of one version."""

    def __init__(self, name: str, door: Door, counts: np.ndarray, now: Callable[[], float]) -> None:
        """`name` is for the log; `counts`: `Views.rules`."""
        self.rejects = door.rejects
        self._name, self._door, self._counts, self._now = name, door, counts, now
        self._scratch = np.zeros_like(counts)
        self._lock = threading.Lock()  # runs in threads are looked at there
        self._warned_s: dict[str, float] = {}  # by text of the rule

    def refused(self, items: Sequence[Item], inputs: Sequence[np.ndarray]) -> list[tuple[Item, str]]:
        """The requests that break a rule which rejects, and the first such rule."""
        rows = sum([item.rows for item in items])
        with self._lock:
            masks = self._door.look(inputs, max(rows, 1), self._scratch)
            if masks is None:
                return []
            bad = self._door.rejected(masks)
            return self._turned_away(items, inputs, masks, bad) if bad.any() else []

    def _turned_away(
        self, items: Sequence[Item], inputs: Sequence[np.ndarray], masks: np.ndarray, bad: np.ndarray
    ) -> list[tuple[Item, str]]:  # fmt: skip
        found = []
        for item, start in zip(items, starts_of(items, len(bad)), strict=True):
            part = slice(start, start + max(item.rows, 1))
            wrong = np.flatnonzero(bad[part])
            if len(wrong):
                row = int(wrong[0])
                found.append((item, f"{self._door.reason(masks[start + row])}, in row {row} of the request"))
                self._door.look([array[part] for array in inputs], max(item.rows, 1), self._counts)
        return found

    def count(self, inputs: Sequence[np.ndarray]) -> None:
        """A batch that was served."""
        with self._lock:
            masks = self._door.look(inputs, len(inputs[0]), self._counts)
        if masks is not None and self._door.warned(masks).any():
            self._warn(masks[self._door.warned(masks)])

    def broken(self, inputs: Sequence[np.ndarray]) -> np.ndarray | None:
        """Which rules each row breaks, uint32 [rows]: bit n for rule n, the last one for all that come after it; None where no row does."""
        with self._lock:
            masks = self._door.look(inputs, len(inputs[0]), self._scratch)
        if masks is None:
            return None
        found = masks[:, 0].astype(np.uint32)
        found |= ((masks[:, 0] >> np.uint64(_BITS)).astype(np.bool_) | masks[:, 1:].any(axis=1)).astype(np.uint32) << np.uint32(_BITS - 1)
        return found

    def _warn(self, masks: np.ndarray) -> None:
        """At most once a minute for each rule."""
        now = self._now()
        for rule in self._door.broken(np.bitwise_or.reduce(masks, axis=0)):
            if rule.mode == "warn" and now - self._warned_s.get(rule.text, -_WARN_EVERY_S) >= _WARN_EVERY_S:
                self._warned_s[rule.text] = now
                _log.warning("contract of %s: %s", self._name, rule.text)
