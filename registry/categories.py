"""Categories of one feature of integers, texts or booleans, the most frequent first, and which of them each value is. Pure.

What is rare is "other". Where many rows have a value that no other row has (ids, free text), a value must occur several times to be a
category: the share of a value that was seen once says little of what traffic will show (Good and Turing's estimate of what is unseen).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from registry.profile import MAX_CATEGORIES

MAX_CHARACTERS = 1_024  # of a category; a longer text is "other"
_LEAST_OPEN = 5  # rows of a category where the vocabulary is open
_OPEN_SINGLES, _OPEN_SHARE = 16, 0.05  # more values of a single row, and more of all rows, than this: the vocabulary is open

Category = str | int


def tally(values: np.ndarray) -> dict[Category | None, int]:
    """How often each value occurs. Texts that are not UTF-8, or longer than a category may be, count together under None."""
    if values.dtype.kind in "OU":
        found: Counter[Category | None] = Counter()
        for text, count in Counter(values.tolist()).items():
            found[_text(text)] += count
        return dict(found)
    distinct, counts = np.unique(values.astype(np.uint8) if values.dtype.kind == "b" else values, return_counts=True)
    return dict(zip(distinct.tolist(), counts.tolist(), strict=True))


def is_open(counts: Mapping[Category | None, int]) -> bool:
    """Whether values will come that nobody has seen."""
    singles = sum(1 for count in counts.values() if count == 1)
    return singles > _OPEN_SINGLES and singles > _OPEN_SHARE * sum(counts.values())


def categories_of(counts: Mapping[Category | None, int], *, null: Category | None = None) -> tuple[Category, ...]:
    """The most frequent first, equally frequent ones by their value; without `null`, which has a slot of its own."""
    least = _LEAST_OPEN if is_open(counts) else 1
    found = [(value, count) for value, count in counts.items() if value is not None and value != null and count >= least]
    found.sort(key=lambda pair: (-pair[1], pair[0]))
    return tuple([value for value, _ in found[:MAX_CATEGORIES]])


def codes_of(values: np.ndarray, categories: tuple[Category, ...], *, null: Category | None = None) -> np.ndarray:
    """The slot of each value, int64 [rows]: its category's place, then other, then null."""
    places: dict[Category | None, int] = {category: place for place, category in enumerate(categories)}
    other = len(categories)
    if null is not None:
        places[null] = other + 1
    if values.dtype.kind in "OU":
        texts = values.tolist()
        known = {text: places.get(_text(text), other) for text in set(texts)}
        return np.array([known[text] for text in texts], np.int64)
    distinct, inverse = np.unique(values.astype(np.uint8) if values.dtype.kind == "b" else values, return_inverse=True)
    return np.array([places.get(value, other) for value in distinct.tolist()], np.int64)[inverse]


def _text(text: str | bytes) -> str | None:
    """As a category may be; None for others."""
    try:
        found = text.decode() if isinstance(text, bytes) else text
        found.encode()
    except UnicodeError:
        return None
    return found if len(found) <= MAX_CHARACTERS else None
