"""All counts of a version as one vector: the slots of every feature, one feature after the other, beside the same slots of the reference.

Inputs and predictions, numbers and categories are alike from here on. `of` is a feature's part; sums by feature are one call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gateway.drift.layout import Layout, layout_of
from registry.profile import BELOW, FIRST_BIN, Categorical, Numeric, Profile

Feature = Numeric | Categorical


@dataclass(frozen=True, slots=True)
class Cells:
    """Where the slots lie. C: slots of all features; F: features, numbers before categories, in the profile's order."""

    layout: Layout
    features: tuple[Feature, ...]
    offsets: np.ndarray  # int64 [F + 1] of features among the C
    words: np.ndarray  # int64 [segments, C] of the block
    reference: np.ndarray  # float64 [C] counts
    rho: np.ndarray  # float64 [C] proportions: (c + 1/2) / (m + K/2) for K slots (Krichevsky and Trofimov, 1981)
    tau: np.ndarray  # float64 [F]
    null: np.ndarray  # int64 [F]: the slot for NaN or null, among the C
    outside: np.ndarray  # bool [C]: -inf, below, above, +inf; other
    output: np.ndarray  # bool [F]: predictions

    def of(self, feature: int) -> slice:
        """The slots of a feature."""
        return slice(int(self.offsets[feature]), int(self.offsets[feature + 1]))

    def gather(self, block: np.ndarray) -> np.ndarray:
        """Counts in a block (int64 [words]) by segment: int64 [segments, C]."""
        found: np.ndarray = block[self.words]
        return found

    def total(self, block: np.ndarray) -> np.ndarray:
        """Counts in a block: int64 [C]."""
        return np.asarray(self.gather(block).sum(axis=0))

    def sums(self, values: np.ndarray) -> np.ndarray:
        """[…, C] added up by feature: […, F]."""
        return np.asarray(np.add.reduceat(values, self.offsets[:-1], axis=-1))

    def spread(self, values: np.ndarray) -> np.ndarray:
        """[…, F] repeated for every slot: […, C]."""
        return np.repeat(values, np.diff(self.offsets), axis=-1)

    @property
    def slots(self) -> np.ndarray:
        """K of each feature, int64 [F]."""
        return np.diff(self.offsets)


def cells_of(profile: Profile, *, segments: int = 1, rules: int = 0) -> Cells:
    """The cells of a profile, traffic that is divided into `segments`, and a contract of so many rules."""
    layout = layout_of(profile, segments=segments, rules=rules)
    features: tuple[Feature, ...] = (*profile.numeric, *profile.categorical)
    places = [*_places(layout)]
    reference = np.concatenate([np.array(feature.counts, np.float64) for feature in features])
    offsets = np.cumsum([0, *(len(feature.counts) for feature in features)])
    slots = np.repeat(np.diff(offsets), np.diff(offsets))
    return Cells(
        layout=layout,
        features=features,
        offsets=offsets,
        words=np.concatenate(places, axis=1),
        reference=reference,
        rho=(reference + 0.5) / (profile.rows + slots / 2),
        tau=np.array([feature.tau for feature in features]),
        null=offsets[1:] - 1,
        outside=np.concatenate([_outside(feature) for feature in features]),
        output=np.array([feature.side == "output" for feature in features]),
    )


def _places(layout: Layout) -> Iterator[np.ndarray]:
    """Words of each feature, int64 [segments, K]."""
    segment = np.arange(layout.segments)[:, None]
    for group in layout.groups:
        size = len(group.features) * group.slots
        for index, feature in enumerate(group.features):
            slots = np.array([*range(feature.bins + 4), group.slots - 1])
            yield group.counts + segment * size + index * group.slots + slots
    for place in layout.categorical:
        yield place.counts + segment * place.slots + np.arange(place.slots)


def _outside(feature: Feature) -> np.ndarray:
    mask = np.zeros(len(feature.counts), bool)
    if isinstance(feature, Numeric):
        mask[:FIRST_BIN] = mask[-3:-1] = True
    else:
        mask[-2] = True
    return mask


def nats(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """What each of `found` adds to the KL divergence of all from `expected`, x log(x / expected), and 0 where nothing was found; shapes as
    they broadcast."""
    seen = found > 0
    return np.asarray(np.where(seen, found * np.log(np.where(seen, found, 1.0) / np.where(seen, expected, 1.0)), 0.0))


def urn_of(feature: Feature) -> tuple[np.ndarray, np.ndarray]:
    """Slots of the urn of test A (int64 [K], within the feature) and the reference gaps in them (float64 [K]); empty where there is none.

    Edges are order statistics of the reference, so m of its values leave m + 1 gaps for the next one, each as probable: one below all, one
    above all, and in the bins what was counted there, but for the lowest bin, one of whose values is the end of the gap below. Atoms,
    infinities and NaN are conditioned out: bins of a single value have a probability of their own, which no gap measures.
    """
    if not isinstance(feature, Numeric):
        return np.empty(0, np.int64), np.empty(0)
    bins = [FIRST_BIN + k for k in range(feature.bins) if k not in feature.atoms and feature.counts[FIRST_BIN + k] > 0]
    if not bins:
        return np.empty(0, np.int64), np.empty(0)
    gaps = [float(feature.counts[slot]) for slot in bins]
    if gaps[0] > 1:
        slots, gaps = [BELOW, *bins, FIRST_BIN + feature.bins], [1.0, gaps[0] - 1, *gaps[1:], 1.0]
    else:  # its only value is the end of the gap below: nothing is left in the bin itself
        slots, gaps = [BELOW, *bins[1:], FIRST_BIN + feature.bins], [1.0, *gaps[1:], 1.0]
    return np.array(slots), np.array(gaps)


def few_of(feature: Feature) -> Sequence[np.ndarray]:
    """Slots that make up one cell each where values repeat: every atom and all other finite values; every category and "other". Empty for a
    feature without atoms."""
    if isinstance(feature, Categorical):
        return [np.array([slot]) for slot in range(len(feature.counts) - 1)]
    if not feature.atoms:
        return []
    atoms = [FIRST_BIN + k for k in feature.atoms]
    rest = [slot for slot in range(BELOW, FIRST_BIN + feature.bins + 1) if slot not in atoms]
    return [*(np.array([slot]) for slot in atoms), np.array(rest)]
