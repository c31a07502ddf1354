"""What the supervisor and the process that seals the inference log tell each other. Pure data."""

from __future__ import annotations

import msgspec


class RecorderInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program."""

    channel: int = -1


# To the recorder


class Record(msgspec.Struct, frozen=True, tag=True):
    """By these settings, as `config.encode` writes them."""

    config: str


class End(msgspec.Struct, frozen=True, tag=True):
    """Workers are gone: seal what they have left, and end."""


# From the recorder


class Shown(msgspec.Struct, frozen=True, tag=True):
    """What the metrics page shows: by family, label values and numbers. All of it."""

    families: dict[str, list[tuple[tuple[str, ...], float]]]


ToRecorder = Record | End
FromRecorder = Shown
