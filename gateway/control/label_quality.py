"""How good versions are, as labels come: follows the inference log and its labels, and settles what can be.

At its start it reads as far back as an answer may wait for its label. Everything here runs in one thread at a time.
"""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from gateway.config import Config
from gateway.quality.sheet import Sheet
from gateway.quality.waiting import ANSWER, LABEL, Settled, Waiting
from registry.errors import RegistryError, storage_errors
from registry.label_answers import new_files
from registry.label_files import answers_in, columns_in
from registry.labels import LabelCommit, LabelLog

_log = logging.getLogger(__name__)
_GOLDEN = 0x9E3779B97F4A7C15
Families = dict[str, list[tuple[tuple[str, ...], float]]]
_Key = tuple[str, int, str]  # model, version, arm


class Quality:
    """Of one server. `serving` are the versions whose figures are shown."""

    def __init__(self, config: Config, root: Path) -> None:
        self._config, self._root = config, root
        self.serving: frozenset[tuple[str, int]] = frozenset()
        self.sheets: dict[_Key, Sheet] = {}
        self._waiting: dict[str, Waiting] = {}
        self._counts: Counter[tuple[str, int, str, str]] = Counter()
        self._arms: list[str] = []
        self._rollouts: list[str] = []
        self._answers_seq = self._labels_seq = 0
        self._began = False

    def look(self, now_us: int) -> Families:
        """Read what is new, settle what can be, and tell what the metrics page shows. Raises nothing for what is on disk."""
        try:
            with storage_errors("read the inference log"):
                self._read(now_us)
        except RegistryError as error:
            _log.warning("labels: %s", error.message)
        for model, waiting in self._waiting.items():
            self._settle(model, waiting.settle(now_us))
        return self.families()

    def families(self) -> Families:
        """What the metrics page shows of versions that serve."""
        found: Families = {"tidegate_label_answers_total": [], "tidegate_label_quality": [], "tidegate_label_quality_bound": []}
        for (model, version, arm, outcome), count in sorted(self._counts.items()):
            if (model, version) in self.serving:
                found["tidegate_label_answers_total"].append(((model, str(version), arm, outcome), float(count)))
        for (model, version, arm), sheet in sorted(self.sheets.items()):
            for figure in sheet.figures(self._config.labels.alpha) if (model, version) in self.serving else ():
                key = (model, str(version), arm, figure.metric)
                found["tidegate_label_quality"].append((key, figure.value))
                bounds = [("low", figure.low), ("high", figure.high)]
                found["tidegate_label_quality_bound"] += [((*key, name), bound) for name, bound in bounds if bound is not None]
        shares = [
            ((model,), waiting.share) for model, waiting in sorted(self._waiting.items()) if any(model == one for one, _ in self.serving)
        ]
        return found | {"tidegate_label_sample_ratio": shares}

    def _read(self, now_us: int) -> None:
        """Labels first: one that came before its answer waits for it, the other way round it could be given up."""
        since = now_us - int(max((self._config.model(name).labels.wait_s for name in self._config.models), default=30 * 86_400.0) * 1e6)
        for commit in LabelLog(self._root).commits(after=self._labels_seq):
            self._read_labels(commit, since)
            self._labels_seq = commit.seq
        files, last = new_files(self._root, after=self._answers_seq)
        for file in files:
            if file.max_ts >= since or self._began:
                for columns in answers_in(self._root / file.path):
                    self._of(file.model).add(self._answers(columns), np.zeros(0, LABEL))
        self._answers_seq, self._began = last, True

    def _read_labels(self, commit: LabelCommit, since: int) -> None:
        for file in commit.files:
            if commit.removed or (file.max_ts < since and not self._began):
                continue  # merged of what was read before, or too old
            path = self._root / file.path
            if not path.exists():
                continue  # merged meanwhile, long ago
            for model in self._models():
                for columns in columns_in(path, model, self._config.model(model).labels.name):
                    self._of(model).add(np.zeros(0, ANSWER), _labels(columns))

    def _models(self) -> set[str]:
        return {model for model, _ in self.serving} | set(self._waiting)

    def _of(self, model: str) -> Waiting:
        if model not in self._waiting:
            own = self._config.model(model).labels
            self._waiting[model] = Waiting(
                mature_after_us=int(own.mature_after_s * 1e6), wait_us=int(own.wait_s * 1e6), most=self._config.labels.max_waiting
            )
        return self._waiting[model]

    def _answers(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        made = np.zeros(len(columns["row"]), ANSWER)
        made["key"] = _request_keys(columns["request_id"], columns["row"])
        made["client"] = _client_keys(columns["client_request_id"], columns["row"])
        made["at"], made["version"] = columns["ts"], columns["version"]
        made["arm"] = [_index(self._arms, arm) for arm in columns["arm"].tolist()]
        made["rollout"] = [-1 if one is None else _index(self._rollouts, one) for one in columns["rollout_id"].tolist()]
        made["class"], made["score"] = (columns[name].astype(np.float64) for name in ("pred_class", "score"))
        made["step"] = np.nan_to_num(columns["step"].astype(np.float64), nan=-1)
        made["unit"] = np.ascontiguousarray(columns["unit_hash"]).view("<u8")[:, 0]
        return made

    def _settle(self, model: str, settled: Settled) -> None:
        answers = settled.answers
        for version, arm in {(int(one["version"]), int(one["arm"])) for one in np.unique(answers[["version", "arm"]])}:
            here, key = (answers["version"] == version) & (answers["arm"] == arm), (model, version, self._arms[arm])
            if key not in self.sheets:
                self.sheets[key] = Sheet(max_error=self._config.model(model).labels.max_error)
            self.sheets[key].add(answers["class"][here], answers["score"][here], settled.values[here])
            self._counts[(*key, "labelled")] += int(np.count_nonzero(here))
        for one in settled.unlabelled[["version", "arm"]]:
            self._counts[model, int(one["version"]), self._arms[int(one["arm"])], "unlabelled"] += 1


def _labels(columns: dict[str, np.ndarray]) -> np.ndarray:
    """Those with a number."""
    made = np.zeros(len(columns["row"]), LABEL)
    made["id"] = [_digest(name) for name in columns["label_id"].tolist()]
    made["supersedes"] = [0 if name is None else _digest(name) for name in columns["supersedes"].tolist()]
    requests = columns["request_id"].tolist()
    there = np.array([one is not None for one in requests])
    ids = np.frombuffer(b"".join([one or bytes(16) for one in requests]), np.uint8).reshape(-1, 16)
    made["key"] = np.where(there, _request_keys(ids, columns["row"]), 0)
    made["client"] = _client_keys(columns["client_request_id"], columns["row"])
    made["value"], made["at"], made["final"] = columns["value"].astype(np.float64), columns["arrival_ts"], columns["final"]
    return np.asarray(made[np.isfinite(made["value"])])


def _request_keys(ids: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """uint64 [n] of ids [n, 16]: their random bits, spread over the row's number."""
    halves = np.ascontiguousarray(ids).view("<u8")
    with np.errstate(over="ignore"):
        mixed = (halves[:, 0] ^ (halves[:, 1] * np.uint64(_GOLDEN))) + rows.astype(np.uint64) * np.uint64(_GOLDEN)
        mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return np.asarray(mixed ^ (mixed >> np.uint64(32)) | np.uint64(1), np.uint64)


def _client_keys(names: np.ndarray, rows: np.ndarray) -> np.ndarray:
    return np.array(
        [0 if name is None else _digest(f"{row}:{name}") for name, row in zip(names.tolist(), rows.tolist(), strict=True)], np.uint64
    )


def _digest(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little") | 1


def _index(known: list[Any], one: Any) -> int:
    if one not in known:
        known.append(one)
    return known.index(one)
