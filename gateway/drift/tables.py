"""What kernels read of a profile: thresholds, places and tables of categories, made once for a version. Pure.

A port that the version does not have, and a categorical feature of a tensor of floats, are left out.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from gateway.drift.layout import CategoricalPlace, Layout, NumericGroup
from gateway.protocol.tensors import Signature, TensorSpec
from gateway.protocol.texts import pack_text
from kernels import categories
from kernels.binning import THRESHOLDS_ABREAST
from registry.profile import FIRST_BIN, Profile, Side

Number = type[np.float32] | type[np.float64]
FLOATS: dict[str, Number] = {
    "FP16": np.float32,
    "BF16": np.float32,
    "FP32": np.float32,
    "FP64": np.float64,
}  # what a tensor of them is counted as
ROOM = 4  # places of a table for each category: searches stay short
_GOLDEN = 0x9E3779B97F4A7C15  # 2^64 divided by the golden ratio, made odd
_WORD_BITS = 64


@dataclass(frozen=True, slots=True)
class NumberTables:
    """One numeric group, as `kernels.binning.count` takes it."""

    group: int  # of the layout
    kind: str  # as in `profile.Numeric`
    places: np.ndarray
    thresholds: np.ndarray
    means: np.ndarray


class Vocabulary(NamedTuple):
    """The categories of one feature: the slot of each, and where its counts are."""

    entries: Mapping[str | int, int]
    other: int  # the slot of all that is not in it
    column: int = 0
    word: int = 0  # of a block, where the counts begin
    slots: int = 0


@dataclass(frozen=True, slots=True)
class IntegerTables:
    """Features of one tensor of integers, as `kernels.categories.count_integers` takes them."""

    features: np.ndarray
    keys: np.ndarray
    slots: np.ndarray


@dataclass(frozen=True, slots=True)
class TextTables:
    """Features of one tensor of texts: for `kernels.categories.count_texts`, and as dictionaries for texts that are Python's already."""

    features: np.ndarray
    owners: np.ndarray
    hashes: np.ndarray
    slots: np.ndarray
    spans: np.ndarray
    letters: np.ndarray
    lookups: tuple[Mapping[str | bytes, int], ...]

    @property
    def arrays(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The places of all tables."""
        return self.hashes, self.slots, self.spans, self.letters


@dataclass(frozen=True, slots=True)
class PortTables:
    """All that is counted of one tensor."""

    side: Side
    position: int  # among the version's inputs, or its outputs
    datatype: str
    width: int  # elements of a row; 0 where it is known only of a batch
    numbers: tuple[NumberTables, ...]
    integers: IntegerTables | None
    texts: TextTables | None
    text_places: tuple[int, ...]  # of the layout, one for each feature of `texts`
    score: int | None  # the column that the calibration table is for


def tables_of(profile: Profile, layout: Layout, signature: Signature) -> tuple[PortTables, ...]:
    """One for each tensor of which the profile has a feature, inputs before outputs."""
    sides: tuple[tuple[Side, tuple[TensorSpec, ...]], ...] = (("input", signature.inputs), ("output", signature.outputs))
    batched = signature.max_batch_size > 0
    made = [_port(profile, layout, side, at, spec, batched=batched) for side, specs in sides for at, spec in enumerate(specs)]
    return tuple(port for port in made if port.numbers or port.integers or port.texts or port.score is not None)


def integer_tables(vocabularies: Sequence[Vocabulary]) -> IntegerTables:
    """Tables one after the other. What is no integer is left out; integers from 2^63 on stand for negative ones, as they do in int64."""
    found = [{_wrapped(key): slot for key, slot in words.entries.items() if isinstance(key, int)} for words in vocabularies]
    features, places = _features(vocabularies, found)
    tables = IntegerTables(features, np.zeros(places, np.int64), np.full(places, categories.EMPTY))
    for number, entries in enumerate(found):
        keys, slots = np.array([*entries], np.int64), np.array([*entries.values()], np.int64)
        _spread(features[number], keys)
        categories.enter_integers(keys, slots, number, features, tables.keys, tables.slots)
    return tables


def text_tables(vocabularies: Sequence[Vocabulary]) -> TextTables:
    """Tables one after the other, of the entries that are texts."""
    found = [{key: slot for key, slot in words.entries.items() if isinstance(key, str)} for words in vocabularies]
    features, places = _features(vocabularies, found)
    packed = [[pack_text(key) for key in entries] for entries in found]
    letters = np.frombuffer(b"".join([text for texts in packed for text in texts]) or b"\0", np.uint8)
    hashes, slots, spans = np.zeros(places, np.uint64), np.full(places, categories.EMPTY), np.zeros((places, 2), np.int64)
    begin = 0
    for number, (entries, texts) in enumerate(zip(found, packed, strict=True)):
        categories.enter_texts(letters, begin, np.array([*entries.values()], np.int64), number, features, hashes, slots, spans)
        begin += sum(map(len, texts))
    owners = np.full(max((words.column for words in vocabularies), default=-1) + 1, -1)
    owners[features[:, categories.COLUMN]] = np.arange(len(features))
    lookups = tuple({**entries, **{key.encode(): slot for key, slot in entries.items()}} for entries in found)
    return TextTables(features, owners, hashes, slots, spans, letters, lookups)


def _port(profile: Profile, layout: Layout, side: Side, position: int, spec: TensorSpec, *, batched: bool) -> PortTables:
    place = (side, spec.name)
    counted = [] if spec.datatype == "BYTES" else [entry for entry in enumerate(layout.groups) if (entry[1].side, entry[1].port) == place]
    found = [entry for entry in enumerate(layout.categorical) if (entry[1].feature.side, entry[1].feature.port) == place]
    words = [_vocabulary(entry) for _, entry in found]
    whole = bool(words) and spec.datatype not in {*FLOATS, "BYTES"}
    row = spec.shape[1:] if batched else spec.shape
    return PortTables(
        side=side,
        position=position,
        datatype=spec.datatype,
        width=0 if any(size < 0 for size in row) else math.prod(row),
        numbers=tuple(_numbers(number, group, FLOATS.get(spec.datatype, np.float64)) for number, group in counted),
        integers=integer_tables(words) if whole else None,
        texts=text_tables(words) if words and spec.datatype == "BYTES" else None,
        text_places=tuple(number for number, _ in found),
        score=_score(profile, place, spec),
    )


def _numbers(number: int, group: NumericGroup, kind: Any) -> NumberTables:
    """Thresholds in the type that the values have: what is computed of a row is float64."""
    kind = kind if group.kind == "value" else np.float64
    most = max(feature.bins for feature in group.features) + FIRST_BIN + 1  # -inf, the edges, the greatest number
    thresholds = np.full((len(group.features), -(-most // THRESHOLDS_ABREAST) * THRESHOLDS_ABREAST), np.inf, kind)
    for row, feature in zip(thresholds, group.features, strict=True):
        row[: feature.bins + FIRST_BIN + 1] = (-np.inf, *feature.edges, np.finfo(kind).max)
    columns = group.elements if group.kind == "value" else np.zeros(len(group.features), np.int64)
    tops = [feature.bins + 1 for feature in group.features]
    means = np.array([feature.mean for feature in group.features])
    return NumberTables(number, group.kind, np.column_stack((columns, tops)).astype(np.int64), thresholds, means)


def _vocabulary(place: CategoricalPlace) -> Vocabulary:
    feature = place.feature
    entries = {key: slot for slot, key in enumerate(feature.categories)}
    if feature.null is not None:
        entries[feature.null] = place.slots - 1
    return Vocabulary(entries, place.slots - 2, feature.element, place.counts, place.slots)


def _score(profile: Profile, place: tuple[Side, str], spec: TensorSpec) -> int | None:
    table = profile.calibration
    return table.element if table is not None and place == ("output", table.port) and spec.datatype != "BYTES" else None


def _features(vocabularies: Sequence[Vocabulary], found: Sequence[Mapping[Any, int]]) -> tuple[np.ndarray, int]:
    """A row of `features` for each vocabulary, and the places of all tables."""
    features, first = np.zeros((len(vocabularies), categories.FIELDS), np.int64), 0
    for row, words, entries in zip(features, vocabularies, found, strict=True):
        places = 1 << (ROOM * max(len(entries), 1) - 1).bit_length()
        row[categories.COLUMN], row[categories.FIRST], row[categories.MASK] = words.column, first, places - 1
        row[categories.WORD], row[categories.SLOTS], row[categories.OTHER] = words.word, words.slots, words.other
        first += places
    return features, first


def _spread(row: np.ndarray, keys: np.ndarray) -> None:
    """How integers find their places: by themselves where they lie close together, else by the high bits of a product."""
    places = int(row[categories.MASK]) + 1
    close = not len(keys) or int(keys.max()) - int(keys.min()) < places
    row[categories.MULTIPLIER] = 1 if close else _wrapped(_GOLDEN)
    row[categories.SHIFT] = 0 if close else _WORD_BITS - (places - 1).bit_length()


def _wrapped(number: int) -> int:
    """As int64 holds the 64 bits of it."""
    return (number + (1 << 63)) % (1 << 64) - (1 << 63)
