"""Categories into counts: integers, and texts as the wire carries them, looked up in open-addressing tables.

Tables of several features lie one after the other in the same arrays. A place of a table holds the slot of its category, or EMPTY; a key
that is nowhere belongs to the feature's slot for all others.
Bounds: a table is at most half full, so a search ends; a text that is not the entry is told from it by its hash, then by all bytes.
"""

from __future__ import annotations

import numpy as np

from kernels.jit import kernel, part

__all__ = ["AT_ONCE", "COLUMN", "EMPTY", "FIELDS", "FIRST", "LONGEST", "MASK", "MULTIPLIER", "OTHER", "SHIFT", "SLOTS", "WORD"]
__all__ += [
    "count_integers",
    "count_slots",
    "count_texts",
    "enter_integers",
    "enter_texts",
    "find_integers",
    "find_texts",
    "texts_in",
]

EMPTY = -1
# What a row of `features` says of one: its column, where its table begins and the places of it less one, how integers are spread over it,
# the longest search of one that is there, where its counts begin, how many slots it has, and which of them is for all other values.
COLUMN, FIRST, MASK, MULTIPLIER, SHIFT, LONGEST, WORD, SLOTS, OTHER = range(9)
FIELDS = 9

_PRIME = np.uint64(0x9E3779B97F4A7C15)  # 2^64 divided by the golden ratio, made odd
_LENGTH = 4  # bytes of a text's length on the wire
AT_ONCE = 256  # texts that are looked up before they are counted

_FEATURES, _NUMBERS, _BUFFER = "int64[:, ::1]", "int64[::1]", "Array(uint8, 1, 'C', readonly=True)"
_TEXT_TABLE = f"uint64[::1], {_NUMBERS}, {_FEATURES}, {_BUFFER}"


@part()
def find_integers(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray, column: int, feature: int, features: np.ndarray, keys: np.ndarray, slots: np.ndarray, found: np.ndarray
) -> None:
    """The slots of a column, into `found`. A loop: a call with so many arrays takes ten times as long as one search."""
    first, mask, longest, other = features[feature, FIRST], features[feature, MASK], features[feature, LONGEST], features[feature, OTHER]
    multiplier, shift = np.uint64(features[feature, MULTIPLIER]), np.uint64(features[feature, SHIFT])
    for r in range(values.shape[0]):
        value = values[r, column]
        at = np.int64((np.uint64(value) * multiplier) >> shift) & mask
        slot, left = other, longest
        while left > 0 and slots[first + at] != EMPTY:
            if keys[first + at] == value:
                slot = slots[first + at]
                break
            at, left = (at + 1) & mask, left - 1
        found[r] = slot


@part()
def _eight(data: np.ndarray, at: np.uint64) -> np.uint64:
    """Eight bytes as an integer, little-endian: written so that the compiler makes one load of it."""
    low = _byte(data, at, 0) | _byte(data, at, 1) | _byte(data, at, 2) | _byte(data, at, 3)
    return low | _byte(data, at, 4) | _byte(data, at, 5) | _byte(data, at, 6) | _byte(data, at, 7)


@part()
def _byte(data: np.ndarray, at: np.uint64, place: int) -> np.uint64:
    return np.uint64(data[at + np.uint64(place)]) << np.uint64(8 * place)


@part()
def _few(data: np.ndarray, at: np.uint64, size: int) -> np.uint64:
    """Less than eight bytes as an integer. Bytes in the middle may be in it twice; texts of one size have different ones."""
    last = at + np.uint64(size - 1)
    if size >= 4:
        end = last - np.uint64(3)
        low = _byte(data, at, 0) | _byte(data, at, 1) | _byte(data, at, 2) | _byte(data, at, 3)
        high = _byte(data, end, 0) | _byte(data, end, 1) | _byte(data, end, 2) | _byte(data, end, 3)
        return low | high << np.uint64(32)
    if size > 0:
        middle = at + np.uint64(size >> 1)
        return np.uint64(data[at]) | np.uint64(data[middle]) << np.uint64(8) | np.uint64(data[last]) << np.uint64(16)
    return np.uint64(0)


@part()
def _mixed(state: np.uint64, word: np.uint64) -> np.uint64:
    mixed = (state ^ word) * _PRIME
    return mixed ^ (mixed >> np.uint64(29))


