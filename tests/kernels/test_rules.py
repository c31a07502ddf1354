"""Rules over a tensor against plain loops: values, rows, and the bits of each row."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.tables import Vocabulary, integer_tables, text_tables
from gateway.protocol.texts import pack_texts
from kernels import rules

NULLS, RANGE = 3, 70  # rules: one in the first word of a mask, one in the second


def masks_of(rows: int) -> np.ndarray:
    return np.zeros((rows, 2), np.uint64)


def check(broken: dict[int, list[list[bool]]], counts: np.ndarray, masks: np.ndarray) -> None:
    """Everything is as said: for each rule, which values break it."""
    expected = np.zeros_like(counts)
    for row in range(len(masks)):
        bits = 0
        for rule, values in broken.items():
            expected[rule] += sum(values[row]), any(values[row])
            bits |= any(values[row]) << rule
        assert bits == int(masks[row, 0]) | int(masks[row, 1]) << 64
    assert expected.tolist() == counts.tolist()


@settings(max_examples=500)
@given(st.data(), st.sampled_from((np.float32, np.float64)), st.integers(0, 6), st.integers(1, 4))
def test_missing_floats_and_floats_out_of_range_are_found(data: st.DataObject, kind: type[np.floating], rows: int, width: int) -> None:
    """NaN is missing, and in no range; infinities are in an open one."""
    least, greatest = sorted((data.draw(st.sampled_from((-math.inf, -1.0, 0.0))), data.draw(st.sampled_from((0.0, 1.0, math.inf)))))
    values = st.sampled_from((math.nan, math.inf, -math.inf, -0.0, 0.0, 1.0, -1.0, 1.0000001192092896, -2.0))
    table = data.draw(st.lists(st.lists(values, min_size=width, max_size=width), min_size=rows, max_size=rows))
    flat = np.array(table, kind).reshape(-1)
    counts, masks = np.zeros((80, 2), np.int64), masks_of(rows)
    rules.mark_numbers(flat, width, kind(least), kind(greatest), 0, kind(0), NULLS, RANGE, counts, masks)
    missing = [[math.isnan(value) for value in row] for row in table]
    beyond = [[not math.isnan(value) and not least <= value <= greatest for value in row] for row in table]
    check({NULLS: missing, RANGE: beyond}, counts, masks)
    assert sum(map(sum, missing)) + sum(map(sum, beyond)) == rules.outside(flat, kind(least), kind(greatest))


@settings(max_examples=500)
@given(st.lists(st.lists(st.integers(-5, 5), min_size=2, max_size=2), max_size=6), st.booleans())
def test_integers_are_exempt_where_one_stands_for_nothing(table: list[list[int]], exempts: bool) -> None:
    """-4 is out of range, unless it means that nothing is there."""
    counts, masks = np.zeros((80, 2), np.int64), masks_of(len(table))
    flat = np.array(table, np.int64).reshape(-1)
    rules.mark_numbers(flat, 2, np.int64(-2), np.int64(3), int(exempts), np.int64(-4), NULLS, RANGE, counts, masks)
    missing = [[exempts and value == -4 for value in row] for row in table]
    beyond = [[not -2 <= value <= 3 and not gone for value, gone in zip(*pair, strict=True)] for pair in zip(table, missing, strict=True)]
    check({NULLS: missing, RANGE: beyond}, counts, masks)


def test_a_rule_that_is_none_marks_nothing() -> None:
    """-1 in the place of a rule."""
    counts, masks = np.zeros((1, 2), np.int64), masks_of(1)
    rules.mark_numbers(np.array([np.nan, 9.0]), 2, 0.0, 1.0, 0, 0.0, -1, -1, counts, masks)
    assert not counts.any()
    assert not masks.any()


@settings(max_examples=500)
@given(st.lists(st.lists(st.integers(-9, 9), min_size=3, max_size=3), max_size=6), st.lists(st.integers(-9, 9), unique=True, max_size=9))
def test_strange_integers_are_found(table: list[list[int]], known: list[int]) -> None:
    """All that are not in the vocabulary."""
    counts, masks = np.zeros((80, 2), np.int64), masks_of(len(table))
    tables = integer_tables([Vocabulary(dict.fromkeys(known, 0), 1)])
    flat = np.array(table, np.int64).reshape(-1, 1)
    found = rules.mark_strange_integers(flat, 3, RANGE, tables.features, tables.keys, tables.slots, counts, masks)
    strange = [[value not in known for value in row] for row in table]
    check({RANGE: strange}, counts, masks)
    assert sum(map(sum, strange)) == found


@settings(max_examples=500)
@given(st.lists(st.lists(st.text("ab", max_size=3), min_size=2, max_size=2), max_size=6), st.lists(st.text("ab", max_size=3), unique=True))
def test_strange_texts_are_found(table: list[list[str]], known: list[str]) -> None:
    """From the bytes of the wire; bytes that end too soon end it."""
    counts, masks = np.zeros((80, 2), np.int64), masks_of(len(table))
    tables = text_tables([Vocabulary(dict.fromkeys(known, 0), 1)])
    data = np.frombuffer(pack_texts([text for row in table for text in row]) + b"\x09\0", np.uint8)
    found = rules.mark_strange_texts(data, 2, NULLS, tables.features, *tables.arrays, counts, masks)
    strange = [[text not in known for text in row] for row in table]
    check({NULLS: strange}, counts, masks)
    assert sum(map(sum, strange)) == found
