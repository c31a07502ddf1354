"""The rollouts of one worker: made anew with every table, for versions that it holds."""

from __future__ import annotations

from collections.abc import Mapping

from gateway.clock import Clock, seeded_random
from gateway.control.forks import Crossing, Submit
from gateway.rollout.recorder import Recorder
from gateway.rollout.ring import Ring
from gateway.serving.routing import Routes
from gateway.serving.splits import Split
from gateway.serving.versions import Version

_BITS = 64


class Crossings:
    """By model."""

    def __init__(self, ring: Ring, clock: Clock) -> None:
        self._ring, self._clock = ring, clock
        self._rng = seeded_random()
        self._told: list[Version] = []  # that have a recorder

    def of(self, routes: Routes, submit: Submit) -> Mapping[str, Crossing]:
        """Those of a table. Versions that are no arm any more are recorded no more."""
        for version in self._told:
            version.rollout = None
        self._told = []
        return {model: self._made(split, routes, submit) for model, split in routes.splits.items()}

    def _made(self, split: Split, routes: Routes, submit: Submit) -> Crossing:
        known = routes.versions[split.model]
        versions = [known[split.stable], *[known[arm.version] for arm in split.arms]]
        clock = self._clock
        if split.mode == "shadow":
            return Crossing(split, versions, [], self._ring, draw=self._draw, submit=submit)
        recorders = [Recorder(split, arm, version, self._ring, now=clock.now, wall=clock.wall) for arm, version in enumerate(versions)]
        for version, recorder in zip(versions, recorders, strict=True):
            version.rollout = recorder
        self._told += versions
        return Crossing(split, versions, recorders, self._ring, draw=self._draw, submit=submit)

    def _draw(self) -> int:
        return self._rng.getrandbits(_BITS)
