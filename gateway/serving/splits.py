"""Which arm of a rollout a request takes: a keyed hash of its unit against the weights. Pure, and the same in every process.

A unit is what somebody calls itself by, in a header or a parameter. Its hash decides: below the weight's share of 2^64 it is the
candidate's. Raising the weight therefore moves nobody back, a weight of 0 is nobody at once, and no server has to ask another one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from hashlib import blake2b
from typing import Literal, Protocol

import msgspec

WEIGHT_UNITS = 10_000  # of all units: weights are multiples of 1e-4
STABLE, CANDIDATE = 0, 1  # arms; those of an A/B with more versions count up
UNASSIGNED = -1  # of requests that take part in nothing: for a version that was named, and those of testers

_SPACE = 1 << 64
_MASK = _SPACE - 1


class Headed(Protocol):
    """A request as far as it has headers: a stream, or an exchange."""

    def header(self, name: bytes) -> bytes | None:
        """The first value of a header, by its lower-case name."""
        ...


class Arm(msgspec.Struct, frozen=True, array_like=True):
    """One of the versions beside stable."""

    name: str
    version: int
    weight: int  # in `WEIGHT_UNITS`


class Split(msgspec.Struct, frozen=True, kw_only=True):
    """What one rollout asks of every worker."""

    rollout: str
    model: str
    slot: int  # of its records and counters in this server
    step: int
    mode: Literal["shadow", "canary"]
    salt: str  # 32 hexadecimal digits
    stable: int
    arms: tuple[Arm, ...]  # of a shadow too, whose weight is 0
    sources: tuple[str, ...] = ()  # `header:<name>`, `metadata:<name>`, `parameter:<name>`; the first that a request has is its unit
    fallback: bool = True  # what fails in another arm is asked of stable
    sample: float = 1.0  # of units, of whom everything is told
    slo_s: tuple[float, ...] = ()  # slower answers are told of all units
    score: bool = False  # what is told of outputs is a score rather than a class
    shadow_percent: float = 0.0
    shadow_qps: float | None = None
    shadow_share: float = 0.3
    atol: float = 1e-3
    rtol: float = 1e-2


class Pin(msgspec.Struct, frozen=True, array_like=True):
    """A version that a rollout holds, by what was published under its number."""

    version: int
    manifest: str  # digest
    isolated: bool = False  # in a process of its own, whatever the model's settings say
    gives_way: bool = False  # in one that gives way to whatever else runs, as a shadow has to


class Guide(msgspec.Struct, frozen=True, kw_only=True):
    """What one rollout asks of a server: versions to hold, and how requests are divided once all of them are ready."""

    rollout: str
    model: str
    pins: tuple[Pin, ...]
    split: Split | None = None  # None: everything goes to stable


def limit_of(share: float) -> int:
    """The hashes below it are this share of all, to 1e-4 of the whole."""
    return round(share * WEIGHT_UNITS) * _SPACE // WEIGHT_UNITS


def mixed(unit: int, stream: int = 1) -> int:
    """Another hash of a unit, which says nothing about the first: the finaliser of splitmix64 (Steele, Lea and Flood, 2014)."""
    value = (unit + stream * 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


class Assigner:
    """Units to hashes and arms, for one rollout."""

    def __init__(self, split: Split, draw: Callable[[], int]) -> None:
        """`draw()` is a random number of 64 bits: a request without a unit is one of its own."""
        self._draw = draw
        sources = [name_of(source) for source in split.sources]
        self._sources = [(kind == "parameter", name, name.encode()) for kind, name in sources]
        self._seeds = {name: _seed(split.salt, split.model, name) for _, name in sources}
        self._limit = split.arms[0].weight * _SPACE // WEIGHT_UNITS
        self._weights = [WEIGHT_UNITS - sum(arm.weight for arm in split.arms), *[arm.weight for arm in split.arms]]
        self.arm = self._by_limit if len(split.arms) == 1 else self._by_score
        self.parameters = tuple([name for kind, name in sources if kind == "parameter"])

    def unit(self, caller: Headed, parameters: Mapping[str, bytes]) -> int:
        """The hash of the unit that a request belongs to."""
        for is_parameter, name, header in self._sources:
            value = parameters.get(name) if is_parameter else caller.header(header)
            if value:
                return self.hashed(name, value)
        return self._draw()

    def hashed(self, name: str, value: bytes) -> int:
        """Uniform in 0 … 2^64 − 1, by the rollout's salt."""
        state = self._seeds[name].copy()
        state.update(_prefixed(value))
        return int.from_bytes(state.digest(), "little")

    def _by_limit(self, unit: int) -> int:
        return CANDIDATE if unit < self._limit else STABLE

    def _by_score(self, unit: int) -> int:
        """Weighted rendezvous hashing: the largest −w / ln u wins, u uniform in (0, 1) for each arm (Schindelhauer and Schomaker, 2005).
        Raising one weight, at stable's cost, takes nobody from that arm and brings nobody back to stable."""
        scores = [-weight / math.log((mixed(unit, 16 + arm) + 0.5) / _SPACE) for arm, weight in enumerate(self._weights)]
        return scores.index(max(scores))


def name_of(source: str) -> tuple[str, str]:
    """The kind and the name of a source. Headers and metadata are the same thing in two protocols, and a unit is the same in both."""
    kind, _, name = source.partition(":")
    return ("parameter", name) if kind == "parameter" else ("header", name.lower())


def _seed(salt: str, model: str, name: str) -> blake2b:
    """What is hashed before the unit itself: lengths stand before texts, so that no two of them run together."""
    return blake2b(_prefixed(model.encode()) + _prefixed(name.encode()), digest_size=8, key=bytes.fromhex(salt))


def _prefixed(text: bytes) -> bytes:
    return len(text).to_bytes(4, "little") + text
