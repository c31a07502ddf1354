"""The inference log and its labels as they grow, for whoever follows them: each reader knows how far it has come. Nothing counts twice."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gateway.quality.waiting import ANSWER, LABEL
from registry.errors import storage_errors
from registry.label_files import answers_in, columns_in
from registry.labels import LabelCommit, LabelLog
from registry.log import Log

_GOLDEN = 0x9E3779B97F4A7C15


class Follower(Protocol):
    """Who is told."""

    def names(self) -> Mapping[str, str]:
        """Models whose labels are wanted now, and by which name each."""
        ...

    def wants(self, model: str) -> bool:
        """Whether answers of this model are wanted."""
        ...

    def take(self, model: str, answers: np.ndarray, labels: np.ndarray) -> None:
        """What came: [n] of `ANSWER` and [m] of `LABEL`."""
        ...


class Reading:
    """One reader of the log under `root`. `arms` and `rollouts` are what the indices in answers stand for."""

    def __init__(self, root: Path) -> None:
        self.arms: list[str] = []
        self.rollouts: list[str] = []
        self._root = root
        self._answers_seq = self._labels_seq = 0
        self._began = False
        self._done: set[str] = set()  # files of commits that could not all be read

    def read(self, since_us: int, follower: Follower) -> None:
        """What is new; the first time, what is not older than `since_us`. Labels first: one that came before its answer waits for it, the
        other way round it could be given up. Raises `RegistryError`; what was told until then is not told again."""
        with storage_errors("read the inference log"):
            for commit in LabelLog(self._root).commits(after=self._labels_seq):
                self._read_labels(commit, since_us, follower)
                self._labels_seq = commit.seq
            self._read_answers(since_us, follower)

    def _read_answers(self, since_us: int, follower: Follower) -> None:
        files, last = Log(self._root).news(after=self._answers_seq)
        for file in files:
            if file.path not in self._done and follower.wants(file.model) and (file.max_ts >= since_us or self._began):
                for part in [self._answers(columns) for columns in answers_in(self._root / file.path)]:
                    follower.take(file.model, part, np.zeros(0, LABEL))
                self._done.add(file.path)
        self._answers_seq, self._began = last, True
        self._done.clear()

    def _read_labels(self, commit: LabelCommit, since_us: int, follower: Follower) -> None:
        for file in commit.files:
            if commit.removed or (file.max_ts < since_us and not self._began):
                continue  # merged of what was read before, or too old
            path = self._root / file.path
            if not path.exists():
                continue  # merged meanwhile, long ago
            for model, name in follower.names().items():
                for columns in columns_in(path, model, name):
                    follower.take(model, np.zeros(0, ANSWER), _labels(columns))

    def _answers(self, columns: dict[str, np.ndarray]) -> np.ndarray:
        made = np.zeros(len(columns["row"]), ANSWER)
        made["key"] = _request_keys(columns["request_id"], columns["row"])
        made["client"] = _client_keys(columns["client_request_id"], columns["row"])
        made["at"], made["version"] = columns["ts"], columns["version"]
        made["arm"] = [_index(self.arms, arm) for arm in columns["arm"].tolist()]
        made["rollout"] = [-1 if one is None else _index(self.rollouts, one) for one in columns["rollout_id"].tolist()]
        made["class"], made["score"] = (columns[name].astype(np.float64) for name in ("pred_class", "score"))
        made["step"] = np.nan_to_num(columns["step"].astype(np.float64), nan=-1)
        made["unit"] = np.ascontiguousarray(columns["unit_hash"]).view(">u8")[:, 0]
        return made


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
