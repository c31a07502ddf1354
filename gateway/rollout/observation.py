"""What a controller sees of one rollout at one moment: all that a decision depends on beside the journal. Pure data."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from gateway.rollout.standing import Pin, Trip


class Overall(enum.Enum):
    """The verdict on a step."""

    PASS = "PASS"  # noqa: S105 - of a step
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    NO_DATA = "NO_DATA"
    INVALID = "INVALID"
    ERROR = "ERROR"  # a source could not be asked; as inconclusive, but the text says so


@dataclass(frozen=True, slots=True)
class Reading:
    """What the evidence of one rollout says now."""

    step: int  # that `overall` and `units` are about
    overall: Overall = Overall.NO_DATA
    units: int = 0  # of the smaller arm, in this step
    tripped: tuple[Trip, ...] = ()  # so far, without metrics that are only reported
    fast: str | None = None  # a crash, failures in a row: why it is to be rolled back at once
    invalid: str | None = None  # which stage loses requests
    sentence: str = ""


class Attempt(enum.Enum):
    """What came of moving the alias, or of taking that back."""

    MOVED = "moved"  # it stands for the candidate, by this rollout's own operation
    REFUSED = "refused"  # the registry's policy does not allow it
    ELSEWHERE = "elsewhere"  # somebody has moved it
    UNDONE = "undone"  # this rollout moves nothing any more, and what it had moved is back unless somebody moved it on


@dataclass(frozen=True, slots=True)
class Outcome:
    """An attempt and a sentence about it."""

    attempt: Attempt
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """One look."""

    first: bool = True  # no open rollout of the model is before it
    ready: bool = False  # every pinned version can serve here, golden requests and warm-up included
    load_failure: str | None = None  # of a version that is compared: why it cannot
    champion: Pin | None = None  # what the alias stands for
    recent: bool = False  # the candidate was one of the last champions that the plan lets one go back to
    replaced_by: str | None = None  # a later rollout that asks to take this one's place
    reading: Reading | None = None
    outcome: Outcome | None = None  # of an attempt that this phase asks for
