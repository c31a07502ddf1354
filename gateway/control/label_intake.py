"""Labels of many requests written together: whatever waits when a write is over is the next one, so commits are as few as the load allows.

One thread writes. A request is answered when its labels are durable; where they cannot be written, it is told so, and may come again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence, Set
from pathlib import Path

from gateway.control.label_bodies import Given, answer_of, labels_in
from gateway.control.label_messages import Families, Ingest
from gateway.control.messages import ToldLabels
from gateway.errors import Code, TidegateError
from registry.errors import Kind, RegistryError
from registry.label import Label
from registry.label_merging import discard, merge
from registry.labels import MAX_BATCH, Fate, Labels, Outcome

_log = logging.getLogger(__name__)
_MAX_COUNTED = 4_096  # models and outcomes that are counted apart
_OTHERS = "_unknown"
_Read = tuple[Ingest, list[str], list[Given]]


class Intake:
    """The labels of one log, for one thread at a time."""

    def __init__(self, root: Path, now_us: Callable[[], int]) -> None:
        self._root, self._now_us = root, now_us
        self._labels: Labels | None = None
        self._counts: Counter[tuple[str, str]] = Counter()  # by model and what became of labels; "" for one that names none

    def keep(self, asked: Sequence[Ingest]) -> list[ToldLabels]:
        """What became of the labels of each request, when that is durable. Raises nothing that a request could cause."""
        answers: dict[int, ToldLabels] = {}
        read: list[_Read] = []
        for one in asked:
            try:
                read.append((one, *labels_in(one.content, message=one.message)))
            except TidegateError as error:
                answers[one.number] = _failed(one, error.code, error.message)
        for group in _groups(read):
            answers |= {told.number: told for told in self._kept(group)}
        return [answers[one.number] for one in asked]

    def families(self, models: Set[str]) -> Families:
        """What the metrics page shows: labels by what became of them. Callers may name any model: those not among `models` are one."""
        found: Counter[tuple[str, str]] = Counter()
        for (model, outcome), count in dict(self._counts).items():
            found[model if model in models else _OTHERS, outcome] += count
        return {"tidegate_labels_total": [(key, float(count)) for key, count in sorted(found.items())]}

    def tidy(self) -> None:
        """Merge small files, remove what merges and dead writers have left. What fails is tried again."""
        try:
            labels = self._open()
            merge(labels, self._now_us())
            discard(self._root, self._now_us())
            labels.sweep(self._now_us() / 1e6)
        except RegistryError as error:
            self._give_up(error)

    def close(self) -> None:
        """Leave the ids where the next one finds them."""
        if self._labels is not None:
            self._labels.close()

    def _kept(self, group: Sequence[_Read]) -> list[ToldLabels]:
        try:
            outcomes = self._stored([label for _, _, given in group for label in given])
        except RegistryError as error:
            self._give_up(error)
            text = f"labels cannot be kept: {error.message}; send the same again"
            return [_failed(one, Code.UNAVAILABLE, text) for one, _, _ in group]
        told, at = [], 0
        for one, ids, given in group:
            content = answer_of(ids, outcomes[at : at + len(given)], message=one.message)
            told.append(ToldLabels(one.number, Code.OK.value, "", content))
            at += len(given)
        return told

    def _stored(self, given: Sequence[Given]) -> list[Outcome]:
        good = [label for label in given if isinstance(label, Label)]
        outcomes = iter(self._open().ingest(good, self._now_us()))
        found = [next(outcomes) if isinstance(label, Label) else Outcome(Fate.REFUSED, label) for label in given]
        self._counts.update(
            (label.model if isinstance(label, Label) else "", one.fate.value) for label, one in zip(given, found, strict=True)
        )
        if len(self._counts) > _MAX_COUNTED:
            self._forget_names()
        return found

    def _forget_names(self) -> None:
        """The newest ones: somebody makes them up."""
        named = [key for key in self._counts if key[0]]
        while len(self._counts) > _MAX_COUNTED:
            key = named.pop()
            self._counts["", key[1]] += self._counts.pop(key)

    def _open(self) -> Labels:
        if self._labels is None:
            self._labels = Labels(self._root)
        return self._labels

    def _give_up(self, error: RegistryError) -> None:
        """Whatever is known may be behind what is on disk: read it anew the next time."""
        level = logging.WARNING if error.kind is Kind.STORAGE else logging.ERROR
        _log.log(level, "labels: %s", error.message)
        self._labels = None


def _groups(read: Sequence[_Read]) -> list[list[_Read]]:
    """Requests whose labels are written together."""
    groups: list[list[_Read]] = []
    room = 0
    for one in read:
        if len(one[2]) > room:
            groups.append([])
            room = MAX_BATCH
        groups[-1].append(one)
        room -= len(one[2])
    return groups


def _failed(one: Ingest, code: Code, text: str) -> ToldLabels:
    return ToldLabels(one.number, code.value, text, b"")
