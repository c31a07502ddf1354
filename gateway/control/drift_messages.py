"""What the supervisor and the process that evaluates drift tell each other. Pure data; lists replace the ones before."""

from __future__ import annotations

import msgspec

from gateway.drift_settings import Contract, DriftPlan


class Watched(msgspec.Struct, frozen=True, array_like=True):
    """A block that counts the traffic of a version."""

    model: str
    version: int
    identity: str
    start: int  # its first word
    serial: int  # never used again
    drift: DriftPlan  # the settings that it was laid out by; those of now may be others
    contract: Contract
    learned: str = ""  # as in `messages.Held`
    closing: bool = False  # nobody adds to it any more


class EvaluatorInheritance(msgspec.Struct, frozen=True, kw_only=True):
    """The one argument of the program."""

    channel: int = -1
    blocks: int
    run: str  # of the server: another one after each start of the supervisor
    state: str  # the directory where what is known of versions outlives the process
    learned: str  # the directory of learned profiles


# To the evaluator


class Evaluate(msgspec.Struct, frozen=True, tag=True):
    """By these settings, as `config.encode` writes them."""

    config: str


class Watch(msgspec.Struct, frozen=True, tag=True):
    """Every block there is."""

    blocks: tuple[Watched, ...]


class Tell(msgspec.Struct, frozen=True, tag=True):
    """What is known of a model's versions?"""

    number: int
    model: str
    messages: bool = False  # as in `messages.AskedDrift`


class End(msgspec.Struct, frozen=True, tag=True):
    """Look a last time, save and end."""


# From the evaluator


class Told(msgspec.Struct, frozen=True, tag=True):
    """JSON of the answer."""

    number: int
    content: str


class Gauges(msgspec.Struct, frozen=True, tag=True):
    """What the metrics page shows: by family, label values and numbers. All of it."""

    families: dict[str, list[tuple[tuple[str, ...], float]]]


class Closed(msgspec.Struct, frozen=True, tag=True):
    """What a closing block held is kept, and saved where there is a place for it."""

    serial: int


class Learned(msgspec.Struct, frozen=True, tag=True):
    """A version has a profile now, in this file."""

    model: str
    version: int
    identity: str
    path: str


ToEvaluator = Evaluate | Watch | Tell | End
FromEvaluator = Told | Gauges | Closed | Learned
