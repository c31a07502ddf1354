"""Where the counts of one version lie in its block of shared memory: offsets of arrays, derived from its profile. Pure.

A block is int64 words that one worker writes and others read. Everything in it adds up over blocks, but `extremes`, of which the lesser or
the greater is kept. Whoever decodes the same profile derives the same offsets; `checksum` is the first word of a block that is in use.

Rows of a numeric group are all elements of one tensor of which the profile has features, or a number that is computed of its rows.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from registry.profile import SCORE_BINS, Categorical, Numeric, Profile, Side

CHECKSUM, ROWS, BATCHES, LEARNED = range(4)  # words of the head; the last: bytes that were kept to learn a profile from
HEAD_WORDS = 8
SUMS = ("s1", "s2", "s3", "s4", "tail_low", "tail_high")  # Σd … Σd⁴ of d = x − reference mean; Σ(min − x) below, Σ(x − max) above
EXTREMES = ("min", "max")  # of finite values; +inf and -inf while there is none


@dataclass(frozen=True, slots=True)
class NumericGroup:
    """Features whose values are columns of one array."""

    side: Side
    port: str
    kind: str
    features: tuple[Numeric, ...]
    slots: int  # of each, the widest feature's rounded up to a multiple of 8; slot numbers as in `profile.Numeric`, NaN in the last
    counts: int  # offset in words: int64 [segments, features, slots]
    sums: int  # float64 [len(SUMS), features]
    extremes: int  # float64 [2, features]

    @property
    def elements(self) -> np.ndarray:
        """Columns of the flattened tensor, int64 [features]."""
        return np.array([feature.element for feature in self.features])


@dataclass(frozen=True, slots=True)
class CategoricalPlace:
    """One categorical feature."""

    feature: Categorical
    counts: int  # int64 [segments, categories + 2]

    @property
    def slots(self) -> int:
        """Categories, other, null."""
        return len(self.feature.categories) + 2


@dataclass(frozen=True, slots=True)
class Layout:
    """The block of one version. `segments` is 1 where traffic is not divided; else the last one is for all other values."""

    segments: int
    groups: tuple[NumericGroup, ...]
    categorical: tuple[CategoricalPlace, ...]
    segment_rows: int  # int64 [segments]
    rules: int  # int64 [rules, 2]: values that broke a rule, and rows that had one
    rule_count: int
    scores: int  # int64 [SCORE_BINS]; 0 words where there is no calibration
    words: int  # of all that adds up
    block_words: int  # with room behind it for rows, as `learned` writes them
    checksum: int

    def views(self, block: np.ndarray) -> Views:
        """The arrays in a block, int64 [words] of memory that stays mapped."""
        return Views(self, block)


class Views:
    """Arrays over one block, in place."""

    def __init__(self, layout: Layout, block: np.ndarray) -> None:
        def ints(at: int, *shape: int) -> np.ndarray:
            return block[at : at + int(np.prod(shape))].reshape(shape)

        def floats(at: int, *shape: int) -> np.ndarray:
            return ints(at, *shape).view(np.float64)

        self.block = block
        self.head = block[:HEAD_WORDS]
        self.segment_rows = ints(layout.segment_rows, layout.segments)
        self.rules = ints(layout.rules, layout.rule_count, 2)
        self.scores = block[layout.scores : layout.words]
        self.learned = block[layout.words : layout.block_words].view(np.uint8)
        self.counts = [ints(group.counts, layout.segments, len(group.features), group.slots) for group in layout.groups]
        self.sums = [floats(group.sums, len(SUMS), len(group.features)) for group in layout.groups]
        self.extremes = [floats(group.extremes, 2, len(group.features)) for group in layout.groups]
        self.categories = [ints(place.counts, layout.segments, place.slots) for place in layout.categorical]

    def begin(self, checksum: int) -> None:
        """Make an empty block, all 0, one that is in use. The checksum is written last: who does not see it reads nothing."""
        for extremes in self.extremes:
            extremes[0], extremes[1] = np.inf, -np.inf
        self.head[CHECKSUM] = checksum

    @property
    def addable(self) -> tuple[np.ndarray, ...]:
        """All that adds up."""
        return (self.head[ROWS:], self.segment_rows, self.rules, self.scores, *self.counts, *self.sums, *self.categories)

    def subtract(self, other: Views) -> None:
        """What adds up of a block with the same layout, once less."""
        for mine, theirs in zip(self.addable, other.addable, strict=True):
            np.subtract(mine, theirs, out=mine)

    def add(self, other: Views) -> None:
        """Everything of a block with the same layout, once more. A block that nobody has begun adds nothing."""
        if other.head[CHECKSUM] != self.head[CHECKSUM]:
            return
        for mine, theirs in zip(self.addable, other.addable, strict=True):
            np.add(mine, theirs, out=mine)
        for mine, theirs in zip(self.extremes, other.extremes, strict=True):
            np.minimum(mine[0], theirs[0], out=mine[0])
            np.maximum(mine[1], theirs[1], out=mine[1])


def layout_of(profile: Profile | None, *, segments: int = 1, rules: int = 0, learn_bytes: int = 0) -> Layout:
    """The layout for a profile, traffic that is divided into `segments`, and a contract of so many rules.

    `learn_bytes`: room for rows from which a profile is learned, where there is none.
    """
    at = HEAD_WORDS
    segment_rows, at = at, at + segments
    rule_words, at = at, at + 2 * rules
    groups = []
    for side, port, kind, features in _groups(profile.numeric if profile else ()):
        slots = -(-max(feature.bins + 5 for feature in features) // 8) * 8
        counts, at = at, at + segments * len(features) * slots
        sums, at = at, at + len(SUMS) * len(features)
        extremes, at = at, at + 2 * len(features)
        groups.append(NumericGroup(side, port, kind, features, slots, counts, sums, extremes))
    places = []
    for feature in profile.categorical if profile else ():
        places.append(CategoricalPlace(feature, at))
        at += segments * (len(feature.categories) + 2)
    scores, at = at, at + (SCORE_BINS if profile and profile.calibration else 0)
    words, block_words = at, at + -(-learn_bytes // 8)
    digest = profile.digest if profile else ""
    checksum = zlib.crc32(repr((digest, segments, rules, learn_bytes, SUMS, EXTREMES)).encode()) | 1 << 32
    return Layout(segments, tuple(groups), tuple(places), segment_rows, rule_words, rules, scores, words, block_words, checksum)


def _groups(features: Iterable[Numeric]) -> Iterator[tuple[Side, str, str, tuple[Numeric, ...]]]:
    """Features of one tensor and kind, in the profile's order."""
    for (side, port, kind), found in groupby(features, lambda feature: (feature.side, feature.port, feature.kind)):
        yield side, port, kind, tuple(found)
