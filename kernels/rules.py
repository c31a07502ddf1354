"""A contract's rules over one tensor: how many values and rows break each, and which rows. Knows neither what a rule is for nor its name.

A rule is a number: its line in `counts` [rules, 2], to which values and rows that break it are added, and its bit in a row of `masks`
[rows, words], 64 rules a word. -1 in its place is no rule. Most batches break none, which `outside` finds in one vectorised pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from kernels.categories import OTHER, find_integers, find_texts
from kernels.jit import kernel, part

__all__ = ["mark_numbers", "mark_strange_integers", "mark_strange_texts", "outside"]

_KINDS = ("float32", "float64", "int64")
_COUNTED = "int64[:, ::1], uint64[:, ::1]"
_FEATURES, _NUMBERS, _BUFFER = "int64[:, ::1]", "int64[::1]", "Array(uint8, 1, 'C', readonly=True)"


@part()
def _mark(rule: int, broken: float, row: int, counts: np.ndarray, masks: np.ndarray) -> None:
    """A row has so many values that break a rule."""
    if broken > 0 and rule >= 0:
        counts[rule, 0] += broken
        counts[rule, 1] += 1
        masks[row, rule >> 6] |= np.uint64(1) << np.uint64(rule & 63)


@part()
def _mark_strange(found: np.ndarray, width: int, rule: int, other: int, counts: np.ndarray, masks: np.ndarray) -> int:  # noqa: PLR0917
    """A rule for slots that are not `other`, row after row. Returns how many are."""
    strangers = 0
    for row in range(-(-found.shape[0] // width)):
        broken = 0
        for i in range(row * width, min((row + 1) * width, found.shape[0])):
            broken += found[i] == other
        _mark(rule, broken, row, counts, masks)
        strangers += broken
    return strangers


@kernel(*[f"int64(Array({kind}, 1, 'C', readonly=True), {kind}, {kind})" for kind in _KINDS], releases_gil=False)
def outside(values: np.ndarray, least: Any, greatest: Any) -> int:
    """How many values are not between two numbers, both of which belong; NaN never is."""
    inside = 0
    for i in range(values.shape[0]):
        inside += (values[i] >= least) & (values[i] <= greatest)
    return int(values.shape[0] - inside)


@kernel(
    *[f"void(Array({kind}, 1, 'C', readonly=True), int64, {kind}, {kind}, int64, {kind}, int64, int64, {_COUNTED})" for kind in _KINDS],
    releases_gil=False,
)
def mark_numbers(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    width: int,
    least: Any,
    greatest: Any,
    exempts: int,
    exempt: Any,
    null_rule: int,
    range_rule: int,
    counts: np.ndarray,
    masks: np.ndarray,
) -> None:
    """Rules for what is missing and for a range.

    values: [rows * width], row after row. exempt: what stands for a missing value, where `exempts` is not 0; NaN always does. A missing
    value is in no range and breaks none.
    """
    for row in range(values.shape[0] // width):
        missing = beyond = 0
        for column in range(width):
            value = values[row * width + column]
            if value != value or (exempts != 0 and value == exempt):  # noqa: PLR0124 - only NaN differs from itself
                missing += 1
            elif not least <= value <= greatest:
                beyond += 1
        _mark(null_rule, missing, row, counts, masks)
        _mark(range_rule, beyond, row, counts, masks)


@kernel(f"int64(Array(int64, 2, 'A', readonly=True), int64, int64, {_FEATURES}, {_NUMBERS}, {_NUMBERS}, {_COUNTED})", releases_gil=False)
def mark_strange_integers(  # noqa: PLR0917 - numba takes no keywords
    values: np.ndarray,
    width: int,
    rule: int,
    features: np.ndarray,
    keys: np.ndarray,
    slots: np.ndarray,
    counts: np.ndarray,
    masks: np.ndarray,
) -> int:
    """A rule for integers that must be in the first table of `features` (`categories.count_integers`).

    values: [rows * width, 1], row after row. Returns how many are not.
    """
    found = np.empty(values.shape[0], np.int64)
    find_integers(values, 0, 0, features, keys, slots, found)
    return _mark_strange(found, width, rule, features[0, OTHER], counts, masks)


@kernel(f"int64({_BUFFER}, int64, int64, {_FEATURES}, uint64[::1], {_NUMBERS}, {_FEATURES}, {_BUFFER}, {_COUNTED})", releases_gil=False)
def mark_strange_texts(  # noqa: PLR0917 - numba takes no keywords
    data: np.ndarray,
    width: int,
    rule: int,
    features: np.ndarray,
    hashes: np.ndarray,
    slots: np.ndarray,
    spans: np.ndarray,
    letters: np.ndarray,
    counts: np.ndarray,
    masks: np.ndarray,
) -> int:
    """A rule for texts that must be in the first table of `features` (`categories.count_texts`). Returns how many are not.

    data: as the wire carries rows of `width` texts. Ends with the data, before a text that is not whole, or after the last row of `masks`.
    """
    owners, found = np.zeros(1, np.int64), np.empty(masks.shape[0] * width, np.int64)
    whole, _ = find_texts(data, 0, 0, 1, owners, features, hashes, slots, spans, letters, found)
    return _mark_strange(found[:whole], width, rule, features[0, OTHER], counts, masks)
