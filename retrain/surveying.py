"""What the columns of rows hold, counted in one pass over any number of rows: missing and impossible values, and the bins of a profile.

Values are counted as a server counts them: numbers as float32, in the profile's bins. `validation` judges the counts; nothing here does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from registry.categories import codes_of
from registry.edges import slots_of
from registry.profile import Categorical, Numeric, Profile
from registry.schema import Field, Schema
from retrain.inputs import Input
from retrain.sources import LABEL, TIME
from retrain.target import YES_NO, Target

_SHOWN = 8  # unknown categories by name
_KEPT = 4_096  # of them, counted


@dataclass(slots=True)
class Counts:
    """One column."""

    name: str
    kind: str  # "number" or "text"
    rows: int = 0
    missing: int = 0  # NULL, or NaN of a number
    infinite: int = 0  # also what float32 cannot hold
    below: int = 0  # the contract's range
    above: int = 0
    unknown: int = 0  # not one of the contract's categories
    strangers: Counter[str] = field(default_factory=Counter)  # those, the most frequent ones
    least: float = float("inf")  # of the finite values
    greatest: float = float("-inf")
    slots: np.ndarray | None = None  # int64, as the profile's feature has them; None where the profile has none


@dataclass(slots=True)
class Survey:
    """All rows."""

    rows: int
    labelled: int
    yes: int
    wrong_labels: int  # that cannot be
    untimed: int
    first_us: int | None
    last_us: int | None
    columns: dict[str, Counts]
    absent: tuple[str, ...]  # inputs without a column
    misfits: dict[str, str]  # inputs whose column is of another kind → the kind that it is of
    classes: dict[int, int] = field(default_factory=dict)  # labels that can be, by class; of a target of numbers none
    label_range: tuple[float, float] | None = None  # of those of a target of numbers; None where there is none


def survey(
    batches: Iterable[Any],
    inputs: tuple[Input, ...],
    types: dict[str, str],
    schema: Schema,
    profile: Profile | None,
    *,
    fits: Callable[[str, str], bool],
    target: Target = YES_NO,
    progress: Callable[[int], object] = int,
) -> Survey:
    """Count Arrow batches with the columns that `table.Table.batches` gives. `progress` is told the rows of each."""
    misfits = {one.name: types[one.name] for one in inputs if one.name in types and not fits(one.kind, types[one.name])}
    usable = [one for one in inputs if one.name in types and one.name not in misfits]
    features = features_of(profile)
    counters = [_Counter(one, _field(schema, one.name), features.get(one.name)) for one in usable]
    labels = _Labels(target)
    for batch in batches:
        for counter in counters:
            counter.add(batch.column(counter.counts.name))
        labels.add(batch)
        progress(batch.num_rows)
    return Survey(
        rows=labels.rows, labelled=labels.labelled, yes=labels.yes, wrong_labels=labels.wrong, untimed=labels.untimed,
        first_us=labels.first, last_us=labels.last,
        columns={counter.counts.name: counter.counts for counter in counters},
        absent=tuple(one.name for one in inputs if one.name not in types), misfits=misfits,
        classes=dict(sorted(labels.classes.items())), label_range=labels.range,
    )  # fmt: skip


def merged(parts: Sequence[Survey]) -> Survey:
    """The survey of all rows from those of stretches of them, which have the same columns. There is at least one."""
    first = parts[0]
    kinds = sorted({one for part in parts for one in part.classes})
    ranges = [part.label_range for part in parts if part.label_range is not None]
    columns = {name: _sum([part.columns[name] for part in parts]) for name in first.columns}
    return Survey(
        rows=sum(part.rows for part in parts), labelled=sum(part.labelled for part in parts), yes=sum(part.yes for part in parts),
        wrong_labels=sum(part.wrong_labels for part in parts), untimed=sum(part.untimed for part in parts),
        first_us=min((part.first_us for part in parts if part.first_us is not None), default=None),
        last_us=max((part.last_us for part in parts if part.last_us is not None), default=None),
        columns=columns, absent=first.absent, misfits=first.misfits,
        classes={kind: sum(part.classes.get(kind, 0) for part in parts) for kind in kinds},
        label_range=None if not ranges else (min(least for least, _ in ranges), max(most for _, most in ranges)),
    )  # fmt: skip


def _sum(parts: Sequence[Counts]) -> Counts:
    first = parts[0]
    strangers: Counter[str] = Counter()
    for part in parts:
        strangers.update(part.strangers)
    return Counts(
        first.name, first.kind, rows=sum(one.rows for one in parts), missing=sum(one.missing for one in parts),
        infinite=sum(one.infinite for one in parts), below=sum(one.below for one in parts), above=sum(one.above for one in parts),
        unknown=sum(one.unknown for one in parts), strangers=Counter(dict(strangers.most_common(_KEPT))),
        least=min(one.least for one in parts), greatest=max(one.greatest for one in parts),
        slots=None if first.slots is None else np.stack([one.slots for one in parts if one.slots is not None]).sum(axis=0),
    )  # fmt: skip


class _Labels:
    """Labels and times of all rows."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self.rows = self.labelled = self.yes = self.wrong = self.untimed = 0
        self.classes: Counter[int] = Counter()
        self.range: tuple[float, float] | None = None
        self.first: int | None = None
        self.last: int | None = None

    def add(self, batch: Any) -> None:
        label = batch.column(LABEL).to_numpy(zero_copy_only=False).astype(np.float64)
        known = label[~np.isnan(label)]
        self.rows += batch.num_rows
        self.labelled += len(known)
        wrong = self._target.wrong(known)
        self.wrong += int(wrong.sum())
        self._sort(known[~wrong])
        times = batch.column(TIME).drop_null().to_numpy(zero_copy_only=False)
        self.untimed += batch.num_rows - len(times)
        if len(times):
            self.first = int(times.min()) if self.first is None else min(self.first, int(times.min()))
            self.last = int(times.max()) if self.last is None else max(self.last, int(times.max()))

    def _sort(self, labels: np.ndarray) -> None:
        if self._target.kind == "number":
            if len(labels):
                least, most = self.range or (np.inf, -np.inf)
                self.range = (min(least, float(labels.min())), max(most, float(labels.max())))
            return
        kinds, counts = np.unique(labels.astype(np.int64), return_counts=True)
        self.classes.update(dict(zip(kinds.tolist(), counts.tolist(), strict=True)))
        self.yes = self.classes[1] if self._target.kind == "yes_no" else 0


