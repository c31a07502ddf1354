"""Two answers to the same batch, held against plain loops that say what is meant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from kernels import jit
from kernels.compare import BAD, DIFFERS, OTHER_BAD, compare, compare_integers, largest

ATOL, RTOL = 1e-3, 1e-2
NUMBERS = st.floats(width=32) | st.sampled_from((0.0, 1.0, 1.0009, 1.02, -1.0, 3e38, -3e38, math.inf, -math.inf, math.nan))
SHAPES = st.tuples(st.integers(0, 7), st.integers(0, 5)) | st.tuples(st.integers(1, 300), st.integers(1, 4)) | st.just((2, 1030))
INT64 = np.iinfo(np.int64)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Two of one shape and type: unrelated, or the same but for a few values."""
    kind, shape = draw(st.sampled_from((np.float32, np.float64))), draw(SHAPES)
    one = draw(arrays.arrays(kind, shape, elements=NUMBERS, fill=st.just(1.0)))
    if draw(st.booleans()):
        return one, draw(arrays.arrays(kind, shape, elements=NUMBERS, fill=st.just(1.0)))
    two = one.copy()
    for at in draw(st.lists(st.integers(0, max(one.size - 1, 0)), max_size=3)) if one.size else []:
        two.reshape(-1)[at] = draw(NUMBERS)
    return one, two


def differs(value: float, other: float, atol: float, rtol: float) -> bool:
    """By the definition."""
    if math.isnan(value) or math.isnan(other):
        return math.isnan(value) != math.isnan(other)
    if math.isinf(value) or math.isinf(other):
        return value != other
    return abs(value - other) > atol + rtol * abs(other)


def apart(value: float, other: float) -> float:
    if math.isnan(value) and math.isnan(other):
        return 0.0
    if math.isinf(value) or math.isinf(other) or math.isnan(value) or math.isnan(other):
        return 0.0 if value == other else math.inf
    return abs(value - other)


def expected(one: np.ndarray, two: np.ndarray, atol: float, rtol: float) -> tuple[list[int], list[float]]:
    flags, differences = [], []
    for row, other in zip(one.tolist(), two.tolist(), strict=True):
        both = list(zip(row, other, strict=True))
        mark = DIFFERS * any(differs(a, b, atol, rtol) for a, b in both)
        mark |= BAD * any(not math.isfinite(a) for a in row) | OTHER_BAD * any(not math.isfinite(b) for b in other)
        flags.append(mark)
        differences.append(max([apart(a, b) for a, b in both], default=0.0))
    return flags, differences


def found(one: np.ndarray, two: np.ndarray, atol: float = ATOL, rtol: float = RTOL) -> tuple[list[int], list[float]]:
    flags, differences = np.zeros(len(one), np.uint8), np.zeros(len(one))
    compare(one, two, atol, rtol, flags, differences)
    return flags.tolist(), differences.tolist()


@settings(max_examples=500)
@given(pairs(), st.sampled_from(((ATOL, RTOL), (0.0, 0.0), (1.0, 0.0), (0.0, 0.5))))
@example((np.array([[1e308]]), np.array([[-1e308]])), (0.0, 0.0))
@example((np.array([[5e-324]]), np.array([[0.0]])), (0.0, 0.0))
def test_rows_are_judged_as_plain_loops_judge_them(both: tuple[np.ndarray, np.ndarray], tolerance: tuple[float, float]) -> None:
    """Rows of any width, more of them than are looked at together, and values that are no numbers anywhere."""
    assert expected(*both, *tolerance) == found(*both, *tolerance)


@settings(max_examples=200)
@given(pairs())
def test_an_answer_agrees_with_itself_and_who_is_bad_does_not_depend_on_who_is_asked(both: tuple[np.ndarray, np.ndarray]) -> None:
    """NaN too. Exchanged, the two are as far apart, and as bad."""
    one, two = both
    flags, differences = found(one, one, 0.0, 0.0)
    assert not any(flag & DIFFERS for flag in flags)
    assert not any(differences)
    (there, far), (back, away) = found(one, two), found(two, one)
    assert far == away
    swapped = {0: 0, BAD: OTHER_BAD, OTHER_BAD: BAD, BAD | OTHER_BAD: BAD | OTHER_BAD}
    assert [flag & ~DIFFERS for flag in there] == [swapped[flag & ~DIFFERS] for flag in back]


def test_what_several_outputs_say_of_a_row_adds_up() -> None:
    """Flags are united, the larger difference stays; an output without values says nothing."""
    flags, differences = np.zeros(3, np.uint8), np.zeros(3)
    zero = np.zeros((3, 1), np.float32)
    compare(np.array([[0.5], [np.nan], [0]], np.float32), zero, ATOL, RTOL, flags, differences)
    compare(np.array([[0.25, 0], [0, 0], [0, 0]]), np.array([[0, 0], [0, 0], [0, np.inf]]), ATOL, RTOL, flags, differences)
    compare(np.zeros((3, 0)), np.zeros((3, 0)), ATOL, RTOL, flags, differences)
    assert ([DIFFERS, DIFFERS | BAD, DIFFERS | OTHER_BAD], [0.5, math.inf, math.inf]) == (flags.tolist(), differences.tolist())


@settings(max_examples=300)
@given(st.lists(st.lists(st.tuples(*[st.integers(INT64.min, INT64.max) | st.integers(-2, 2)] * 2), min_size=2, max_size=2), max_size=9))
@example([[(INT64.min, INT64.max), (0, 0)]])
def test_integers_are_the_same_or_they_differ(rows: list[list[tuple[int, int]]]) -> None:
    """Without a tolerance, and exactly, however far they are apart."""
    one, two = (np.array([[pair[side] for pair in row] for row in rows], np.int64).reshape(-1, 2) for side in (0, 1))
    flags, differences = np.zeros(len(rows), np.uint8), np.zeros(len(rows))
    compare_integers(one, two, flags, differences)
    assert [DIFFERS * any(a != b for a, b in row) for row in rows] == flags.tolist()
    assert [float(max(abs(a - b) for a, b in row)) for row in rows] == differences.tolist()


@settings(max_examples=300)
@given(
    arrays.arrays(np.float32, st.tuples(st.integers(0, 9), st.integers(0, 6)), elements=NUMBERS), st.sampled_from((np.float32, np.float64))
)
@example(np.array([[-np.inf, np.nan], [np.nan, -np.inf], [np.nan, np.nan], [1, 1]], np.float32), np.float32)
def test_the_class_is_the_first_of_the_largest_numbers(rows: np.ndarray, kind: Any) -> None:
    """NaN is none."""
    places = np.zeros(len(rows), np.int64)
    largest(rows.astype(kind), places)
    for row, place in zip(rows.tolist(), places.tolist(), strict=True):
        known = [value for value in row if not math.isnan(value)]
        assert place == (row.index(max(known)) if known else -1)


def test_nothing_is_compiled_when_answers_of_any_type_meet() -> None:
    """All signatures are there once the module is; others are refused."""
    mark = jit.compilations()
    for kind in (np.float32, np.float64):
        found(np.ones((4, 3), kind), np.ones((4, 3), kind))
        largest(np.ones((4, 3), kind), np.zeros(4, np.int64))
    compare_integers(np.ones((4, 3), np.int64), np.ones((4, 3), np.int64), np.zeros(4, np.uint8), np.zeros(4))
    with pytest.raises(TypeError):
        compare(np.ones((4, 3), np.float16), np.ones((4, 3), np.float16), ATOL, RTOL, np.zeros(4, np.uint8), np.zeros(4))
    assert mark == jit.compilations()
