"""What became of rows that were to be logged, by model, arm and reason. Pure.

`accepted = rows + dropped`, of every model and arm: rows are in files, dropped are counted with the reason, where it happened.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

ARMS = ("stable", "canary", "shadow", "forced", "fallback")
# Where the queue had no room; where the disk had none; where it failed; of rows too large to be kept at all; and what a worker that died
# had not written, which is what is missing when everything else is known.
QUEUE_FULL, DISK_FULL, IO_ERROR, TOO_LARGE, WORKER_LOST = REASONS = ("queue_full", "disk_full", "io_error", "too_large", "worker_lost")

Counts = dict[str, dict[str, int]]  # by model and arm
Drops = dict[str, dict[str, dict[str, int]]]  # by model, arm and reason


class Account(msgspec.Struct, kw_only=True):
    """Rows of some models and arms."""

    accepted: Counts = {}
    dropped: Drops = {}

    def add(self, model: str, arm: str, rows: int, dropped: dict[str, int] | None = None) -> None:
        """Rows that were logged, and others that were dropped: all of them had been accepted."""
        lost = {reason: count for reason, count in (dropped or {}).items() if count}
        total = rows + sum(lost.values())
        if not total:
            return
        arms = self.accepted.setdefault(model, {})
        arms[arm] = arms.get(arm, 0) + total
        for reason, count in lost.items():
            reasons = self.dropped.setdefault(model, {}).setdefault(arm, {})
            reasons[reason] = reasons.get(reason, 0) + count

    def join(self, other: Account) -> None:
        """Add all of another."""
        for model, arm, rows, dropped in other.lines():
            self.add(model, arm, rows, dropped)

    def lines(self) -> Iterator[tuple[str, str, int, dict[str, int]]]:
        """(model, arm, rows that were logged, dropped by reason)."""
        for model, arms in self.accepted.items():
            for arm, accepted in arms.items():
                dropped = self.dropped.get(model, {}).get(arm, {})
                yield model, arm, accepted - sum(dropped.values()), dropped

    def of(self, model: str, arm: str) -> tuple[int, dict[str, int]]:
        """Rows that were accepted of an arm, and those that were dropped by reason."""
        return self.accepted.get(model, {}).get(arm, 0), self.dropped.get(model, {}).get(arm, {})

    @property
    def empty(self) -> bool:
        """Nothing is counted."""
        return not self.accepted