@part()
def _hashed(data: np.ndarray, start: int, size: int) -> np.uint64:
    """64 bits that depend on every byte and on their number. The last eight bytes may overlap those before."""
    state, at = np.uint64(size) * _PRIME, np.uint64(start)
    if size < 8:
        return _mixed(state, _few(data, at, size))
    last = at + np.uint64(size - 8)
    while at < last:
        state = _mixed(state, _eight(data, at))
        at += np.uint64(8)
    return _mixed(state, _eight(data, last))


@part()
def _same(data: np.ndarray, start: int, letters: np.ndarray, begin: int, size: int) -> bool:
    """Whether two texts of one size are equal."""
    at, other = np.uint64(start), np.uint64(begin)
    if size < 8:
        return bool(_few(data, at, size) == _few(letters, other, size))
    last, end = at + np.uint64(size - 8), other + np.uint64(size - 8)
    while at < last:
        if _eight(data, at) != _eight(letters, other):
            return False
        at, other = at + np.uint64(8), other + np.uint64(8)
    return bool(_eight(data, last) == _eight(letters, end))


@part()
def text_size(data: np.ndarray, at: int) -> int:
    """Of the text whose length stands at `at`; -1 where it would end after the data."""
    if at + _LENGTH > data.shape[0]:
        return -1
    size = np.int64(
        _byte(data, np.uint64(at), 0) | _byte(data, np.uint64(at), 1) | _byte(data, np.uint64(at), 2) | _byte(data, np.uint64(at), 3)
    )
    return int(size) if at + _LENGTH + size <= data.shape[0] else -1


@part()
def find_texts(  # noqa: PLR0917 - numba takes no keywords
    data: np.ndarray,
    begin: int,
    number: int,
    width: int,
    owners: np.ndarray,
    features: np.ndarray,
    hashes: np.ndarray,
    slots: np.ndarray,
    spans: np.ndarray,
    letters: np.ndarray,
    found: np.ndarray,
) -> tuple[int, int]:
    """The slots of as many texts as `found` has room for, -1 for one that is of no feature.

    The first is text `number` of a tensor of rows of `width`, and begins at `begin`. Returns how many there were, and where they end.
    """
    at, column, count = begin, number % width, 0
    while count < found.shape[0]:
        size = text_size(data, at)
        if size < 0:
            break
        feature = owners[column] if column < owners.shape[0] else -1
        slot = feature
        if feature >= 0:
            first, mask, slot = features[feature, FIRST], features[feature, MASK], features[feature, OTHER]
            wanted = _hashed(data, at + _LENGTH, size)
            place = first + (np.int64(wanted >> np.uint64(32)) & mask)
            while slots[place] != EMPTY:
                if hashes[place] == wanted and spans[place, 1] == size and _same(data, at + _LENGTH, letters, spans[place, 0], size):
                    slot = slots[place]
                    break
                place = first + ((place - first + 1) & mask)
        found[count] = slot
        at, count, column = at + _LENGTH + size, count + 1, column + 1
        if column == width:
            column = 0
    return count, at


@kernel(f"void(Array(int64, 2, 'A', readonly=True), {_FEATURES}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS}, {_NUMBERS})", releases_gil=False)
def count_integers(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    features: np.ndarray,
    keys: np.ndarray,
    slots: np.ndarray,
    segments: np.ndarray,
    block: np.ndarray,
) -> None:
    """Count integers of several features of one tensor.

    values: [rows, width]. features: [features, FIELDS]; one whose column the batch does not have is passed over. keys, slots: the places
    of all tables. segments: [rows], not checked; [0] where there is one. block: counts of each feature, [segments, its slots], from its
    WORD on.
    """
    found = np.empty(values.shape[0], np.int64)
    for f in range(features.shape[0]):
        column, word, width = features[f, COLUMN], features[f, WORD], features[f, SLOTS]
        if column >= values.shape[1]:
            continue
        find_integers(values, column, f, features, keys, slots, found)
        for r in range(values.shape[0]):
            block[word + (segments[r] * width if segments.shape[0] > 0 else 0) + found[r]] += 1


