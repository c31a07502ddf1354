"""Shapes of nested lists, read off their brackets and commas, against what walking through the lists finds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.protocol.json_nested import RaggedError, path_behind, shape_of, structure_of


def found(text: str) -> tuple[int, ...]:
    return shape_of(text.encode(), structure_of(text.encode()))


def walked(value: Any) -> tuple[int, ...] | None:
    """The shape of Python lists; None for ragged ones."""
    if not isinstance(value, list):
        return ()
    inner = [walked(element) for element in value]
    if not inner:
        return (0,)
    return None if inner[0] is None or any(shape != inner[0] for shape in inner) else (len(value), *inner[0])


@pytest.mark.parametrize(
    ("text", "shape"),
    [("5", ()), ("[5]", (1,)), ("[]", (0,)), ("[ ]", (0,)), ("[1,2,3]", (3,)), ("[[1,2,3]]", (1, 3)), ("[[1],[2],[3]]", (3, 1)),
     ("[[],[]]", (2, 0)), ("[\t[ [1 , 2]\n,[3,4] ] ]", (1, 2, 2)), ("[[[[[[[[1]]]]]]]]", (1,) * 8), ("-1.5e3", ())],
)  # fmt: skip
def test_lists_have_the_shape_of_their_first_elements(text: str, shape: tuple[int, ...]) -> None:
    """Whatever blanks stand between them; an empty list and one of one element look alike without their text."""
    assert shape == found(text)


@pytest.mark.parametrize(
    ("text", "path"),
    [("[[1,2],[3]]", "[1]"), ("[[1],[2,3]]", "[1]"), ("[1,[2]]", "[1]"), ("[[1],2]", "[1]"), ("[[1],[[2]],[3]]", "[1]"),
     ("[[[1,2],[3]],[[1,2],[3,4]]]", "[0][1]"), ("[[[1,2],[3,4]],[[1,2],[3]]]", "[1][1]"), ("[[],[1,2]]", "[1]"),
     ("[[1],[ ]]", "[1]"), ("[[],[1]]", "[1]"), ("[[[]],[[1]]]", "[1][0]"), ("[[[1]],[[]]]", "[1][0]"),
     ("[[1,2],[3,4],[5,6,7]]", "[2]"), ("[[1,2],[3,4],[[5,6]]]", "[2]")],
)  # fmt: skip
def test_ragged_lists_say_where(text: str, path: str) -> None:
    """The list that is not as those before it, also where it is empty and so has the same brackets and commas."""
    with pytest.raises(RaggedError) as ragged:
        found(text)
    assert path == ragged.value.path


NESTED = st.recursive(st.integers(-9, 99), lambda inner: st.lists(inner, max_size=4), max_leaves=30)


@given(NESTED)
def test_any_lists_have_the_shape_that_walking_finds(value: Any) -> None:
    """Regular or ragged."""
    expected = walked(value)
    if expected is None:
        with pytest.raises(RaggedError, match=r"^\["):
            found(json.dumps(value))
    else:
        assert expected == found(json.dumps(value))


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_a_path_leads_to_what_follows(shape: list[int], data: st.DataObject) -> None:
    """From the text before an element to its indices."""
    indices = [data.draw(st.integers(0, size - 1)) for size in shape]

    def filled(sizes: list[int], chosen: list[int] | None) -> Any:
        if not sizes:
            return "here" if chosen == [] else 0
        return [filled(sizes[1:], chosen[1:] if chosen and chosen[0] == index else None) for index in range(sizes[0])]

    text = json.dumps(filled(shape, indices)).encode()
    assert "".join(f"[{index}]" for index in indices) == path_behind(structure_of(text[: text.index(b'"')]))


def test_a_path_is_cut() -> None:
    """Each index costs a look at the whole text."""
    assert ("[0]" * 8, "", "") == (path_behind(b"[" * 900), path_behind(b""), path_behind(b"[]"))


@pytest.mark.parametrize("text", ["[" * 7 + "[1]," * 100_000 + "[1,2]" + "]" * 7, "[[1]" + ",[1]" * 100_000 + ",1]"])
def test_large_ragged_lists_are_looked_at_a_few_times(text: str) -> None:
    """However deep they are."""
    with pytest.raises(RaggedError):
        found(text)
