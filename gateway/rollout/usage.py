"""What a shadow takes of the machine. Knows no process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Usage:
    """Seconds until now: of a core, by the candidate's process and by the thread that asks, and of waiting for one, by that process."""

    ran_s: float = 0.0
    waited_s: float = 0.0

    def since(self, before: Usage) -> Usage:
        """What came after `before`."""
        return Usage(max(self.ran_s - before.ran_s, 0.0), max(self.waited_s - before.waited_s, 0.0))
