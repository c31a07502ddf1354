"""How a job can end without a new version. Knows no exit code: commands have those."""

from __future__ import annotations


class RetrainError(Exception):
    """What was asked for cannot be understood or done: a column or an entry point that is not there, a file with mistakes."""


class Refusal(Exception):
    """Data or a candidate did not pass a gate: the gate, and why in one sentence."""

    def __init__(self, gate: str, reason: str) -> None:
        super().__init__(f"{gate}: {reason}")
        self.gate = gate
        self.reason = reason


class ClaimLost(Exception):
    """Another job has taken the trigger over; this one writes nothing more."""
