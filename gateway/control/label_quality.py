"""How good versions are, as labels come: follows the inference log and its labels, and settles what can be.

At its start it reads as far back as an answer may wait for its label. Everything here runs in one thread at a time.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gateway.config import Config
from gateway.control.label_messages import Families
from gateway.control.label_reading import Reading
from gateway.quality.delays import Delays
from gateway.quality.sheet import Sheet
from gateway.quality.waiting import Settled, Waiting
from registry.errors import RegistryError

_log = logging.getLogger(__name__)
_Key = tuple[str, int, str]  # model, version, arm


class Quality:
    """Of one server. `serving` are the versions whose figures are shown."""

    def __init__(self, config: Config, root: Path) -> None:
        self._config = config
        self.serving: frozenset[tuple[str, int]] = frozenset()
        self.sheets: dict[_Key, Sheet] = {}
        self._waiting: dict[str, Waiting] = {}
        self._counts: Counter[tuple[str, int, str, str]] = Counter()
        self._delays: dict[str, Delays] = {}
        self._reading = Reading(root)

    def look(self, now_us: int) -> Families:
        """Read what is new, settle what can be, and tell what the metrics page shows. Raises nothing for what is on disk."""
        since = now_us - int(max((self._config.model(name).labels.wait_s for name in self._config.models), default=30 * 86_400.0) * 1e6)
        try:
            self._reading.read(since, self)
        except RegistryError as error:
            _log.warning("labels: %s", error.message)
        for model, waiting in self._waiting.items():
            self._settle(model, waiting.settle(now_us))
        return self.families()

    def families(self) -> Families:
        """What the metrics page shows of versions that serve."""
        found: Families = {
            "tidegate_label_answers_total": [],
            "tidegate_label_quality": [],
            "tidegate_label_quality_bound": [],
            "tidegate_label_sample_ratio": [],
            "tidegate_label_delay_seconds": [],
        }
        for (model, version, arm, outcome), count in sorted(self._counts.items()):
            if (model, version) in self.serving:
                found["tidegate_label_answers_total"].append(((model, str(version), arm, outcome), float(count)))
        for (model, version, arm), sheet in sorted(self.sheets.items()):
            for figure in sheet.figures(self._config.labels.alpha) if (model, version) in self.serving else ():
                key = (model, str(version), arm, figure.metric)
                found["tidegate_label_quality"].append((key, figure.value))
                bounds = [("low", figure.low), ("high", figure.high)]
                found["tidegate_label_quality_bound"] += [((*key, name), bound) for name, bound in bounds if bound is not None]
        shown = {model for model, _ in self.serving}
        for model, delays in sorted(self._delays.items()):
            found["tidegate_label_delay_seconds"] += delays.values(model) if model in shown else []
        for model, waiting in sorted(self._waiting.items()):
            if model in shown:
                found["tidegate_label_sample_ratio"].append(((model,), waiting.share))
        return found

    def names(self) -> Mapping[str, str]:
        """See `label_reading.Follower`."""
        return {model: self._config.model(model).labels.name for model in {model for model, _ in self.serving} | set(self._waiting)}

    def wants(self, model: str) -> bool:
        """See `label_reading.Follower`."""
        return True

    def take(self, model: str, answers: np.ndarray, labels: np.ndarray) -> None:
        """See `label_reading.Follower`."""
        self._of(model).add(answers, labels)

    def _of(self, model: str) -> Waiting:
        if model not in self._waiting:
            own = self._config.model(model).labels
            self._waiting[model] = Waiting(
                mature_after_us=int(own.mature_after_s * 1e6), wait_us=int(own.wait_s * 1e6), most=self._config.labels.max_waiting
            )
        return self._waiting[model]

    def _settle(self, model: str, settled: Settled) -> None:
        answers = settled.answers
        if len(answers):
            self._delays.setdefault(model, Delays()).add(settled.delays_us)
        for version, arm in {(int(one["version"]), int(one["arm"])) for one in np.unique(answers[["version", "arm"]])}:
            here, key = (answers["version"] == version) & (answers["arm"] == arm), (model, version, self._reading.arms[arm])
            if key not in self.sheets:
                self.sheets[key] = Sheet(max_error=self._config.model(model).labels.max_error)
            self.sheets[key].add(answers["class"][here], answers["score"][here], settled.values[here])
            self._counts[(*key, "labelled")] += int(np.count_nonzero(here))
        for one in settled.unlabelled[["version", "arm"]]:
            self._counts[model, int(one["version"]), self._reading.arms[int(one["arm"])], "unlabelled"] += 1
