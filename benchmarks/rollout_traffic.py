"""Simulated traffic for the bench of rollouts: users of very different activity, with the router's own hashes, and errors that cluster.

Errors come at a base rate that swings by half with the time of day and is eight times as high in two incidents, in both arms alike; some
users run into errors far more often than others. In a cell without all this every request is a unit and the rate stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from gateway.rollout.recorder import mixed_units
from gateway.rollout.records import RECORD, Flag
from gateway.serving.splits import Arm, Assigner, Split, limit_of

POOL = 1 << 18  # hashed users
USERS = 1 << 16  # of one rollout
DAY = 60_000  # requests
INCIDENT = 1_500
SAMPLE = 0.05  # of units, of whom everything is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """What traffic is like. `ratio`: the candidate's rate of errors to stable's; `excess`: what is added to it beside that."""

    rate: float = 0.01
    ratio: float = 1.0
    excess: float = 0.0
    clustered: bool = True


class Crowd:
    """All users there are: hashes by the router's own function, and how active and how unlucky users may be."""

    def __init__(self, random: np.random.Generator) -> None:
        split = Split(
            rollout="r", model="m", slot=0, step=0, mode="canary", salt=random.bytes(16).hex(), stable=1, arms=(Arm("canary", 2, 1),),
            sources=("header:x-user-id",),
        )  # fmt: skip
        assigner = Assigner(split, lambda: 0)
        self.hashes = np.array([assigner.hashed("x-user-id", b"user-%d" % index) for index in range(POOL)], np.uint64)
        activity = random.lognormal(0.0, 2.0, USERS)
        # Each user as often as it is active, so that a uniform draw is one by activity.
        self.turns = np.repeat(np.arange(USERS), np.maximum(np.round(activity / activity.sum() * 16 * USERS), 1).astype(int)).astype(
            np.int32
        )
        unlucky = random.gamma(0.3, 1.0, USERS)
        self.luck = unlucky / unlucky[self.turns].mean()


class Requests:
    """The requests of one rollout."""

    def __init__(self, crowd: Crowd, kind: Kind, random: np.random.Generator) -> None:
        self._crowd, self._kind, self._random = crowd, kind, random
        self._first, self._stride = int(random.integers(POOL)), 2 * int(random.integers(POOL // 2)) + 1
        self._shuffle = int(random.integers(USERS))
        self._phase, self._incidents = random.uniform(0, 2 * np.pi), random.integers(0, 2 * DAY, 2)
        self.count = 0

    def next(self, count: int, weight: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(unit, whether it is the candidate's, whether it failed) of the next requests."""
        kind, random, moments = self._kind, self._random, self.count + np.arange(count)
        self.count += count
        if kind.clustered:
            users = self._crowd.turns[random.integers(0, len(self._crowd.turns), count)]
            units = self._crowd.hashes[(self._first + self._stride * users.astype(np.int64)) % POOL]
            rates = kind.rate * self._crowd.luck[(users + self._shuffle) % USERS] * self._level(moments)
        else:
            units, rates = random.integers(0, 2**64 - 1, count, np.uint64, endpoint=True), np.full(count, kind.rate)
        ours = units < np.uint64(limit_of(weight))
        return units, ours, random.random(count) < np.where(ours, rates * kind.ratio + kind.excess, rates)

    def _level(self, moments: np.ndarray) -> np.ndarray:
        """Of the rate, at these requests."""
        level = 1.0 + 0.5 * np.sin(2 * np.pi * moments / DAY + self._phase)
        for begin in self._incidents:
            level = np.where((moments >= begin) & (moments < begin + INCIDENT), 8.0 * level, level)
        return level


def records_of(units: np.ndarray, ours: np.ndarray, failed: np.ndarray, *, step: int, begin_s: float, sample: float = SAMPLE) -> np.ndarray:
    """What workers leave of these requests: of all that failed, and of all of sampled units."""
    sampled = mixed_units(units) < np.uint64(limit_of(sample)) if sample < 1 else np.ones(len(units), np.bool_)
    told = sampled | failed
    records = np.zeros(int(np.count_nonzero(told)), RECORD)
    records["unit"], records["arm"], records["step"] = units[told], ours[told], step
    records["flags"] = np.where(sampled[told], int(Flag.SAMPLED), 0) | np.where(failed[told], int(Flag.SERVER_ERROR), 0)
    records["time_s"], records["batch_rows"], records["value"] = begin_s + 1e-6 * np.flatnonzero(told), 1, np.nan
    return records


def seeds(seed: int, name: str, count: int) -> Iterator[np.random.Generator]:
    """One generator for each rollout of a cell, by its place in it."""
    for place in range(count):
        yield np.random.default_rng([seed, *name.encode(), place])
