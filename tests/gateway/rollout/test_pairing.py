"""Outputs of two versions side by side, of every datatype, against plain loops."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from gateway.protocol.tensors import DATATYPES, Signature, TensorSpec
from gateway.rollout.pairing import Pairing, Verdicts
from gateway.rollout.records import RECORD, Flag

ATOL, RTOL = 1e-3, 1e-2
FLOATS = ("FP16", "FP32", "FP64")
WIDTH = 3


def values_of(datatype: str) -> st.SearchStrategy[Any]:
    if datatype == "BYTES":
        return st.sampled_from(("", "a", "b", "größer"))
    if datatype == "BOOL":
        return st.booleans()
    kind = DATATYPES[datatype].numpy
    if kind.kind == "f":
        return st.floats(width=8 * kind.itemsize) | st.sampled_from((0.0, 1.0, math.nan, math.inf))  # type: ignore[arg-type]
    info = np.iinfo(kind)
    return st.integers(int(info.min), int(info.max)) | st.integers(0, 2)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[str, list[np.ndarray]]:
    """A datatype and two tables of it, alike but for some values."""
    datatype = draw(st.sampled_from([name for name in DATATYPES if name != "BF16"]))
    shape = draw(st.integers(1, 5)), draw(st.integers(1, WIDTH))
    elements = values_of(datatype)
    one = draw(arrays.arrays(DATATYPES[datatype].numpy, shape, elements=elements))
    two = one.copy()
    for row, column in draw(st.lists(st.tuples(st.integers(0, shape[0] - 1), st.integers(0, shape[1] - 1)), max_size=3)):
        two[row, column] = draw(elements)
    return datatype, [one, two]


def differs(value: Any, other: Any, datatype: str) -> bool:
    if datatype not in FLOATS:
        return bool(value != other)
    a, b = float(value), float(other)
    if not (math.isfinite(a) and math.isfinite(b)):
        return not (a == b or (math.isnan(a) and math.isnan(b)))
    return abs(a - b) > ATOL + RTOL * abs(b)


def top(row: list[float]) -> int:
    known = [value for value in row if not math.isnan(value)]
    return row.index(max(known)) if known else -1


def changed(row: list[Any], other: list[Any], datatype: str) -> bool:
    if datatype not in FLOATS:
        return row != other
    return len(row) > 1 and top(row) != top(other)


def signature(*specs: tuple[str, str], most: int = 64) -> Signature:
    return Signature("m", (), tuple([TensorSpec(name, datatype, (-1, -1)) for name, datatype in specs]), most)


def judged(pairing: Pairing, mine: list[np.ndarray], theirs: list[np.ndarray], starts: list[int] | None = None) -> Verdicts:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return pairing.judge(mine, theirs, np.array(range(len(theirs[0])) if starts is None else starts, np.int64))


@settings(max_examples=500)
@given(outputs())
def test_every_datatype_is_judged_as_plain_loops_judge_it(pair: tuple[str, list[np.ndarray]]) -> None:
    """Within a tolerance where they are numbers, exactly otherwise; classes by labels or by the largest score."""
    datatype, (mine, theirs) = pair
    one = signature(("y", datatype))
    found = judged(Pairing(one, one, atol=ATOL, rtol=RTOL, score=False), [mine], [theirs])
    for row, (a, b) in enumerate(zip(mine.tolist(), theirs.tolist(), strict=True)):
        flips = changed(a, b, datatype)
        agrees = not flips and not any(differs(x, y, datatype) for x, y in zip(a, b, strict=True))
        bad = [datatype in FLOATS and not all(map(math.isfinite, side)) for side in (a, b)]
        flags = Flag.AGREES * agrees | Flag.CLASS_CHANGED * flips | Flag.BAD_OUTPUT * bad[0]
        assert (flags, Flag.BAD_OUTPUT * bad[1]) == (found.flags[row], found.other_flags[row])


@settings(max_examples=200)
@given(outputs(), outputs())
def test_answers_of_two_datatypes_or_shapes_disagree_and_never_raise(
    pair: tuple[str, list[np.ndarray]], other: tuple[str, list[np.ndarray]]
) -> None:
    """Whatever comes: a candidate is not known."""
    (datatype, (mine, _)), (kind, (theirs, _)) = pair, other
    made = Pairing(signature(("y", kind)), signature(("y", datatype)), atol=ATOL, rtol=RTOL, score=False)
    found = judged(made, [mine], [theirs])
    if datatype != kind or mine.shape != theirs.shape:
        assert not (found.flags & Flag.AGREES).any()
    records = np.zeros(len(theirs), RECORD)
    found.write(records)
    assert found.flags.tolist() == records["flags"].tolist()


def test_bfloat16_is_compared_as_the_numbers_that_its_bits_are() -> None:
    """Not as integers; numpy has no such type."""
    one = signature(("y", "BF16"))
    bits = [np.array([[value]], np.float32).view(np.uint32) >> 16 for value in (1.0, 1.0078125, 2.0)]
    made = Pairing(one, one, atol=0.0, rtol=RTOL, score=True)
    found = [judged(made, [each.astype(np.uint16)], [bits[0].astype(np.uint16)]) for each in bits]
    assert [Flag.AGREES, Flag.AGREES, 0] == [int(each.flags[0]) for each in found]
    assert [0.0, 0.0078125, 1.0] == [float(each.differences[0]) for each in found]


def test_outputs_are_found_by_their_names_and_missing_ones_disagree() -> None:
    """In whatever order; what only the candidate has is nobody's business, unless it is no number."""
    both = signature(("label", "INT64"), ("scores", "FP32"))
    label, scores = np.array([[1], [0]]), np.array([[0.1, 0.9], [0.8, 0.2]], np.float32)
    turned = Pairing(both, signature(("scores", "FP32"), ("label", "INT64")), atol=ATOL, rtol=RTOL, score=False)
    assert [Flag.AGREES] * 2 == judged(turned, [scores, label], [label, scores]).flags.tolist()
    less = Pairing(both, signature(("scores", "FP32")), atol=ATOL, rtol=RTOL, score=False)
    assert [0, 0] == judged(less, [scores], [label, scores]).flags.tolist()
    more = Pairing(signature(("label", "INT64")), both, atol=ATOL, rtol=RTOL, score=False)
    scores[1, 0] = np.nan
    assert [Flag.AGREES, Flag.AGREES | Flag.BAD_OUTPUT] == judged(more, [label, scores], [label]).flags.tolist()


