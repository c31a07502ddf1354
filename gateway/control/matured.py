"""What whoever decides about rollouts and whoever keeps labels tell each other, through the supervisor. Pure data.

The log of answers and labels is where it all stands, and of a unit one answer counts however often it is told. So nobody keeps what was
told: who asks under a new name is told everything again.
"""

from __future__ import annotations

import msgspec

STABLE, CANARY = "stable", "canary"  # arms in the log whose answers count: of units that were assigned


class Want(msgspec.Struct, frozen=True, array_like=True):
    """The labelled answers of one metric of one rollout."""

    reader: str  # another one whenever all of it is to be told again
    rollout: str
    model: str
    metric: str
    label: str
    mature_after_s: float
    since_s: float  # Unix seconds: no answer of the rollout is older
    versions: tuple[int, ...]  # by arm, stable's first


class Wants(msgspec.Struct, frozen=True, tag=True):
    """All that is wanted; replaces what was wanted before."""

    wants: tuple[Want, ...]


class Matured(msgspec.Struct, frozen=True, tag=True):
    """More answers with a label that counts, bytes of `gateway.rollout.labels.LABELLED`."""

    reader: str
    metric: str
    answers: bytes
