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


class ClusterError(Exception):
    """The cluster that a job was to run on cannot do it; nothing is said of the job, so its trigger stays as it was.

    `reachable`: it answers, and what runs there is not what runs here.
    """

    def __init__(self, message: str, *, reachable: bool = False) -> None:
        super().__init__(message)
        self.reachable = reachable


class ClaimLost(Exception):
    """Another job has taken the trigger over; this one writes nothing more."""
