"""Categories: which there are, in which order, and what is other or missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from registry.categories import MAX_CHARACTERS, categories_of, codes_of, is_open, tally
from registry.profile import MAX_CATEGORIES


def texts(*values: str | bytes) -> np.ndarray:
    return np.array([*values, None], object)[:-1]


def test_the_most_frequent_first() -> None:
    """Equally frequent ones by value, so that the order of the rows does not matter."""
    assert ("b", "a", "c") == categories_of(tally(texts("c", "b", "a", "b")))
    assert (7, -1) == categories_of(tally(np.array([-1, 7, 7], np.int8)))
    assert (1, 0) == categories_of(tally(np.array([True, False, True])))


def test_what_stands_for_a_missing_value_is_no_category() -> None:
    """It has a slot of its own, behind that of all others."""
    values = texts("a", "", "b", "a", "z")
    categories = categories_of(tally(values), null="")
    assert ("a", "b", "z") == categories
    assert [0, 4, 1, 0, 2, 3] == codes_of(texts(*values, "new"), categories, null="").tolist()
    assert [1, 0, 2] == codes_of(np.array([5, 3, -1]), (3,), null=-1).tolist()


def test_ids_are_no_categories() -> None:
    """What each row has for itself says nothing of the next; what many have does."""
    counts = tally(texts(*(f"id-{number}" for number in range(900)), *["none"] * 90, *["few"] * 4))
    assert is_open(counts)
    assert ("none",) == categories_of(counts)


def test_a_few_rare_values_leave_a_vocabulary_closed() -> None:
    """A destination with one flight is a category."""
    counts = tally(texts(*["JFK"] * 500, *(f"rare-{number}" for number in range(10))))
    assert not is_open(counts)
    assert 11 == len(categories_of(counts))


def test_there_are_so_many_at_most() -> None:
    """Those that are left are other."""
    values = np.repeat(np.arange(300), 3)
    categories = categories_of(tally(values))
    assert tuple(range(MAX_CATEGORIES)) == categories
    assert 3 * (300 - MAX_CATEGORIES) == int((codes_of(values, categories) == MAX_CATEGORIES).sum())


@pytest.mark.parametrize("strange", [b"\xff", "\ud800", "x" * (MAX_CHARACTERS + 1)])
def test_texts_that_cannot_be_categories_are_other(strange: str | bytes) -> None:
    """Bytes that are not UTF-8, half a character, a page."""
    values = texts(strange, "a", b"a", strange)
    categories = categories_of(tally(values))
    assert ("a",) == categories
    assert [1, 0, 0, 1] == codes_of(values, categories).tolist()


@given(st.lists(st.text(max_size=3)), st.none() | st.text(max_size=2))
def test_every_row_has_one_slot(drawn: list[str], null: str | None) -> None:
    """The tally and the codes agree."""
    values = texts(*drawn)
    categories = categories_of(tally(values), null=null)
    counts = np.bincount(codes_of(values, categories, null=null), minlength=len(categories) + 2).tolist()
    assert len(drawn) == sum(counts)
    assert [drawn.count(category) for category in categories] == counts[:-2]
    assert (0 if null is None else drawn.count(null)) == counts[-1]
