"""What the supervisor and the process that decides about rollouts tell each other. Pure data; lists replace the ones before."""

from __future__ import annotations

import msgspec

from gateway.control.matured import Matured, Wants


class RefereeInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program."""

    channel: int = -1
    rings: int
    run: str  # of the server: another one after each start of the supervisor


class Serves(msgspec.Struct, frozen=True, array_like=True):
    """A version that every worker holds ready, or that cannot be."""

    model: str
    version: int
    content: str  # digest of its manifest
    failure: str = ""


# To the referee


class Referee(msgspec.Struct, frozen=True, tag=True):
    """By these settings, as `config.encode` writes them."""

    config: str


class Held(msgspec.Struct, frozen=True, tag=True):
    """What serves, where records of rollouts are, and how many workers have died unasked so far."""

    versions: tuple[Serves, ...]
    slots: dict[str, int]  # of rollouts whose split is in the table
    inline: dict[str, bool]  # of these, whether workers serve the candidate themselves
    deaths: int


class End(msgspec.Struct, frozen=True, tag=True):
    """Let go of every claim, and end."""


# From the referee


class Appended(msgspec.Struct, frozen=True, tag=True):
    """A rollout has gone on: look at the registry."""


class Shown(msgspec.Struct, frozen=True, tag=True):
    """What the metrics page shows: by family, label values and numbers. All of it."""

    families: dict[str, list[tuple[tuple[str, ...], float]]]


ToReferee = Referee | Held | Matured | End
FromReferee = Appended | Shown | Wants