@kernel(f"void({_BUFFER}, int64, {_NUMBERS}, {_FEATURES}, {_TEXT_TABLE}, {_NUMBERS}, {_NUMBERS})", releases_gil=False)
def count_texts(  # noqa: PLR0917 - numba takes no keywords
    data: np.ndarray,
    width: int,
    owners: np.ndarray,
    features: np.ndarray,
    hashes: np.ndarray,
    slots: np.ndarray,
    spans: np.ndarray,
    letters: np.ndarray,
    segments: np.ndarray,
    block: np.ndarray,
) -> None:
    """Count texts of several features of one tensor, from its bytes: each text a 4-byte little-endian length and UTF-8, row after row.

    width: texts of a row. owners: [width or fewer] the feature of a column, -1 for none. hashes, slots, spans: the places of all tables;
    a span is where in `letters` the category begins and its size. Others as for `count_integers`.
    Ends with the data, or before a text that is not whole.
    """
    found, number, at, count = np.empty(AT_ONCE, np.int64), 0, 0, 1
    while count > 0:
        count, at = find_texts(data, at, number, width, owners, features, hashes, slots, spans, letters, found)
        for i in range(count):
            if found[i] >= 0:
                f, row = owners[(number + i) % width], (number + i) // width
                segment = segments[row] if row < segments.shape[0] else 0
                block[features[f, WORD] + segment * features[f, SLOTS] + found[i]] += 1
        number += count


@kernel(f"int64({_BUFFER})", releases_gil=False)
def texts_in(data: np.ndarray) -> int:
    """How many whole texts there are in the bytes of a tensor, before the first that is not."""
    at = number = 0
    while at < data.shape[0] and text_size(data, at) >= 0:
        at += _LENGTH + text_size(data, at)
        number += 1
    return number


@kernel(f"void({_NUMBERS}, {_NUMBERS}, {_FEATURES})", releases_gil=False)
def count_slots(found: np.ndarray, segments: np.ndarray, counts: np.ndarray) -> None:
    """Count slots that somebody else has found. found: [rows]. segments: as for `count_integers`. counts: [segments, slots]."""
    for r in range(found.shape[0]):
        counts[segments[r] if segments.shape[0] > 0 else 0, found[r]] += 1


@kernel(f"void({_NUMBERS}, {_NUMBERS}, int64, {_FEATURES}, {_NUMBERS}, {_NUMBERS})", releases_gil=False)
def enter_integers(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    numbers: np.ndarray,
    feature: int,
    features: np.ndarray,
    keys: np.ndarray,
    slots: np.ndarray,
) -> None:
    """Enter a feature's categories, different from each other, and the slot of each into its table, which stays half empty."""
    first, mask = features[feature, FIRST], features[feature, MASK]
    for i in range(values.shape[0]):
        spread = np.uint64(values[i]) * np.uint64(features[feature, MULTIPLIER])
        at, search = np.int64(spread >> np.uint64(features[feature, SHIFT])) & mask, 1
        while slots[first + at] != EMPTY:
            at, search = (at + 1) & mask, search + 1
        keys[first + at], slots[first + at] = values[i], numbers[i]
        features[feature, LONGEST] = max(features[feature, LONGEST], search)


@kernel(f"void({_BUFFER}, int64, {_NUMBERS}, int64, {_FEATURES}, uint64[::1], {_NUMBERS}, {_FEATURES})", releases_gil=False)
def enter_texts(  # noqa: PLR0917 - numba takes no keywords
    letters: np.ndarray,
    begin: int,
    numbers: np.ndarray,
    feature: int,
    features: np.ndarray,
    hashes: np.ndarray,
    slots: np.ndarray,
    spans: np.ndarray,
) -> None:
    """Enter a feature's categories, all different and each with its length before it, which stand in `letters` from `begin` on."""
    first, mask = features[feature, FIRST], features[feature, MASK]
    for i in range(numbers.shape[0]):
        size = text_size(letters, begin)
        hashed = _hashed(letters, begin + _LENGTH, size)
        at = np.int64(hashed >> np.uint64(32)) & mask
        while slots[first + at] != EMPTY:
            at = (at + 1) & mask
        place = first + at
        hashes[place], slots[place], spans[place, 0], spans[place, 1] = hashed, numbers[i], begin + _LENGTH, size
        begin += _LENGTH + size
