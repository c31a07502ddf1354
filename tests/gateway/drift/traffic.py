"""Small profiles of rows that are given, and rows counted into a block one by one: slow, obvious, for tests of what is concluded."""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gateway.drift.layout import ROWS, layout_of
from registry.profile import SCORE_BINS, Calibration, Categorical, Numeric, Profile, Windows, check

NOON_S = 1_800_000_000 // 86_400 * 86_400 + 43_200.0  # some day, 12:00 UTC


def numeric(
    name: str, values: np.ndarray, *, bins: int = 32, tau: float = 1.0, side: Any = "input", element: int = 0, port: str = "x"
) -> Numeric:
    """A feature whose bins are cut at order statistics of float64 values; values of half a bin's mass are atoms."""
    finite = np.sort(values[np.isfinite(values)])
    cuts = {float(finite[-(-j * len(finite) // bins) - 1]) for j in range(1, bins + 1)} | {math.nextafter(float(finite[0]), -math.inf)}
    found, counts = np.unique(finite, return_counts=True)
    frequent = {float(value) for value, count in zip(found, counts, strict=True) if count >= len(finite) / (2 * bins)}
    edges = sorted(cuts | frequent | {math.nextafter(value, -math.inf) for value in frequent})
    atoms = tuple(k for k in range(len(edges) - 1) if edges[k + 1] in frequent and edges[k] == math.nextafter(edges[k + 1], -math.inf))
    feature = Numeric(
        name=name, side=side, port=port, element=element, edges=tuple(edges), counts=(0,) * (len(edges) + 4), atoms=atoms,
        mean=float(finite.mean()), m2=float(finite.var()), m3=0.0, m4=0.0, tau=tau,
    )  # fmt: skip
    slots = [slot_of(feature, value) for value in values.tolist()]
    return _with(feature, np.bincount(slots, minlength=len(edges) + 4))


def categorical(name: str, values: Sequence[str], *, port: str = "c", element: int = 0, null: str | None = None) -> Categorical:
    """A feature with all values as categories, the most frequent first."""
    found, counts = np.unique([value for value in values if value != null], return_counts=True)
    categories = tuple(str(found[index]) for index in np.argsort(-counts, kind="stable"))
    feature = Categorical(
        name=name, side="input", port=port, element=element, categories=categories, counts=(0,) * (len(categories) + 2), null=null
    )
    return _with(feature, np.bincount([slot_of(feature, value) for value in values], minlength=len(categories) + 2))


def _with(feature: Any, counts: np.ndarray) -> Any:
    return type(feature)(**{name: getattr(feature, name) for name in feature.__struct_fields__} | {"counts": tuple(counts.tolist())})


def slot_of(feature: Numeric | Categorical, value: Any) -> int:
    """The number of a value's slot, as `registry.profile` orders them."""
    if isinstance(feature, Categorical):
        if value == feature.null or value is None:
            return len(feature.categories) + 1
        return feature.categories.index(value) if value in feature.categories else len(feature.categories)
    if math.isnan(value):
        return feature.bins + 4
    if math.isinf(value):
        return 0 if value < 0 else feature.bins + 3
    return 1 + bisect_left(feature.edges, value)


def profile_of(*features: Numeric | Categorical, calibration: Calibration | None = None, windows: Windows | None = None) -> Profile:
    """A valid profile of features of as many rows each."""
    numbers = tuple(feature for feature in features if isinstance(feature, Numeric))
    texts = tuple(feature for feature in features if isinstance(feature, Categorical))
    rows = sum(features[0].counts)
    return check(Profile(rows=rows, source="training", numeric=numbers, categorical=texts, calibration=calibration, windows=windows))


def gaussian(rows: int = 20_000, *, features: int = 1, seed: int = 0, bins: int = 32) -> Profile:
    """A profile of standard normal features f0, f1 …"""
    rng = np.random.default_rng(seed)
    return profile_of(*(numeric(f"f{index}", rng.normal(size=rows), element=index, bins=bins) for index in range(features)))


class Traffic:
    """A block that rows are counted into."""

    def __init__(self, profile: Profile, *, segments: int = 1, rules: int = 0) -> None:
        self.profile = profile
        self.layout = layout_of(profile, segments=segments, rules=rules)
        self.views = self.layout.views(np.zeros(self.layout.words, np.int64))
        self.views.begin(self.layout.checksum)

    def send(self, columns: Mapping[str, Sequence[Any] | np.ndarray], *, segment: int = 0, scores: np.ndarray | None = None) -> None:
        """Rows with these values by feature; features that are not named have none."""
        rows = len(next(iter(columns.values()))) if columns else len(scores if scores is not None else ())
        self.views.head[ROWS] += rows
        self.views.segment_rows[segment] += rows
        for place, group in enumerate(self.layout.groups):
            for index, feature in enumerate(group.features):
                if feature.name in columns:
                    self._numbers(place, index, feature, columns[feature.name], segment)
        for place, categories in zip(self.layout.categorical, self.views.categories, strict=True):
            for value in columns.get(place.feature.name, ()):
                categories[segment, slot_of(place.feature, value)] += 1
        if scores is not None:
            np.add.at(self.views.scores, np.minimum((scores * SCORE_BINS).astype(int), SCORE_BINS - 1), 1)

    def _numbers(self, place: int, index: int, feature: Numeric, values: Any, segment: int) -> None:
        counts, sums, extremes = self.views.counts[place], self.views.sums[place], self.views.extremes[place]
        values = np.asarray(values, np.float64)
        finite = values[np.isfinite(values)]
        slots = np.where(np.isfinite(values), 1 + np.searchsorted(feature.edges, np.nan_to_num(values), side="left"), 0)
        slots[values == np.inf] = feature.bins + 3
        slots[np.isnan(values)] = counts.shape[2] - 1
        np.add.at(counts[segment, index], slots, 1)
        for power in range(4):
            sums[power, index] += ((finite - feature.mean) ** (power + 1)).sum()
        sums[4, index] += (feature.edges[0] - finite[finite < feature.edges[0]]).sum()
        sums[5, index] += (finite[finite > feature.edges[-1]] - feature.edges[-1]).sum()
        if len(finite):
            extremes[0, index], extremes[1, index] = min(extremes[0, index], finite.min()), max(extremes[1, index], finite.max())
