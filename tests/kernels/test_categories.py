"""Categories against plain comparison, through the tables that are made for kernels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.drift.tables import TextTables, Vocabulary, integer_tables, text_tables
from gateway.protocol.texts import pack_texts
from kernels import categories
from tests import naive

NONE = np.empty(0, np.int64)
INTEGERS = st.integers(-(2**63), 2**63 - 1) | st.integers(-20, 20) | st.integers(-5, 5).map(lambda number: number << 40)
TEXTS = st.text(max_size=20) | st.sampled_from(("", "a", "aaaaaaaa", "aaaaaaab", "aaaaaaaaa", "12345678abcdefgh", "12345678abcdefgi"))


def words(entries: list[object], column: int, begin: int) -> Vocabulary:
    """Slots in order, no null."""
    return Vocabulary({key: slot for slot, key in enumerate(entries)}, len(entries), column, begin, len(entries) + 2)


def expected(rows: list[list[object]], vocabularies: list[list[object]], segments: list[int], count: int) -> list[int]:
    """The words of a block that begins with the first feature's counts."""
    block = []
    for column, known in enumerate(vocabularies):
        counts = np.zeros((count, len(known) + 2), np.int64)
        for row, segment in zip(rows, segments, strict=True):
            counts[segment, naive.category_slot(row[column], known, None)] += 1
        block += counts.ravel().tolist()
    return block


def block_for(vocabularies: list[list[object]], count: int) -> tuple[list[Vocabulary], np.ndarray]:
    """Features one after the other in a block."""
    made, begin = [], 0
    for column, known in enumerate(vocabularies):
        made.append(words(known, column, begin))
        begin += count * (len(known) + 2)
    return made, np.zeros(begin, np.int64)


@settings(max_examples=500, deadline=None)
@given(st.data(), st.integers(1, 3), st.booleans())
def test_integers_are_counted_as_plain_loops_count_them(data: st.DataObject, features: int, divided: bool) -> None:
    """Dense and sparse vocabularies, values of both and of neither, divided into segments or not."""
    known = [data.draw(st.lists(INTEGERS, unique=True, max_size=30)) for _ in range(features)]
    values = st.one_of(INTEGERS, *[st.sampled_from(entries) for entries in known if entries])
    rows = data.draw(st.lists(st.lists(values, min_size=features, max_size=features), max_size=30))
    segments = [row % 3 if divided else 0 for row in range(len(rows))]
    vocabularies, block = block_for(known, 3 if divided else 1)
    tables = integer_tables(vocabularies)
    array = np.array(rows, np.int64).reshape(len(rows), features)
    split = np.array(segments, np.int64) if divided else NONE
    categories.count_integers(array, tables.features, tables.keys, tables.slots, split, block)
    assert expected(rows, known, segments, 3 if divided else 1) == block.tolist()


@settings(max_examples=500, deadline=None)
@given(st.data(), st.integers(1, 3), st.booleans())
def test_texts_are_counted_as_plain_loops_count_them(data: st.DataObject, features: int, divided: bool) -> None:
    """From the bytes of the wire, with texts that differ in their last byte, and a column that is no feature."""
    known = [data.draw(st.lists(TEXTS, unique=True, max_size=30)) for _ in range(features)]
    values = st.one_of(TEXTS, *[st.sampled_from(entries) for entries in known if entries])
    rows = data.draw(st.lists(st.lists(values, min_size=features + 1, max_size=features + 1), max_size=30))
    segments = [row % 3 if divided else 0 for row in range(len(rows))]
    vocabularies, block = block_for(known, 3 if divided else 1)
    count_texts(
        text_tables(vocabularies), pack_texts([text for row in rows for text in row]), features + 1, block, segments if divided else None
    )
    assert expected(rows, known, segments, 3 if divided else 1) == block.tolist()


def count_texts(tables: TextTables, data: bytes, width: int, block: np.ndarray, segments: list[int] | None = None) -> None:
    """From the bytes of the wire."""
    split = NONE if segments is None else np.array(segments, np.int64)
    categories.count_texts(np.frombuffer(data, np.uint8), width, tables.owners, tables.features, *tables.arrays, split, block)


def test_every_integer_of_a_full_vocabulary_is_found() -> None:
    """256 categories that would all meet in one place of a table if they were spread by their low bits."""
    for step in (1, 256, 4096, 1 << 50):
        known = [number * step for number in range(-128, 128)]
        tables = integer_tables([words(known, 0, 0)])
        block = np.zeros(258, np.int64)
        categories.count_integers(np.array(known).reshape(-1, 1), tables.features, tables.keys, tables.slots, NONE, block)
        assert [1] * 256 + [0, 0] == block.tolist()
        assert tables.features[0, categories.LONGEST] <= (1 if step == 1 else 16)


def test_a_stranger_costs_no_longer_search_than_a_category() -> None:
    """Among integers that lie close together, one that belongs to a full place is not looked for behind it."""
    tables = integer_tables([words(list(range(256)), 0, 0)])
    block = np.zeros(258, np.int64)
    categories.count_integers(np.arange(1024, 1280).reshape(-1, 1), tables.features, tables.keys, tables.slots, NONE, block)
    assert 256 == block[256]
    assert 1 == tables.features[0, categories.LONGEST]


def test_strided_and_narrow_integers_are_counted() -> None:
    """Columns of a wider array; a feature that the batch is too narrow for stays as it was."""
    tables = integer_tables([words([1, 2], 0, 0), words([1, 2], 5, 4)])
    block = np.zeros(8, np.int64)
    array = np.array([[1, 9], [2, 9], [3, 9], [1, 9]])
    categories.count_integers(array[::2, ::-1], tables.features, tables.keys, tables.slots, NONE, block)
    assert [0, 0, 2, 0, 0, 0, 0, 0] == block.tolist()


@pytest.mark.parametrize("data", [b"\x05\0\0\0abc", b"\x01\0\0", b"\xff\xff\xff\xffabc", b"\x01\0\0\0"])
def test_bytes_that_end_too_soon_end_the_count(data: bytes) -> None:
    """What is whole before them counts."""
    block = np.zeros(3, np.int64)
    count_texts(text_tables([words(["a"], 0, 0)]), b"\x01\0\0\0a" + data, 1, block)
    assert [1, 0, 0] == block.tolist()
    assert 1 == categories.texts_in(np.frombuffer(b"\x01\0\0\0a" + data, np.uint8))


def test_an_empty_vocabulary_knows_nothing() -> None:
    """All is other."""
    block = np.zeros(2, np.int64)
    count_texts(text_tables([words([], 0, 0)]), pack_texts(["", "a"]), 1, block)
    tables = integer_tables([words([], 0, 0)])
    categories.count_integers(np.array([[0]]), tables.features, tables.keys, tables.slots, NONE, block)
    assert [3, 0] == block.tolist()


def test_slots_found_elsewhere_are_counted_by_segment() -> None:
    """One for each row."""
    counts = np.zeros((2, 3), np.int64)
    categories.count_slots(np.array([0, 2, 2]), np.array([1, 0, 1]), counts)
    assert [[0, 0, 1], [1, 0, 1]] == counts.tolist()
    categories.count_slots(np.array([0, 2, 2]), NONE, counts)
    assert [[1, 0, 3], [1, 0, 1]] == counts.tolist()