def test_a_label_names_the_class_and_scores_only_where_there_is_none() -> None:
    """Scores may move within the tolerance past each other."""
    both = signature(("scores", "FP32"), ("label", "INT64"))
    made = Pairing(both, both, atol=0.1, rtol=0.0, score=False)
    mine = [np.array([[0.49, 0.51]], np.float32), np.array([[0]])]
    theirs = [np.array([[0.51, 0.49]], np.float32), np.array([[0]])]
    assert [Flag.AGREES] == judged(made, mine, theirs).flags.tolist()
    alone = Pairing(signature(("scores", "FP32")), signature(("scores", "FP32")), atol=0.1, rtol=0.0, score=False)
    assert [Flag.CLASS_CHANGED] == judged(alone, mine[:1], theirs[:1]).flags.tolist()


def test_a_score_changes_no_class() -> None:
    """One number a row is no choice among several."""
    one = signature(("y", "FP32"))
    found = judged(Pairing(one, one, atol=ATOL, rtol=RTOL, score=True), [np.array([[0.5]], np.float32)], [np.array([[0.9]], np.float32)])
    assert ([0], [0.5], [np.float32(0.9)]) == (found.flags.tolist(), found.values.tolist(), found.other_values.tolist())


def test_numbers_beyond_float32_are_told_as_infinite_ones() -> None:
    """Without a warning."""
    one = signature(("y", "FP64"))
    found = judged(Pairing(one, one, atol=ATOL, rtol=RTOL, score=True), [np.array([[1e300]])], [np.array([[-1e300]])])
    assert [math.inf, math.inf, -math.inf] == [found.differences[0], found.values[0], found.other_values[0]]


@pytest.mark.parametrize(("stable", "candidate"), [(0, 0), (64, 0), (0, 64)])
def test_without_rows_a_whole_answer_is_one_request(stable: int, candidate: int) -> None:
    """Whatever its first dimension is."""
    made = Pairing(signature(("y", "FP32"), most=stable), signature(("y", "FP32"), most=candidate), atol=ATOL, rtol=RTOL, score=False)
    answer = np.array([[1, 2], [3, 4]], np.float32)
    assert [Flag.AGREES] == judged(made, [answer], [answer], [0]).flags.tolist()
    assert not judged(made, [answer * 3], [answer], [0]).flags[0] & Flag.AGREES


def test_several_rows_of_a_request_are_one_verdict() -> None:
    """The worst of them."""
    one = signature(("y", "FP32"))
    theirs = np.array([[1, 0], [1, 0], [1, 0]], np.float32)
    mine = theirs.copy()
    mine[1] = 0, 5
    found = judged(Pairing(one, one, atol=ATOL, rtol=RTOL, score=False), [mine], [theirs], [0, 2])
    assert ([Flag.CLASS_CHANGED, Flag.AGREES], [5.0, 0.0]) == (found.flags.tolist(), found.differences.tolist())