class _Counter:
    """One column that grows."""

    def __init__(self, one: Input, terms: Field, feature: Numeric | Categorical | None) -> None:
        self.counts = Counts(one.name, one.kind)
        self._terms = terms
        self._feature = feature
        if isinstance(feature, Numeric):
            self.counts.slots = np.zeros(feature.bins + 5, np.int64)
            self._edges = np.array(feature.edges, np.float32)
        elif isinstance(feature, Categorical):
            self.counts.slots = np.zeros(len(feature.categories) + 2, np.int64)

    def add(self, column: Any) -> None:
        values = column.to_numpy(zero_copy_only=False)
        self.counts.rows += len(values)
        if self.counts.kind == "number":
            with np.errstate(over="ignore"):
                self._numbers(np.array(values, np.float32))
        else:
            self._texts(values)

    def _numbers(self, values: np.ndarray) -> None:
        counts, bounds = self.counts, self._terms.range
        counts.missing += int(np.isnan(values).sum())
        counts.infinite += int(np.isinf(values).sum())
        finite = values[np.isfinite(values)]
        if len(finite):
            counts.least, counts.greatest = min(counts.least, float(finite.min())), max(counts.greatest, float(finite.max()))
        if bounds is not None:
            counts.below += 0 if bounds.min is None else int((values < bounds.min).sum())
            counts.above += 0 if bounds.max is None else int((values > bounds.max).sum())
        if isinstance(self._feature, Numeric) and counts.slots is not None:
            counts.slots += np.bincount(slots_of(values, self._edges), minlength=len(counts.slots))

    def _texts(self, values: np.ndarray) -> None:
        counts, known, null = self.counts, self._terms.categories, self._terms.null_value
        tally = Counter(values.tolist())
        counts.missing += tally.pop(None, 0)
        if null is not None:
            counts.missing += tally.pop(null, 0)
        if known is not None:
            strangers = {text: times for text, times in tally.items() if text not in known}
            counts.unknown += sum(strangers.values())
            counts.strangers.update(dict(Counter(strangers).most_common(_KEPT)))
            counts.strangers = Counter(dict(counts.strangers.most_common(_KEPT)))
        if isinstance(self._feature, Categorical) and counts.slots is not None:
            texts = np.array([text for text in values.tolist() if text is not None], object)
            codes = codes_of(texts, self._feature.categories, null=self._feature.null)
            counts.slots += np.bincount(codes, minlength=len(counts.slots))
            counts.slots[-1] += len(values) - len(texts)


def shown(strangers: Counter[str]) -> str:
    """The most frequent unknown categories in a sentence."""
    most = sorted(strangers.items(), key=lambda pair: (-pair[1], pair[0]))[:_SHOWN]
    names = ", ".join(repr(text[:40]) for text, _ in most)
    return names + (", …" if len(strangers) > _SHOWN else "")


def features_of(profile: Profile | None) -> dict[str, Numeric | Categorical]:
    """Of inputs of one value, by the name of the input."""
    every: list[Numeric | Categorical] = [*profile.numeric, *profile.categorical] if profile else []
    return {feature.port: feature for feature in every if feature.side == "input" and feature.element == 0}


def _field(schema: Schema, name: str) -> Field:
    return next(field for field in schema.inputs if field.name == name)
