"""Answers that wait for their labels, and labels that wait for their answers, of one model: what is settled leaves. Pure.

The rules are those of `retrain.join_spec`, but that a label is for a request by its ids alone, and that what was settled stays as it was.
Where too many answers wait, a sample of requests is kept, chosen by their ids, before anything is known of them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

ANSWER = np.dtype([
    ("key", "<u8"),  # of the request and row, by the request's id
    ("client", "<u8"),  # the same by the caller's id; 0 for none
    ("at", "<i8"),  # microseconds
    ("version", "<i4"),
    ("arm", "u1"),  # index of the caller's
    ("class", "<f8"),
    ("score", "<f8"),
    ("unit", "<u8"),
    ("step", "<i2"),  # of a rollout; −1: of none
    ("rollout", "<i4"),  # index of the caller's; −1: of none
])  # fmt: skip
LABEL = np.dtype([
    ("id", "<u8"),
    ("supersedes", "<u8"),  # 0: none
    ("key", "<u8"),  # 0: it names no request's id
    ("client", "<u8"),
    ("value", "<f8"),
    ("at", "<i8"),  # of arrival, microseconds
    ("final", "?"),
])  # fmt: skip
STAY_US = 3_600_000_000  # that a label waits at least: the shadow's answer may come later than stable's
_ALL = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Settled:
    """What left: answers [n] with the values [n] of their labels in the order of time and the microseconds [n] that these took to arrive,
    and answers [m] that never had one."""

    answers: np.ndarray
    values: np.ndarray
    delays_us: np.ndarray
    unlabelled: np.ndarray


class Waiting:
    """Of one model. Times in microseconds."""

    def __init__(self, *, mature_after_us: int, wait_us: int, most: int) -> None:
        self._mature_us, self._wait_us, self._most = mature_after_us, wait_us, most
        self.answers, self.labels = np.zeros(0, ANSWER), np.zeros(0, LABEL)
        self.limit = _ALL  # requests whose key is above it are not in the sample
        self.left_out = 0  # labels for which there was no room

    @property
    def share(self) -> float:
        """Of requests that are in the sample."""
        return (self.limit + 1) / (_ALL + 1)

    def add(self, answers: np.ndarray, labels: np.ndarray) -> None:
        """What came: [n] of `ANSWER` and [m] of `LABEL`."""
        self.answers = np.concatenate([self.answers, answers[answers["key"] <= np.uint64(self.limit)]])
        while len(self.answers) > self._most:
            self.limit >>= 1
            self.answers = self.answers[self.answers["key"] <= np.uint64(self.limit)]
        self.labels = np.concatenate([self.labels, labels])
        gone = self.labels["supersedes"][self.labels["supersedes"] != 0]
        self.labels = self.labels[~np.isin(self.labels["id"], gone)]
        if len(self.labels) > self._most:
            self.left_out += len(self.labels) - self._most
            self.labels = self.labels[np.argsort(self.labels["at"], kind="stable")[-self._most :]]

    def settle(self, now_us: int) -> Settled:
        """Take out what is decided."""
        best, is_wanted = self._best()
        mature = self.answers["at"] + self._mature_us <= now_us
        settled = mature & (best >= 0)
        over = ~settled & (best < 0) & (self.answers["at"] + self._wait_us <= now_us)
        chosen = np.flatnonzero(settled)
        chosen = chosen[np.argsort(self.answers["at"][chosen], kind="stable")]
        labels = self.labels[best[chosen]]
        found = Settled(self.answers[chosen], labels["value"], labels["at"] - self.answers["at"][chosen], self.answers[over])
        self.answers = self.answers[~settled & ~over]
        self.labels = self.labels[(self.labels["at"] + STAY_US > now_us) | is_wanted & self._is_waiting()]
        return found

    def _best(self) -> tuple[np.ndarray, np.ndarray]:
        """The index of each answer's label, −1 for none; and which labels are for any answer."""
        answers, labels = self.answers, self.labels
        order = np.lexsort((labels["id"], labels["at"], labels["final"]))  # the best last
        rank = np.empty(len(labels), np.int64)
        rank[order] = np.arange(len(labels))
        by_client = (labels["client"] != 0) & np.isin(labels["client"], answers["client"])
        labels["key"][by_client] = 0  # for good: when that answer has left, the label is for no other
        by_request = ~by_client & (labels["key"] != 0) & np.isin(labels["key"], answers["key"])
        ranks = np.maximum(
            _greatest(answers["client"], labels["client"][by_client], rank[by_client]),
            _greatest(answers["key"], labels["key"][by_request], rank[by_request]),
        )
        best = np.where(ranks >= 0, order[ranks] if len(order) else ranks, -1)
        return best, by_client | by_request

    def _is_waiting(self) -> np.ndarray:
        """Labels whose answers are here still."""
        keys, clients = self.answers["key"], self.answers["client"]
        named = (self.labels["client"] != 0) & np.isin(self.labels["client"], clients)
        return np.asarray(named | (self.labels["key"] != 0) & np.isin(self.labels["key"], keys))


def _greatest(wanted: np.ndarray, keys: np.ndarray, ranks: np.ndarray) -> np.ndarray:
    """For each of `wanted` [n], the greatest rank [m] at its key; −1 where there is none, and for key 0."""
    if not len(keys):
        return np.full(len(wanted), -1, np.int64)
    order = np.lexsort((ranks, keys))
    keys, ranks = keys[order], ranks[order]
    at = np.searchsorted(keys, wanted, side="right") - 1
    hit = (at >= 0) & (keys[at] == wanted) & (wanted != 0)
    return np.where(hit, ranks[at], -1)
