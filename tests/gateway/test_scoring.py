"""Scoring without files: order, bounds on what is held, who fails, and which size of runs is taken."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.errors import Code
from gateway.scoring import AHEAD, Answered, Scorer, best_run_rows, first_fault, score
from gateway.serving.model import RunFault
from registry.row_stream import Layout, Piece
from registry.schema import Field

FIELD = Field(name="x", type="tensor(int64)", shape=("n",))
LAYOUT = Layout((FIELD,), None, ())


class Picky:
    """Answers x + 1, but for runs with a number that it does not take."""

    def __init__(self, *bad: int) -> None:
        self.bad = set(bad)
        self.rows: list[int] = []
        self.signature = SimpleNamespace(model="m", outputs=[SimpleNamespace(name="y")])

    def run(self, arrays: Sequence[np.ndarray], options: Any = None) -> list[np.ndarray]:
        self.rows.append(len(arrays[0]))
        if self.bad & set(arrays[0].tolist()):
            raise RunFault(Code.INVALID_ARGUMENT, "no such number")
        return [arrays[0] + 1]


def piece(values: Sequence[int | None], start: int = 0) -> Piece:
    return Piece(start, pa.table({"x": pa.array(values, pa.int64())}))


@settings(max_examples=60, deadline=None)
@given(rows=st.integers(1, 40), run_rows=st.integers(1, 16), bad=st.sets(st.integers(0, 39)), missing=st.sets(st.integers(0, 39)))
def test_exactly_the_rows_that_fail_have_no_answer(rows: int, run_rows: int, bad: set[int], missing: set[int]) -> None:
    """Whatever runs they are in: those the model refuses, and those that are none of its rows; all others in order."""
    values = [None if row in missing else row for row in range(rows)]
    found = Scorer(Picky(*bad), LAYOUT, run_rows=run_rows).answer(piece(values))
    failing = {row for row in range(rows) if row in bad | missing}
    assert failing == set(found.failures)
    expected = [row + 1 for row in range(rows) if row not in failing]
    assert expected == [value for (output,) in found.outputs for value in output.tolist()]
    answered = found.answered
    assert (answered is None) == (not failing)
    assert rows - len(failing) == (rows if answered is None else answered.sum())


def test_a_run_has_so_many_rows_at_most() -> None:
    """And all but the last have them."""
    model = Picky()
    Scorer(model, LAYOUT, run_rows=1_000).answer(piece(list(range(4_500))))
    assert [1_000, 1_000, 1_000, 1_000, 500] == model.rows


def test_a_model_that_does_not_answer_row_by_row_answers_nobody() -> None:
    """That is no row's fault."""
    model = Picky()
    model.run = lambda arrays, options=None: [arrays[0][:1]]  # type: ignore[method-assign]
    with pytest.raises(RunFault, match="with 1 rows for 3"):
        Scorer(model, LAYOUT, run_rows=8).answer(piece([1, 2, 3]))


def test_the_first_row_that_fails_is_named_by_its_number_in_all_files() -> None:
    """None where all are answered."""
    fault = first_fault(Scorer(Picky(7, 9), LAYOUT, run_rows=8).answer(piece([1, 9, 7], start=100)))
    assert fault is not None
    assert (101, "row 101: no such number") == (fault.row, str(fault))
    assert first_fault(Answered(piece([1]))) is None


def test_answers_come_in_order_and_few_pieces_are_held() -> None:
    """The second piece is done before the first one; reading waits for whoever takes the answers."""
    first, read = threading.Event(), []

    def pieces() -> Any:
        for number in range(40):
            read.append(number)
            yield piece([number], start=number)

    def answer(asked: Piece) -> Answered:
        assert asked.start or first.wait(20)
        if asked.start == 1:
            first.set()
        return Answered(asked)

    starts = []
    for found in score(pieces(), answer, threads=2):
        starts.append(found.piece.start)
        assert len(read) - len(starts) <= 2 * (1 + AHEAD)
    assert (list(range(40)), 40) == (starts, len(read))


def test_what_goes_wrong_is_raised_where_it_belongs() -> None:
    """After the answers before it."""

    def answer(asked: Piece) -> Answered:
        if asked.start == 3:
            raise RunFault(Code.INTERNAL, "broken")
        return Answered(asked)

    starts: list[int] = []
    with pytest.raises(RunFault, match="broken"):
        starts.extend(found.piece.start for found in score((piece([1], at) for at in range(9)), answer, threads=3))
    told = []
    generator = score((piece([1], at) for at in range(9)), answer, threads=3)
    told += [next(generator).piece.start for _ in range(3)]
    assert [0, 1, 2] == told


class Timed:
    """A model whose runs take `a` + `b`·rows of a clock that nothing else moves."""

    def __init__(self, a: float, b: float, knee: int = 1 << 30) -> None:
        self.time, self._a, self._b, self._knee = 0.0, a, b, knee

    def run(self, arrays: Sequence[np.ndarray], options: Any = None) -> list[np.ndarray]:
        rows = len(arrays[0])
        self.time += self._a + self._b * rows * (2 if rows > self._knee else 1)
        return []


@pytest.mark.parametrize(
    ("model", "most", "expected"),
    [
        (Timed(0.0, 1e-6), 8_192, 128),  # all sizes are as good: the least
        (Timed(1e-3, 1e-6), 8_192, 8_192),  # a dear run: the most
        (Timed(1e-3, 1e-6), 1_000, 512),  # of what may be
        (Timed(3e-5, 1e-6, knee=512), 8_192, 512),  # beyond, memory is slower
        (Timed(1e-3, 1e-6), 7, 7),
    ],
)
def test_runs_have_the_rows_that_are_fastest(model: Timed, most: int, expected: int) -> None:
    """The least of those that are about as good as the best."""
    assert expected == best_run_rows(model, [np.zeros(10_000)], lambda: model.time, most=most)


def test_a_model_that_fails_on_the_first_rows_has_usual_runs() -> None:
    """Nothing is known of its speed."""
    assert 256 == best_run_rows(Picky(0), [np.zeros(10_000, np.int64)], lambda: 0.0, most=8_192)
