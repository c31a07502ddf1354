"""What the supervisor and the process that keeps labels tell each other. Pure data; lists replace the ones before."""

from __future__ import annotations

import msgspec

from gateway.control.matured import Matured, Wants
from gateway.control.messages import ToldLabels

Families = dict[str, list[tuple[tuple[str, ...], float]]]  # by name, label values and numbers


class DeskInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program."""

    channel: int = -1


# To the desk


class Keep(msgspec.Struct, frozen=True, tag=True):
    """By these settings, as `config.encode` writes them."""

    config: str


class Ingest(msgspec.Struct, frozen=True, tag=True):
    """Labels, as they came: JSON, or a message of `tidegate.Labels/Ingest`."""

    number: int
    content: bytes
    message: bool


class Serving(msgspec.Struct, frozen=True, tag=True):
    """Which versions serve: figures of others are not shown."""

    versions: tuple[tuple[str, int], ...]


class End(msgspec.Struct, frozen=True, tag=True):
    """Finish what is being written, and end."""


# From the desk


class Judged(msgspec.Struct, frozen=True, tag=True):
    """What the metrics page shows: by family, label values and numbers. All of it."""

    families: Families


ToDesk = Keep | Ingest | Serving | Wants | End
FromDesk = ToldLabels | Judged | Matured
