"""The labelled answers of one metric of a rollout, as they mature: read of the log from the rollout's beginning on.

A reader of its own, because a plan names its label and when it counts, and because whoever decides may ask for all of it again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gateway.control.label_reading import Reading
from gateway.control.matured import CANARY, STABLE, Want
from gateway.quality.sheet import judged
from gateway.quality.waiting import Settled, Waiting
from gateway.rollout.labels import LABELLED
from registry.errors import RegistryError

_log = logging.getLogger(__name__)
_APART_S = 60.0  # that the clocks of who began the rollout and who served may be


class Wanted:
    """What one `Want` comes to."""

    def __init__(self, want: Want, root: Path, *, wait_s: float, most: int) -> None:
        """`wait_s`: after its request, an answer without a label is given up; `most`: answers that wait."""
        self._want = want
        self._reading = Reading(root)
        mature_us = int(want.mature_after_s * 1e6)
        self._waiting = Waiting(mature_after_us=mature_us, wait_us=max(int(wait_s * 1e6), mature_us), most=most)

    def look(self, now_us: int) -> np.ndarray:
        """What has matured since the last look, [n] of `LABELLED`. Raises nothing for what is on disk."""
        try:
            self._reading.read(int((self._want.since_s - _APART_S) * 1e6), self)
        except RegistryError as error:
            _log.warning("labels of rollout %s: %s", self._want.rollout, error.message)
            return np.zeros(0, LABELLED)  # labels were read perhaps and answers not: nothing is settled on half of it
        return self._labelled(self._waiting.settle(now_us))

    def names(self) -> Mapping[str, str]:
        """See `label_reading.Follower`."""
        return {self._want.model: self._want.label}

    def wants(self, model: str) -> bool:
        """See `label_reading.Follower`."""
        return model == self._want.model

    def take(self, model: str, answers: np.ndarray, labels: np.ndarray) -> None:
        """See `label_reading.Follower`. Of answers those of units that were assigned, in this rollout."""
        ours = [index for index, rollout in enumerate(self._reading.rollouts) if rollout == self._want.rollout]
        arms = [index for index, arm in enumerate(self._reading.arms) if arm in (STABLE, CANARY)]
        kept = np.isin(answers["rollout"], ours) & np.isin(answers["arm"], arms) & np.isin(answers["version"], self._want.versions)
        self._waiting.add(answers[kept & (answers["unit"] != 0) & (answers["step"] >= 0)], labels)

    def _labelled(self, settled: Settled) -> np.ndarray:
        answers = settled.answers
        known, wrong = judged(answers["class"], answers["score"], settled.values)
        made = np.zeros(len(answers), LABELLED)
        made["unit"], made["step"], made["wrong"] = answers["unit"], answers["step"], wrong
        for arm, version in enumerate(self._want.versions):
            made["arm"][answers["version"] == version] = arm
        return np.asarray(made[known])
